//! Finds the program's own line behind a handle that was taken on a library's line.
//!
//! `#[track_caller]` sees through one call. `map.get(key).cloned()` clones inside the standard library, and so do
//! `vec.clone()` and many crates: that line helps no reader. For such a handle the stack is captured, and the innermost
//! frame of the program itself is the line to name.

use crate::{
    codebase::{self, Codebase},
    symbol,
};
use std::{backtrace::Backtrace, fmt, panic::Location};

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

/// One function of a stack, with its line if that is known.
struct Frame {
    function: String,
    site: Option<Site>,
    code: Codebase,
}

/// Where a handle was taken, as its stack tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// On this line of the program's own code. Where a `clone` of its own was called that clones the handle, that one's line, too.
    Own(Site, Option<Site>),
    /// On no line of the program's own: by this of a dependency.
    Dependency(String),
    /// The stack has no lines.
    Unknown,
}

/// The program's own frames of a stack, innermost first: the function, and its line if that is known.
pub(crate) fn frames(trace: &Backtrace) -> Vec<(String, Option<Site>)> {
    let own = read(&trace.to_string()).into_iter().filter(Frame::is_own);
    own.map(|frame| (frame.function, frame.site)).collect()
}

/// Where the handle was taken whose stack this is.
pub(crate) fn behind(trace: &Backtrace) -> Behind {
    behind_of(&read(&trace.to_string()))
}

fn behind_of(frames: &[Frame]) -> Behind {
    let mut own = frames
        .iter()
        .filter(|frame| frame.is_own() && frame.site.is_some());
    if let Some(innermost) = own.next() {
        let calling = own
            .find(|frame| !frame.is_clone())
            .filter(|_| innermost.is_clone());
        let site = |frame: &Frame| frame.site.clone();
        let found = match calling {
            Some(calling) => site(calling).zip(Some(site(innermost))),
            None => site(innermost).zip(Some(None)),
        };
        return found.map_or(Behind::Unknown, |(site, through)| {
            Behind::Own(site, through)
        });
    }
    if frames.iter().all(|frame| frame.site.is_none()) {
        return Behind::Unknown;
    }
    let named = taken_by(frames).and_then(|frame| symbol::part_of_crate(&frame.function));
    named.map_or(Behind::Unknown, Behind::Dependency)
}

/// The outermost function of the innermost dependency: what the code that called it knows it by.
fn taken_by(frames: &[Frame]) -> Option<&Frame> {
    let mut dependencies = frames
        .iter()
        .filter(|frame| frame.code == Codebase::Dependency);
    let innermost = dependencies.find(|frame| symbol::package(&frame.function).is_some())?;
    let is_same =
        |frame: &&Frame| symbol::package(&frame.function) == symbol::package(&innermost.function);
    Some(dependencies.take_while(is_same).last().unwrap_or(innermost))
}

/// Reads a stack, innermost first, down to where the runtime polls the task: what is below that is not the task's.
fn read(trace: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in trace.lines() {
        let line = line.trim_start();
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.site = parse(place);
            }
        } else if let Some((_, function)) = line.split_once(": ") {
            if function.starts_with("tokio::runtime::task::") {
                break;
            }
            frames.push(Frame {
                function: function.to_owned(),
                site: None,
                code: Codebase::Own,
            });
        }
    }
    for frame in &mut frames {
        let file = frame.site.as_ref().map_or("", |site| &site.file);
        frame.code = Codebase::of(&frame.function, file);
        if let Some(site) = &mut frame.site {
            site.file = codebase::shorten(&site.file).into_owned();
        }
    }
    frames
}

impl Frame {
    fn is_own(&self) -> bool {
        self.code == Codebase::Own
    }

    /// Whether it is the `clone` of a type, derived or not.
    fn is_clone(&self) -> bool {
        self.function.contains("core::clone::Clone") && self.function.ends_with("::clone")
    }
}

/// Reads `./src/main.rs:12:9`.
fn parse(place: &str) -> Option<Site> {
    let (rest, _column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Site {
        file: codebase::of_printed(file).to_owned(),
        line: line.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each function with its place, innermost first, as a backtrace prints them.
    fn trace(frames: &[(&str, &str)]) -> Vec<Frame> {
        let lines = frames.iter().enumerate();
        let lines = lines
            .map(|(n, (function, place))| format!("{n:>4}: {function}\n             at {place}\n"));
        read(&lines.collect::<String>())
    }

    fn site(file: &str, line: u32) -> Site {
        Site {
            file: file.to_owned(),
            line,
        }
    }

    const OURS: (&str, &str) = (
        "<headcount::context::context::Context as core::clone::Clone>::clone",
        "/x/registry/src/index/headcount-0.1.0/src/context/context.rs:1:1",
    );

    #[test]
    fn frames_of_ones_own_are_kept() {
        let own = |function: &str, place: &str| trace(&[(function, place)])[0].is_own();
        assert!(own("app::serve::{{closure}}", "./src/main.rs:12:9"));
        assert!(own(
            "<app::Board as app::Lookup>::find",
            "/home/me/app/src/board.rs:3:1"
        ));
        assert!(!own(
            "core::option::Option<&T>::cloned",
            "/rustc/1/library/core/src/option.rs:1:1"
        ));
        assert!(!own(OURS.0, "./src/context/context.rs:1:1"));
        assert!(!own("start_thread", "./nptl/pthread_create.c:442:8"));
        let here = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/ledger/handle_log.rs:116:1"
        );
        assert!(!own("write", here));
        assert!(!own(
            "dashmap::get",
            "/home/me/.cargo/registry/src/index/dashmap-6/src/lib.rs:1:1"
        ));
    }

    #[test]
    fn a_clone_of_ones_own_is_named_by_the_line_that_called_it() {
        let derived = (
            "<app::State as core::clone::Clone>::clone",
            "./src/state.rs:3:10",
        );
        let frames = trace(&[
            OURS,
            derived,
            (
                "alloc::vec::Vec<T>::clone",
                "/rustc/1/library/alloc/src/vec.rs:1:1",
            ),
            (
                "<app::All as core::clone::Clone>::clone",
                "./src/all.rs:1:1",
            ),
            ("app::serve::{{closure}}", "./src/main.rs:12:9"),
            ("app::main", "./src/main.rs:2:9"),
        ]);
        let found = Behind::Own(site("src/main.rs", 12), Some(site("src/state.rs", 3)));
        assert_eq!(behind_of(&frames), found);
        let alone = trace(&[OURS, derived]);
        assert_eq!(
            behind_of(&alone),
            Behind::Own(site("src/state.rs", 3), None)
        );
    }

    #[test]
    fn without_a_line_of_ones_own_the_dependency_is_named() {
        let frames = trace(&[
            OURS,
            (
                "<T as axum_core::extract::from_ref::FromRef<T>>::from_ref",
                "/x/registry/src/i/axum-core-0.5.2/src/extract/from_ref.rs:20:9",
            ),
            (
                "tokio::runtime::task::core::Core<T,S>::poll",
                "/x/registry/src/i/tokio-1.54.1/src/runtime/task/core.rs:1:1",
            ),
            ("app::main", "./src/main.rs:2:9"),
        ]);
        assert_eq!(
            behind_of(&frames),
            Behind::Dependency("axum_core's `FromRef`".to_owned())
        );
        let unknown = read("   0: dashmap::get\n   1: app::main\n");
        assert_eq!(behind_of(&unknown), Behind::Unknown);
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
