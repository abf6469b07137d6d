//! The result of a search for leaks.

use crate::leaks::{
    find::LeakScan,
    finding::Finding,
    judge::LeakKind,
    print::{Contents, Printout, Style},
    settle::Settled,
};
use std::{fmt, io::IsTerminal, sync::Arc};

/// The result of a search for leaks: the culprits, each with its victims, and what is not known.
///
/// Made by [`Registry::leaks`](crate::Registry::leaks). `Display` prints one block for each culprit, in plain text:
/// what leaks, the chain that keeps it alive, from the root down, with the suspect edge marked, where it was made,
/// who holds it, what it keeps alive, and, as its last line, what to do. [`in_colour`](Self::in_colour) is the same
/// for a terminal. Equal findings are printed once, and counted.
///
/// Holds copies: it keeps nothing alive, and can be read when the registry is gone (I5). Clones are
/// cheap.
#[derive(Clone)]
pub struct LeakReport(Arc<Contents>);

impl LeakReport {
    pub(crate) fn new(found: LeakScan, settled: Option<Settled>, mut notes: Vec<String>) -> Self {
        let (allowed, findings): (Vec<_>, Vec<_>) = found
            .findings
            .into_iter()
            .partition(|finding| finding.allowed.is_some());
        if let Some(settled) = settled.filter(|_| !findings.is_empty()) {
            notes.insert(0, settled.to_string());
        }
        if found.is_asked_from_inside {
            notes.push("the task that asks, and its contexts, are not counted".to_owned());
        }
        if !found.idle.is_empty() {
            let idle = found.idle.join(", ");
            notes.push(format!(
                "these entries of the allow list cover nothing: {idle}"
            ));
        }
        if found.forgotten > 0 {
            let more = found.forgotten;
            notes.push(format!(
                "{more} more contexts were dropped while open: only the latest are remembered"
            ));
        }
        if found.pending {
            notes.push("a close is still within its grace period".to_owned());
        }
        notes.extend(found.notes);
        Self(Arc::new(Contents {
            findings,
            allowed,
            things: found.things,
            notes,
        }))
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.0
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
        Printout {
            facts: &self.0,
            style: Style::Colour,
        }
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
        let printout = Printout {
            facts: &self.0,
            style: Style::Plain,
        };
        printout.fmt(f)
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

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looks = if self.looks == 1 { "look" } else { "looks" };
        let took = crate::clock::human(self.took);
        write!(
            f,
            "waited {took} for things to settle, {} {looks}",
            self.looks
        )
    }
}
