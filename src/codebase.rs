//! Whose code a function is: the program's own, a dependency's, the standard library's, or this crate's.
//!
//! Neither the file nor the name tells that alone. Dependencies may lie in the program's folder (`cargo vendor`), and paths may be
//! cut (`--remap-path-prefix`); while a macro of a dependency leaves that one's lines inside the program's functions. So both are
//! looked at: the crate in the function's path, and where its file lies. What is known of neither is the program's own.

use crate::symbol::{crates, package};
use std::{
    borrow::Cow,
    env, iter,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// Whose code a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Codebase {
    Own,
    Dependency,
    Headcount,
    Std,
}

/// The source folder of this crate, as its build was told it.
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

/// Where this file lies in the folder of its package.
const THIS_FILE: &str = "src/codebase.rs";

/// Folders that contain copies of dependencies, each in a folder that is named after it.
const VENDORED: [&str; 4] = ["vendor", "vendored", "third_party", "third-party"];

/// Crates that are told by their names, wherever their files lie.
const STD: [&str; 11] = [
    "std",
    "core",
    "alloc",
    "proc_macro",
    "test",
    "hashbrown",
    "backtrace",
    "gimli",
    "addr2line",
    "rustc_demangle",
    "compiler_builtins",
];
const DEPENDENCIES: [&str; 45] = [
    "tokio",
    "tokio_util",
    "tokio_stream",
    "tokio_macros",
    "tokio_test",
    "tokio_rustls",
    "tokio_native_tls",
    "tokio_tungstenite",
    "tokio_postgres",
    "futures",
    "futures_util",
    "futures_core",
    "futures_channel",
    "futures_executor",
    "futures_io",
    "futures_sink",
    "futures_task",
    "futures_macro",
    "futures_lite",
    "futures_timer",
    "futures_intrusive",
    "tracing",
    "tracing_core",
    "tracing_futures",
    "tracing_subscriber",
    "mio",
    "parking_lot",
    "lock_api",
    "arc_swap",
    "hyper",
    "hyper_util",
    "h2",
    "http_body",
    "http_body_util",
    "tower",
    "tower_http",
    "axum",
    "axum_core",
    "tonic",
    "reqwest",
    "sqlx_core",
    "async_stream",
    "async_channel",
    "async_lock",
    "event_listener",
];

impl Codebase {
    /// Of a function, as its demangled symbol names it, in this file. Either may be unknown, which is empty.
    pub(crate) fn of(function: &str, file: &str) -> Self {
        let file = slashed(file);
        match Self::of_file(&file) {
            // A build may call this crate's folder something else than this crate was told.
            Some(Self::Dependency) if package(function) == Some("headcount") => {
                return Self::Headcount;
            }
            Some(known) => return known,
            None => {}
        }
        if Path::new(&*file).extension().is_some_and(|of| of != "rs") {
            // The system's.
            return Self::Dependency;
        }
        let [of_type, of_trait] = crates(function);
        let names = || [of_type, of_trait].into_iter().flatten();
        // An `impl` is in the crate of its type or in that of its trait, and a program knows dependencies, not the reverse.
        match names().find(|name| Self::of_crate(name).is_none()) {
            Some(name) if is_packaged(below_here(&file), name) => Self::Dependency,
            Some(_) => Self::Own,
            None if function.trim_start_matches('_').starts_with("rust_") => Self::Std,
            None => {
                let known = names().filter_map(Self::of_crate);
                let other = known.clone().find(|known| *known != Self::Std);
                other.or(known.clone().next()).unwrap_or(Self::Own)
            }
        }
    }

    /// Of a line that a location names. The compiler has it relative to the workspace if it is the program's own.
    #[inline]
    pub(crate) fn is_library(file: &str) -> bool {
        // Most lines are found here.
        if ["src/", "tests/", "examples/", "benches/"]
            .iter()
            .any(|own| file.starts_with(own))
        {
            return false;
        }
        Self::is_library_by_folder(file)
    }

    fn is_library_by_folder(file: &str) -> bool {
        let file = slashed(file);
        if Self::of_file(&file).is_some() {
            return true;
        }
        let is_absolute = file.starts_with('/') || file.as_bytes().get(1) == Some(&b':');
        packages(&file).any(|package| {
            package.has_version || package.is_vendored && (is_absolute || package.known().is_some())
        })
    }

    /// Whether what is of this crate is told by its name.
    #[cfg(feature = "dump")]
    pub(crate) fn is_known(name: &str) -> bool {
        Self::of_crate(name).is_some()
    }

    /// Whether this is a crate of the standard library.
    #[cfg(feature = "dump")]
    pub(crate) fn is_std(name: &str) -> bool {
        STD.contains(&name)
    }

    /// By the name of the crate alone.
    fn of_crate(name: &str) -> Option<Self> {
        match name {
            "headcount" => Some(Self::Headcount),
            name if STD.contains(&name) => Some(Self::Std),
            name if DEPENDENCIES.contains(&name) => Some(Self::Dependency),
            _ => None,
        }
    }

    /// By the file alone, if that is enough.
    fn of_file(file: &str) -> Option<Self> {
        let is_in = |folders: &[&str]| folders.iter().any(|folder| file.contains(folder));
        if file.starts_with("/rustc/") || is_in(&["/rustlib/src/", "/rust/deps/"]) {
            return Some(Self::Std);
        }
        if inside_headcount(file).is_some() {
            return Some(Self::Headcount);
        }
        let is_dependency = is_in(&["/registry/src/", "/git/checkouts/"])
            || neighbours().is_some_and(|folder| file.starts_with(folder))
            || is_macro(file);
        is_dependency.then_some(Self::Dependency)
    }
}

/// Whether the file has the macros of tokio or futures, whose lines stand in functions of the program.
pub(crate) fn is_macro(file: &str) -> bool {
    let folders = ["/src/macros/", "/src/async_await/"];
    let package = folders.iter().find_map(|folder| file.split_once(folder));
    package.is_some_and(|(path, _)| {
        let package = Package::of("", path.rsplit('/').next().unwrap_or(path));
        package.known() == Some(Codebase::Dependency)
    })
}

/// The path of a file of this crate below its source folder.
pub(crate) fn inside_headcount(file: &str) -> Option<&str> {
    let remapped = file!()
        .strip_suffix(THIS_FILE)
        .filter(|folder| !folder.is_empty());
    let inside = remapped.and_then(|folder| file.strip_prefix(folder)?.strip_prefix("src/"));
    inside.or_else(|| file.strip_prefix(HERE))
}

/// The folder of all dependencies: that in which this crate lies as one of them.
fn neighbours() -> Option<&'static str> {
    static FOLDER: OnceLock<Option<&str>> = OnceLock::new();
    *FOLDER.get_or_init(|| neighbours_of(file!().strip_suffix(THIS_FILE)?))
}

/// What is beside the folder of a package, if that lies among dependencies.
fn neighbours_of(folder: &str) -> Option<&str> {
    let (above, name) = folder.trim_end_matches('/').rsplit_once('/')?;
    let package = Package::of(above.rsplit('/').next().unwrap_or_default(), name);
    let is_dependency = package.has_version || package.is_vendored;
    // Everything is beside what lies in the root.
    (is_dependency && !above.is_empty()).then(|| &folder[..=above.len()])
}

/// A folder that may be that of a package.
struct Package<'a> {
    /// With the hyphens that a folder may have where its crate has underscores.
    name: &'a str,
    has_version: bool,
    is_vendored: bool,
}

impl<'a> Package<'a> {
    fn of(above: &str, folder: &'a str) -> Self {
        let is_version = |text: &str| {
            let mut numbers = text.splitn(3, '.');
            numbers.all(|part| part.starts_with(|c: char| c.is_ascii_digit())) && text.contains('.')
        };
        let versioned = folder
            .match_indices('-')
            .find(|(at, _)| is_version(&folder[at + 1..]));
        let name = versioned.map_or(folder, |(at, _)| &folder[..at]);
        Self {
            // Some build tools put their own words before the name.
            name: name.rsplit("__").next().unwrap_or(name),
            has_version: versioned.is_some(),
            is_vendored: VENDORED.contains(&above),
        }
    }

    fn known(&self) -> Option<Codebase> {
        Codebase::of_crate(&self.name.replace('-', "_"))
    }

    fn is_of(&self, name: &str) -> bool {
        let own = self.name.bytes();
        own.map(|byte| if byte == b'-' { b'_' } else { byte })
            .eq(name.bytes())
    }
}

/// The folders of a path that look like those of dependencies.
fn packages(file: &str) -> impl Iterator<Item = Package<'_>> {
    let above = iter::once("").chain(file.split('/'));
    let folders = above.zip(file.split('/'));
    let packages = folders.map(|(above, folder)| Package::of(above, folder));
    packages.filter(|package| package.has_version || package.is_vendored)
}

/// Whether a file lies in the folder of a dependency with the name of this crate. The program itself may have been unpacked into
/// such a folder.
fn is_packaged(file: &str, name: &str) -> bool {
    packages(file).any(|package| package.is_of(name)) && program() != Some(name)
}

/// The name of the program's own crate, as far as the name of its file tells it.
pub(crate) fn program() -> Option<&'static str> {
    static NAME: OnceLock<Option<String>> = OnceLock::new();
    let name = || {
        let file = env::current_exe().ok()?;
        let name = file.file_stem()?.to_str()?;
        let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let test = name.rsplit_once('-').filter(|(_, hash)| is_hash(hash));
        Some(test.map_or(name, |(name, _)| name).replace('-', "_"))
    };
    NAME.get_or_init(name).as_deref()
}

fn slashed(file: &str) -> Cow<'_, str> {
    if file.contains('\\') {
        file.replace('\\', "/").into()
    } else {
        file.into()
    }
}

/// The working directory.
fn here() -> &'static Path {
    static HERE: OnceLock<PathBuf> = OnceLock::new();
    HERE.get_or_init(|| env::current_dir().unwrap_or_default())
}

/// The path of a file that a backtrace prints. It has those below the working directory begin with a dot.
pub(crate) fn of_printed(file: &str) -> &str {
    in_folder(file, here())
}

fn in_folder<'a>(file: &'a str, here: &Path) -> &'a str {
    match file.strip_prefix("./") {
        // What lies below the root keeps its slash.
        Some(_) if here.parent().is_none() && here.has_root() => &file[1..],
        Some(inside) => inside,
        None => file,
    }
}

/// The part of a path below the working directory, or the whole.
fn below_here(file: &str) -> &str {
    let here = here();
    here.to_str()
        .and_then(|here| below(file, here))
        .unwrap_or(file)
}

/// The part of a path below a folder. Everything is below the root, which says nothing.
fn below<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    let folder = folder.trim_end_matches(['/', '\\']);
    let inside = file.strip_prefix(folder).filter(|_| !folder.is_empty())?;
    inside.strip_prefix(['/', '\\'])
}

/// Shortens the path of a file: `src/main.rs` in the program's folder, `tokio-1.54.1/src/sync/mutex.rs` of a
/// dependency, `core/src/option.rs` of the standard library.
pub(crate) fn shorten(file: &str) -> Cow<'_, str> {
    if let Some(inside) = inside_headcount(file) {
        return format!("headcount-{}/src/{inside}", env!("CARGO_PKG_VERSION")).into();
    }
    for folder in ["/registry/src/", "/git/checkouts/"] {
        if let Some((_, rest)) = file.split_once(folder) {
            return rest.split_once('/').map_or(rest, |(_, rest)| rest).into();
        }
    }
    if let Some((_, rest)) = file.split_once("/rust/deps/") {
        return rest.into();
    }
    match file.split_once("/library/") {
        Some((before, rest))
            if before.starts_with("/rustc/") || before.ends_with("/rustlib/src/rust") =>
        {
            rest.into()
        }
        _ => {
            let file = below_here(file);
            file.strip_prefix("./").unwrap_or(file).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Codebase::*, *};

    #[test]
    fn functions_belong_to_the_crate_of_their_symbol_wherever_their_file_lies() {
        let vendored = "/home/me/app/vendor/tokio/src/sync/mutex.rs";
        for (function, file, codebase) in [
            (
                "tokio::sync::mutex::Mutex<T>::lock::{{closure}}",
                vendored,
                Dependency,
            ),
            (
                "<tokio::time::sleep::Sleep as core::future::future::Future>::poll",
                "/x/src/sleep.rs",
                Dependency,
            ),
            (
                "<tokio::sync::mutex::Mutex<()>>::lock::{closure#0}",
                "/x/src/mutex.rs",
                Dependency,
            ),
            (
                "<&mut futures_util::x::F as core::future::future::Future>::poll",
                "/x/y.rs",
                Dependency,
            ),
            (
                "futures_util::x::<impl core::future::future::Future for app::X>::poll",
                "/x/y.rs",
                Dependency,
            ),
            (
                "hashbrown::map::HashMap<K,V,S,A>::get",
                "/rust/deps/hashbrown-0.15.4/src/map.rs",
                Std,
            ),
            (
                "<core::pin::Pin<P> as core::future::future::Future>::poll",
                "/x/future.rs",
                Std,
            ),
            (
                "<F as core::ops::function::FnOnce<A>>::call_once",
                "/x/function.rs",
                Std,
            ),
            ("std::panicking::catch_unwind", "", Std),
            ("__rust_try", "", Std),
            (
                "<F as headcount::task::future::Work>::work",
                "/x/future.rs",
                Headcount,
            ),
            (
                "sqlx_postgres::query::run",
                "/home/me/app/vendor/sqlx-postgres/src/query.rs",
                Dependency,
            ),
            (
                "sqlx_postgres::query::run",
                "/deps/sqlx-postgres-0.8.2/src/query.rs",
                Dependency,
            ),
            (
                "orders::run",
                "/build/external/crates__orders-1.0.0/src/lib.rs",
                Dependency,
            ),
            (
                "app::serve",
                "/home/me/app/vendor/tokio/src/macros/select.rs",
                Dependency,
            ),
            (
                "app::serve",
                "/x/futures-util-0.3.31/src/async_await/join_mod.rs",
                Dependency,
            ),
            ("clone3", "./sysdeps/unix/clone3.S", Dependency),
        ] {
            assert_eq!(
                Codebase::of(function, file),
                codebase,
                "{function} in {file}"
            );
        }
    }

    #[test]
    fn what_is_known_of_neither_crate_nor_folder_is_ones_own() {
        for (function, file) in [
            ("app::serve::{{closure}}", "/home/me/app/src/main.rs"),
            ("futures_app::serve", "/home/me/futures_app/src/main.rs"),
            ("tokio_game::play", "/home/me/tokio_game/src/main.rs"),
            (
                "<tokio_game::Board as core::future::future::Future>::poll",
                "/x/board.rs",
            ),
            (
                "<tokio::net::TcpStream as app::Peer>::read",
                "/home/me/app/src/peer.rs",
            ),
            (
                "<alloc::vec::Vec<T> as app::Board>::find",
                "/home/me/app/src/board.rs",
            ),
            ("<T as app::Board>::find", "/home/me/app/src/board.rs"),
            (
                "app::vendor::orders::place",
                "/home/me/app/src/vendor/orders/mod.rs",
            ),
            ("core_types::make", "/home/me/app/core/src/lib.rs"),
            ("db::run", "/build/app-1.2.3/crates/db/src/lib.rs"),
            ("app::macros::run", "/home/me/app/src/macros/run.rs"),
            ("{async_fn#0}", "/home/me/app/src/main.rs"),
        ] {
            assert_eq!(Codebase::of(function, file), Own, "{function} in {file}");
        }
    }

    #[test]
    fn lines_of_libraries_are_told_from_ones_own() {
        for file in [
            "/rustc/59807616e1/library/core/src/ops/function.rs",
            "/rustc/59807616e1\\library\\core\\src\\option.rs",
            "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/option.rs",
            "/rust/deps/hashbrown-0.15.4/src/map.rs",
            "/home/me/.cargo/registry/src/index/dashmap-6.0.0/src/lib.rs",
            r"C:\Users\me\.cargo\registry\src\index\dashmap-6.0.0\src\lib.rs",
            "/home/me/app/vendor/dashmap/src/lib.rs",
            "deps/dashmap-6.0.0/src/lib.rs",
            "vendor/tokio/src/sync/watch.rs",
        ] {
            assert!(Codebase::is_library(file), "{file}");
        }
        for file in [
            "src/main.rs",
            "crates/core/src/lib.rs",
            "vendor/orders/src/lib.rs",
            "/home/me/project/src/main.rs",
            "tests/rustc/x.rs",
            "",
        ] {
            assert!(!Codebase::is_library(file), "{file}");
        }
    }

    #[test]
    fn what_lies_beside_this_crate_among_dependencies_is_one() {
        for (folder, beside) in [
            (
                "/home/me/app/vendor/headcount/",
                Some("/home/me/app/vendor/"),
            ),
            ("/deps/headcount-0.1.0/", Some("/deps/")),
            ("/headcount-0.1.0/", None),
            ("/home/me/app/crates/headcount/", None),
            ("headcount-0.1.0/", None),
            ("", None),
        ] {
            assert_eq!(neighbours_of(folder), beside, "{folder}");
        }
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
            (
                "/home/me/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/option.rs",
                "core/src/option.rs",
            ),
            (
                "/rust/deps/hashbrown-0.15.4/src/map.rs",
                "hashbrown-0.15.4/src/map.rs",
            ),
            ("./src/main.rs", "src/main.rs"),
            ("/elsewhere/src/main.rs", "/elsewhere/src/main.rs"),
        ] {
            assert_eq!(shorten(raw), read);
        }
        let here = env::current_dir().unwrap();
        assert_eq!(
            shorten(&here.join("app/main.rs").to_string_lossy()),
            "app/main.rs"
        );
        let other = format!("{}2/src/main.rs", here.display());
        assert_eq!(shorten(&other), other, "only its name begins like that");
    }

    #[test]
    fn a_working_directory_that_is_the_root_takes_no_slash_away() {
        assert_eq!(below("/home/me/src/main.rs", "/"), None);
        assert_eq!(
            below("/home/me/src/main.rs", "/home/me"),
            Some("src/main.rs")
        );
        assert_eq!(
            below("/home/me/src/main.rs", "/home/me/"),
            Some("src/main.rs")
        );
        assert_eq!(below("/home/me2/src/main.rs", "/home/me"), None);
        assert_eq!(below("/home/me", ""), None);
        let printed = "./home/me/src/main.rs";
        assert_eq!(in_folder(printed, Path::new("/")), "/home/me/src/main.rs");
        assert_eq!(in_folder(printed, Path::new("/x")), "home/me/src/main.rs");
    }
}
