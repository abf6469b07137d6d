//! The report and its graph, for whoever comes later: a CI that keeps files, a browser.

use crate::{
    leaks::report::LeakReport,
    sync::{Mutex, lock},
};
use std::{
    collections::HashMap,
    env, fs, io,
    panic::Location,
    path::{Path, PathBuf},
    sync::LazyLock,
    thread,
};

/// How often each name was used in this process.
static USED: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);

/// Writes both, and says where they are, or why not.
pub(super) fn write(report: &LeakReport, location: &Location<'_>) -> String {
    let folder = folder();
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

fn write_both(folder: &Path, report: &LeakReport, text: &Path, graph: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(text, format!("{report}\n"))?;
    fs::write(graph, report.graph().svg())
}

/// `target/headcount`, of the target directory that this program was built into; without one a folder for
/// temporary files.
fn folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = target_of(&program).map_or_else(env::temp_dir, Path::to_path_buf);
    target.join("headcount")
}

/// Cargo marks the directories that it makes as caches, and notes in the one it builds into, however that was made (a mounted
/// volume, a restored cache), which compiler it asked.
fn target_of(program: &Path) -> Option<&Path> {
    let is_target = |folder: &&Path| {
        ["CACHEDIR.TAG", ".rustc_info.json"]
            .iter()
            .any(|mark| folder.join(mark).is_file())
    };
    program.ancestors().skip(1).find(is_target)
}

/// After the test, whose thread has its name, and the line.
fn name(location: &Location<'_>) -> String {
    let file = Path::new(location.file()).file_stem().unwrap_or_default();
    let place = format!("{}-{}", file.to_string_lossy(), location.line());
    let current = thread::current();
    let test = current
        .name()
        .filter(|name| name.contains("::") || !name.starts_with("main") && !name.contains("tokio"));
    let whole = test.map_or_else(|| place.clone(), |test| format!("{test}-{place}"));
    whole
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(120)
        .collect()
}

fn unique(name: &str) -> String {
    let mut used = lock(&USED);
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
    fn a_target_directory_that_somebody_else_made_is_found_too() {
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
