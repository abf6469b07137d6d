//! The findings as a picture: who keeps whom alive.

#[cfg(feature = "serde")]
pub(crate) mod json;
#[cfg(any(feature = "testing", feature = "web"))]
mod svg;
mod text;

use crate::{
    leaks::referrers::Strength,
    name::{Printed, Quoted, spoils_a_line},
};
use std::fmt;

/// A picture of the findings of a leak report: who keeps whom alive.
///
/// It is read from left to right: from what is outside (a static, a thread, the body of a test) over what
/// is rightly alive to the culprits, and on to what they keep alive. The four methods write it in four
/// formats. What they write depends on the findings alone: the same findings give the same text. Names
/// may contain anything: each format escapes them in its own way, and control characters and marks that
/// change the direction of writing are shown as `\u{202e}`.
///
/// | to | use |
/// |---|---|
/// | look at it | `svg` (with the feature `testing` or `web`): open the file in a browser |
/// | put it into an issue or a README | [`mermaid`](Graph::mermaid): GitHub and GitLab draw it |
/// | lay it out otherwise | [`dot`](Graph::dot): for Graphviz |
/// | count or compare | `json` (with the feature `serde`) |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Registry, leaks::LeakPolicy};
/// use std::time::Duration;
/// let registry = Registry::new();
/// let pool = registry.context("pool");
/// let conn = pool.own("conn-7", "connection", ()).unwrap();
/// pool.close().await;
/// drop(pool);
///
/// let report = registry.leaks(&LeakPolicy::new().settle(Duration::ZERO)).await;
/// let dot = report.graph().dot();
/// assert!(dot.starts_with("digraph") && dot.contains("conn-7"), "{dot}");
/// # drop(conn);
/// # }
/// ```
#[derive(Clone)]
pub struct Graph {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    /// How many culprits are in the picture without a box, because one like them has it, and what they keep.
    folded: (usize, usize),
    /// How many findings were left out.
    cut: usize,
}

/// One thing in the picture.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Node {
    pub(crate) role: Role,
    /// What it is: "context".
    pub(crate) kind: String,
    /// Which one it is: "conn-7".
    pub(crate) name: String,
    /// A few short facts: "closed 3.2s ago", "src/net/conn.rs:41".
    #[cfg_attr(feature = "serde", serde(rename = "facts"))]
    pub(crate) lines: Vec<String>,
}

/// What a node has to do with the leak. In the order in which a picture begins with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "lowercase")
)]
pub(crate) enum Role {
    /// Outside: a static, the body of a test, a thread.
    Root,
    /// A holder without a name: "1 untracked".
    Unknown,
    /// Known and rightly alive, on the way to a culprit.
    Alive,
    /// Should be gone.
    Culprit,
    /// Kept alive by a culprit.
    Victim,
}

impl Role {
    #[cfg(any(test, feature = "testing", feature = "web"))]
    const ALL: [Role; 5] = [
        Role::Root,
        Role::Unknown,
        Role::Alive,
        Role::Culprit,
        Role::Victim,
    ];

    /// The word in the box, so that colours are not needed.
    fn word(self) -> &'static str {
        match self {
            Role::Root => "root",
            Role::Unknown => "unknown",
            Role::Alive => "alive",
            Role::Culprit => "culprit",
            Role::Victim => "held by it",
        }
    }

    /// The name as a class, which is the one in JSON.
    fn key(self) -> &'static str {
        match self {
            Role::Victim => "victim",
            role => role.word(),
        }
    }
}

/// `from` keeps `to` alive, or is said to.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct Edge {
    from: usize,
    to: usize,
    /// "holds, taken at src/x.rs:12".
    label: String,
    strength: Strength,
}

impl Edge {
    /// The label, or words for the strength where there is none.
    fn words(&self) -> &str {
        if self.label.is_empty() {
            self.strength.words()
        } else {
            &self.label
        }
    }
}

impl Strength {
    #[cfg(any(test, feature = "testing", feature = "web"))]
    const ALL: [Strength; 3] = [Strength::Suspect, Strength::Strong, Strength::Weak];

    fn words(self) -> &'static str {
        match self {
            Strength::Suspect => "holds: look here",
            Strength::Strong => "holds",
            Strength::Weak => "belongs to",
        }
    }

    /// The name as a class, which is the one in JSON.
    #[cfg(any(feature = "testing", feature = "web"))]
    fn key(self) -> &'static str {
        match self {
            Strength::Suspect => "suspect",
            Strength::Strong => "strong",
            Strength::Weak => "weak",
        }
    }
}

impl Graph {
    /// A picture with nothing in it yet.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            nodes: Vec::new(),
            edges: Vec::new(),
            folded: (0, 0),
            cut: 0,
        }
    }

    /// Adds a thing; the number is what [`connect`](Self::connect) knows it by.
    pub(crate) fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(crate) fn add_fact(&mut self, node: usize, fact: String) {
        self.nodes[node].lines.push(fact);
    }

    /// Says that `from` holds `to`. An edge to nowhere is left out: a picture with a hole in it is worth
    /// more than a panic.
    pub(crate) fn connect(
        &mut self,
        from: usize,
        to: usize,
        label: impl Into<String>,
        strength: Strength,
    ) {
        let there = from.max(to) < self.nodes.len();
        debug_assert!(there, "an edge to a node that was not added");
        if there {
            self.edges.push(Edge {
                from,
                to,
                label: label.into(),
                strength,
            });
        }
    }

    /// Says that boxes stand for so many culprits and victims more.
    pub(crate) fn fold(&mut self, culprits: usize, victims: usize) {
        self.folded.0 += culprits;
        self.folded.1 += victims;
    }

    /// Says that so many findings more are not in the picture.
    pub(crate) fn leave_out(&mut self, findings: usize) {
        self.cut += findings;
    }

    /// For Graphviz: `dot -Tsvg leaks.dot -o leaks.svg`.
    ///
    /// Roles are told apart by shape, border and a word in the box, edges by their line: bold and dashed is
    /// the one to look at, dotted holds nothing.
    pub fn dot(&self) -> String {
        text::dot(self)
    }

    /// A Mermaid flowchart: in a code block marked `mermaid` it is drawn by GitHub,
    /// GitLab and many editors.
    ///
    /// Mermaid itself refuses more than 500 edges or 50,000 characters unless it is told otherwise
    /// (`maxEdges`, `maxTextSize`).
    pub fn mermaid(&self) -> String {
        text::mermaid(self)
    }

    /// A JSON object with `title`, `left_out` (a count of findings), `nodes` and `edges`.
    ///
    /// A node has `id`, `role` (`root`, `unknown`, `alive`, `culprit` or `victim`), `kind`, `name` and
    /// `facts`; an edge `from` and `to` (ids), `label` and `strength` (`suspect`, `strong` or `weak`).
    /// Nothing is shortened here. `Graph` is `serde::Serialize` as well.
    ///
    /// Needs the feature `serde`.
    #[cfg(feature = "serde")]
    pub fn json(&self) -> String {
        json::legible_json(self)
    }

    /// A picture for a browser, complete in one file: no script, nothing that is loaded from elsewhere.
    ///
    /// It follows the light or dark scheme of the reader. Long names are shortened in the middle and shown
    /// when the pointer rests on them; the picture grows with the findings instead of shrinking the text.
    ///
    /// Needs the feature `testing`, whose checks write such a picture of each failure, or the feature `web`, whose page shows it.
    #[cfg(any(feature = "testing", feature = "web"))]
    pub fn svg(&self) -> String {
        svg::svg(self)
    }

    /// `2 culprits · 3 held by them · 1 finding is left out`
    fn summary(&self) -> String {
        let count = |role| self.nodes.iter().filter(|node| node.role == role).count();
        let culprits = count(Role::Culprit) + self.folded.0;
        let victims = count(Role::Victim) + self.folded.1;
        let (mut summary, them) = match culprits {
            1 => ("1 culprit".to_owned(), "it"),
            _ => (format!("{culprits} culprits"), "them"),
        };
        if victims > 0 {
            summary = format!("{summary} · {victims} held by {them}");
        }
        match self.cut {
            0 => summary,
            1 => summary + " · 1 finding is left out",
            cut => format!("{summary} · {cut} findings are left out"),
        }
    }
}

/// A text on one line, as long as a sentence at most, without characters that act instead of showing.
fn legible(text: &str) -> String {
    let mut shown = String::new();
    for c in Quoted(text).to_string().chars() {
        if acts(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The same as long as a name at most, where nothing cuts it and no tooltip has the rest.
fn short(text: &str) -> String {
    legible(&Printed(text).to_string())
}

/// What spoils a line, one more direction mark, what has no width, and what XML forbids.
fn acts(c: char) -> bool {
    spoils_a_line(c)
        || matches!(
            c,
            '\u{61c}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// How large it is. What is in it is what the formats are for.
impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph")
            .field("nodes", &self.nodes.len())
            .field("edges", &self.edges.len())
            .field("left_out", &self.cut)
            .finish_non_exhaustive()
    }
}

/// Pictures to test with: as reports make them, and worse.
#[cfg(test)]
mod samples {
    use super::{Graph, Node, Role, Strength};

    /// A name that means something to every format.
    pub(super) const HOSTILE: &str = "a\"b\n<script>]|\\&amp;'\u{202e}#`%%{style:#x;";

    pub(super) fn node(role: Role, kind: &str, name: &str, lines: &[&str]) -> Node {
        Node {
            role,
            kind: kind.to_owned(),
            name: name.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        }
    }

    /// Nodes without facts, all culprits, and edges that are known to hold.
    #[cfg(feature = "testing")]
    pub(super) fn bare(nodes: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new("bare");
        for n in 0..nodes {
            graph.add(node(Role::Culprit, "context", &format!("n{n}"), &[]));
        }
        for &(from, to) in edges {
            graph.connect(from, to, "", Strength::Strong);
        }
        graph
    }

    /// One culprit, held by a static, with two victims.
    pub(super) fn one() -> Graph {
        let mut graph = Graph::new("1 leak in registry \"server\"");
        let root = graph.add(node(Role::Root, "static", "POOL", &["src/pool.rs:9"]));
        let facts = ["closed 3.2s ago", "3 strong", "src/net/conn.rs:41"];
        let culprit = graph.add(node(Role::Culprit, "context", "conn-7", &facts));
        let task = graph.add(node(
            Role::Victim,
            "task",
            "reader",
            &["src/net/conn.rs:58"],
        ));
        let buffer = graph.add(node(Role::Victim, "buffer", "rx", &[]));
        let label = "holds, taken at src/pool.rs:112";
        graph.connect(root, culprit, label, Strength::Suspect);
        graph.connect(culprit, task, "runs", Strength::Strong);
        graph.connect(culprit, buffer, "owns", Strength::Strong);
        graph
    }

    /// Two culprits that hold each other, and nothing else holds them.
    #[cfg(feature = "testing")]
    pub(super) fn cycle() -> Graph {
        let mut graph = Graph::new("a cycle");
        let left = graph.add(node(Role::Culprit, "session", "alice", &["src/chat.rs:10"]));
        let right = graph.add(node(Role::Culprit, "room", "lobby", &["src/chat.rs:31"]));
        let victim = graph.add(node(Role::Victim, "socket", "tcp-1", &[]));
        graph.connect(left, right, "holds its room", Strength::Suspect);
        graph.connect(right, left, "holds its members", Strength::Suspect);
        graph.connect(left, victim, "owns", Strength::Strong);
        graph
    }

    /// Anything at all, the same for the same seed: loops, edges to itself, several edges between two.
    pub(super) fn tangle(nodes: usize, edges: usize, seed: u64) -> Graph {
        let mut graph = Graph::new("a tangle");
        let mut state = seed;
        let mut below = |most: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % most
        };
        for n in 0..nodes {
            let facts = &["one", "two", "three"][..below(4)];
            let role = Role::ALL[below(Role::ALL.len())];
            graph.add(node(role, "thing", &format!("n{n}"), facts));
        }
        for _ in 0..edges {
            let (from, to) = (below(nodes), below(nodes));
            graph.connect(from, to, "", Strength::ALL[below(3)]);
        }
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::{samples, *};

    #[test]
    fn the_same_findings_give_the_same_text() {
        let (one, other) = (samples::tangle(30, 60, 1), samples::tangle(30, 60, 1));
        #[cfg(feature = "testing")]
        assert_eq!(one.svg(), other.svg());
        assert_eq!(one.dot(), other.dot());
        assert_eq!(one.mermaid(), other.mermaid());
        #[cfg(feature = "serde")]
        assert_eq!(one.json(), other.json());
    }

    #[test]
    fn the_summary_counts_and_says_what_is_left_out() {
        let mut graph = samples::one();
        assert_eq!(graph.summary(), "1 culprit · 2 held by it");
        graph.leave_out(1);
        assert_eq!(
            graph.summary(),
            "1 culprit · 2 held by it · 1 finding is left out"
        );
        assert_eq!(Graph::new("none").summary(), "0 culprits");
    }

    #[test]
    fn the_summary_counts_what_boxes_stand_for() {
        let mut graph = samples::one();
        graph.fold(99, 7);
        assert_eq!(graph.summary(), "100 culprits · 9 held by them");
    }

    #[test]
    fn debug_says_how_large_it_is() {
        let debug = format!("{:?}", samples::one());
        assert_eq!(debug, "Graph { nodes: 4, edges: 3, left_out: 0, .. }");
    }

    #[test]
    fn an_edge_without_a_label_has_words_all_the_same() {
        let mut graph = samples::one();
        graph.connect(0, 1, "", Strength::Weak);
        assert_eq!(graph.edges.last().unwrap().words(), "belongs to");
    }

    #[test]
    fn what_acts_instead_of_showing_is_escaped() {
        assert_eq!(
            legible("a\n\u{202e}\u{61c}\u{feff}\u{ffff}\0"),
            "a\\n\\u{202e}\\u{61c}\\u{feff}\\u{ffff}\\u{0}"
        );
    }

    #[test]
    fn a_short_text_says_how_long_it_was() {
        assert!(short(&"x".repeat(500)).ends_with("x… (500 bytes)"));
    }
}
