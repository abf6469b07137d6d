//! The picture for programs.

use super::{Edge, Graph, Node, acts};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use std::io::{self, Write};

#[derive(Serialize)]
struct Picture<'a> {
    title: &'a str,
    left_out: usize,
    nodes: Vec<Numbered<'a>>,
    edges: &'a [Edge],
}

/// A node with the number that edges know it by.
#[derive(Serialize)]
struct Numbered<'a> {
    id: usize,
    #[serde(flatten)]
    node: &'a Node,
}

/// As [`Graph::json`] describes it.
impl Serialize for Graph {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes = self.nodes.iter().enumerate();
        let picture = Picture {
            title: &self.title,
            left_out: self.cut,
            nodes: nodes.map(|(id, node)| Numbered { id, node }).collect(),
            edges: &self.edges,
        };
        picture.serialize(serializer)
    }
}

/// The JSON of a value on one line, with nothing in it that a terminal obeys. Its keys are strings.
pub(crate) fn legible_json(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Legible);
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok(), "strings and numbers alone");
    String::from_utf8(bytes).unwrap_or_default()
}

/// On one line, with blanks. What would spoil a terminal is escaped as well, because JSON is also read by people.
struct Legible;

impl Formatter for Legible {
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        w: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| acts(*c)) {
            w.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(w, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        w.write_all(rest.as_bytes())
    }
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
