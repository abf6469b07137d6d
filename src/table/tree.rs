//! How a listing prints: the tree of owners, one thing a line.

use crate::{
    clock,
    id::ResourceId,
    name::Printed,
    plural::plural,
    table::{record::Class, resource::Resource},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
};

/// How deep branches are drawn; below that a line says how deep it is instead.
const DRAWN: usize = 24;

/// Resources in the order of creation, printed as a tree with at most `siblings` to a branch.
pub(crate) struct Tree<'a> {
    pub(crate) items: Vec<&'a Resource>,
    pub(crate) siblings: usize,
}

/// One line still to be printed. Lines wait on a stack of our own: trees may be 50,000 deep (I13).
enum Line {
    Item { at: usize, depth: usize, last: bool },
    More { hidden: usize, depth: usize },
}

impl Tree<'_> {
    /// Which items hang under which listed parent; those whose parent is not listed are roots.
    fn branches(&self) -> HashMap<Option<ResourceId>, Vec<usize>> {
        let listed: HashSet<ResourceId> = self.items.iter().map(|item| item.id()).collect();
        let mut branches: HashMap<Option<ResourceId>, Vec<usize>> = HashMap::new();
        for (at, item) in self.items.iter().enumerate() {
            let parent = item.parent().filter(|parent| listed.contains(parent));
            branches.entry(parent).or_default().push(at);
        }
        branches
    }

    /// Puts the lines of one branch on the stack, first line on top.
    fn plan(&self, lines: &mut Vec<Line>, branch: &[usize], depth: usize) {
        let shown = branch.len().min(self.siblings);
        let hidden = branch.len() - shown;
        if hidden > 0 {
            lines.push(Line::More { hidden, depth });
        }
        for (n, &at) in branch[..shown].iter().enumerate().rev() {
            lines.push(Line::Item {
                at,
                depth,
                last: hidden == 0 && n + 1 == shown,
            });
        }
    }
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            return f.write_str("nothing is live");
        }
        writeln!(f, "{}", Summary(&self.items))?;
        let branches = self.branches();
        let mut lines = Vec::new();
        self.plan(
            &mut lines,
            branches.get(&None).map_or(&[], Vec::as_slice),
            0,
        );
        // For each depth under way, whether its branch goes on below the current line.
        let mut open: Vec<bool> = Vec::new();
        let mut first = true;
        while let Some(line) = lines.pop() {
            if !std::mem::take(&mut first) {
                writeln!(f)?;
            }
            match line {
                Line::More { hidden, depth } => {
                    open.truncate(depth);
                    branch(f, &open, depth, true)?;
                    write!(f, "… {hidden} more")?;
                }
                Line::Item { at, depth, last } => {
                    open.truncate(depth);
                    branch(f, &open, depth, last)?;
                    let item = self.items[at];
                    entry(f, item)?;
                    if let Some(below) = branches.get(&Some(item.id())) {
                        open.push(!last);
                        self.plan(&mut lines, below, depth + 1);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The rails of the branches that go on, then the corner or tee of this line.
fn branch(f: &mut fmt::Formatter<'_>, open: &[bool], depth: usize, last: bool) -> fmt::Result {
    if depth == 0 {
        return Ok(());
    }
    if depth > DRAWN {
        return write!(f, "   ⋮ depth {depth}: ");
    }
    for &goes_on in &open[1..depth] {
        f.write_str(if goes_on { "│  " } else { "   " })?;
    }
    f.write_str(if last { "└─ " } else { "├─ " })
}

/// `name  kind · state · detail · age · strong · weak · hooks · file:line`
fn entry(f: &mut fmt::Formatter<'_>, item: &Resource) -> fmt::Result {
    write!(f, "{}  {} · ", Printed(item.name()), Printed(item.kind()))?;
    if item.class() != Class::Resource {
        write!(f, "{} · ", item.state())?;
    }
    if let Some(detail) = item.detail() {
        write!(f, "{detail} · ")?;
    }
    write!(f, "{}", clock::human(item.age()))?;
    #[cfg(feature = "dump")]
    if let Some(running) = item.blocks_runtime() {
        write!(f, " · blocking the runtime for {}", clock::human(running))?;
    }
    if let Some(strong) = item.strong_count() {
        write!(f, " · {strong} strong")?;
    }
    write!(f, "{}", item.numbers())?;
    let location = item.location();
    write!(f, " · {}:{}", location.file(), location.line())
}

/// `2 contexts, 5 tasks, 1 resource`
struct Summary<'a>(&'a [&'a Resource]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (class, name) in [
            (Class::Context, "context"),
            (Class::Task, "task"),
            (Class::Resource, "resource"),
        ] {
            let count = self.0.iter().filter(|item| item.class() == class).count();
            if count > 0 {
                write!(f, "{separator}{}", plural(count, name))?;
                separator = ", ";
            }
        }
        Ok(())
    }
}
