//! What does it cost to know who holds a handle?
//!
//! `holders_clone`: a clone of a context at the level `Holders`, in a task: the line, the task and the time are
//! written down. Read the nanoseconds; the other levels are beside it, and all of them with the drop, which crosses
//! it out again.
//!
//! `level_off`: the same spawns with tracking `Off`, and in a build without any tracking
//! (`--cfg headcount_untracked`). Two programs, run in turns; read the ratio. It builds both first.

use crate::common::{Bar, Contest, Form, current_thread, median, micros};
use headcount::{Level, Registry};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

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
    let (off, without) = (
        build("off", ""),
        build("without", "--cfg headcount_untracked"),
    );
    let run = |program: &Path| {
        let output = Command::new(program).arg("200").output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        said.parse::<f64>().expect("it prints a number")
    };
    run(&off);
    run(&without);
    let mut pairs = Vec::new();
    for round in 0..form.rounds(31) {
        // Each goes first every other time.
        let pair = if round % 2 == 0 {
            let off = run(&off);
            (off, run(&without))
        } else {
            let without = run(&without);
            (run(&off), without)
        };
        pairs.push(pair);
    }
    let side = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
    println!("# spawns with tracking off, and without any tracking compiled in");
    println!("#   off     {:>10.1} ns a task", side(|pair| pair.0));
    println!("#   without {:>10.1} ns a task", side(|pair| pair.1));
    Bar::new(
        "level_off",
        side(|(off, without)| off / without),
        1.02,
        1.02,
    )
}

/// Builds the program with these flags; where it is.
fn build(name: &str, flags: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/level_off").join(name);
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--manifest-path"])
        .arg(root.join("benches/level_off/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", flags)
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "`level_off` builds"
    );
    target.join("release/level_off")
}
