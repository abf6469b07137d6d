//! The report as a person reads it.

use crate::{
    leaks::{
        finding::Finding,
        judge::LeakKind,
        subject::{Link, Referrer, Subject},
    },
    ledger::{caller, handle_log::Acquisition},
    name::Quoted,
};
use std::{collections::HashMap, fmt, time::SystemTime};

/// Culprits that are printed in full.
const BLOCKS: usize = 20;
/// Of each list in a block: victims, handles, those that are alike.
const LISTED: usize = 5;

/// Of a chain: the first one, and those next to the culprit.
const STEPS: usize = 20;

/// What a report has in it.
pub(crate) struct Contents {
    /// Culprits, those that last longest first; allowed ones apart.
    pub(crate) findings: Vec<Finding>,
    pub(crate) allowed: Vec<Finding>,
    pub(crate) things: usize,
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Colour,
}

pub(crate) struct Printout<'a> {
    pub(crate) facts: &'a Contents,
    pub(crate) style: Style,
}

/// What a piece of text is, for its colour.
#[derive(Clone, Copy)]
enum Tone {
    Head,
    Culprit,
    Suspect,
    Quiet,
    Advice,
}

impl Style {
    fn paint(self, tone: Tone, text: impl fmt::Display) -> String {
        let code = match tone {
            Tone::Head => "1",
            Tone::Culprit => "1;31",
            Tone::Suspect => "33",
            Tone::Quiet => "2",
            Tone::Advice => "32",
        };
        match self {
            Self::Plain => text.to_string(),
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

impl fmt::Display for Printout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contents {
            findings,
            allowed,
            things,
            notes,
        } = self.facts;
        if findings.is_empty() {
            f.write_str("no leaks")?;
        } else {
            let head = headline(findings, *things);
            write!(f, "{}", self.style.paint(Tone::Head, head))?;
        }
        for note in notes {
            write!(
                f,
                "\n{}",
                self.style.paint(Tone::Quiet, format_args!("· {note}"))
            )?;
        }
        let groups = group(findings);
        for (n, group) in groups.iter().take(BLOCKS).enumerate() {
            f.write_str("\n\n")?;
            self.style.block(f, n + 1, group)?;
        }
        if let Some(rest) = groups.get(BLOCKS..).filter(|rest| !rest.is_empty()) {
            let more: usize = rest.iter().map(Vec::len).sum();
            write!(
                f,
                "\n\n… {more} more leaks of {} other makes are not printed",
                rest.len()
            )?;
        }
        for finding in allowed {
            write!(f, "\n\n{}", self.style.paint(Tone::Quiet, Allowed(finding)))?;
        }
        Ok(())
    }
}

/// `3 leaks (12 things alive)`
fn headline(findings: &[Finding], things: usize) -> String {
    let victims: usize = findings.iter().map(|finding| finding.victims.len()).sum();
    let leaks = if findings.len() == 1 { "leak" } else { "leaks" };
    let keep = match victims {
        0 => String::new(),
        victims if findings.len() == 1 => format!(", which keeps {victims} more alive"),
        victims => format!(", which keep {victims} more alive"),
    };
    let things_are = if things == 1 { "thing" } else { "things" };
    format!(
        "{} {leaks}{keep} ({things} {things_are} alive in all)",
        findings.len()
    )
}

/// Equal ones together, in the order of the first of each.
pub(crate) fn group(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for finding in findings {
        let at = *known.entry(finding.likeness()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(finding);
    }
    groups
}

impl Style {
    fn block(self, f: &mut fmt::Formatter<'_>, n: usize, group: &[&Finding]) -> fmt::Result {
        let finding = group[0];
        let head = format!("{n}. {}: {}", finding.subject, finding.kind);
        write!(f, "{}", self.paint(Tone::Culprit, head))?;
        let print = format!("   [{}]", finding.fingerprint());
        write!(f, "{}", self.paint(Tone::Quiet, print))?;
        self.chain(f, finding)?;
        for (label, fact) in &finding.facts {
            line(f, label, &Quoted(fact))?;
        }
        handles(f, finding)?;
        let round: Vec<_> = finding.cycle.iter().map(|kept| &kept.subject).collect();
        listing(f, "in a cycle", &round)?;
        let them: Vec<_> = finding.victims.iter().map(|kept| &kept.subject).collect();
        listing(f, "keeps alive", &them)?;
        if group.len() > 1 {
            let others: Vec<_> = group[1..].iter().map(|other| &other.subject).collect();
            listing(f, "others alike", &others)?;
        }
        if let Some(entry) = &finding.expired {
            line(f, "was allowed", &entry.terms(SystemTime::now()))?;
        }
        let advice = self.paint(Tone::Advice, Quoted(&finding.advice));
        line(f, "to do", &advice)
    }

    /// From the root down, a line each, the suspect edge marked.
    fn chain(self, f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
        let chain = finding.chain.links();
        if chain.is_empty() && finding.subject.resource.is_none() {
            return write!(f, "\n     {}", finding.subject.state);
        }
        // The last edge is the suspect: its holder is legitimately alive, what is below should be gone.
        let suspect = chain.len().checked_sub(1);
        let cut = chain.len().saturating_sub(STEPS);
        for (n, link) in chain.iter().enumerate() {
            if (1..=cut).contains(&n) {
                if n == cut {
                    write!(f, "\n   ┆  … {cut} more steps")?;
                }
                continue;
            }
            let corner = if n == 0 { "┌─" } else { "├─" };
            match &link.referrer {
                Referrer::Thing(subject) => write!(f, "\n   {corner} {}", Known(subject))?,
                Referrer::Outside(outside) => {
                    write!(f, "\n   {corner} {}", Quoted(&outside.to_string()))?;
                }
                Referrer::Unknown(what) => write!(f, "\n   {corner} {}", Quoted(what))?,
                Referrer::Itself => continue,
            }
            let arrow = if Some(n) == suspect {
                "┆ ⇣"
            } else {
                "│ ↓"
            };
            let how = format!("{arrow} {}", Quoted(&link.how));
            if Some(n) == suspect {
                let marked = self.paint(Tone::Suspect, format_args!("{how}   ← suspect"));
                write!(f, "\n   {marked}")?;
            } else {
                write!(f, "\n   {how}")?;
            }
        }
        let corner = if is_alone(&chain) { "──" } else { "└─" };
        let culprit = format!("{}: {}", finding.subject, finding.subject.state);
        write!(f, "\n   {corner} {}", self.paint(Tone::Culprit, culprit))
    }
}

/// The sum of the handles, each of them, and who came and went.
fn handles(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Some(holders) = &finding.holders else {
        return Ok(());
    };
    line(f, "handles", &holders.sum())?;
    for holder in holders.iter().take(LISTED) {
        more(f, &holder)?;
        let frames = holder.backtrace().map(caller::frames).unwrap_or_default();
        for (function, site) in frames.into_iter().take(FRAMES) {
            let site = site.map(|site| format!(" at {site}")).unwrap_or_default();
            more(f, &format_args!("  {}{site}", Quoted(&function)))?;
        }
    }
    if holders.len() > LISTED {
        more(f, &format_args!("… {} more", holders.len() - LISTED))?;
    }
    if holders.untracked() > 0 {
        more(
            f,
            &format_args!(
                "{} untracked: {}",
                holders.untracked(),
                unaccounted(finding)
            ),
        )?;
    }
    let is_own = |acquisition: &&Acquisition| !caller::is_library(acquisition.location.file());
    let gone: Vec<_> = holders.gone().filter(is_own).take(LISTED).collect();
    if !gone.is_empty() && finding.kind != LeakKind::StillThere {
        line(f, "came and went", &gone.len())?;
        for acquisition in gone {
            let location = acquisition.location;
            let by = format!(
                "taken at {}:{} by {}",
                location.file(),
                location.line(),
                acquisition.by
            );
            more(f, &Quoted(&by))?;
        }
    }
    Ok(())
}

/// How many frames of a stack are printed.
const FRAMES: usize = 12;

/// Why the holders of the rest are unknown.
fn unaccounted(finding: &Finding) -> &'static str {
    let record = finding
        .subject
        .resource
        .as_ref()
        .map(|resource| resource.record().ledger().is_some());
    match record {
        Some(false) => "handles of a plain `Arc` are not tracked",
        _ => "taken before tracking began",
    }
}

fn is_alone(chain: &[&Link]) -> bool {
    chain
        .iter()
        .all(|link| matches!(link.referrer, Referrer::Itself))
}

/// A line under a label.
fn line(f: &mut fmt::Formatter<'_>, label: &str, text: &dyn fmt::Display) -> fmt::Result {
    write!(f, "\n     {label:<13} {text}")
}

/// One more line under the same label.
fn more(f: &mut fmt::Formatter<'_>, text: &dyn fmt::Display) -> fmt::Result {
    write!(f, "\n     {:<13}   {text}", "")
}

/// The first few, and how many more there are.
fn listing(f: &mut fmt::Formatter<'_>, label: &str, subjects: &[&Subject]) -> fmt::Result {
    if subjects.is_empty() {
        return Ok(());
    }
    line(f, label, &subjects.len())?;
    for subject in subjects.iter().take(LISTED) {
        more(f, &Known(subject))?;
    }
    match subjects.len().saturating_sub(LISTED) {
        0 => Ok(()),
        hidden => more(f, &format_args!("… {hidden} more")),
    }
}

/// `task server/accept: running for 12s, spawned at src/main.rs:40`
struct Known<'a>(&'a Subject);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.0;
        write!(f, "{subject}: {}", Quoted(&subject.state))?;
        match subject.location {
            Some(_) => write!(f, ", {} at {}", subject.made, subject.site()),
            None => Ok(()),
        }
    }
}

/// `allowed: pool users, alive for 3h 01m (kind pool, for another 12d 3h: its owner moves this winter)`
struct Allowed<'a>(&'a Finding);

impl fmt::Display for Allowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        write!(f, "allowed: {}, {}", finding.subject, finding.kind)?;
        let Some(entry) = &finding.allowed else {
            return Ok(());
        };
        write!(f, " ({})", entry.terms(SystemTime::now()))
    }
}

/// One block, as in the report.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Style::Plain.block(f, 1, &[self])
    }
}
