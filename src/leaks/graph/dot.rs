//! The picture for Graphviz.

use super::{Edge, Graph, Node, Role, Strength, words};
use std::fmt::{self, Write};

pub(super) struct Dot<'a>(pub(super) &'a Graph);

impl fmt::Display for Dot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = words::legible(&self.0.title);
        writeln!(f, "digraph leaks {{")?;
        writeln!(f, "  rankdir=LR; labelloc=t;")?;
        writeln!(
            f,
            "  label=\"{}\\n{}\";",
            Text(&title),
            Text(&self.0.summary())
        )?;
        writeln!(f, "  graph [fontname=\"sans-serif\"];")?;
        writeln!(f, "  node [fontname=\"sans-serif\"];")?;
        writeln!(f, "  edge [fontname=\"sans-serif\", fontsize=11];")?;
        for (id, each) in self.0.nodes.iter().enumerate() {
            node(f, id, each)?;
        }
        for each in &self.0.edges {
            edge(f, each)?;
        }
        writeln!(f, "}}")
    }
}

fn node(f: &mut fmt::Formatter<'_>, id: usize, node: &Node) -> fmt::Result {
    write!(f, "  n{id} [label=\"{}", node.role.word())?;
    if !node.kind.is_empty() {
        write!(f, " · {}", Text(&words::short(&node.kind)))?;
    }
    write!(f, "\\n{}", Text(&words::short(&node.name)))?;
    for line in &node.lines {
        write!(f, "\\n{}", Text(&words::short(line)))?;
    }
    let tooltip = words::legible(&node.name);
    writeln!(
        f,
        "\", tooltip=\"{}\", {}];",
        Text(&tooltip),
        border(node.role)
    )
}

fn edge(f: &mut fmt::Formatter<'_>, edge: &Edge) -> fmt::Result {
    let label = words::short(edge.words());
    let line = match edge.strength {
        Strength::Suspect => "style=dashed, penwidth=3, color=\"#b3261e\"",
        Strength::Strong => "style=solid",
        // What holds nothing does not decide who stands where.
        Strength::Weak => "style=dotted, arrowhead=empty, constraint=false",
    };
    let (from, to) = (edge.from, edge.to);
    writeln!(
        f,
        "  n{from} -> n{to} [label=\"{}\", {line}];",
        Text(&label)
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
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '&' => f.write_str("&amp;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
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
}
