//! What does it cost to know who holds a handle?
//!
//! `holders_clone`: a clone of a context at the level `Holders`, in a task: the line, the task and the time are
//! recorded. Read the nanoseconds; the other levels are beside it, and each of them also with the drop, which removes
//! the record.
//!
//! `level_off`: the same spawns with tracking `Off`, and in a build without any tracking
//! (`--cfg headcount_untracked`). Two programs, run in turns; read the ratio. It builds both first.

use crate::common::{
    Bar, Contest, Form,
    builds::{Build, spawn_ratio},
    current_thread, micros,
};
use headcount::{Level, Registry};
use std::time::{Duration, Instant};

pub(crate) fn bars(form: Form) -> Vec<Bar> {
    let mut bars = vec![clone(form)];
    if form != Form::Quick {
        bars.push(off(form));
    }
    bars
}

fn clone(form: Form) -> Bar {
    let batches = form.size(100);
    let at = |level: Level, pick: fn((f64, f64)) -> f64| move || pick(handles(level, batches));
    let alone = |(clone, _)| clone;
    let outcome = Contest::new("a clone of a handle", "ns")
        .side("Holders", at(Level::Holders, alone))
        .side("Counts", at(Level::Counts, alone))
        .side("Off", at(Level::Off, alone))
        .run(form.rounds(9));
    let both = |(clone, drop)| clone + drop;
    Contest::new("a clone and its drop", "ns")
        .side("Holders", at(Level::Holders, both))
        .side("Counts", at(Level::Counts, both))
        .side("Off", at(Level::Off, both))
        .run(form.rounds(9));
    Bar::new("holders_clone", outcome.median("Holders"), 60.0, 60.0)
}

/// In a task that holds another context: what a clone costs, and what its drop does.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn handles(level: Level, batches: usize) -> (f64, f64) {
    const BATCH: usize = 1_000;
    current_thread().block_on(async move {
        let registry = Registry::new();
        registry.set_level(level);
        let (held, ctx) = (registry.context("held"), registry.context("ctx"));
        let measuring = ctx.task("task").spawn(async move {
            let (mut cloning, mut dropping) = (Duration::ZERO, Duration::ZERO);
            let mut clones = Vec::with_capacity(BATCH);
            for _ in 0..batches {
                let start = Instant::now();
                clones.extend((0..BATCH).map(|_| held.clone()));
                let between = Instant::now();
                clones.clear();
                cloning += between - start;
                dropping += between.elapsed();
            }
            let each = |cost: Duration| micros(cost) * 1_000.0 / (batches * BATCH) as f64;
            (each(cloning), each(dropping))
        });
        measuring.await.expect("it ends by itself")
    })
}

fn off(form: Form) -> Bar {
    let off = Build::new("plain", "", "");
    let without = Build::new("untracked", "--cfg headcount_untracked", "");
    let ratio = spawn_ratio(form, (&off, "off"), (&without, "not compiled in"));
    Bar::new("level_off", ratio, 1.02, 1.02)
}
