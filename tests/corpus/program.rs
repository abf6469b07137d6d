//! A program of the corpus, and what the report must say of it.

use crate::world::{Line, World};
use headcount::leaks::{Finding, LeakKind, LeakReport};
use std::{any::Any, panic::Location, pin::Pin};

/// What a program leaves to the rest of the process: it lives until the report is made.
pub(crate) type Kept = Box<dyn Any>;
pub(crate) type Body = Pin<Box<dyn Future<Output = Kept>>>;

/// A leak, and its twin without.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) planted: fn(World) -> Body,
    pub(crate) fixed: fn(World) -> Body,
    pub(crate) expected: Expected,
}

/// `module { planted / fixed: expected; }` for each.
macro_rules! programs {
    ($($module:ident { $($planted:ident / $fixed:ident: $expected:expr;)+ })+) => {
        const PROGRAMS: &[Program] = &[$($(Program {
            name: concat!(stringify!($module), "::", stringify!($planted)),
            planted: |world| crate::program::body($module::$planted(world)),
            fixed: |world| crate::program::body($module::$fixed(world)),
            expected: $expected,
        },)+)+];
    };
}
pub(crate) use programs;

pub(crate) fn body<F>(program: F) -> Body
where
    F: Future<Output: 'static> + 'static,
{
    Box::pin(async move { Box::new(program.await) as Kept })
}

/// What the report must say.
#[derive(Clone, Copy)]
pub(crate) struct Expected {
    kind: LeakKind,
    /// How many findings there are, and of how many of them the line is to blame.
    findings: (usize, usize),
    /// How many things the culprit alone keeps alive.
    victims: Option<usize>,
    /// Of what cannot be seen: what is said instead, and what is advised.
    said: Option<(&'static str, &'static str)>,
    /// Whether nothing can undo it.
    pub(crate) is_for_good: bool,
}

/// One finding, which names the line.
pub(crate) const fn named(kind: LeakKind) -> Expected {
    Expected {
        kind,
        findings: (1, 1),
        victims: None,
        said: None,
        is_for_good: false,
    }
}

/// One finding, which says that there is no line to name, and advises what can be done about that.
pub(crate) const fn unseen(kind: LeakKind, said: &'static str, advised: &'static str) -> Expected {
    Expected {
        said: Some((said, advised)),
        ..named(kind)
    }
}

impl Expected {
    /// The same line again and again.
    pub(crate) const fn times(mut self, n: usize) -> Self {
        self.findings = (n, n);
        self
    }

    /// One of so many: each of the others is a culprit as well.
    pub(crate) const fn among(mut self, n: usize) -> Self {
        self.findings = (n, 1);
        self
    }

    /// So many more, which are not to blame.
    pub(crate) const fn keeping(mut self, n: usize) -> Self {
        self.victims = Some(n);
        self
    }

    pub(crate) const fn for_good(mut self) -> Self {
        self.is_for_good = true;
        self
    }

    pub(crate) fn is_named(&self) -> bool {
        self.said.is_none()
    }

    pub(crate) fn said(&self) -> Option<&'static str> {
        self.said.map(|(said, _)| said)
    }

    pub(crate) fn is_caught(&self, report: &LeakReport) -> bool {
        report.of_kind(self.kind).next().is_some()
    }

    /// Says what is wrong with the report.
    pub(crate) fn check(&self, culprit: Option<Line>, report: &LeakReport) -> Result<(), String> {
        let findings = report.findings();
        if findings.len() != self.findings.0 {
            let wanted = self.findings.0;
            return Err(format!("{} findings, {wanted} expected", findings.len()));
        }
        let of_kind = || report.of_kind(self.kind);
        let right = match (self.said, culprit) {
            (Some(said), None) => of_kind().filter(|found| says(found, said)).count(),
            (None, Some(line)) => of_kind().filter(|found| blames(found, line)).count(),
            (Some(_), Some(_)) => return Err("what is unseen has no culprit".to_owned()),
            (None, None) => return Err("the culprit was never at work".to_owned()),
        };
        let victims: usize = of_kind().map(|found| found.victims().len()).sum();
        if let Some(wanted) = self.victims.filter(|wanted| *wanted != victims) {
            return Err(format!("{victims} victims, {wanted} expected"));
        }
        if right == self.findings.1 {
            return Ok(());
        }
        let kind = self.kind;
        Err(match (self.said, culprit) {
            (Some(said), _) => format!("none is `{kind}` and says {said:?}"),
            (_, Some(line)) => format!(
                "{right} findings, {} expected, are `{kind}` and blame {}:{}",
                self.findings.1, line.file, line.line
            ),
            _ => unreachable!("there is a line or a text"),
        })
    }
}

fn says(finding: &Finding, (said, advised): (&str, &str)) -> bool {
    let block = finding.to_string();
    block.contains(said) && finding.advice().contains(advised)
}

/// Whether both its block and its advice name the line, and it is known to be where the thing was made, or
/// where one of its handles was taken.
fn blames(finding: &Finding, Line { file, line }: Line) -> bool {
    let is_it = |at: &Location<'_>| (at.file(), at.line()) == (file, line);
    let is_made_there = finding.location().is_some_and(is_it);
    let is_known = match finding.holders().filter(|holders| !holders.is_empty()) {
        Some(holders) => holders.iter().any(|holder| is_it(holder.location())) || is_made_there,
        // Nothing holds a registration, a task, a count, or a context that waits for its hook.
        None => true,
    };
    let site = format!("{file}:{line}");
    is_known && names(&finding.to_string(), &site) && names(finding.advice(), &site)
}

/// Whether the text names the line, and not one whose number only begins like it.
fn names(text: &str, site: &str) -> bool {
    let mut ends = text.match_indices(site).map(|(at, _)| at + site.len());
    ends.any(|end| !text[end..].starts_with(|next: char| next.is_ascii_digit()))
}
