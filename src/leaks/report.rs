//! [`LeakReport`]: the result of a search for leaks, and how that is printed for a person.

use crate::{
    codebase::Codebase,
    holders::Holders,
    leaks::{
        drawing,
        find::{LeakScan, Settled},
        finding::{Finding, group},
        graph::Graph,
        judge::LeakKind,
        referrers::{Link, Origin},
        snapshot::Subject,
    },
    ledger::{caller, handle_log::Acquisition},
    name::Quoted,
    plural::{are, plural},
};
use std::{fmt, io::IsTerminal, sync::Arc, time::SystemTime};

/// Culprits that are printed in full.
const BLOCKS: usize = 20;
/// Of each list in a block: victims, handles, those that are alike.
const LISTED: usize = 5;
/// Of a chain: the first one, and those next to the culprit.
const STEPS: usize = 20;
/// How many frames of a stack are printed.
const FRAMES: usize = 12;

/// The result of a search for leaks: the culprits, each with its victims, and what is not known.
///
/// Made by [`Registry::leaks`](crate::Registry::leaks). `Display` prints one block for each culprit, in plain text:
/// what leaks, the chain that keeps it alive, from the root down, with the suspect edge marked, where it was made,
/// who holds it, what it keeps alive, and, as its last line, what to do. [`in_colour`](Self::in_colour) is the same
/// for a terminal. Equal findings are printed once, and counted.
///
/// Holds copies: it keeps nothing alive, and can be read when the registry is gone (I5). Clones are
/// cheap.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, leaks::LeakPolicy};
/// use std::time::Duration;
/// let registry = Registry::new();
/// let session = registry.context("session");
/// session.close().await;
/// let policy = LeakPolicy::new().settle(Duration::ZERO);
/// let report = registry.leaks(&policy).await; // `session` is closed, and still held
/// assert_eq!(report.findings()[0].name(), "session");
/// assert!(report.to_string().contains("closed but still held"), "{report}");
///
/// drop(session);
/// assert!(registry.leaks(&policy).await.is_clean());
/// # }
/// ```
#[derive(Clone)]
pub struct LeakReport(Arc<Contents>);

/// What a report has in it.
struct Contents {
    /// Culprits, those that last longest first; allowed ones apart.
    findings: Vec<Finding>,
    allowed: Vec<Finding>,
    things: usize,
    notes: Vec<String>,
}

impl LeakReport {
    pub(crate) fn new(found: LeakScan, settled: Option<Settled>, mut notes: Vec<String>) -> Self {
        if let Some(settled) = settled.filter(|_| !found.findings.is_empty()) {
            notes.insert(0, settled.note());
        }
        notes.extend(found.notes);
        Self(Arc::new(Contents {
            findings: found.findings,
            allowed: found.allowed,
            things: found.things,
            notes,
        }))
    }

    /// Whether there is no leak but those that are allowed.
    pub fn is_clean(&self) -> bool {
        self.0.findings.is_empty()
    }

    /// The culprits, in the order in which they were made. What only they keep alive is with them.
    pub fn findings(&self) -> &[Finding] {
        &self.0.findings
    }

    /// Those that the allow list accepts.
    pub fn allowed(&self) -> &[Finding] {
        &self.0.allowed
    }

    /// The culprits of one kind.
    pub fn of_kind(&self, kind: LeakKind) -> impl Iterator<Item = &Finding> {
        let findings = self.0.findings.iter();
        findings.filter(move |finding| finding.kind() == kind)
    }

    /// How many things were alive when this was made, leaks or not.
    pub fn alive(&self) -> usize {
        self.0.things
    }

    /// Notes on the search itself: how long it waited, what it could not see.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// The findings as a picture: who keeps whom alive. Equal findings share a box, which says how many there are; at most
    /// 200 different ones are drawn, and the picture says how many are left out.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, leaks::LeakPolicy};
    /// use std::time::Duration;
    /// let registry = Registry::new();
    /// let _forgotten = registry.own("users", "cache", ());
    /// let policy = LeakPolicy::nothing_left().settle(Duration::ZERO);
    /// let graph = registry.leaks(&policy).await.graph();
    /// assert!(graph.mermaid().contains("users"));
    /// # }
    /// ```
    pub fn graph(&self) -> Graph {
        drawing::draw(&self.0.findings)
    }

    /// Fails a test, at the line that calls this, if there is a leak that is not allowed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use headcount::{Registry, leaks::LeakPolicy};
    /// let registry = Registry::new();
    /// registry.leaks(&LeakPolicy::new()).await.assert_clean();
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// With the report, if it is not [clean](Self::is_clean).
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }

    /// Prints as `Display` does, with colours for a terminal.
    pub fn in_colour(&self) -> impl fmt::Display + '_ {
        Coloured(self)
    }

    /// Prints it to standard error: in colour if that is a terminal, unless the environment variable `NO_COLOR`
    /// is set to something.
    pub fn eprint(&self) {
        if wants_colour() {
            eprintln!("{}", self.in_colour());
        } else {
            eprintln!("{self}");
        }
    }
}

fn wants_colour() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_refused && std::io::stderr().is_terminal()
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Style::Plain.report(f, &self.0)
    }
}

struct Coloured<'a>(&'a LeakReport);

impl fmt::Display for Coloured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Style::Colour.report(f, &self.0.0)
    }
}

impl fmt::Debug for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakReport")
            .field("findings", &self.0.findings.len())
            .field("allowed", &self.0.allowed.len())
            .field("alive", &self.0.things)
            .field("notes", &self.0.notes)
            .finish_non_exhaustive()
    }
}

/// Whether to print for a file or for a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Colour,
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

/// `3 leaks (12 things alive)`
fn headline(findings: &[Finding], things: usize) -> String {
    let victims: usize = findings.iter().map(|finding| finding.victims.len()).sum();
    let leaks = if findings.len() == 1 { "leak" } else { "leaks" };
    let keep = match victims {
        0 => String::new(),
        victims if findings.len() == 1 => format!(", which keeps {victims} more alive"),
        victims => format!(", which keep {victims} more alive"),
    };
    let alive = match things {
        0 => "nothing is alive any more".to_owned(),
        1 => "1 thing alive in all".to_owned(),
        things => format!("{things} things alive in all"),
    };
    format!("{} {leaks}{keep} ({alive})", findings.len())
}

impl Style {
    fn report(self, f: &mut fmt::Formatter<'_>, contents: &Contents) -> fmt::Result {
        let findings = &contents.findings;
        if findings.is_empty() {
            f.write_str("no leaks")?;
        } else {
            let head = headline(findings, contents.things);
            f.write_str(&self.paint(Tone::Head, head))?;
        }
        for note in &contents.notes {
            let note = self.paint(Tone::Quiet, format_args!("· {note}"));
            write!(f, "\n{note}")?;
        }
        let groups = group(findings);
        for (n, group) in groups.iter().take(BLOCKS).enumerate() {
            f.write_str("\n\n")?;
            self.block(f, n + 1, group)?;
        }
        if let Some(rest) = groups.get(BLOCKS..).filter(|rest| !rest.is_empty()) {
            let more: usize = rest.iter().map(Vec::len).sum();
            write!(
                f,
                "\n\n… {} in {} {} not printed",
                plural(more, "more leak"),
                plural(rest.len(), "other group"),
                are(more)
            )?;
        }
        for finding in &contents.allowed {
            write!(f, "\n\n{}", self.paint(Tone::Quiet, allowed(finding)))?;
        }
        Ok(())
    }

    fn block(self, f: &mut fmt::Formatter<'_>, n: usize, group: &[&Finding]) -> fmt::Result {
        let finding = group[0];
        let head = format!("{n}. {}: {}", finding.subject, finding.kind);
        write!(f, "{}", self.paint(Tone::Culprit, head))?;
        let print = format!("   [{}]", finding.fingerprint());
        write!(f, "{}", self.paint(Tone::Quiet, print))?;
        self.chain(f, finding)?;
        for (label, fact) in &finding.facts {
            line(f, label, Quoted(fact))?;
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
            line(f, "was allowed", entry.terms(SystemTime::now()))?;
        }
        let advice = self.paint(Tone::Advice, Quoted(&finding.advice));
        line(f, "to do", advice)
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
                    write!(f, "\n   ┆  … {}", plural(cut, "more step"))?;
                }
                continue;
            }
            let referrer = match (&link.thing, &link.reference.from) {
                (Some(subject), _) => described(subject),
                (None, Origin::Outside(outside)) => Quoted(&outside.to_string()).to_string(),
                (None, Origin::Unknown(what)) => Quoted(what).to_string(),
                (None, _) => continue,
            };
            let corner = if n == 0 { "┌─" } else { "├─" };
            write!(f, "\n   {corner} {referrer}")?;
            let how = Quoted(&link.reference.how);
            if Some(n) == suspect {
                let marked = format_args!("┆ ⇣ {how}   ← suspect");
                write!(f, "\n   {}", self.paint(Tone::Suspect, marked))?;
            } else {
                write!(f, "\n   │ ↓ {how}")?;
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
    line(f, "handles", holders.sum())?;
    if is_in_the_chain(finding, holders) {
        return Ok(());
    }
    let groups = holders.by_line();
    let (shown, hidden) = groups.split_at(groups.len().min(LISTED));
    for group in shown {
        more(f, group)?;
        let frames = group.0[0]
            .backtrace()
            .map(caller::frames)
            .unwrap_or_default();
        for (function, site) in frames.into_iter().take(FRAMES) {
            let site = site.map(|site| format!(" at {site}")).unwrap_or_default();
            more(f, format_args!("  {}{site}", Quoted(&function)))?;
        }
    }
    let hidden: usize = hidden.iter().map(|group| group.0.len()).sum();
    if hidden > 0 {
        more(f, format_args!("… {hidden} more"))?;
    }
    if holders.untracked() > 0 {
        let (untracked, why) = (holders.untracked(), unaccounted(finding));
        more(f, format_args!("{untracked} untracked: {why}"))?;
    }
    // They say nothing where each handle is known that is left.
    if holders.untracked() == 0 {
        return Ok(());
    }
    let is_own = |acquisition: &&Acquisition| !Codebase::is_library(acquisition.location.file());
    let gone: Vec<_> = holders.gone().filter(is_own).take(LISTED).collect();
    if !gone.is_empty() && finding.kind != LeakKind::StillThere {
        line(f, "came and went", gone.len())?;
        for acquisition in gone {
            more(f, Quoted(&acquisition.to_string()))?;
        }
    }
    Ok(())
}

/// Whether the chain has shown all there is to know of the handles.
fn is_in_the_chain(finding: &Finding, holders: &Holders) -> bool {
    let mut all = holders.iter();
    let (first, second) = (all.next(), all.next());
    let last = finding.chain.last();
    let is_shown = last.is_some_and(|link| link.reference.taken.is_some());
    let has_more = first.is_none_or(|holder| holder.backtrace().is_some());
    is_shown && !has_more && second.is_none() && holders.untracked() == 0
}

/// Why the holders of the rest are unknown.
fn unaccounted(finding: &Finding) -> &'static str {
    let resource = finding.subject.resource.as_ref();
    if resource.is_some_and(|resource| resource.record().ledger().is_none()) {
        "handles of a plain `Arc` are not tracked"
    } else {
        "taken before tracking began"
    }
}

fn is_alone(chain: &[&Link]) -> bool {
    chain
        .iter()
        .all(|link| link.reference.from == Origin::Itself)
}

/// A line under a label.
fn line(f: &mut fmt::Formatter<'_>, label: &str, text: impl fmt::Display) -> fmt::Result {
    write!(f, "\n     {label:<13} {text}")
}

/// One more line under the same label.
fn more(f: &mut fmt::Formatter<'_>, text: impl fmt::Display) -> fmt::Result {
    write!(f, "\n     {:<13}   {text}", "")
}

/// The first few, and how many more there are.
fn listing(f: &mut fmt::Formatter<'_>, label: &str, subjects: &[&Subject]) -> fmt::Result {
    if subjects.is_empty() {
        return Ok(());
    }
    line(f, label, subjects.len())?;
    for subject in subjects.iter().take(LISTED) {
        more(f, described(subject))?;
    }
    match subjects.len().saturating_sub(LISTED) {
        0 => Ok(()),
        hidden => more(f, format_args!("… {hidden} more")),
    }
}

/// `task server/accept: running for 12s, spawned at src/main.rs:40`
fn described(subject: &Subject) -> String {
    let text = format!("{subject}: {}", Quoted(&subject.state));
    match subject.location {
        Some(_) => format!("{text}, {} at {}", subject.made, subject.site()),
        None => text,
    }
}

/// `allowed: pool users, alive for 3h 01m (kind pool, for another 12d 3h: its owner moves this winter)`
fn allowed(finding: &Finding) -> String {
    let text = format!("allowed: {}, {}", finding.subject, finding.kind);
    match &finding.allowed {
        Some(entry) => format!("{text} ({})", entry.terms(SystemTime::now())),
        None => text,
    }
}

/// One block for findings that are alike, as in the report.
pub(crate) struct Alike<'a>(pub(crate) &'a [&'a Finding]);

impl fmt::Display for Alike<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Style::Plain.block(f, 1, self.0)
    }
}

/// One block, as in the report.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Style::Plain.block(f, 1, &[self])
    }
}
