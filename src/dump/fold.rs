//! Turns the addresses of a captured stack into what a person reads: the lines of the program's own code, from the task's
//! function down to the `.await`, and what is awaited there.

use crate::{
    codebase::{self, Codebase},
    dump::{
        machinery,
        view::{AwaitStack, StackFrame},
    },
    poll::{awaited::Awaited, capture::RawStack},
    symbol::clean,
};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, LazyLock, Mutex, PoisonError},
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
    addresses.into_iter().map(|ip| (ip, known(ip))).collect()
}

/// What was looked up before: each address takes long, and the closes of many contexts ask for the same ones.
static KNOWN: LazyLock<Mutex<HashMap<usize, Arc<[Symbol]>>>> = LazyLock::new(Mutex::default);
/// How many addresses are kept: about a megabyte.
const KEPT: usize = 4_096;

fn known(ip: usize) -> Vec<Symbol> {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(symbols) = known().get(&ip) {
        return symbols.to_vec();
    }
    let symbols = resolve(ip);
    let mut known = known();
    let forgotten = (known.len() >= KEPT).then(|| mem::take(&mut *known));
    known.insert(ip, symbols.as_slice().into());
    drop(known);
    drop(forgotten);
    symbols
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

/// Cuts the program's own files to what the compiler calls them, as the lines do that spawned its tasks: debug information puts
/// the folder of the workspace before that, and the program may run elsewhere.
pub(crate) fn cut_workspace<'a>(symbols: &mut Symbols, spawned: impl Iterator<Item = &'a str>) {
    let spawned: HashSet<&str> = spawned.filter(|file| !file.starts_with('/')).collect();
    let mut folders: HashMap<String, HashSet<&str>> = HashMap::new();
    for symbol in symbols.values().flatten() {
        for named in &spawned {
            let folder = symbol.file.strip_suffix(named);
            let is_own = || Codebase::of(&symbol.function, &symbol.file) == Codebase::Own;
            if let Some(folder) = folder.filter(|folder| folder.ends_with('/') && is_own()) {
                folders.entry(folder.to_owned()).or_default().insert(named);
            }
        }
    }
    // The one that explains most of them; of equals the outermost.
    let best = folders
        .iter()
        .max_by_key(|(folder, files)| (files.len(), Reverse(folder.len())));
    let Some((folder, _)) = best else {
        return;
    };
    for symbol in symbols.values_mut().flatten() {
        // This crate may lie in the same workspace: its files are told by their whole paths.
        let is_of_this_crate = codebase::inside_headcount(&symbol.file).is_some();
        let inside = symbol.file.strip_prefix(&**folder);
        if let Some(inside) = inside.filter(|_| !is_of_this_crate) {
            symbol.file = inside.to_owned();
        }
    }
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
    let (leaf, beneath) = match frames.iter().rposition(StackFrame::is_own) {
        Some(innermost) => leaf(&frames[innermost + 1..]),
        None => machinery::leaf(&frames).or_else(|| leaf(&frames)),
    }
    .unzip();
    let (awaited, registry) = stack.awaited.clone().unzip();
    let known = awaited.as_ref().and_then(Awaited::leaf);
    AwaitStack {
        // Tokio notes the waker of a task that yields, and wakes it when the others have had their turn.
        is_of_server: machinery::is_of_server(&frames),
        yields: stack.yields || frames.iter().any(|frame| frame.is_one_of(&YIELDING)),
        frames,
        beneath: beneath.filter(|_| known.is_none()).unwrap_or_default(),
        leaf: known.map(str::to_owned).or(leaf),
        awaited,
        registry: registry.unwrap_or_default(),
    }
}

/// What frames are like of a task that only lets others run.
const YIELDING: [&str; 4] = [
    "tokio::task::yield_now",
    "src/task/yield_now.rs",
    "tokio::runtime::context::defer",
    "src/runtime/scheduler/defer.rs",
];

/// Names what is awaited: the first frame below the program's own code that is neither machinery nor a wrapper; and of a
/// dependency that awaits others, its last function and what that awaits.
fn leaf(frames: &[StackFrame]) -> Option<(String, Vec<String>)> {
    let mut awaited = frames.iter().filter(|frame| frame.is_awaited());
    let Some(mut leaf) = awaited.next() else {
        return Some((combined(frames)?, Vec::new()));
    };
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
        if let Some(combined) = combined(frames) {
            return Some((combined, Vec::new()));
        }
    }
    let name = named(leaf);
    if leaf.code == Codebase::Headcount
        && frames
            .iter()
            .any(|frame| frame.is_one_of(&["wait::closed_by"]))
    {
        return Some(("headcount::Context::close_within".to_owned(), Vec::new()));
    }
    let beneath = beneath(leaf, frames);
    Some((name, beneath))
}

/// The innermost combinator of `futures`, where nothing else is awaited: it has a waker of its own.
fn combined(frames: &[StackFrame]) -> Option<String> {
    let is_set = |frame: &StackFrame| frame.is_one_of(&["FuturesUnordered", "futures_unordered"]);
    if frames.iter().any(is_set) {
        return Some("futures::stream::FuturesUnordered".to_owned());
    }
    let mut inner = frames.iter().rev();
    inner.find(|frame| frame.is_combinator()).map(named)
}

/// How a dependency goes on that is not known by name: the last of its own functions, and what that awaits.
fn beneath(leaf: &StackFrame, frames: &[StackFrame]) -> Vec<String> {
    let head = |frame: &StackFrame| {
        frame
            .function
            .split("::")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let package = head(leaf);
    if leaf.code != Codebase::Dependency
        || Codebase::is_known(&package)
        || !leaf.function.contains("::")
    {
        return Vec::new();
    }
    let awaited: Vec<_> = frames.iter().filter(|frame| frame.is_awaited()).collect();
    let Some(last) = awaited.iter().rposition(|frame| head(frame) == package) else {
        return Vec::new();
    };
    let next = awaited[last + 1..]
        .iter()
        .find(|frame| !frame.is_one_of(&WRAPPING));
    let names = [Some(&awaited[last]), next].into_iter().flatten();
    let mut names: Vec<_> = names.map(|frame| named(frame)).collect();
    names.dedup();
    names.retain(|name| *name != named(leaf));
    names
}

/// What frames of futures are like that await another one which they were given.
const WRAPPING: [&str; 6] = [
    // A tracked lock awaits tokio's.
    "headcount::locks::",
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
pub(super) fn named(frame: &StackFrame) -> String {
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
        .replace("tokio::runtime::task::", "tokio::task::")
        .replace(
            "tokio::sync::notify::Notified",
            "tokio::sync::Notify::notified",
        );
    for (future, called) in AS_CALLED {
        if name == future {
            return called.to_owned();
        }
    }
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

/// Futures whose names users do not know, and the methods that return them.
const AS_CALLED: [(&str, &str); 8] = [
    (
        "tokio_util::sync::cancellation_token::WaitForCancellationFuture",
        "tokio_util::sync::CancellationToken::cancelled",
    ),
    (
        "tokio_util::sync::cancellation_token::WaitForCancellationFutureOwned",
        "tokio_util::sync::CancellationToken::cancelled_owned",
    ),
    (
        "tokio_util::task::TaskTrackerWaitFuture",
        "tokio_util::task::TaskTracker::wait",
    ),
    ("hyper::body::Incoming::poll_frame", "hyper::body::Incoming"),
    (
        "futures_util::lock::MutexLockFuture",
        "futures::lock::Mutex::lock",
    ),
    (
        "futures_util::lock::OwnedMutexLockFuture",
        "futures::lock::Mutex::lock_owned",
    ),
    (
        "futures_util::future::future::Shared",
        "futures::future::Shared",
    ),
    (
        "tokio::task::yield_now::yield_now",
        "tokio::task::yield_now",
    ),
];

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

/// Marks the program's own code by crate name, for a program without file names: it is the crate that the program's file is
/// named after, or else that of the outermost function. A future of a library that was spawned as it is, such as a timer, does not
/// count.
fn own_by_name(frames: &mut [StackFrame]) {
    let unknown = |frame: &&StackFrame| frame.code == Codebase::Own && frame.file.is_empty();
    let package = |frame: &StackFrame| Some(frame.function.split_once("::")?.0.to_owned());
    let mut packages = frames.iter().filter(unknown).filter_map(package);
    let Some(outermost) = packages.next() else {
        return;
    };
    let named = packages.find(|name| Some(&**name) == codebase::program());
    let own = format!("{}::", named.unwrap_or(outermost));
    for frame in frames.iter_mut().filter(|frame| frame.file.is_empty()) {
        let is_own = frame.code == Codebase::Own && frame.function.starts_with(&own);
        frame.is_own = is_own;
        if frame.code == Codebase::Own && !is_own {
            frame.code = Codebase::Dependency;
        }
    }
}

/// The parts of this crate that wrap every task and every hook, as modules and as files.
const WRAPPERS: [&str; 5] = ["task", "poll", "panics", "context::hook", "context/hook"];

/// Makes the frame of a symbol; `None` for the wrappers that every task or hook has.
fn frame(symbol: &Symbol) -> Option<StackFrame> {
    let function = clean(&symbol.function);
    let inside = codebase::inside_headcount(&symbol.file);
    let is_wrapper = |part: &&str| {
        let module = function.strip_prefix("headcount::");
        let by_name = module.is_some_and(|module| module.starts_with(part));
        by_name || inside.is_some_and(|file| file.starts_with(part))
    };
    if WRAPPERS.iter().any(is_wrapper) {
        return None;
    }
    let code = Codebase::of(&symbol.function, &symbol.file);
    Some(StackFrame {
        // Without a file it is not known yet.
        is_own: code == Codebase::Own && !symbol.file.is_empty(),
        code,
        function,
        file: codebase::shorten(&symbol.file).into_owned(),
        line: symbol.line,
    })
}

/// Whether the frame is the unwinder's, or that of the waker that was cloned.
fn is_capture(frame: &StackFrame) -> bool {
    let function = &*frame.function;
    function.starts_with("backtrace::")
        || frame.file.contains("backtrace-0.")
        || frame
            .file
            .ends_with("vendor/backtrace/src/backtrace/mod.rs")
        || function.contains("core::task::wake::Waker")
        || frame.file.ends_with("core/src/task/wake.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn own_files_are_called_what_the_lines_that_spawned_tasks_call_them() {
        let symbol = |function: &str, file: &str| Symbol {
            function: function.to_owned(),
            file: file.to_owned(),
            line: 1,
        };
        let all = vec![
            symbol("app::main", "/x/heavy/src/main.rs"),
            symbol("app::db::run", "/x/heavy/src/db.rs"),
            symbol("shared::run", "/x/shared/src/main.rs"),
            symbol("tokio::run", "/y/registry/src/i/tokio-1.54.1/src/main.rs"),
        ];
        let mut symbols = HashMap::from([(1, all)]);
        cut_workspace(
            &mut symbols,
            ["src/main.rs", "src/db.rs", "/z/src/main.rs"].into_iter(),
        );
        let files: Vec<_> = symbols[&1].iter().map(|symbol| &*symbol.file).collect();
        let tokio = "/y/registry/src/i/tokio-1.54.1/src/main.rs";
        assert_eq!(
            files,
            ["src/main.rs", "src/db.rs", "/x/shared/src/main.rs", tokio]
        );
    }
}
