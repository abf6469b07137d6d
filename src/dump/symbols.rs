//! Turns addresses into functions and lines.
//!
//! The first look-up reads the program's debug information, which is slow: do this away from the runtime's threads.

use crate::poll::capture::RawStack;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// One function at one line of code. An address may stand for several, one inlined into the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Symbol {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// The functions of each address, innermost first.
pub(crate) type Symbols = HashMap<usize, Arc<[Symbol]>>;

/// Looks up every address of these stacks, each once.
pub(crate) fn of<'a>(stacks: impl IntoIterator<Item = &'a RawStack>) -> Symbols {
    let addresses: HashSet<usize> = stacks
        .into_iter()
        .flat_map(|stack| stack.frames.iter().copied())
        .collect();
    addresses.into_iter().map(|ip| (ip, resolve(ip))).collect()
}

fn resolve(ip: usize) -> Arc<[Symbol]> {
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
    symbols.into()
}
