//! What does it cost to list a million entries, and for how long is a thread held while it is done?
//!
//! The peer clones a `Vec<Arc<_>>` of the same size, which is the least that any list costs whose
//! entries can be kept. Read `live_step` as the time in which nothing else runs on that thread.

use crate::common::{Bar, Contest, Form, Outcome, current_thread, median, micros, per};
use headcount::{Registration, Registry};
use std::{
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

/// What a peer keeps of an entry.
struct Facts {
    _name: String,
    _created: Instant,
}

fn contest(registry: &Registry, entries: usize, rounds: usize) -> Outcome {
    let runtime = current_thread();
    let all: Vec<_> = (0..entries)
        .map(|_| {
            Arc::new(Facts {
                _name: String::new(),
                _created: Instant::now(),
            })
        })
        .collect();
    Contest::new(format!("listing {entries} entries"), "ns an entry")
        .side("live().await", || {
            runtime.block_on(async {
                let start = Instant::now();
                let live = registry.live().await;
                let cost = per(start, entries);
                assert_eq!(live.len(), entries);
                cost
            })
        })
        .side("Vec<Arc<_>>::clone", || {
            let start = Instant::now();
            let copy = black_box(all.clone());
            let cost = per(start, entries);
            drop(copy);
            cost
        })
        .run(rounds)
}

/// The longest that one listing held its thread.
fn longest_step(registry: &Registry) -> Duration {
    current_thread().block_on(async {
        let mut live = pin!(registry.live());
        let mut longest = Duration::ZERO;
        let live = std::future::poll_fn(|cx| {
            let start = Instant::now();
            let polled = live.as_mut().poll(cx);
            longest = longest.max(start.elapsed());
            match polled {
                Poll::Ready(live) => Poll::Ready(live),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(live);
        longest
    })
}

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let (registry, entries) = (Registry::new(), form.size(1_000_000));
    let held: Vec<Registration> = (0..entries)
        .map(|_| registry.register("entry", "resource"))
        .collect();
    let listing = contest(&registry, entries, form.rounds(9));
    let steps = (0..form.rounds(15)).map(|_| micros(longest_step(&registry)));
    let step = median(steps.collect());
    println!("# the longest stretch between two yields of a listing: {step:.1} µs");
    drop(held);
    vec![
        Bar::new(
            "live_per_entry",
            listing.ratio_to("Vec<Arc<_>>::clone"),
            1.7,
            1.2,
        ),
        Bar::new("live_step", step, 60.0, 40.0),
    ]
}
