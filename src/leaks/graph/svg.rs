//! The picture for browsers.

mod layout;

use super::{Edge, Graph, Node, Role, Strength, legible};
use layout::{BOX, Label, Layout, PORT, Point, Rect, cut};
use std::fmt;

/// Roles and strengths for the light and the dark scheme.
const STYLE: &str = include_str!("svg/style.css");
/// Room for the title, and for the legend below it.
const NARROWEST: usize = 920;
/// Where the legend begins.
const LEGEND: usize = 86;
/// The height of a line of the legend, and the width of a sign with its words.
const ROW: usize = 28;
const SIGN: usize = 300;
/// How many signs a line of the legend has.
const SIGNS: usize = 3;
/// What is inside a box, in pixels from its left edge.
const INDENT: usize = 14;
/// How round the corners of lines are.
const ROUND: usize = 6;

pub(super) fn svg(graph: &Graph) -> String {
    Svg(graph).to_string()
}

struct Svg<'a>(&'a Graph);

impl fmt::Display for Svg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = self.0;
        let layout = Layout::new(graph);
        let signs = signs(graph);
        let width = layout.width.max(NARROWEST);
        let head = LEGEND + ROW * signs.len().div_ceil(SIGNS);
        let height = head + layout.height;
        write!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"headcount\" "
        )?;
        writeln!(
            f,
            "width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
        )?;
        writeln!(f, "<title>{}</title>", escaped(&legible(&graph.title)))?;
        writeln!(f, "<style>\n{STYLE}</style>")?;
        writeln!(f, "<rect class=\"page\" width=\"100%\" height=\"100%\"/>")?;
        heading(f, graph)?;
        legend(f, &signs)?;
        writeln!(f, "<g transform=\"translate(0 {head})\">")?;
        picture(f, graph, &layout)?;
        writeln!(f, "</g>\n</svg>")
    }
}

fn heading(f: &mut fmt::Formatter<'_>, graph: &Graph) -> fmt::Result {
    let title = cut(&legible(&graph.title), 70);
    write!(
        f,
        "<text class=\"title\" x=\"24\" y=\"42\">{}</text>",
        escaped(&title)
    )?;
    let summary = graph.summary();
    writeln!(
        f,
        "<text class=\"summary\" x=\"24\" y=\"66\">{}</text>",
        escaped(&summary)
    )
}

/// Lines first, then boxes, then labels: nothing that is to be read lies below something else.
fn picture(f: &mut fmt::Formatter<'_>, graph: &Graph, layout: &Layout<'_>) -> fmt::Result {
    let lines = (0..graph.edges.len()).map(|edge| layout.line(edge));
    let mut lines: Vec<_> = graph.edges.iter().zip(lines).collect();
    // What is to be looked at is drawn last, above what it shares a way with.
    lines.sort_by_key(|(edge, _)| std::cmp::Reverse(edge.strength));
    for (edge, line) in &lines {
        write!(f, "<g class=\"{}\">", edge.strength.key())?;
        whole_edge(f, graph, edge)?;
        arrow(f, &line.points)?;
        writeln!(f, "</g>")?;
    }
    for (number, each) in graph.nodes.iter().enumerate() {
        node(f, each, layout.rect(number))?;
    }
    for (edge, line) in &lines {
        write!(f, "<g class=\"{}\">", edge.strength.key())?;
        whole_edge(f, graph, edge)?;
        label(f, &line.label)?;
        writeln!(f, "</g>")?;
    }
    Ok(())
}

fn node(f: &mut fmt::Formatter<'_>, node: &Node, rect: Rect) -> fmt::Result {
    let Rect { x, y, height } = rect;
    writeln!(f, "<g class=\"{}\">", node.role.key())?;
    whole_node(f, node)?;
    shape(f, node.role, (x, y), (BOX, height))?;
    let mut head = node.role.word().to_owned();
    if !node.kind.is_empty() {
        head = format!("{head} · {}", legible(&node.kind));
    }
    text(f, "head", (x + INDENT, y + 18), &head, 29)?;
    let name = legible(&node.name);
    text(f, "name", (x + INDENT, y + 43), &name, 26)?;
    for (n, line) in node.lines.iter().enumerate() {
        let at = (x + INDENT, y + 62 + 17 * n);
        text(f, "fact", at, &legible(line), 30)?;
    }
    writeln!(f, "</g>")
}

fn text(
    f: &mut fmt::Formatter<'_>,
    class: &str,
    (x, y): Point,
    text: &str,
    most: usize,
) -> fmt::Result {
    let text = cut(text, most);
    writeln!(
        f,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>",
        escaped(&text)
    )
}

/// What is shown when the pointer rests on a box: everything, at its full length.
fn whole_node(f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
    write!(f, "<title>{}", node.role.word())?;
    for line in [&node.kind, &node.name].into_iter().chain(&node.lines) {
        if !line.is_empty() {
            write!(f, "\n{}", escaped(&legible(line)))?;
        }
    }
    writeln!(f, "</title>")
}

/// What is shown when the pointer rests on a line or its label: `SESSIONS → conn-7`, and the label.
fn whole_edge(f: &mut fmt::Formatter<'_>, graph: &Graph, edge: &Edge) -> fmt::Result {
    let name = |node: usize| legible(&graph.nodes[node].name);
    let (from, to) = (name(edge.from), name(edge.to));
    let label = legible(edge.words());
    write!(
        f,
        "<title>{} → {}\n{}</title>",
        escaped(&from),
        escaped(&to),
        escaped(&label)
    )
}

/// The outline of a role. Every role has its own shape and border; colours only add to that.
fn shape(
    f: &mut fmt::Formatter<'_>,
    role: Role,
    (x, y): Point,
    (width, height): Point,
) -> fmt::Result {
    let outline = |class: &str, inset: usize, round: usize| {
        let (x, y) = (x + inset, y + inset);
        let (width, height) = (width - 2 * inset, height - 2 * inset);
        format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
        )
    };
    match role {
        // A double border.
        Role::Root => {
            f.write_str(&outline("shape", 0, 9))?;
            writeln!(f, "{}", outline("shape inner", 4, 5))
        }
        // Dotted.
        Role::Unknown => writeln!(f, "{}", outline("shape", 0, (height / 2).min(22))),
        // One thin line.
        Role::Alive => writeln!(f, "{}", outline("shape", 0, 9)),
        // Thick, with sharp corners and a filled head.
        Role::Culprit => {
            let bar = (height / 2).min(PORT + 2);
            f.write_str(&outline("shape", 0, 0))?;
            writeln!(
                f,
                "<rect class=\"bar\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{bar}\"/>"
            )
        }
        // Dashed, with a corner cut off.
        Role::Victim => {
            let corner = (height / 3).min(18);
            let (across, down) = (width - corner, height - corner);
            writeln!(
                f,
                "<path class=\"shape\" d=\"M{x} {y}h{across}l{corner} {corner}v{down}h-{width}z\"/>"
            )
        }
    }
}

/// A line with round corners and an arrowhead, which points to the right: all lines arrive from the left.
fn arrow(f: &mut fmt::Formatter<'_>, points: &[Point]) -> fmt::Result {
    let mut points = points.to_vec();
    let tip = points[points.len() - 1];
    // The line ends inside of the arrowhead, whose point it would blunt.
    points.last_mut().into_iter().for_each(|end| end.0 -= 8);
    let mut from = points[0];
    write!(f, "<path class=\"line\" d=\"M{}", at(from))?;
    for step in points.windows(2).skip(1) {
        let (corner, next) = (step[0], step[1]);
        // A corner takes half of the way to the next one at most: there is another behind it.
        let before = towards(corner, from, distance(corner, from).min(ROUND));
        from = towards(corner, next, (distance(corner, next) / 2).min(ROUND));
        write!(f, "L{}Q{} {}", at(before), at(corner), at(from))?;
    }
    write!(f, "L{}\"/>", at(points[points.len() - 1]))?;
    write!(f, "<path class=\"tip\" d=\"M{}l-11 -5v10z\"/>", at(tip))
}

fn at((x, y): Point) -> String {
    format!("{x} {y}")
}

/// Between two points of which one lies beside or below the other.
fn distance(one: Point, other: Point) -> usize {
    one.0.abs_diff(other.0) + one.1.abs_diff(other.1)
}

fn towards(from: Point, to: Point, by: usize) -> Point {
    let step = |from: usize, to: usize| {
        if to < from {
            from - by.min(from - to)
        } else {
            from + by.min(to - from)
        }
    };
    (step(from.0, to.0), step(from.1, to.1))
}

fn label(f: &mut fmt::Formatter<'_>, label: &Label) -> fmt::Result {
    let (x, y) = label.at;
    for (n, line) in label.lines.iter().enumerate() {
        let y = if n == 0 { y - 6 } else { y + 15 };
        let line = escaped(line);
        write!(f, "<text class=\"label\" x=\"{x}\" y=\"{y}\">{line}</text>")?;
    }
    Ok(())
}

/// An entry of the legend.
#[derive(Clone, Copy)]
enum Sign {
    Box(Role),
    Line(Strength),
}

/// The roles and the lines that occur.
fn signs(graph: &Graph) -> Vec<Sign> {
    let role = |role: &Role| graph.nodes.iter().any(|node| node.role == *role);
    let line = |line: &Strength| graph.edges.iter().any(|edge| edge.strength == *line);
    let boxes = Role::ALL.into_iter().filter(role).map(Sign::Box);
    let lines = Strength::ALL.into_iter().filter(line).map(Sign::Line);
    boxes.chain(lines).collect()
}

/// What the roles and the lines mean.
fn legend(f: &mut fmt::Formatter<'_>, signs: &[Sign]) -> fmt::Result {
    writeln!(f, "<g class=\"legend\">")?;
    for (n, sign) in signs.iter().enumerate() {
        let (x, y) = (24 + SIGN * (n % SIGNS), LEGEND + ROW * (n / SIGNS));
        write!(f, "<g class=\"{}\">", sign.key())?;
        match sign {
            Sign::Box(role) => shape(f, *role, (x, y), (46, 18))?,
            Sign::Line(_) => arrow(f, &[(x, y + 9), (x + 46, y + 9)])?,
        }
        let (x, y, words) = (x + 54, y + 14, sign.words());
        writeln!(f, "<text x=\"{x}\" y=\"{y}\">{words}</text></g>")?;
    }
    writeln!(f, "</g>")
}

impl Sign {
    fn key(self) -> &'static str {
        match self {
            Sign::Box(role) => role.key(),
            Sign::Line(strength) => strength.key(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Sign::Box(Role::Root) => "root: outside, holds on",
            Sign::Box(Role::Unknown) => "unknown: a holder without a name",
            Sign::Box(Role::Alive) => "alive: rightly, on the way",
            Sign::Box(Role::Culprit) => "culprit: should be gone",
            Sign::Box(Role::Victim) => "held by it: kept alive by a culprit",
            Sign::Line(Strength::Suspect) => "holds: look here",
            Sign::Line(Strength::Strong) => "holds",
            Sign::Line(Strength::Weak) => "belongs to, holds nothing",
        }
    }
}

/// Text between tags.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let text = text.replace('>', "&gt;").replace('"', "&quot;");
    text.replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::samples;
    use cpu_time::ThreadTime;
    use std::time::Duration;

    #[test]
    fn hostile_names_are_text_in_every_place() {
        let mut graph = Graph::new(samples::HOSTILE);
        let facts = [samples::HOSTILE];
        graph.add(samples::node(
            Role::Culprit,
            samples::HOSTILE,
            samples::HOSTILE,
            &facts,
        ));
        graph.connect(0, 0, samples::HOSTILE, Strength::Suspect);
        let svg = graph.svg();
        let name = "a&quot;b\\n&lt;script&gt;]|\\&amp;amp;&#39;\\u{202e}#`%%{style:#x;";
        assert!(svg.contains(&format!("<title>{name}</title>")));
        assert!(svg.contains(&format!("<title>culprit\n{name}\n{name}\n{name}</title>")));
        assert!(svg.contains(&format!("<title>{name} → {name}\n{name}</title>")));
        assert!(!svg.contains("<script"));
        assert!(!svg.contains('\u{202e}'));
    }

    #[test]
    fn a_long_name_is_cut_and_carried_whole_in_the_tooltip() {
        let name = "long-".repeat(30);
        let mut graph = Graph::new("long");
        graph.add(samples::node(Role::Alive, "", &name, &[]));
        let svg = graph.svg();
        assert!(svg.contains(&format!("<title>alive\n{name}</title>")));
        assert!(svg.contains(">long-long-lon…g-long-long-</text>"));
    }

    #[test]
    fn roles_and_edges_are_told_in_words() {
        let svg = samples::one().svg();
        for words in ["root · static", "culprit · context", "held by it · task"] {
            assert!(svg.contains(&format!(">{words}</text>")), "{words}");
        }
        assert!(svg.contains(">holds, taken at</text>"));
        assert!(svg.contains(">src/pool.rs:112</text>"));
    }

    #[test]
    fn no_two_roles_share_a_shape() {
        let shapes = Role::ALL.map(|role| {
            struct Shape(Role);
            impl fmt::Display for Shape {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    shape(f, self.0, (0, 0), (100, 60))
                }
            }
            Shape(role).to_string()
        });
        let shapes: std::collections::HashSet<_> = shapes.into();
        assert_eq!(shapes.len(), Role::ALL.len());
    }

    #[test]
    fn the_legend_explains_what_occurs_and_no_more() {
        let svg = samples::one().svg();
        assert!(svg.contains("culprit: should be gone"));
        assert!(!svg.contains("unknown: "));
        assert!(!svg.contains("holds nothing"));
    }

    #[test]
    fn every_tag_is_closed() {
        let svg = samples::tangle(20, 40, 1).svg();
        for tag in ["g", "text", "title", "style", "svg"] {
            let (opened, closed) = (format!("<{tag}"), format!("</{tag}>"));
            let opened = svg.matches(&format!("{opened}>")).count()
                + svg.matches(&format!("{opened} ")).count();
            assert_eq!(opened, svg.matches(&closed).count(), "{tag}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let svg = samples::tangle(20, 40, 1).svg();
        for word in ["href", "url(", "@import", "<script", " src="] {
            assert!(!svg.contains(word), "{word}");
        }
    }

    #[test]
    fn a_picture_of_nothing_is_a_picture() {
        let svg = Graph::new("nothing").svg();
        assert!(svg.contains("0 culprits"));
        assert!(svg.ends_with("</svg>\n"));
    }

    /// The best of three, in processor time of this thread: it does not matter what else the machine does.
    fn time_to_draw(nodes: usize) -> Duration {
        let graph = samples::tangle(nodes, 3 * nodes, 5);
        let once = || {
            let begun = ThreadTime::now();
            assert!(!graph.svg().is_empty());
            begun.elapsed()
        };
        once().min(once()).min(once())
    }

    #[test]
    fn eight_times_as_many_nodes_take_less_than_twenty_times_as_long() {
        let (few, many) = (time_to_draw(250), time_to_draw(2_000));
        assert!(many < 20 * few, "{few:?}, {many:?}");
    }

    #[test]
    fn a_chain_of_ten_thousand_does_not_use_up_the_stack() {
        let edges: Vec<_> = (1..10_000).map(|n| (n - 1, n)).collect();
        assert!(
            samples::bare(10_000, &edges)
                .svg()
                .contains(">n9999</text>")
        );
    }
}
