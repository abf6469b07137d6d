//! [`Entries`]: things by number, in no more memory than they need now.

use slab::Slab;
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
};

/// So many lie in places of a vector, which are found fast. Below so many places the map is left as it is.
const SMALL: usize = FIRST as usize;
/// The numbers from here on are those of the map.
const FIRST: u32 = 64;

/// Things, each under a number that no other has meanwhile.
///
/// Where there are many they lie in a map, and not in places of a vector: those who have the numbers keep them, so a vector could not
/// become smaller than the place of its last entry.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    few: Slab<T>,
    more: HashMap<u32, T, BuildHasherDefault<NumberHasher>>,
    next: u32,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self {
            few: Slab::new(),
            more: HashMap::default(),
            next: FIRST,
        }
    }
}

impl<T> Entries<T> {
    /// Adds one, and returns its number, which is never `u32::MAX`.
    #[expect(clippy::cast_possible_truncation, reason = "the places are few")]
    #[inline]
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        if self.few.len() < SMALL {
            if self.few.capacity() == 0 {
                self.make_room_for_one();
            }
            return self.few.insert(entry) as u32;
        }
        self.insert_into_map(entry)
    }

    /// Most things have one handle, and a vector begins with room for four.
    #[cold]
    fn make_room_for_one(&mut self) {
        self.few = Slab::with_capacity(1);
    }

    #[inline(never)]
    fn insert_into_map(&mut self, entry: T) -> u32 {
        loop {
            let number = self.next;
            // After four billion they begin again.
            self.next = if number + 1 == u32::MAX {
                FIRST
            } else {
                number + 1
            };
            if let Entry::Vacant(vacant) = self.more.entry(number) {
                vacant.insert(entry);
                return number;
            }
        }
    }

    /// Takes one out. Once three quarters are empty the memory is given back: each entry that goes pays for its part of that.
    #[inline]
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        if number < FIRST {
            return self.few.try_remove(number as usize);
        }
        self.remove_from_map(number)
    }

    #[inline(never)]
    fn remove_from_map(&mut self, number: u32) -> Option<T> {
        let entry = self.more.remove(&number);
        let (len, places) = (self.more.len(), self.more.capacity());
        if places > SMALL && len < places / 4 {
            self.more.shrink_to(2 * len);
        }
        entry
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        if number < FIRST {
            return self.few.get_mut(number as usize);
        }
        self.more.get_mut(&number)
    }

    /// All of them, in any order.
    #[expect(clippy::cast_possible_truncation, reason = "the places are few")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let few = self.few.iter().map(|(place, entry)| (place as u32, entry));
        few.chain(self.more.iter().map(|(number, entry)| (*number, entry)))
    }
}

/// Spreads numbers that follow each other. They are not chosen by others, so nothing better is needed.
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }
}

#[cfg(all(test, not(headcount_loom)))]
mod tests {
    use super::*;

    const MANY: usize = 10_000;

    /// I6: whichever of them is left, the room is that of what is left.
    #[test]
    fn what_is_left_of_many_takes_no_room_of_many() {
        for survivor in [0, MANY / 2, MANY - 1] {
            let mut entries = Entries::default();
            let numbers: Vec<_> = (0..MANY).map(|n| entries.insert(n)).collect();
            assert!(entries.more.capacity() >= MANY - SMALL);
            for (n, number) in numbers.iter().enumerate().filter(|(n, _)| *n != survivor) {
                assert_eq!(entries.remove(*number), Some(n));
                let (len, places) = (entries.more.len(), entries.more.capacity());
                assert!(places <= SMALL.max(8 * len), "{places} places for {len}");
            }
            assert_eq!(
                entries.get_mut(numbers[survivor]),
                Some(&mut survivor.clone())
            );
            assert_eq!(entries.iter().count(), 1);
        }
    }

    /// Each that goes pays for its part: the memory is given back in few steps.
    #[test]
    fn memory_is_given_back_in_few_steps() {
        let mut entries = Entries::default();
        let numbers: Vec<_> = (0..MANY).map(|n| entries.insert(n)).collect();
        let (mut places, mut steps) = (entries.more.capacity(), 0);
        for number in numbers {
            entries.remove(number);
            let now = entries.more.capacity();
            steps += usize::from(now != places);
            places = now;
        }
        assert!((1..=14).contains(&steps), "{steps}");
    }

    #[test]
    fn numbers_begin_again_and_leave_out_those_that_are_taken() {
        let mut entries = Entries::default();
        let few: Vec<_> = (0..SMALL).map(|_| entries.insert("few")).collect();
        let first = entries.insert("first");
        entries.next = u32::MAX - 1;
        assert_eq!(entries.insert("last"), u32::MAX - 1);
        let next = entries.insert("next");
        assert_eq!((first, next), (FIRST, FIRST + 1));
        assert_eq!(entries.remove(first), Some("first"));
        assert_eq!(entries.remove(first), None);
        assert_eq!(entries.remove(few[7]), Some("few"));
        assert_eq!(entries.remove(few[7]), None);
        assert_eq!(entries.insert("few again"), few[7]);
        assert_eq!(entries.iter().count(), SMALL + 2);
    }
}
