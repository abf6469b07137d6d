//! The command line, as far as `cargo test` and `cargo nextest` use it.

use crate::{
    program::Program,
    run::{self, Outcome, RUNS},
};
use std::{process::ExitCode, time::Instant};

/// Flags of libtest that take a value, which means nothing here.
const WITH_VALUE: [&str; 5] = ["--format", "--test-threads", "--color", "--logfile", "-Z"];

/// Of the panics that were not intended.
const PRINTED: usize = 10;

#[derive(Default)]
struct Command {
    flags: Vec<String>,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Command {
    fn read(mut args: impl Iterator<Item = String>) -> Self {
        let mut command = Self::default();
        while let Some(arg) = args.next() {
            match &*arg {
                "--skip" => command.skips.extend(args.next()),
                flag if WITH_VALUE.contains(&flag) => drop(args.next()),
                flag if flag.starts_with('-') => command.flags.push(arg),
                _ => command.filters.push(arg),
            }
        }
        command
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// The programs whose test of this half is asked for.
    fn chosen(&self, half: &str, programs: &[Program]) -> Vec<Program> {
        let is_meant = |program: &&Program| {
            let name = format!("{half}::{}", program.name);
            let fits = |filter: &String| {
                name == *filter || !self.has("--exact") && name.contains(&**filter)
            };
            let is_wanted = self.filters.is_empty() || self.filters.iter().any(fits);
            is_wanted && !self.skips.iter().any(fits) && !self.has("--ignored")
        };
        programs.iter().filter(is_meant).copied().collect()
    }
}

pub(crate) fn run(programs: &[Program]) -> ExitCode {
    let command = Command::read(std::env::args().skip(1));
    let (planted, twins) = (
        command.chosen("planted", programs),
        command.chosen("twin", programs),
    );
    if command.has("--list") {
        for (half, programs) in [("planted", &planted), ("twin", &twins)] {
            for program in programs {
                println!("{half}::{}: test", program.name);
            }
        }
        return ExitCode::SUCCESS;
    }
    let start = Instant::now();
    run::listen_to_panics();
    let caught = run::each(&planted, run::planted);
    if command.has("--nocapture") {
        for (program, outcome) in planted.iter().zip(&caught) {
            if let Some(report) = &outcome.report {
                println!("planted::{}\n{report}\n", program.name);
            }
        }
    }
    let silent = run::each(&twins, run::twin);
    let are_right = say_planted(&planted, &caught) & say_twins(&twins, &silent);
    println!("took {:.1?}", start.elapsed());
    let panics = run::panics();
    for panic in panics.iter().take(PRINTED) {
        println!("UNMEANT {panic}");
    }
    if are_right && panics.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn say_planted(programs: &[Program], outcomes: &[Outcome]) -> bool {
    let are_right = say_failures("planted", programs, outcomes);
    let both = || programs.iter().zip(outcomes);
    let caught = both().filter(|(_, outcome)| outcome.is_caught).count();
    let (named, unseen): (Vec<_>, Vec<_>) =
        both().partition(|(program, _)| program.expected.is_named());
    let right = |all: &[(&Program, &Outcome)]| {
        let right = all.iter().filter(|(_, outcome)| outcome.is_right());
        right.count()
    };
    let mut said: Vec<_> = unseen
        .iter()
        .filter_map(|(program, _)| program.expected.said())
        .collect();
    said.dedup();
    println!(
        "planted: {caught} of {} caught, {} of {} named on their line, {} of {} invisible and said to be so ({})",
        programs.len(),
        right(&named),
        named.len(),
        right(&unseen),
        unseen.len(),
        said.join(", ")
    );
    are_right
}

fn say_twins(programs: &[Program], outcomes: &[Outcome]) -> bool {
    let are_right = say_failures("twin", programs, outcomes);
    let alarms: usize = outcomes.iter().map(|outcome| outcome.failures.len()).sum();
    println!(
        "clean twins: {}, {RUNS} runs each on current_thread and multi_thread: {alarms} false alarms",
        programs.len()
    );
    are_right
}

fn say_failures(half: &str, programs: &[Program], outcomes: &[Outcome]) -> bool {
    for (program, outcome) in programs.iter().zip(outcomes) {
        for failure in &outcome.failures {
            println!("FAILED {half}::{} {failure}\n", program.name);
        }
    }
    outcomes.iter().all(Outcome::is_right)
}
