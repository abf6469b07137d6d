//! Pictures to test with: as reports make them, and worse.

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

/// So many culprits with chains of one to four before and behind them, some with holders in common.
pub(super) fn findings(culprits: usize) -> Graph {
    let mut graph = Graph::new(format!("{culprits} leaks in registry \"server\""));
    let statics = graph.add(node(Role::Root, "static", "SESSIONS", &["src/state.rs:14"]));
    let pool = graph.add(node(Role::Victim, "pool", "postgres", &["src/db.rs:77"]));
    let mut previous = None;
    for n in 0..culprits {
        let name = match n % 7 {
            3 => format!("a-connection-with-quite-a-long-name-for-tenant-{n}"),
            5 => format!("接続-{n} <&>"),
            _ => format!("conn-{n}"),
        };
        let closed = format!("closed {}.{}s ago", n % 40, n % 10);
        let place = format!("src/net/conn.rs:{}", 40 + n);
        let facts: Vec<&str> = [&*closed, "2 strong", &*place][..n % 4].to_vec();
        let culprit = graph.add(node(Role::Culprit, "context", &name, &facts));
        before(&mut graph, statics, culprit, n);
        behind(&mut graph, culprit, pool, n);
        if let Some(previous) = previous.filter(|_| n % 11 == 10) {
            graph.connect(culprit, previous, "holds its neighbour", Strength::Suspect);
            graph.connect(previous, culprit, "holds its neighbour", Strength::Strong);
        }
        previous = Some(culprit);
    }
    graph
}

fn before(graph: &mut Graph, statics: usize, culprit: usize, n: usize) {
    let label = format!("holds, taken at src/handlers/session.rs:{}", 100 + n);
    match n % 5 {
        0 | 1 => graph.connect(statics, culprit, label, Strength::Suspect),
        2 => {
            let unknown = graph.add(node(Role::Unknown, "holder", "1 untracked", &[]));
            graph.connect(unknown, culprit, "holds", Strength::Suspect);
        }
        3 => {
            let thread = graph.add(node(Role::Root, "thread", "main", &[]));
            let alive = graph.add(node(Role::Alive, "task", "acceptor", &["src/main.rs:20"]));
            graph.connect(thread, alive, "runs", Strength::Strong);
            graph.connect(alive, culprit, label, Strength::Suspect);
            graph.connect(statics, culprit, "registered here", Strength::Weak);
        }
        _ => {}
    }
}

fn behind(graph: &mut Graph, culprit: usize, pool: usize, n: usize) {
    for v in 0..n % 3 {
        let name = format!("reader-{n}-{v}");
        let task = graph.add(node(Role::Victim, "task", &name, &["src/net/read.rs:12"]));
        graph.connect(culprit, task, "runs", Strength::Strong);
        if v == 1 {
            let buffer = graph.add(node(Role::Victim, "buffer", "rx", &[]));
            graph.connect(task, buffer, "owns", Strength::Strong);
        }
    }
    if n % 6 == 1 {
        graph.connect(culprit, pool, "borrowed at src/db.rs:90", Strength::Strong);
    }
}

/// Anything at all, the same for the same seed: loops, edges to itself, several edges between two.
#[cfg(feature = "testing")]
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
