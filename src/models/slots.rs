//! The slot table: remover against reader, reuse against stale keys, growth and shrinking.

use super::outcomes::Outcomes;
use crate::table::slots::{Key, Slots};
use loom::thread;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// A value that counts its drops.
struct Value(u32, Arc<AtomicUsize>);

impl Drop for Value {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}

fn seen<T>(slots: &Slots<T>, mut look: impl FnMut(Key, &T)) {
    let directory = slots.directory();
    let mut cursor = 0;
    while let Some(next) = slots.scan(&directory, cursor, 8, &mut look) {
        cursor = next;
    }
}

/// A reader sees a whole value or none; the value is dropped once, by whoever is last, and the place
/// is free again.
#[test]
fn a_removed_value_outlives_its_reader() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let drops = Arc::new(AtomicUsize::new(0));
        let key = slots.reserve_on(0).commit(Value(7, Arc::clone(&drops)));
        let remover = thread::spawn({
            let (slots, drops) = (Arc::clone(&slots), Arc::clone(&drops));
            move || {
                assert!(slots.remove_on(0, key));
                drops.load(SeqCst) == 1
            }
        });
        let mut was_seen = false;
        seen(&slots, |found, value| {
            assert_eq!((found, value.0, value.1.load(SeqCst)), (key, 7, 0));
            was_seen = true;
        });
        let dropped_by_remover = remover.join().unwrap();
        assert_eq!((drops.load(SeqCst), slots.len()), (1, 0));
        let next = slots.reserve_on(0).key();
        assert_eq!(
            next,
            Key {
                index: key.index,
                generation: key.generation + 1
            }
        );
        saw.saw((was_seen, dropped_by_remover));
    });
    // A reader empties the slot also when it came too late to see the value: it was in the row.
    outcomes.assert_all([(true, true), (true, false), (false, true), (false, false)]);
}

/// Two readers and a remover: the last one of the three empties the slot.
#[test]
fn two_readers_and_a_remover_empty_a_slot_once() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let drops = Arc::new(AtomicUsize::new(0));
        let key = slots.reserve_on(0).commit(Value(7, Arc::clone(&drops)));
        let reader = thread::spawn({
            let slots = Arc::clone(&slots);
            move || {
                let mut count = 0;
                seen(&slots, |_, value| {
                    assert_eq!(value.1.load(SeqCst), 0);
                    count += 1;
                });
                count
            }
        });
        let remover = thread::spawn({
            let slots = Arc::clone(&slots);
            move || slots.remove_on(0, key)
        });
        let mut count = 0;
        seen(&slots, |_, value| {
            assert_eq!(value.1.load(SeqCst), 0);
            count += 1;
        });
        let there = reader.join().unwrap();
        assert!(remover.join().unwrap());
        assert_eq!((drops.load(SeqCst), slots.len()), (1, 0));
        saw.saw((count, there));
    });
    outcomes.assert_all([(0, 0), (0, 1), (1, 0), (1, 1)]);
}

/// Two entries of one row are removed while two read it: each is emptied once, by whoever may, and
/// not by a reader who leaves while the other one looks at it.
#[test]
fn a_row_is_emptied_of_all_that_was_left_in_it() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let drops = Arc::new(AtomicUsize::new(0));
        // The first block has one place, the second has two, in one row.
        let [_, one, other] =
            [0, 1, 2].map(|n| slots.reserve_on(0).commit(Value(n, Arc::clone(&drops))));
        let remover = thread::spawn({
            let slots = Arc::clone(&slots);
            move || assert!(slots.remove_on(0, one) && slots.remove_on(0, other))
        });
        let read = |slots: &Slots<Value>| {
            let (directory, mut count) = (slots.directory(), 0);
            slots.scan(&directory, 1, 2, |_, _| count += 1);
            count
        };
        let reader = thread::spawn({
            let slots = Arc::clone(&slots);
            move || read(&slots)
        });
        let here = read(&slots);
        let there = reader.join().unwrap();
        remover.join().unwrap();
        assert_eq!((drops.load(SeqCst), slots.len()), (2, 1));
        let places = [slots.reserve_on(0), slots.reserve_on(0)];
        let places = places.map(|place| place.key().index);
        assert!(places == [1, 2] || places == [2, 1]);
        saw.saw((here, there));
    });
    outcomes.assert_all([
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
    ]);
}

/// L3: of two removals with one key one succeeds, and a newer tenant of the place is not touched.
#[test]
fn a_stale_key_never_hits_a_newer_entry() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let drops = Arc::new(AtomicUsize::new(0));
        let old = slots.reserve_on(0).commit(Value(1, Arc::clone(&drops)));
        let reuser = thread::spawn({
            let (slots, drops) = (Arc::clone(&slots), Arc::clone(&drops));
            move || {
                let removed = slots.remove_on(0, old);
                (removed, slots.reserve_on(0).commit(Value(2, drops)))
            }
        });
        let removed_here = slots.remove_on(0, old);
        let (removed_there, new) = reuser.join().unwrap();
        assert!(removed_here != removed_there);
        assert_ne!(old, new);
        let mut found = Vec::new();
        seen(&slots, |key, value| found.push((key, value.0)));
        assert_eq!(found, [(new, 2)]);
        assert_eq!((slots.len(), drops.load(SeqCst)), (1, 1));
        saw.saw((removed_here, new.index == old.index));
    });
    // The place is reused, or was not free in time.
    outcomes.assert_all([(true, true), (true, false), (false, true)]);
}

/// A reader never takes a newer tenant for the one it came to see half of.
#[test]
fn a_reader_sees_one_tenant_whole() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let drops = Arc::new(AtomicUsize::new(0));
        let old = slots.reserve_on(0).commit(Value(0, Arc::clone(&drops)));
        let reuser = thread::spawn({
            let (slots, drops) = (Arc::clone(&slots), Arc::clone(&drops));
            move || {
                slots.remove_on(0, old);
                slots.reserve_on(0).commit(Value(1, drops));
            }
        });
        let mut tenant = None;
        let directory = slots.directory();
        slots.scan(&directory, 0, 1, |key, value| {
            assert_eq!(key.generation, value.0);
            tenant = Some(value.0);
        });
        reuser.join().unwrap();
        assert_eq!((slots.len(), drops.load(SeqCst)), (1, 1));
        saw.saw(tenant);
    });
    outcomes.assert_all([None, Some(0), Some(1)]);
}

/// Two threads that find the table full: both get a place, and not the same one.
#[test]
fn two_who_grow_the_table_get_two_places() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let other = thread::spawn({
            let slots = Arc::clone(&slots);
            move || slots.reserve_on(0).commit(1)
        });
        let here = slots.reserve_on(0).commit(2);
        let there = other.join().unwrap();
        assert_ne!(here.index, there.index);
        assert_eq!(slots.len(), 2);
        saw.saw(here.index.min(there.index));
        assert!(slots.remove(here) && slots.remove(there));
        assert_eq!(slots.len(), 0);
    });
    outcomes.assert_all([0]);
}

/// I6: a block that is given back takes no entry along, and ids of its places are not used again.
#[test]
fn shrinking_loses_no_entry_and_repeats_no_key() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let slots = Arc::new(Slots::with_stripes(1));
        let keys: Vec<_> = (0..2).map(|n| slots.reserve_on(0).commit(n)).collect();
        // The first block has one place, the second two: removing both makes the second wholly free.
        let remover = thread::spawn({
            let (slots, keys) = (Arc::clone(&slots), keys.clone());
            move || {
                assert!(slots.remove_on(0, keys[0]));
                assert!(slots.remove_on(0, keys[1]));
            }
        });
        let new = slots.reserve_on(0).commit(7);
        remover.join().unwrap();
        let mut found = Vec::new();
        seen(&slots, |key, value| found.push((key, *value)));
        assert_eq!((found.as_slice(), slots.len()), (&[(new, 7)][..], 1));
        assert!(!keys.contains(&new));
        let next: Vec<_> = (0..2).map(|n| slots.reserve_on(0).commit(n)).collect();
        assert!(next.iter().all(|key| !keys.contains(key) && *key != new));
        assert!(keys.iter().all(|key| !slots.remove_on(0, *key)));
        saw.saw(new.index);
    });
    outcomes.assert_all([0, 1, 2]);
}

/// Stripes: a thread that has no free place takes another's.
#[test]
fn a_stripe_without_places_takes_from_another() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let slots = Arc::new(Slots::with_stripes(2));
        let key = slots.reserve_on(0).commit(0);
        assert!(slots.remove_on(0, key));
        let other = thread::spawn({
            let slots = Arc::clone(&slots);
            move || slots.reserve_on(1).commit(1)
        });
        let here = slots.reserve_on(0).commit(2);
        let there = other.join().unwrap();
        assert_ne!(here.index, there.index);
        assert_eq!(slots.len(), 2);
        saw.saw(here.index.min(there.index));
    });
    outcomes.assert_all([0]);
}
