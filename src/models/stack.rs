//! Hooks: registered against the close that runs them.

use super::outcomes::Outcomes;
use crate::context::stack::Stack;
use loom::thread;
use std::sync::Arc;

/// I7: a hook registered while its context closes runs, or is handed back.
#[test]
fn a_hook_runs_or_is_handed_back() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let stack = Arc::new(Stack::new());
        stack.push("early").unwrap();
        let registrar = thread::spawn({
            let stack = Arc::clone(&stack);
            move || stack.push("late").is_ok()
        });
        let ran: Vec<_> = std::iter::from_fn(|| stack.pop_or_seal()).collect();
        let registered = registrar.join().unwrap();
        assert_eq!(registered, ran.contains(&"late"));
        assert!(ran.contains(&"early"));
        assert!(stack.push("after").is_err());
        saw.saw(ran);
    });
    outcomes.assert_all([vec!["early"], vec!["early", "late"], vec!["late", "early"]]);
}

/// S3: a hook that is cancelled while its context closes runs or is taken out, not both, not neither.
#[test]
fn a_cancelled_hook_runs_or_is_taken_out() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let stack = Arc::new(Stack::new());
        let key = stack.push(()).unwrap();
        let canceller = thread::spawn({
            let stack = Arc::clone(&stack);
            move || stack.take(key).is_some()
        });
        let ran = stack.pop_or_seal().is_some();
        let taken = canceller.join().unwrap();
        assert!(ran != taken);
        saw.saw(ran);
    });
    outcomes.assert_all([true, false]);
}
