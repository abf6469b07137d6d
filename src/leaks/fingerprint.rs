//! What equal leaks have in common, from run to run.
//!
//! Two leaks on different lines of one file may have the same, if they are alike in all else: so reports group by
//! [`Finding::likeness`](crate::leaks::finding::Finding::likeness), which has the lines in it.

use crate::leaks::subject::{Link, Referrer, Subject};
use std::fmt;

/// A hash of what does not change: kinds, files, fields. Columns are in, lines are not: lines move whenever
/// something above them is edited.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self(OFFSET)
    }

    /// One more step of a chain.
    pub(crate) fn link(&mut self, link: &Link) {
        match &link.referrer {
            Referrer::Thing(subject) => self.subject(subject),
            Referrer::Outside(_) => self.add("outside"),
            Referrer::Unknown(_) => self.add("unknown"),
            Referrer::Itself => self.add("itself"),
        }
        self.add(&link.mark);
    }

    pub(crate) fn subject(&mut self, subject: &Subject) {
        self.add(&subject.kind);
        if let Some(location) = subject.location {
            self.add(location.file());
            self.add(&location.column().to_string());
        }
    }

    /// FNV-1a (Fowler, Noll, Vo), because it is the same everywhere and for ever.
    pub(crate) fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
