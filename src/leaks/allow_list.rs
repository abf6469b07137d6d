//! What the entries of an allow list do to the findings of a report.

use crate::leaks::{allow::Allow, finding::Finding, policy::LeakPolicy};
use std::time::SystemTime;

/// Looks a finding up in the allow list. An entry that holds beats those that have ended; of these it is the one that
/// ended last.
pub(crate) fn apply(finding: &mut Finding, policy: &LeakPolicy) {
    let (suspect, now) = (finding.as_suspect(), SystemTime::now());
    let covering = || policy.allowed.iter().filter(|entry| entry.covers(&suspect));
    let holding = covering().filter(|entry| entry.holds_at(now));
    // One that is also accepted without a limit does not use up that of another entry.
    let allowed = holding.min_by_key(|entry| entry.has_limit()).cloned();
    let expired = covering().max_by_key(|entry| entry.end()).cloned();
    finding.expired = expired.filter(|_| allowed.is_none());
    finding.allowed = allowed;
}

/// Those that the allow list covers, and the others.
pub(crate) fn split(findings: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let is_allowed = |finding: &Finding| finding.allowed.is_some();
    if findings.iter().any(is_allowed) {
        findings.into_iter().partition(is_allowed)
    } else {
        (Vec::new(), findings)
    }
}

/// Findings of an entry that covers more than it accepts are not allowed; says so for each such entry.
pub(crate) fn withdraw_exceeded(findings: &mut [Finding], policy: &LeakPolicy) -> Vec<String> {
    let mut said = Vec::new();
    for entry in &policy.allowed {
        let is_its_own = |finding: &Finding| finding.allowed.as_ref() == Some(entry);
        let covered = findings
            .iter()
            .filter(|finding| is_its_own(finding))
            .count();
        if covered == 0 || entry.accepts(covered) {
            continue;
        }
        for finding in findings.iter_mut().filter(|finding| is_its_own(finding)) {
            finding.allowed = None;
        }
        let what = entry.what();
        said.push(format!(
            "this entry of the allow list covers {covered}, and accepts none therefore: {what}"
        ));
    }
    said
}

/// The entries that cover nothing, if there are any.
pub(crate) fn of_no_use(findings: &[Finding], policy: &LeakPolicy) -> Option<String> {
    let suspects: Vec<_> = findings.iter().map(Finding::as_suspect).collect();
    let covers_nothing = |entry: &&Allow| !suspects.iter().any(|suspect| entry.covers(suspect));
    let idle: Vec<_> = policy
        .allowed
        .iter()
        .filter(covers_nothing)
        .map(Allow::what)
        .collect();
    let said = || {
        format!(
            "these entries of the allow list cover nothing: {}",
            idle.join(", ")
        )
    };
    (!idle.is_empty()).then(said)
}
