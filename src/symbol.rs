//! Names of functions, as the symbols of a program have them, and as a person reads them.

use std::mem;

/// Strips closures, hashes and type arguments: `app::serve` for `app::serve::{{closure}}`,
/// `tokio::time::Sleep` for `<tokio::time::sleep::Sleep as core::future::future::Future>::poll`.
pub(crate) fn clean(function: &str) -> String {
    let name = without_closures(function);
    let name = implemented_elsewhere(&name).unwrap_or(name);
    let name = of_type(&name).unwrap_or(name);
    without_repeats(&without_arguments(&name))
}

/// Strips `{{closure}}`, which is `{closure#0}`, `{async_fn#0}` and so on in symbols of mangling v0, and `{{synthetic}}`, which async
/// closures have besides.
fn without_closures(function: &str) -> String {
    let mut name = function
        .replace("{{closure}}", "{closure}")
        .replace("{{synthetic}}", "{closure}");
    for kind in ["{closure", "{async_", "{synthetic"] {
        while let Some((before, rest)) = name.split_once(kind) {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            name = format!("{}{after}", before.trim_end_matches("::"));
        }
    }
    name
}

/// Writes `<Type as Trait>::method` for `module::<impl Trait for Type>::method`, and `<Type>::method` for
/// `module::<impl Type>::method`: mangling v0 has these as it has every other method.
fn implemented_elsewhere(name: &str) -> Option<String> {
    let (inside, method) = qualified(&name[name.find("<impl ")?..])?;
    let of = inside.strip_prefix("impl ")?;
    Some(match split_at(of, " for ") {
        Some((of_trait, of_type)) => format!("<{of_type} as {of_trait}>{method}"),
        None => format!("<{of}>{method}"),
    })
}

/// Names a method by its type: `app::Board::find` for `<app::Board as app::Lookup>::find`, and for `<app::Board>::find`,
/// which is the form of mangling v0; or by its trait if the type is any. `Future::poll` is left out, and only the type remains.
fn of_type(name: &str) -> Option<String> {
    let (inside, method) = qualified(name)?;
    Some(match split_at_as(inside) {
        Some((of, "core::future::future::Future")) if method == "::poll" => of.to_owned(),
        Some((of, by)) if !of.contains("::") => format!("{by}{method}"),
        Some((of, _)) => format!("{}{method}", peeled(of)),
        None => format!("{inside}{method}"),
    })
}

/// Strips everything between angle brackets.
fn without_arguments(name: &str) -> String {
    let bare = depths(name).filter(|(_, _, depth)| *depth == 0);
    let bare: String = bare.map(|(_, c, _)| c).collect();
    bare.replace("::::", "::").trim_end_matches("::").to_owned()
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

/// The crates that a symbol names: that of the function or of its type, and for a method of a trait that of the trait.
pub(crate) fn crates(function: &str) -> [Option<&str>; 2] {
    let Some((inside, _)) = qualified(function) else {
        return [head(function), None];
    };
    match split_at_as(inside) {
        Some((of_type, of_trait)) => [crates(peeled(of_type))[0], head(of_trait)],
        None => [crates(peeled(inside))[0], None],
    }
}

/// The crate of a function and the type or the trait that it is of, such as `FromRef` of `axum_core`. `None` without a crate.
pub(crate) fn part_of_crate(function: &str) -> Option<String> {
    let cleaned = clean(telling(function));
    let parts = cleaned.split("::");
    let is_type = |part: &&str| part.starts_with(|c: char| c.is_ascii_uppercase());
    let name = parts.clone().find(is_type).or_else(|| parts.last())?;
    Some(format!("{}'s `{name}`", package(function)?))
}

/// The crate of a function: that of its type, or of its trait where the type says little.
pub(crate) fn package(function: &str) -> Option<&str> {
    crates(telling(function))[0]
}

/// The path of the type of a method, or of its trait if the type is a parameter or the standard library's; that of a function.
fn telling(function: &str) -> &str {
    let Some((inside, _)) = qualified(function) else {
        return function;
    };
    let Some((of_type, of_trait)) = split_at_as(inside) else {
        return peeled(inside);
    };
    let of_type = peeled(of_type);
    let is_vague = crates(of_type)[0].is_none_or(|of| ["core", "alloc", "std"].contains(&of));
    if is_vague { of_trait } else { of_type }
}

/// The first part of a path that has several.
fn head(path: &str) -> Option<&str> {
    let (head, _) = path.split_once("::")?;
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    Some(head).filter(|head| !head.is_empty() && is_name(head))
}

/// A type without what a reference, a pointer or a trait object puts before it.
fn peeled(mut name: &str) -> &str {
    let before = ["&", "*", "(", "[", "mut ", "const ", "dyn ", "impl "];
    while let Some(rest) = before.iter().find_map(|part| name.strip_prefix(part)) {
        name = rest;
    }
    name
}

/// Splits `<Type as Trait>::method` after the bracket: what is inside it, and the method.
pub(crate) fn qualified(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix('<')?;
    let end = depths(name).find(|(_, _, depth)| *depth == 0)?.0;
    Some((&name[1..end - 1], &name[end..]))
}

/// Splits `Type as Trait`.
pub(crate) fn split_at_as(inside: &str) -> Option<(&str, &str)> {
    split_at(inside, " as ")
}

/// Splits where this stands outside of all angle brackets.
fn split_at<'a>(inside: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut top = depths(inside).filter(|(_, _, depth)| *depth == 0);
    top.find_map(|(at, ..)| Some((&inside[..at], inside[at..].strip_prefix(word)?)))
}

/// Returns each character with its index and the number of pairs of angle brackets around it, itself included. The `>`
/// of an arrow (`->`) is no bracket.
pub(crate) fn depths(name: &str) -> impl Iterator<Item = (usize, char, usize)> {
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
            // Implemented in another module than that of its type, as symbols of legacy mangling have it.
            (
                "futures_channel::mpsc::sink_impl::<impl futures_sink::Sink<T> for futures_channel::mpsc::Sender<T>>::poll_flush",
                "futures_channel::mpsc::Sender::poll_flush",
            ),
            (
                "app::later::<impl core::future::future::Future for app::Job<fn() -> u8>>::poll",
                "app::Job",
            ),
            (
                "app::more::<impl app::Board>::find::{{closure}}",
                "app::Board::find",
            ),
            // Of any type.
            (
                "<&mut S as futures_sink::Sink<Item>>::poll_ready",
                "futures_sink::Sink::poll_ready",
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
    fn a_function_is_part_of_its_crate() {
        for (function, part) in [
            (
                "<T as axum_core::extract::from_ref::FromRef<T>>::from_ref",
                Some("axum_core's `FromRef`"),
            ),
            (
                "<alloc::vec::Vec<T> as dashmap::t::Map<K>>::get",
                Some("dashmap's `Map`"),
            ),
            (
                "<futures_util::future::future::shared::Shared<Fut> as core::future::future::Future>::poll",
                Some("futures_util's `Shared`"),
            ),
            (
                "tokio::sync::watch::Receiver<T>::borrow::{{closure}}",
                Some("tokio's `Receiver`"),
            ),
            ("dashmap::get", Some("dashmap's `get`")),
            ("main", None),
        ] {
            assert_eq!(part_of_crate(function).as_deref(), part, "{function}");
        }
    }

    #[test]
    fn a_symbol_names_the_crates_of_its_function_or_of_its_type_and_trait() {
        for (function, named) in [
            ("app::serve::{{closure}}", [Some("app"), None]),
            (
                "<app::X as core::clone::Clone>::clone",
                [Some("app"), Some("core")],
            ),
            (
                "<&mut dyn app::X as tokio::Y<u8>>::y",
                [Some("app"), Some("tokio")],
            ),
            ("<F as app::Y>::y", [None, Some("app")]),
            ("<fn(u8) -> app::X as app::Y>::y", [None, Some("app")]),
            (
                "<<app::X as tokio::Y>::Z as core::Z>::z",
                [Some("app"), Some("core")],
            ),
            (
                "<tokio::sync::mutex::Mutex<app::X>>::lock",
                [Some("tokio"), None],
            ),
            ("main", [None, None]),
            ("", [None, None]),
        ] {
            assert_eq!(crates(function), named, "{function}");
        }
    }
}
