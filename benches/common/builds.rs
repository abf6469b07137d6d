//! The same program in several builds, run in turns: see `benches/builds`.

use crate::common::{Form, median};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// One build of the program.
pub(crate) struct Build(PathBuf);

impl Build {
    /// Builds it with these compiler flags and features.
    pub(crate) fn new(name: &str, flags: &str, features: &str) -> Self {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        // Beside the folder that cargo gives to benches.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("builds");
        let target = target.join(name);
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "builds"])
            .current_dir(root)
            .args(["--features", features, "--target-dir"])
            .arg(&target)
            .env("RUSTFLAGS", flags)
            .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
            .status();
        let is_built = built.is_ok_and(|status| status.success());
        assert!(is_built, "the build `{name}` fails");
        Self(target.join("release/builds"))
    }

    /// Runs it; the numbers it prints.
    pub(crate) fn run(&self, args: [&str; 2]) -> Vec<f64> {
        let output = Command::new(&self.0).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = said.split_whitespace().map(str::parse);
        numbers
            .collect::<Result<_, _>>()
            .expect("it prints numbers")
    }
}

/// What spawning costs in one build, as a ratio to another.
pub(crate) fn spawn_ratio(
    form: Form,
    (one, name): (&Build, &str),
    (other, name_of_other): (&Build, &str),
) -> f64 {
    let run = |build: &Build| build.run(["spawn", "200"])[0];
    run(one);
    run(other);
    let mut pairs = Vec::new();
    for round in 0..form.rounds(31) {
        // Each goes first every other time.
        let pair = if round % 2 == 0 {
            let first = run(one);
            (first, run(other))
        } else {
            let first = run(other);
            (run(one), first)
        };
        pairs.push(pair);
    }
    let side = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
    println!("# spawning {name}, and {name_of_other}");
    println!("#   {name:<24} {:>10.1} ns a task", side(|pair| pair.0));
    println!(
        "#   {name_of_other:<24} {:>10.1} ns a task",
        side(|pair| pair.1)
    );
    side(|(one, other)| one / other)
}
