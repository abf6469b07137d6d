//! The picture for Mermaid, which draws it where Markdown is read.

use super::{Edge, Graph, Node, Role, Strength, words};
use std::fmt::{self, Write};

pub(super) struct Mermaid<'a>(pub(super) &'a Graph);

/// Borders for the roles. The shapes tell them apart as well, and the word in the box.
const CLASSES: &str = "  \
  classDef root stroke-width:2px
  classDef unknown stroke-width:2px,stroke-dasharray:2 3
  classDef alive stroke-width:1px
  classDef culprit stroke-width:4px
  classDef victim stroke-width:1px,stroke-dasharray:6 3
";

impl fmt::Display for Mermaid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = words::legible(&self.0.title);
        let summary = self.0.summary();
        writeln!(f, "flowchart LR")?;
        writeln!(f, "  accTitle: {}", Text(&title))?;
        writeln!(f, "  accDescr: {}", Text(&summary))?;
        for (id, each) in self.0.nodes.iter().enumerate() {
            node(f, id, each)?;
        }
        for each in &self.0.edges {
            edge(f, each)?;
        }
        f.write_str(CLASSES)?;
        suspects(f, &self.0.edges)
    }
}

fn node(f: &mut fmt::Formatter<'_>, id: usize, node: &Node) -> fmt::Result {
    let (open, close) = shape(node.role);
    write!(f, "  n{id}{open}\"{}", node.role.word())?;
    if !node.kind.is_empty() {
        write!(f, " · {}", Text(&words::short(&node.kind)))?;
    }
    write!(f, "<br/>{}", Text(&words::short(&node.name)))?;
    for line in &node.lines {
        write!(f, "<br/>{}", Text(&words::short(line)))?;
    }
    writeln!(f, "\"{close}:::{}", node.role.key())
}

fn edge(f: &mut fmt::Formatter<'_>, edge: &Edge) -> fmt::Result {
    let arrow = match edge.strength {
        Strength::Suspect => "==>",
        Strength::Strong => "-->",
        Strength::Weak => "-.->",
    };
    let label = words::short(edge.words());
    let (from, to) = (edge.from, edge.to);
    writeln!(f, "  n{from} {arrow}|\"{}\"| n{to}", Text(&label))
}

/// Mermaid has thick lines and broken lines, but thick broken ones by their number alone.
fn suspects(f: &mut fmt::Formatter<'_>, edges: &[Edge]) -> fmt::Result {
    let mut separator = "  linkStyle ";
    for (number, edge) in edges.iter().enumerate() {
        if edge.strength == Strength::Suspect {
            write!(f, "{separator}{number}")?;
            separator = ",";
        }
    }
    if separator == "," {
        writeln!(f, " stroke-dasharray:8 5")?;
    }
    Ok(())
}

fn shape(role: Role) -> (&'static str, &'static str) {
    match role {
        Role::Root => ("[[", "]]"),
        Role::Unknown => ("([", "])"),
        Role::Alive => ("(", ")"),
        Role::Culprit => ("{{", "}}"),
        Role::Victim => ("[", "]"),
    }
}

/// Text that Mermaid, Markdown and HTML take for nothing else: what is neither a letter nor a digit nor
/// harmless is written as `#59;`. A colon is not harmless: behind the word `style` Mermaid eats semicolons.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c == '\\' {
                // Mermaid breaks the line at `\n` even if its backslash is escaped: one that looks the same.
                f.write_char('\u{2216}')?;
            } else if c.is_alphanumeric() || " -_./,·…".contains(c) {
                f.write_char(c)?;
            } else {
                write!(f, "#{};", u32::from(c))?;
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
            assert!(CLASSES.contains(&format!("classDef {} ", role.key())));
        }
    }
}
