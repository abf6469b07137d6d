//! `cargo bench --bench bars`: runs the bench of that name of the package in this folder, in a build of its own.

use std::process::{Command, exit};

fn main() {
    let ran = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--quiet",
            "--package",
            "benches",
            "--bench",
            "bars",
            "--",
        ])
        .args(std::env::args().skip(1))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo is what runs this");
    exit(ran.code().unwrap_or(1));
}
