//! Finds the program's own line behind a handle that was taken on a library's line.
//!
//! `#[track_caller]` sees through one call. `map.get(key).cloned()` clones inside the standard library, and so do
//! `vec.clone()` and many crates: that line helps no reader. For such a handle the stack is captured, and the innermost
//! frame of the program itself is the line to name.

use std::{backtrace::Backtrace, fmt, panic::Location, path::Path};

/// A line of code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl Site {
    pub(crate) fn of(location: &Location<'_>) -> Self {
        Self {
            file: location.file().to_owned(),
            line: location.line(),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Whether a line belongs to the standard library or to a dependency. The program's own lines are relative to the
/// workspace, so the first byte decides most of the time.
#[inline]
pub(crate) fn is_library(file: &str) -> bool {
    let is_absolute = file.starts_with('/') || file.as_bytes().get(1) == Some(&b':');
    is_absolute && is_foreign(file)
}

fn is_foreign(file: &str) -> bool {
    let file = file.replace('\\', "/");
    file.starts_with("/rustc/")
        || ["/rustlib/src/", "/registry/src/", "/git/checkouts/"]
            .iter()
            .any(|folder| file.contains(folder))
}

/// The source folder of this crate.
pub(crate) const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

/// Whether a function belongs to the standard library.
pub(crate) fn is_machinery(function: &str) -> bool {
    begins_with_one_of(function, &["std::", "core::", "alloc::", "__rust"])
}

fn begins_with_one_of(function: &str, names: &[&str]) -> bool {
    let function = function.trim_start_matches('<');
    names.iter().any(|name| function.starts_with(name))
}

/// The program's own frames of a stack, innermost first: the function, and its line if that is known.
pub(crate) fn frames(trace: &Backtrace) -> Vec<(String, Option<Site>)> {
    let mut frames: Vec<(String, Option<Site>)> = Vec::new();
    for line in trace.to_string().lines() {
        let line = line.trim_start();
        if let Some(place) = line.strip_prefix("at ") {
            if let Some((_, site)) = frames.last_mut() {
                *site = parse(place);
            }
        } else if let Some((_, function)) = line.split_once(": ") {
            frames.push((function.to_owned(), None));
        }
    }
    frames.retain(is_own);
    frames
}

/// Reads `./src/main.rs:12:9`.
fn parse(place: &str) -> Option<Site> {
    let (rest, _column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Site {
        file: file.strip_prefix("./").unwrap_or(file).to_owned(),
        line: line.parse().ok()?,
    })
}

/// Whether a frame is the program's own: not that of a library, of this crate, or of the system.
fn is_own((function, site): &(String, Option<Site>)) -> bool {
    let is_ours = begins_with_one_of(function, &["tokio::", "headcount::"]);
    let is_elsewhere = |site: &Site| {
        let is_rust = Path::new(&site.file)
            .extension()
            .is_some_and(|of| of == "rs");
        !is_rust || is_library(&site.file) || site.file.starts_with(HERE)
    };
    !is_ours && !is_machinery(function) && !site.as_ref().is_some_and(is_elsewhere)
}

/// The innermost line of the program's own code.
pub(crate) fn find(trace: &Backtrace) -> Option<Site> {
    frames(trace).into_iter().find_map(|(_, site)| site)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libraries_are_told_from_ones_own() {
        for file in [
            "/rustc/59807616e1/library/core/src/ops/function.rs",
            "/rustc/59807616e1\\library\\core\\src\\option.rs",
            "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/option.rs",
            "/home/me/.cargo/registry/src/index/dashmap-6.0.0/src/lib.rs",
            r"C:\Users\me\.cargo\registry\src\index\dashmap-6.0.0\src\lib.rs",
        ] {
            assert!(is_library(file), "{file}");
        }
        for file in [
            "src/main.rs",
            "/home/me/project/src/main.rs",
            "tests/rustc/x.rs",
            "",
        ] {
            assert!(!is_library(file), "{file}");
        }
    }

    #[test]
    fn frames_of_ones_own_are_kept() {
        let own = |function: &str, place: &str| is_own(&(function.to_owned(), parse(place)));
        assert!(own("app::serve::{{closure}}", "./src/main.rs:12:9"));
        assert!(own(
            "<app::Board as app::Lookup>::find",
            "/home/me/app/src/board.rs:3:1"
        ));
        assert!(!own(
            "core::option::Option<&T>::cloned",
            "/rustc/1/library/core/src/option.rs:1:1"
        ));
        assert!(!own(
            "<headcount::context::context::Context as core::clone::Clone>::clone",
            "./src/context/context.rs:1:1"
        ));
        assert!(!own("start_thread", "./nptl/pthread_create.c:442:8"));
        assert!(!own(
            "write",
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/src/ledger/handle_log.rs:116:1"
            )
        ));
        assert!(!own(
            "dashmap::get",
            "/home/me/.cargo/registry/src/index/dashmap-6/src/lib.rs:1:1"
        ));
    }

    #[test]
    fn a_site_is_a_file_and_a_line() {
        let site = parse("./src/main.rs:12:9").map(|site| site.to_string());
        assert_eq!(site.as_deref(), Some("src/main.rs:12"));
        let site = parse(r"C:\app\src\main.rs:12:9").map(|site| site.to_string());
        assert_eq!(site.as_deref(), Some(r"C:\app\src\main.rs:12"));
        assert_eq!(parse("nowhere"), None);
    }
}
