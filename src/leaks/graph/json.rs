//! The picture for programs.

use super::{Edge, Graph, Node, words};
use std::fmt::{self, Write};

pub(super) struct Json<'a>(pub(super) &'a Graph);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Graph { title, cut, .. } = self.0;
        writeln!(f, "{{\n  \"title\": {},", Text(title))?;
        write!(f, "  \"left_out\": {cut},\n  \"nodes\": ")?;
        list(f, &self.0.nodes, node)?;
        write!(f, ",\n  \"edges\": ")?;
        list(f, &self.0.edges, |f, _, edge| arrow(f, edge))?;
        writeln!(f, "\n}}")
    }
}

/// An array with one item a line.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    item: impl Fn(&mut fmt::Formatter<'_>, usize, &T) -> fmt::Result,
) -> fmt::Result {
    let mut separator = "[\n    ";
    for (at, each) in items.iter().enumerate() {
        f.write_str(separator)?;
        item(f, at, each)?;
        separator = ",\n    ";
    }
    f.write_str(if items.is_empty() { "[]" } else { "\n  ]" })
}

fn node(f: &mut fmt::Formatter<'_>, id: usize, node: &Node) -> fmt::Result {
    let (kind, name) = (Text(&node.kind), Text(&node.name));
    write!(f, "{{\"id\": {id}, \"role\": \"{}\", ", node.role.key())?;
    write!(f, "\"kind\": {kind}, \"name\": {name}, \"facts\": [")?;
    let mut separator = "";
    for line in &node.lines {
        write!(f, "{separator}{}", Text(line))?;
        separator = ", ";
    }
    f.write_str("]}")
}

fn arrow(f: &mut fmt::Formatter<'_>, edge: &Edge) -> fmt::Result {
    let (label, strength) = (Text(&edge.label), edge.strength.key());
    write!(f, "{{\"from\": {}, \"to\": {}, ", edge.from, edge.to)?;
    write!(f, "\"label\": {label}, \"strength\": \"{strength}\"}}")
}

/// A string with its quotes. What would spoil a terminal is escaped as well: JSON is looked at, too.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if words::acts(c) => escaped(f, c)?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// `\u000a`
fn escaped(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    for unit in c.encode_utf16(&mut [0; 2]) {
        write!(f, "\\u{unit:04x}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::leaks::graph::{Graph, Role, Strength, samples};
    use serde_json::{Value, json};

    fn read(graph: &Graph) -> Value {
        serde_json::from_str(&graph.json()).unwrap()
    }

    #[test]
    fn every_node_and_edge_is_there() {
        let value = read(&samples::one());
        assert_eq!(
            value["nodes"][1],
            json!({
                "id": 1, "role": "culprit", "kind": "context", "name": "conn-7",
                "facts": ["closed 3.2s ago", "3 strong", "src/net/conn.rs:41"],
            })
        );
        assert_eq!(
            value["edges"][0],
            json!({"from": 0, "to": 1, "label": "holds, taken at src/pool.rs:112", "strength": "suspect"})
        );
        assert_eq!(value["nodes"].as_array().unwrap().len(), 4);
        assert_eq!(value["edges"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn hostile_texts_come_back_as_they_were() {
        let name = format!("{}\0\u{7f}\u{2028}", samples::HOSTILE);
        let mut graph = Graph::new(&*name);
        graph.add(samples::node(Role::Victim, &name, &name, &[&name, ""]));
        graph.connect(0, 0, &*name, Strength::Weak);
        let value = read(&graph);
        assert_eq!(value["title"], *name);
        assert_eq!(value["nodes"][0]["name"], *name);
        assert_eq!(value["nodes"][0]["kind"], *name);
        assert_eq!(value["nodes"][0]["facts"], json!([name, ""]));
        assert_eq!(value["edges"][0]["label"], *name);
    }

    #[test]
    fn what_spoils_a_terminal_is_escaped() {
        let text = Graph::new("\u{1b}[31m\u{202e}").json();
        assert!(text.contains("\"\\u001b[31m\\u202e\""));
    }

    #[test]
    fn an_empty_picture_has_empty_lists() {
        let mut graph = Graph::new("");
        graph.leave_out(3);
        assert_eq!(
            read(&graph),
            json!({"title": "", "left_out": 3, "nodes": [], "edges": []})
        );
    }
}
