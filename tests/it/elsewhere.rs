//! A program whose dependencies lie in its own folder, or whose paths were cut when it was built: its dump tells its own code from
//! that of others all the same. Its crate is named like one of the futures', and it runs in another folder than it was built in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const PROGRAM: &str = include_str!("elsewhere/main.rs.txt");
const POOLISH: &str = include_str!("elsewhere/poolish.rs.txt");

/// Writes a package.
fn package(folder: &Path, name: &str, source: (&str, &str), more: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    let head = format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    let tokio =
        "tokio = { version = \"1\", features = [\"macros\", \"rt\", \"sync\", \"time\"] }\n";
    let manifest = format!("{head}\n[workspace]\n\n[dependencies]\n{tokio}{more}");
    write(&folder.join("Cargo.toml"), &manifest);
    write(&folder.join(source.0), source.1);
}

/// Only what is new, so that it is built once.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).unwrap();
    }
}

/// What the compiler builds for.
fn host() -> String {
    let said = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// The folder of each package that the program may be built of, with its name and version.
fn packages(app: &Path) -> Vec<(String, String, String)> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .args(["--filter-platform", &host()])
        .current_dir(app)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{said}");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let packages = packages.map(|package| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest.parent().unwrap().display().to_string();
        (folder, text(&package["name"]), text(&package["version"]))
    });
    packages
        .filter(|(_, name, _)| name != "futures_app")
        .collect()
}

/// Builds the program with the folders of its dependencies called something else, and returns what it prints.
fn run(way: &str, called: impl Fn(&Path, &str, &str) -> String, at: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("elsewhere")
        .join(way);
    let app = folder.join("futures_app");
    let here = env!("CARGO_MANIFEST_DIR");
    let more = format!(
        "headcount = {{ path = {here:?}, features = [\"dump\"] }}\npoolish = {{ path = \"../poolish\" }}\n"
    );
    package(
        &folder.join("poolish"),
        "poolish",
        ("src/lib.rs", POOLISH),
        "",
    );
    package(&app, "futures_app", ("src/main.rs", PROGRAM), &more);
    if !app.join("Cargo.lock").exists() {
        fs::copy(Path::new(here).join("Cargo.lock"), app.join("Cargo.lock")).unwrap();
    }
    let flags = packages(&app).into_iter().map(|(from, name, version)| {
        let to = called(&app, &name, &version);
        // The program lies in the target folder of this crate.
        let part = if name == "headcount" { "/src" } else { "" };
        format!("--remap-path-prefix={from}{part}={to}{part}")
    });
    let flags: Vec<_> = flags.collect();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet"])
        .current_dir(&app)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let ran = Command::new(folder.join("target/debug/futures_app"))
        .current_dir(if at.is_empty() {
            &folder
        } else {
            Path::new(at)
        })
        .output()
        .unwrap();
    String::from_utf8(ran.stdout).unwrap()
}

/// What is to be printed of each task, and of the handles.
fn expected() -> Vec<String> {
    let line = |mark: &str| {
        let mark = format!("// {mark}");
        1 + PROGRAM
            .lines()
            .position(|line| line.ends_with(&mark))
            .unwrap()
    };
    let own = |name: &str| format!("futures_app::{name} at src/main.rs:{}", line(name));
    let both = |of: &str, first: &str, second: &str| {
        let (sleeps, pauses) = (own("sleeps"), own("pauses"));
        let of = own(of);
        format!(
            "    {first}{of}\n      {sleeps}\n      → tokio::time::Sleep\n    {second}{of}\n      {pauses}\n      → tokio::sync::Notify::notified\n"
        )
    };
    vec![
        format!("    {}\n      → tokio::sync::Mutex::lock\n", own("lock")),
        both("joins", "", "and "),
        both("selects", "either ", "or "),
        format!(
            "    {}\n      → poolish::Pool::get → poolish::inner::Slots::take → tokio::sync::Semaphore::acquire\n",
            own("connects")
        ),
        "taken at ".to_owned(),
        format!("src/main.rs:{} by ", line("cloned")),
    ]
}

#[test]
fn dependencies_in_the_programs_folder_are_not_the_programs_own() {
    let vendor =
        |app: &Path, name: &str, _: &str| app.join("vendor").join(name).display().to_string();
    let said = run("vendor", vendor, "");
    for expected in expected() {
        assert!(said.contains(&expected), "{expected}\n{said}");
    }
}

#[test]
fn dependencies_whose_paths_were_cut_are_not_the_programs_own() {
    let cut = |_: &Path, name: &str, version: &str| format!("/{name}-{version}");
    let said = run("cut", cut, "/");
    for expected in expected() {
        assert!(said.contains(&expected), "{expected}\n{said}");
    }
}
