//! The token of a context: made when it is first asked for, against the close that cancels it.

use super::outcomes::Outcomes;
use crate::{
    context::{cancellation::Cancellation, gate::Gate},
    table::record::State,
};
use loom::thread;
use std::sync::Arc;

/// A token that is handed out while a close begins is cancelled, whichever comes first, and all get the same one.
#[test]
fn a_token_that_is_asked_for_meanwhile_is_cancelled() {
    let outcomes = Outcomes::new();
    let saw = outcomes.clone();
    loom::model(move || {
        let parts = Arc::new((Gate::new(), Cancellation::new()));
        let ask = |parts: &(Gate, Cancellation)| {
            let (gate, cancellation) = parts;
            let token = cancellation.token(|| gate.state() != State::Open);
            (token.clone(), token.is_cancelled())
        };
        let others = [(); 2].map(|()| {
            let parts = Arc::clone(&parts);
            thread::spawn(move || ask(&parts))
        });
        parts.0.begin();
        parts.1.cancel();
        let tokens = others.map(|other| other.join().unwrap());
        assert!(tokens.iter().all(|(token, _)| token.is_cancelled()));
        assert!(ask(&parts).1);
        saw.saw(tokens.map(|(_, was_cancelled)| was_cancelled));
    });
    outcomes.assert_all([[false, false], [false, true], [true, false], [true, true]]);
}
