//! The picture for Graphviz, and the one for Mermaid, which draws it where Markdown is read.

use super::{Edge, Graph, Node, Role, Strength, legible, short};

/// What stands in a box: its role and its kind, its name, and its facts.
fn words_of(node: &Node) -> Vec<String> {
    let role = node.role.word();
    let head = if node.kind.is_empty() {
        role.to_owned()
    } else {
        format!("{role} · {}", short(&node.kind))
    };
    let facts = node.lines.iter().map(|line| short(line));
    [head, short(&node.name)].into_iter().chain(facts).collect()
}

pub(super) fn dot(graph: &Graph) -> String {
    let title = dot_text(&legible(&graph.title));
    let summary = dot_text(&graph.summary());
    let mut lines = vec![
        "digraph leaks {".to_owned(),
        "  rankdir=LR; labelloc=t;".to_owned(),
        format!("  label=\"{title}\\n{summary}\";"),
        "  graph [fontname=\"sans-serif\"];".to_owned(),
        "  node [fontname=\"sans-serif\"];".to_owned(),
        "  edge [fontname=\"sans-serif\", fontsize=11];".to_owned(),
    ];
    let nodes = graph.nodes.iter().enumerate();
    lines.extend(nodes.map(|(id, node)| dot_node(id, node)));
    lines.extend(graph.edges.iter().map(dot_edge));
    lines.push("}\n".to_owned());
    lines.join("\n")
}

fn dot_node(id: usize, node: &Node) -> String {
    let words: Vec<_> = words_of(node).iter().map(|line| dot_text(line)).collect();
    let (label, border) = (words.join("\\n"), border(node.role));
    let tooltip = dot_text(&legible(&node.name));
    format!("  n{id} [label=\"{label}\", tooltip=\"{tooltip}\", {border}];")
}

fn dot_edge(edge: &Edge) -> String {
    let label = dot_text(&short(edge.words()));
    let line = match edge.strength {
        Strength::Suspect => "style=dashed, penwidth=3, color=\"#b3261e\"",
        Strength::Strong => "style=solid",
        // What holds nothing does not decide who stands where.
        Strength::Weak => "style=dotted, arrowhead=empty, constraint=false",
    };
    format!(
        "  n{} -> n{} [label=\"{label}\", {line}];",
        edge.from, edge.to
    )
}

fn border(role: Role) -> &'static str {
    match role {
        Role::Root => "shape=box, style=rounded, peripheries=2",
        Role::Unknown => "shape=ellipse, style=dotted, penwidth=2",
        Role::Alive => "shape=box, style=rounded",
        Role::Culprit => "shape=octagon, style=bold, penwidth=3, color=\"#b3261e\"",
        Role::Victim => "shape=note, style=dashed",
    }
}

/// The inside of a quoted string. Graphviz reads backslashes and the entities of HTML in it.
fn dot_text(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('&', "&amp;")
}

pub(super) fn mermaid(graph: &Graph) -> String {
    let mut lines = vec![
        "flowchart LR".to_owned(),
        format!("  accTitle: {}", mermaid_text(&legible(&graph.title))),
        format!("  accDescr: {}", mermaid_text(&graph.summary())),
    ];
    let nodes = graph.nodes.iter().enumerate();
    lines.extend(nodes.map(|(id, node)| mermaid_node(id, node)));
    lines.extend(graph.edges.iter().map(mermaid_edge));
    lines.extend(CLASSES.map(|class| format!("  classDef {class}")));
    let edges = graph.edges.iter().enumerate();
    let suspects = edges.filter(|(_, edge)| edge.strength == Strength::Suspect);
    let suspects: Vec<_> = suspects.map(|(number, _)| number.to_string()).collect();
    if !suspects.is_empty() {
        // Mermaid has thick lines and broken lines, but thick broken ones by their number alone.
        let suspects = suspects.join(",");
        lines.push(format!("  linkStyle {suspects} stroke-dasharray:8 5"));
    }
    lines.join("\n") + "\n"
}

/// Borders for the roles. The shapes tell them apart as well, and the word in the box.
const CLASSES: [&str; 5] = [
    "root stroke-width:2px",
    "unknown stroke-width:2px,stroke-dasharray:2 3",
    "alive stroke-width:1px",
    "culprit stroke-width:4px",
    "victim stroke-width:1px,stroke-dasharray:6 3",
];

fn mermaid_node(id: usize, node: &Node) -> String {
    let (open, close) = match node.role {
        Role::Root => ("[[", "]]"),
        Role::Unknown => ("([", "])"),
        Role::Alive => ("(", ")"),
        Role::Culprit => ("{{", "}}"),
        Role::Victim => ("[", "]"),
    };
    let words: Vec<_> = words_of(node)
        .iter()
        .map(|line| mermaid_text(line))
        .collect();
    let (words, class) = (words.join("<br/>"), node.role.key());
    format!("  n{id}{open}\"{words}\"{close}:::{class}")
}

fn mermaid_edge(edge: &Edge) -> String {
    let arrow = match edge.strength {
        Strength::Suspect => "==>",
        Strength::Strong => "-->",
        Strength::Weak => "-.->",
    };
    let label = mermaid_text(&short(edge.words()));
    format!("  n{} {arrow}|\"{label}\"| n{}", edge.from, edge.to)
}

/// Text that Mermaid, Markdown and HTML take for nothing else: what is neither a letter nor a digit nor
/// harmless is written as `#59;`. A colon is not harmless: behind the word `style` Mermaid eats semicolons.
fn mermaid_text(text: &str) -> String {
    let escaped = |c: char| match c {
        // Mermaid breaks the line at `\n` even if its backslash is escaped: one that looks the same.
        '\\' => '\u{2216}'.to_string(),
        c if c.is_alphanumeric() || " -_./,·…".contains(c) => c.to_string(),
        c => format!("#{};", u32::from(c)),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::samples;

    #[test]
    fn a_node_is_told_by_its_word_and_its_border() {
        let text = samples::one().dot();
        assert!(text.contains(
            "  n1 [label=\"culprit · context\\nconn-7\\nclosed 3.2s ago\\n3 strong\\nsrc/net/conn.rs:41\", \
             tooltip=\"conn-7\", shape=octagon, style=bold, penwidth=3, color=\"#b3261e\"];\n"
        ));
    }

    #[test]
    fn an_edge_is_told_by_its_line() {
        let text = samples::one().dot();
        assert!(text.contains(
            "  n0 -> n1 [label=\"holds, taken at src/pool.rs:112\", style=dashed, penwidth=3, "
        ));
        assert!(text.contains("  n1 -> n2 [label=\"runs\", style=solid];\n"));
    }

    #[test]
    fn no_two_roles_share_a_border() {
        let borders: std::collections::HashSet<_> = Role::ALL.map(border).into();
        assert_eq!(borders.len(), Role::ALL.len());
    }

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let mut graph = Graph::new(samples::HOSTILE);
        graph.add(samples::node(Role::Alive, "", samples::HOSTILE, &[]));
        let text = graph.dot();
        let name = "a\\\"b\\\\n<script>]|\\\\&amp;amp;'\\\\u{202e}#`%%{style:#x;";
        assert!(text.contains(&format!(
            "n0 [label=\"alive\\n{name}\", tooltip=\"{name}\", "
        )));
        assert!(text.contains(&format!("label=\"{name}\\n0 culprits\";")));
    }

    #[test]
    fn a_node_is_told_by_its_word_and_its_shape() {
        let text = samples::one().mermaid();
        assert!(text.starts_with("flowchart LR\n"));
        assert!(text.contains("  n0[[\"root · static<br/>POOL<br/>src/pool.rs#58;9\"]]:::root\n"));
        assert!(text.contains("  n3[\"held by it · buffer<br/>rx\"]:::victim\n"));
    }

    #[test]
    fn the_edge_to_look_at_is_thick_and_broken() {
        let text = samples::one().mermaid();
        assert!(text.contains("  n0 ==>|\"holds, taken at src/pool.rs#58;112\"| n1\n"));
        assert!(text.ends_with("  linkStyle 0 stroke-dasharray:8 5\n"));
        assert!(text.contains("  n1 -->|\"runs\"| n2\n"));
    }

    #[test]
    fn hostile_names_are_text_and_nothing_else() {
        let mut graph = Graph::new(samples::HOSTILE);
        graph.add(samples::node(Role::Alive, "", samples::HOSTILE, &[]));
        let text = graph.mermaid();
        let name = "a#34;b\u{2216}n#60;script#62;#93;#124;\u{2216}#38;amp#59;#39;\u{2216}u#123;202e#125;#35;#96;#37;#37;#123;style#58;#35;x#59;";
        assert!(text.contains(&format!("n0(\"alive<br/>{name}\"):::alive\n")));
        assert!(text.contains(&format!("accTitle: {name}\n")));
    }

    #[test]
    fn every_class_is_defined() {
        for role in Role::ALL {
            let class = format!("{} ", role.key());
            assert!(CLASSES.iter().any(|defined| defined.starts_with(&class)));
        }
    }
}
