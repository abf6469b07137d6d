//! `/leaks`: a search for leaks, the findings with their chains, and the picture of them.

use crate::{
    leaks::{
        find,
        finding::{Finding, group},
        json::FindingView,
        report::{Alike, LeakReport},
    },
    offload::offload,
    window::{
        answer::answer,
        params::Params,
        problem::Problem,
        shared::{Shared, turn},
    },
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// How many groups of findings are listed.
const GROUPS: usize = 50;
/// The longest time that things may be given to settle.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct LeaksAnswer<'a> {
    is_clean: bool,
    alive: usize,
    /// How many findings there are, and how many the allow list accepts.
    findings: usize,
    allowed: usize,
    notes: &'a [String],
    groups: Vec<GroupView>,
    /// How many groups are left out.
    more: usize,
    /// An SVG of all of them; `None` if there are none, or if names are hashed.
    picture: Option<String>,
}

/// Findings that are alike: the first one, and how many there are.
#[derive(Serialize)]
struct GroupView {
    count: usize,
    #[serde(flatten)]
    first: FindingView,
    /// As the report prints them.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

pub(crate) async fn leaks(shared: &Arc<Shared>, uri: &axum::http::Uri) -> Result<String, Problem> {
    let settle = Params::of(uri, &["settle"])?.seconds("settle", LONGEST)?;
    let _turn = turn(&shared.searches)?;
    let mut policy = shared.leak_policy.clone();
    if let Some(settle) = settle {
        policy = policy.settle(settle);
    }
    let found = find::settle(&shared.root, &policy, || false).await;
    let (found, settled) = found.ok_or_else(Problem::registry_gone)?;
    let shared = Arc::clone(shared);
    let work = move || {
        let report = LeakReport::new(found, Some(settled), Vec::new());
        answer(&shared, view(&shared, &report))
    };
    Ok(offload(work).await)
}

fn view<'a>(shared: &Shared, report: &'a LeakReport) -> LeaksAnswer<'a> {
    let groups = group(report.findings());
    let are_shown = shared.labels.are_shown();
    let has_picture = are_shown && !groups.is_empty();
    let view = |group: &Vec<&Finding>| GroupView {
        count: group.len(),
        first: shared.wording(|wording| FindingView::of(group[0], wording)),
        text: are_shown.then(|| Alike(group).to_string()),
    };
    LeaksAnswer {
        is_clean: report.is_clean(),
        alive: report.alive(),
        findings: report.findings().len(),
        allowed: report.allowed().len(),
        notes: if are_shown { report.notes() } else { &[] },
        groups: groups.iter().take(GROUPS).map(view).collect(),
        more: groups.len().saturating_sub(GROUPS),
        picture: has_picture.then(|| report.graph().svg()),
    }
}
