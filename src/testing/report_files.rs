//! The files that a failing check writes: its report, and a picture of it.

use crate::leaks::report::LeakReport;
use std::{
    collections::HashMap,
    env, fs, io,
    panic::Location,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, Once, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

/// How often each file name was used in this process.
static USED: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);

/// Old files are removed once in a process, which is a test binary.
static CLEANED: Once = Once::new();

/// Writes the report and its graph. Returns a line that says where they are, or why they could not be written.
pub(super) fn write(report: &LeakReport, location: &Location<'_>) -> String {
    let folder = folder();
    CLEANED.call_once(|| remove_old(&folder, SystemTime::now()));
    let name = unique(&name(location));
    let (text, graph) = (
        folder.join(format!("{name}.txt")),
        folder.join(format!("{name}.svg")),
    );
    let written = write_both(&folder, report, &text, &graph);
    match written {
        Ok(()) => format!(
            "written to {}\n       and {}",
            text.display(),
            graph.display()
        ),
        Err(error) => format!("could not be written to {}: {error}", folder.display()),
    }
}

/// How long a report is kept that no later run has written again.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many files are kept, the latest.
const KEPT: usize = 400;

/// Removes the reports of tests that have not failed for a week, and the oldest of too many. What cannot be removed stays.
fn remove_old(folder: &Path, now: SystemTime) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files
        .filter_map(|file| {
            is_report(&file.path()).then(|| {
                let written = file.metadata().and_then(|file| file.modified());
                (written.unwrap_or(now), file.path())
            })
        })
        .collect();
    files.sort();
    let many = files.len().saturating_sub(KEPT);
    for (n, (written, path)) in files.iter().enumerate() {
        let age = now.duration_since(*written).unwrap_or_default();
        if n < many || age > KEPT_FOR {
            fs::remove_file(path).ok();
        }
    }
}

fn is_report(path: &Path) -> bool {
    let end = path.extension().unwrap_or_default();
    path.is_file() && (end == "txt" || end == "svg")
}

fn write_both(folder: &Path, report: &LeakReport, text: &Path, graph: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(text, format!("{report}\n"))?;
    fs::write(graph, report.graph().svg())
}

/// The folder `headcount` in the target directory that this program was built into, or in the system's folder for
/// temporary files if there is none.
fn folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = target_of(&program).map_or_else(env::temp_dir, Path::to_path_buf);
    target.join("headcount")
}

/// The target directory of a program. Cargo marks a directory that it creates as a cache. One that it did not create (a
/// mounted volume, a restored cache) has at least its note about the compiler.
fn target_of(program: &Path) -> Option<&Path> {
    let is_target = |folder: &&Path| {
        ["CACHEDIR.TAG", ".rustc_info.json"]
            .iter()
            .any(|mark| folder.join(mark).is_file())
    };
    program.ancestors().skip(1).find(is_target)
}

/// The file name: the name of the test, which is that of its thread, and the line of the check.
fn name(location: &Location<'_>) -> String {
    let file = Path::new(location.file()).file_stem().unwrap_or_default();
    let site = format!("{}-{}", file.to_string_lossy(), location.line());
    let current = thread::current();
    let test = current
        .name()
        .filter(|name| name.contains("::") || !name.starts_with("main") && !name.contains("tokio"));
    let whole = test.map_or_else(|| site.clone(), |test| format!("{test}-{site}"));
    whole
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(120)
        .collect()
}

fn unique(name: &str) -> String {
    let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    let times = used.entry(name.to_owned()).or_default();
    *times += 1;
    match *times {
        1 => name.to_owned(),
        times => format!("{name}-{times}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_last_month_and_the_oldest_of_many_are_removed() {
        let folder = env::temp_dir().join(format!("headcount-old-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, days: u64| {
            let file = fs::File::create(folder.join(name)).unwrap();
            let age = Duration::from_secs(days * 24 * 3_600);
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let there = || fs::read_dir(&folder).unwrap().count();
        write("old.txt", 30);
        write("old.svg", 30);
        write("notes.md", 30);
        write("new.txt", 1);
        remove_old(&folder, SystemTime::now());
        assert_eq!(there(), 2);
        (0..KEPT).for_each(|n| write(&format!("{n}.svg"), 0));
        remove_old(&folder, SystemTime::now());
        assert_eq!(there(), 1 + KEPT);
        assert!(!folder.join("new.txt").exists() && folder.join("notes.md").exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_target_directory_that_cargo_did_not_create_is_found_too() {
        for mark in ["CACHEDIR.TAG", ".rustc_info.json"] {
            let target = env::temp_dir().join(format!("headcount-{}-{mark}", std::process::id()));
            fs::create_dir_all(target.join("debug/deps")).unwrap();
            let program = target.join("debug/deps/it-0");
            assert_eq!(target_of(&program), None);
            fs::write(target.join(mark), "").unwrap();
            assert_eq!(target_of(&program), Some(&*target));
            fs::remove_dir_all(&target).unwrap();
        }
    }
}
