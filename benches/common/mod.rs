//! Measuring side by side: every contestant in turn, again and again, in one run.
//!
//! A machine has moods. So nothing here is compared with a figure from another run: in each round all
//! sides do the same work one after the other, and what counts is the median of the ratios of each
//! round.

#![allow(
    dead_code,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "every bench uses its part of this, and none of it should ever fail"
)]

pub(crate) mod builds;
pub(crate) mod heap;
pub(crate) mod peers;

use std::time::{Duration, Instant};

/// One limit, as `cargo bench --bench bars` reports it.
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) measured: f64,
    pub(crate) must: f64,
    pub(crate) goal: f64,
}

impl Bar {
    pub(crate) fn new(name: &'static str, measured: f64, must: f64, goal: f64) -> Self {
        Self {
            name,
            measured,
            must,
            goal,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            measured,
            must,
            goal,
        } = self;
        let verdict = if measured <= must { "ok" } else { "short" };
        let reached = if measured <= goal {
            "reached"
        } else {
            "missed"
        };
        write!(
            f,
            "bar {name} {measured:.3} {must} {verdict} (goal {goal} {reached})"
        )
    }
}

/// How thorough a bench is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Once through, small: does it run at all?
    Quick,
    /// For `bars`: all of them in less than two minutes.
    Short,
    /// For one question by itself.
    Full,
}

impl Form {
    /// The form asked for on the command line: `--quick`, or `otherwise`.
    pub(crate) fn asked(otherwise: Self) -> Self {
        if std::env::args().any(|arg| arg == "--quick") {
            Self::Quick
        } else {
            otherwise
        }
    }

    pub(crate) fn rounds(self, short: usize) -> usize {
        match self {
            Self::Quick => 1,
            Self::Short => short,
            Self::Full => 5 * short,
        }
    }

    /// A size, made smaller when only trying.
    pub(crate) fn size(self, size: usize) -> usize {
        if self == Self::Quick {
            (size / 100).max(10)
        } else {
            size
        }
    }
}

type Side<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

/// The same work done by several, in turns. The first side is the one the others are compared with.
pub(crate) struct Contest<'a> {
    title: String,
    unit: &'static str,
    sides: Vec<Side<'a>>,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(title: impl Into<String>, unit: &'static str) -> Self {
        Self {
            title: title.into(),
            unit,
            sides: Vec::new(),
        }
    }

    /// Adds a side: a run that returns what it cost.
    pub(crate) fn side(mut self, name: &'static str, run: impl FnMut() -> f64 + 'a) -> Self {
        self.sides.push((name, Box::new(run)));
        self
    }

    /// Runs all sides once unmeasured, then in turns, every other round backwards.
    pub(crate) fn run(mut self, rounds: usize) -> Outcome {
        let mut costs = vec![Vec::new(); self.sides.len()];
        for (_, run) in &mut self.sides {
            run();
        }
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..self.sides.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                costs[side].push((self.sides[side].1)());
            }
        }
        let names = self.sides.iter().map(|(name, _)| *name).collect();
        let outcome = Outcome { names, costs };
        outcome.print(&self.title, self.unit);
        outcome
    }
}

/// What each side cost in each round.
pub(crate) struct Outcome {
    names: Vec<&'static str>,
    costs: Vec<Vec<f64>>,
}

impl Outcome {
    fn side(&self, name: &str) -> &[f64] {
        let at = self.names.iter().position(|other| *other == name);
        &self.costs[at.expect("a side of this contest")]
    }

    pub(crate) fn median(&self, name: &str) -> f64 {
        median(self.side(name).to_vec())
    }

    /// The median of the ratios of the first side to another one, round by round.
    pub(crate) fn ratio_to(&self, name: &str) -> f64 {
        self.ratio(self.names[0], name)
    }

    pub(crate) fn ratio(&self, one: &str, other: &str) -> f64 {
        let pairs = self.side(one).iter().zip(self.side(other));
        median(pairs.map(|(one, other)| one / other).collect())
    }

    fn print(&self, title: &str, unit: &str) {
        println!("# {title}");
        for name in &self.names {
            println!(
                "#   {name:<24} {:>10.1} {unit}   {} costs {:.2} of it",
                self.median(name),
                self.names[0],
                self.ratio_to(name)
            );
        }
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds per item.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn per(since: Instant, items: usize) -> f64 {
    since.elapsed().as_nanos() as f64 / items as f64
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1_000.0
}

pub(crate) fn current_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

pub(crate) fn multi_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Answers a question at length: what the `main` of each bench does.
pub(crate) fn print(bars: impl FnOnce(Form) -> Vec<Bar>) {
    for bar in bars(Form::asked(Form::Full)) {
        println!("{bar}");
    }
}
