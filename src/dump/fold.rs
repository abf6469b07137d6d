//! Turns the addresses of a captured stack into what a person reads: the lines of the program's own code, from the task's
//! function down to the `.await`, and what is awaited there.

use crate::{
    dump::view::{AwaitStack, StackFrame},
    ledger::caller::{HERE, is_library, is_machinery},
    poll::{awaited::Awaited, capture::RawStack},
};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    mem,
    path::PathBuf,
    sync::OnceLock,
};

/// One function at one line of code. An address may stand for several, one inlined into the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Symbol {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// The functions of each address, innermost first.
pub(crate) type Symbols = HashMap<usize, Vec<Symbol>>;

/// Looks up every address of these stacks, each once. The first look-up reads the program's debug information, which is
/// slow: do this away from the runtime's threads.
pub(crate) fn look_up<'a>(stacks: impl IntoIterator<Item = &'a RawStack>) -> Symbols {
    let addresses: HashSet<usize> = stacks
        .into_iter()
        .flat_map(|stack| stack.frames.iter().copied())
        .collect();
    addresses.into_iter().map(|ip| (ip, resolve(ip))).collect()
}

fn resolve(ip: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    backtrace::resolve(ip as *mut _, |symbol| {
        let name = symbol.name().map(|name| format!("{name:#}"));
        let file = symbol.filename().map(|file| file.display().to_string());
        symbols.push(Symbol {
            function: name.unwrap_or_default(),
            file: file.unwrap_or_default(),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    symbols
}

/// Makes the stack of one capture, outermost frame first.
pub(crate) fn fold(stack: &RawStack, symbols: &Symbols) -> AwaitStack {
    let mut frames: Vec<StackFrame> = Vec::new();
    for ip in stack.frames.iter().rev() {
        let known = symbols.get(ip).into_iter().flatten();
        frames.extend(known.rev().filter_map(frame));
    }
    // The innermost frames are those of the capture itself.
    let last = frames.iter().rposition(|frame| !is_capture(frame));
    frames.truncate(last.map_or(0, |last| last + 1));
    own_by_name(&mut frames);
    let first = frames.iter().position(|frame| !frame.is_glue());
    frames.drain(..first.unwrap_or(0));
    let innermost = frames.iter().rposition(StackFrame::is_own);
    let leaf = leaf(&frames[innermost.map_or(0, |at| at + 1)..]);
    let (awaited, registry) = stack.awaited.clone().unzip();
    let known = awaited.as_ref().and_then(Awaited::leaf);
    AwaitStack {
        frames,
        leaf: known.map(str::to_owned).or(leaf),
        yields: stack.yields,
        awaited,
        registry: registry.unwrap_or_default(),
    }
}

/// Names what is awaited: the first frame below the program's own code that is neither machinery nor a wrapper.
fn leaf(frames: &[StackFrame]) -> Option<String> {
    let mut awaited = frames.iter().filter(|frame| frame.is_awaited());
    let mut leaf = awaited.next()?;
    // A time limit polls both what it limits and its own timer. The stack of the timer is named after the limit.
    let mut limiting = None;
    while leaf.is_one_of(&WRAPPING) || leaf.is_one_of(&LIMITING) {
        limiting = limiting
            .or(Some(leaf))
            .filter(|_| leaf.is_one_of(&LIMITING));
        match awaited.next() {
            Some(inner) if limiting.is_none() || !inner.is_one_of(&LIMITS) => leaf = inner,
            _ => {
                leaf = limiting.unwrap_or(leaf);
                break;
            }
        }
    }
    if leaf.is_one_of(&["futures_core::task::__internal", "futures-core"]) {
        let is_set =
            |frame: &StackFrame| frame.is_one_of(&["FuturesUnordered", "futures_unordered"]);
        if frames.iter().any(is_set) {
            return Some("futures::stream::FuturesUnordered".to_owned());
        }
    }
    Some(named(leaf))
}

/// What frames of futures are like that await another one which they were given.
const WRAPPING: [&str; 5] = [
    "MaybeDone",
    "maybe_done.rs",
    "Instrumented",
    "tokio::task::coop",
    "src/task/coop/",
];

/// What frames of wrappers are like that end early: a timeout, or a wait for a token.
const LIMITING: [&str; 4] = [
    "time::Timeout",
    "src/time/timeout.rs",
    "run_until_cancelled",
    "RunUntilCancelled",
];

/// What frames are like of what such a wrapper waits for beside its future: its timer or its token.
const LIMITS: [&str; 4] = [
    "poll_delay",
    "time::Sleep",
    "src/time/sleep.rs",
    "WaitForCancellation",
];

/// The name of what is awaited: that of the function, or of its module if only the last part of the function is known.
fn named(frame: &StackFrame) -> String {
    if frame.function.contains("::") {
        return as_exported(&frame.function);
    }
    module_of(&frame.file).unwrap_or_else(|| frame.function.clone())
}

/// The path under which a function is exported, without the private modules in between.
fn as_exported(function: &str) -> String {
    let name = function
        .replace("tokio::sync::mpsc::bounded::", "tokio::sync::mpsc::")
        .replace("tokio::sync::mpsc::unbounded::", "tokio::sync::mpsc::")
        .replace("tokio::runtime::task::", "tokio::task::");
    match name.strip_prefix("headcount::") {
        Some(inside) => {
            let is_module = |part: &&str| part.starts_with(|c: char| c.is_ascii_lowercase());
            let parts: Vec<_> = inside.split("::").skip_while(is_module).collect();
            if parts.is_empty() {
                // A private function of this crate: users do not call it by name.
                return "headcount".to_owned();
            }
            format!("headcount::{}", parts.join("::"))
        }
        None => name,
    }
}

/// `tokio::sync::mutex` for `tokio-1.54.1/src/sync/mutex.rs`.
fn module_of(file: &str) -> Option<String> {
    let (package, path) = file.split_once("/src/")?;
    let name = package
        .rsplit_once('-')
        .map_or(package, |(name, _version)| name);
    let path = path.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some(format!(
        "{}::{}",
        name.replace('-', "_"),
        path.replace('/', "::")
    ))
}

/// Marks the program's own code by crate name, for a program without file names: it is the crate of the outermost
/// function. A future of a library that was spawned as it is, such as a timer, does not count.
fn own_by_name(frames: &mut [StackFrame]) {
    let outermost = frames.iter().find(|frame| frame.is_awaited());
    let Some(package) = outermost
        .filter(|frame| frame.file.is_empty())
        .and_then(|frame| frame.function.split_once("::"))
        .map(|(package, _)| format!("{package}::"))
    else {
        return;
    };
    if ["tokio", "tokio_util", "futures", "headcount"]
        .iter()
        .any(|known| package.starts_with(known))
    {
        return;
    }
    for frame in frames {
        frame.is_own = frame.function.starts_with(&package);
    }
}

/// The parts of this crate that wrap every task and every hook, as modules and as files.
const WRAPPERS: [&str; 5] = ["task", "poll", "panics", "context::hooks", "context/hooks"];

/// Makes the frame of a symbol; `None` for the wrappers that every task or hook has.
fn frame(symbol: &Symbol) -> Option<StackFrame> {
    let function = clean(&symbol.function);
    let inside = symbol.file.strip_prefix(HERE);
    let is_wrapper = |part: &&str| {
        let module = function.strip_prefix("headcount::");
        let by_name = module.is_some_and(|module| module.starts_with(part));
        by_name || inside.is_some_and(|file| file.starts_with(part))
    };
    if WRAPPERS.iter().any(is_wrapper) {
        return None;
    }
    let is_foreign = symbol.file.is_empty() || inside.is_some() || is_library(&symbol.file);
    Some(StackFrame {
        is_own: !is_foreign && !is_machinery(&function),
        function,
        file: match inside {
            Some(inside) => format!("headcount-{}/src/{inside}", env!("CARGO_PKG_VERSION")),
            None => shorten(&symbol.file).into_owned(),
        },
        line: symbol.line,
    })
}

/// Whether the frame is the unwinder's, or that of the waker that was cloned.
fn is_capture(frame: &StackFrame) -> bool {
    let function = &*frame.function;
    function.starts_with("backtrace::")
        || frame.file.contains("backtrace-0.")
        || function.contains("core::task::wake::Waker")
        || frame.file.ends_with("core/src/task/wake.rs")
}

/// Strips closures, hashes and type arguments: `app::serve` for `app::serve::{{closure}}`,
/// `tokio::time::Sleep` for `<tokio::time::sleep::Sleep as core::future::future::Future>::poll`.
pub(crate) fn clean(function: &str) -> String {
    let name = without_closures(function);
    let name = of_type(&name).unwrap_or(name);
    without_repeats(&without_arguments(&name))
}

/// Strips `{{closure}}`, which is `{closure#0}`, `{async_fn#0}` and so on in symbols of mangling v0.
fn without_closures(function: &str) -> String {
    let mut name = function.replace("{{closure}}", "{closure}");
    for kind in ["{closure", "{async_"] {
        while let Some((before, rest)) = name.split_once(kind) {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            name = format!("{}{after}", before.trim_end_matches("::"));
        }
    }
    name
}

/// Names a method by its type: `app::Board::find` for `<app::Board as app::Lookup>::find`, and for `<app::Board>::find`,
/// which is the form of mangling v0. `Future::poll` is left out, and only the type remains.
fn of_type(name: &str) -> Option<String> {
    name.strip_prefix('<')?;
    let end = depths(name).find(|(_, _, depth)| *depth == 0)?.0;
    let (inside, method) = (&name[1..end - 1], &name[end..]);
    let mut top = depths(inside).filter(|(_, _, depth)| *depth == 0);
    let known = top.find_map(|(at, ..)| Some((&inside[..at], inside[at..].strip_prefix(" as ")?)));
    Some(match known {
        Some((of, "core::future::future::Future")) if method == "::poll" => of.to_owned(),
        Some((of, _)) => format!("{of}{method}"),
        None => format!("{inside}{method}"),
    })
}

/// Strips everything between angle brackets.
fn without_arguments(name: &str) -> String {
    let bare = depths(name).filter(|(_, _, depth)| *depth == 0);
    let bare: String = bare.map(|(_, c, _)| c).collect();
    bare.replace("::::", "::").trim_end_matches("::").to_owned()
}

/// Returns each character with its index and the number of pairs of angle brackets around it, itself included. The `>`
/// of an arrow (`->`) is no bracket.
fn depths(name: &str) -> impl Iterator<Item = (usize, char, usize)> {
    let (mut open, mut before) = (0_usize, ' ');
    name.char_indices().map(move |(at, c)| {
        let is_arrow = mem::replace(&mut before, c) == '-';
        let depth = match c {
            '<' => {
                open += 1;
                open
            }
            '>' if !is_arrow && open > 0 => {
                open -= 1;
                open + 1
            }
            _ => open,
        };
        (at, c, depth)
    })
}

/// Strips modules whose name their type repeats: `tokio::sync::Mutex` for `tokio::sync::mutex::Mutex`.
fn without_repeats(name: &str) -> String {
    let parts: Vec<_> = name.split("::").collect();
    let is_type = |part: &&str| part.starts_with(|c: char| c.is_ascii_uppercase());
    let Some(at) = parts.iter().position(is_type) else {
        return name.to_owned();
    };
    let of_type = parts[at].to_ascii_lowercase();
    let repeats = |module: &&&str| of_type.contains(&module.replace('_', ""));
    // The crate and one module always stay.
    let (kept, rest) = parts[..at].split_at(at.min(2));
    let repeated = rest.iter().rev().take_while(repeats).count();
    let mut short = kept.to_vec();
    short.extend(&rest[..rest.len() - repeated]);
    short.extend(&parts[at..]);
    short.join("::")
}

/// Shortens the path of a file: `src/main.rs` in the program's folder, `tokio-1.54.1/src/sync/mutex.rs` of a
/// dependency, `core/src/option.rs` of the standard library.
pub(crate) fn shorten(file: &str) -> Cow<'_, str> {
    static HERE: OnceLock<PathBuf> = OnceLock::new();
    let here = HERE.get_or_init(|| std::env::current_dir().unwrap_or_default());
    let here = here.to_string_lossy();
    if let Some(inside) = file.strip_prefix(&*here).filter(|_| !here.is_empty()) {
        return inside.trim_start_matches(['/', '\\']).into();
    }
    for folder in ["/registry/src/", "/git/checkouts/"] {
        if let Some((_, rest)) = file.split_once(folder) {
            return rest.split_once('/').map_or(rest, |(_, rest)| rest).into();
        }
    }
    match file.split_once("/library/") {
        Some((_, rest)) if file.starts_with("/rustc/") => rest.into(),
        _ => file.strip_prefix("./").unwrap_or(file).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_as_their_authors_know_them() {
        for (raw, read) in [
            ("app::serve::{{closure}}::{{closure}}", "app::serve"),
            (
                "tokio::sync::mutex::Mutex<T>::lock::{{closure}}",
                "tokio::sync::Mutex::lock",
            ),
            (
                "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
                "tokio::time::Sleep",
            ),
            (
                "tokio::net::tcp::listener::TcpListener::accept::{{closure}}",
                "tokio::net::TcpListener::accept",
            ),
            (
                "tokio::sync::mpsc::bounded::Receiver<T>::recv::{{closure}}",
                "tokio::sync::mpsc::bounded::Receiver::recv",
            ),
            (
                "<app::Board as app::Lookup>::find::{{closure}}",
                "app::Board::find",
            ),
            (
                "<tokio::time::timeout::Timeout<T> as core::future::future::Future>::poll",
                "tokio::time::Timeout",
            ),
            ("{async_fn#0}", ""),
            // As symbols of mangling v0 have it.
            (
                "<tokio::sync::mutex::Mutex<()>>::lock::{closure#0}",
                "tokio::sync::Mutex::lock",
            ),
            ("app::serve::{closure#1}::{async_block#2}", "app::serve"),
            (
                "<app::Board<fn(u8) -> u8> as app::Lookup<u8>>::find::<u16>::{closure#3}",
                "app::Board::find",
            ),
            (
                "app::limit::<<app::Board as core::ops::Deref>::Target, u8>",
                "app::limit",
            ),
        ] {
            assert_eq!(clean(raw), read, "{raw}");
        }
    }

    #[test]
    fn what_is_awaited_of_this_crate_is_named_as_it_is_exported() {
        let named = [
            (
                "headcount::registry::registry::Registry::idle",
                "headcount::Registry::idle",
            ),
            ("headcount::dump::offload::run", "headcount"),
            ("tokio::time::Sleep", "tokio::time::Sleep"),
        ];
        for (function, name) in named {
            assert_eq!(as_exported(function), name);
        }
    }

    #[test]
    fn what_is_awaited_has_at_least_a_module() {
        let module = |file| module_of(file).unwrap_or_default();
        assert_eq!(
            module("tokio-1.54.1/src/sync/mutex.rs"),
            "tokio::sync::mutex"
        );
        assert_eq!(
            module("tokio-util-0.7.20/src/sync/mod.rs"),
            "tokio_util::sync"
        );
        assert_eq!(module("main.rs"), "");
    }

    #[test]
    fn paths_are_shortened_to_what_one_looks_for() {
        for (raw, read) in [
            (
                "/home/me/.cargo/registry/src/index.crates.io-1949/tokio-1.54.1/src/sync/mutex.rs",
                "tokio-1.54.1/src/sync/mutex.rs",
            ),
            (
                "/rustc/5980/library/core/src/option.rs",
                "core/src/option.rs",
            ),
            ("./src/main.rs", "src/main.rs"),
            ("/elsewhere/src/main.rs", "/elsewhere/src/main.rs"),
        ] {
            assert_eq!(shorten(raw), read);
        }
        let here = std::env::current_dir().unwrap().join("src/main.rs");
        assert_eq!(shorten(&here.to_string_lossy()), "src/main.rs");
    }
}
