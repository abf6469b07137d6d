//! What does it cost that tasks can be asked where they wait, and what does it cost to ask?
//!
//! `dump_idle`: spawning with the feature `dump` on and no dump under way, against a build without it. `dump_10k`: seconds
//! to dump 10,000 parked tasks, half of which wait for two things. `dump_hold`: the longest that the thread of the
//! runtime was held meanwhile, in milliseconds, without what the system gave to other threads. It builds two programs first.

use crate::common::{
    Bar, Form,
    builds::{Build, spawn_ratio},
    median,
};

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    if form == Form::Quick {
        return Vec::new();
    }
    let with = Build::new("dump", "", "dump");
    let without = Build::new("plain", "", "");
    let idle = spawn_ratio(form, (&with, "with dump"), (&without, "without"));
    let runs: Vec<_> = (0..form.rounds(7))
        .map(|_| with.run(["dump", "10000"]))
        .collect();
    let side = |at: usize| median(runs.iter().map(|run| run[at]).collect());
    vec![
        Bar::new("dump_idle", idle, 1.05, 1.02),
        Bar::new("dump_10k", side(0) / 1_000.0, 2.0, 2.0),
        Bar::new("dump_hold", side(1), 1.0, 1.0),
    ]
}
