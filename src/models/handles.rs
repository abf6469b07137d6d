//! Strong handles: the last drop against an upgrade, and against the end of the close.

use super::outcomes::Outcomes;
use crate::{
    context::{gate::Gate, handles::Handles},
    table::record::State,
};
use loom::thread;
use std::sync::Arc;

/// I3, I11: an upgrade holds the context or fails; the last drop is noticed exactly once.
#[test]
fn an_upgrade_holds_the_context_or_fails() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let handles = Arc::new(Handles::one());
        let upgrader = thread::spawn({
            let handles = Arc::clone(&handles);
            move || {
                let upgraded = handles.try_add();
                (upgraded, upgraded && handles.remove())
            }
        });
        let last_here = handles.remove();
        let (upgraded, last_there) = upgrader.join().unwrap();
        assert!(last_here != last_there, "the last drop is noticed once");
        assert!(upgraded || last_here);
        assert!(!handles.try_add(), "none is none for ever");
        saw.saw((upgraded, last_here));
    });
    // Failed; held and dropped first; held and dropped last.
    outcomes.assert_all([(false, true), (true, true), (true, false)]);
}

/// A closed context without handles leaves the registry: by its last handle, or by its close.
#[test]
fn the_last_drop_or_the_end_of_the_close_takes_the_entry_out() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let both = Arc::new((Gate::new(), Handles::one()));
        both.0.begin();
        let dropper = thread::spawn({
            let both = Arc::clone(&both);
            move || both.1.remove() && both.0.begin() == State::Closed
        });
        let close_removes = both.0.end() && both.1.count() == 0;
        let drop_removes = dropper.join().unwrap();
        assert!(close_removes || drop_removes, "the entry stays for ever");
        saw.saw((close_removes, drop_removes));
    });
    outcomes.assert_all([(true, false), (false, true), (true, true)]);
}
