//! [`Entries`]: things by number, in no more memory than they need now.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
};

/// Below so many places the map is left as it is.
const SMALL: usize = 64;

/// Things, each under a number that no other has meanwhile.
///
/// A map, and not places in a vector: whoever has the numbers keeps them, so a vector could not become smaller than the place of
/// its last entry.
#[derive(Debug)]
pub(crate) struct Entries<T> {
    entries: HashMap<u32, T, BuildHasherDefault<NumberHasher>>,
    next: u32,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
            next: 0,
        }
    }
}

impl<T> Entries<T> {
    /// Adds one, and returns its number, which is never `u32::MAX`.
    pub(crate) fn insert(&mut self, entry: T) -> u32 {
        loop {
            let number = self.next;
            // After four billion they begin again.
            self.next = number.wrapping_add(1) % u32::MAX;
            if let Entry::Vacant(vacant) = self.entries.entry(number) {
                vacant.insert(entry);
                return number;
            }
        }
    }

    /// Takes one out. Once three quarters are empty the memory is given back: each entry that goes pays for its part of that.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let entry = self.entries.remove(&number);
        let (len, places) = (self.entries.len(), self.entries.capacity());
        if places > SMALL && len < places / 4 {
            self.entries.shrink_to(2 * len);
        }
        entry
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.entries.get_mut(&number)
    }

    /// All of them, in any order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.entries.iter().map(|(number, entry)| (*number, entry))
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
            assert!(entries.entries.capacity() >= MANY);
            for (n, number) in numbers.iter().enumerate().filter(|(n, _)| *n != survivor) {
                assert_eq!(entries.remove(*number), Some(n));
                let (len, places) = (entries.entries.len(), entries.entries.capacity());
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
        let (mut places, mut steps) = (entries.entries.capacity(), 0);
        for number in numbers {
            entries.remove(number);
            let now = entries.entries.capacity();
            steps += usize::from(now != places);
            places = now;
        }
        assert!((1..=14).contains(&steps), "{steps}");
    }

    #[test]
    fn numbers_begin_again_and_leave_out_those_that_are_taken() {
        let mut entries = Entries::default();
        let first = entries.insert("first");
        entries.next = u32::MAX - 1;
        assert_eq!(entries.insert("last"), u32::MAX - 1);
        let next = entries.insert("next");
        assert_eq!((first, next), (0, 1));
        assert_eq!(entries.remove(first), Some("first"));
        assert_eq!(entries.remove(first), None);
    }
}
