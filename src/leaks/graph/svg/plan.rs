//! The picture in pixels: how large every box is, and where every line runs.

use super::{
    forest::Forest,
    ways::{Bus, Lane, Shared, Way, Ways},
};
use crate::leaks::graph::{Graph, Node, Strength, words};
use std::collections::BTreeMap;

/// How wide every box is.
pub(super) const BOX: usize = 252;
/// How far below the upper edge of a box its lines leave and arrive.
pub(super) const PORT: usize = 24;
/// How far below the port, or below each other, further lines arrive.
const ENTRY: usize = 12;
/// How far below each other lines of different strengths leave.
const EXIT: usize = 9;
/// Where in its gutter a label begins, right of the lines that leave.
const LABEL: usize = 42;
/// What is left of a gutter behind its labels: room for an arrowhead.
const ARROW: usize = 26;
/// Between a bus and the next, and the last and its target.
const BUS: usize = 10;
/// Between two rows with nothing in between.
const GAP: usize = 20;
/// Between two trees, besides.
const APART: usize = 14;
/// The height of a lane: a line and its label.
const LANE: usize = 20;
/// Around everything.
const MARGIN: usize = 24;
/// How many characters a line of a label has.
const LETTERS: usize = 24;
/// How many pixels a character of a label takes.
pub(super) const LETTER: usize = 8;

pub(super) struct Plan {
    pub(super) boxes: Vec<Rect>,
    /// By edge.
    pub(super) lines: Vec<Line>,
    pub(super) width: usize,
    pub(super) height: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Rect {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) height: usize,
}

pub(super) struct Line {
    pub(super) points: Vec<Point>,
    /// Whether it shares its end with others rather than its beginning: dashes that lie on each other
    /// must be counted from there.
    pub(super) merges: bool,
    pub(super) label: Label,
}

pub(super) type Point = (usize, usize);

pub(super) struct Label {
    /// One line above the edge, or one above and one below it; none if another edge carries them.
    pub(super) lines: Vec<String>,
    pub(super) at: Point,
    /// Whether the text ends there instead of beginning there.
    pub(super) ends: bool,
}

impl Plan {
    pub(super) fn new(graph: &Graph, forest: &Forest, ways: &Ways) -> Self {
        let draft = Draft::new(graph, forest, ways);
        let boxes = (0..graph.nodes.len()).map(|node| draft.rect(node));
        let lines = (0..graph.edges.len()).map(|edge| draft.line(edge));
        Self {
            boxes: boxes.collect(),
            lines: lines.collect(),
            width: draft.right,
            height: draft.bottom,
        }
    }
}

/// How far down a vertical line reaches, and which of those beside each other it is.
struct Track {
    upper: usize,
    lower: usize,
    nth: usize,
}

/// What is known so far; every step needs those before it.
struct Draft<'a> {
    graph: &'a Graph,
    forest: &'a Forest,
    ways: &'a Ways,
    /// By node, the strengths by which others hang from it: each has its own vertical line.
    exits: Vec<Vec<Strength>>,
    buses: BTreeMap<Bus, Track>,
    /// By row.
    upper: Vec<usize>,
    tallest: Vec<usize>,
    bottom: usize,
    /// By column.
    left: Vec<usize>,
    right: usize,
}

impl<'a> Draft<'a> {
    fn new(graph: &'a Graph, forest: &'a Forest, ways: &'a Ways) -> Self {
        let columns = forest.column.iter().max().map_or(0, |last| last + 1);
        let mut draft = Self {
            graph,
            forest,
            ways,
            exits: Vec::new(),
            buses: BTreeMap::new(),
            upper: vec![0; forest.rows],
            tallest: vec![0; forest.rows],
            bottom: 0,
            left: vec![0; columns],
            right: 0,
        };
        draft.count_exits();
        draft.set_rows();
        draft.set_buses();
        draft.set_tracks();
        draft.set_columns();
        draft
    }

    fn count_exits(&mut self) {
        for branches in &self.forest.branches {
            let mut exits = Vec::new();
            for &edge in branches {
                let strength = self.graph.edges[edge].strength;
                if !exits.contains(&strength) {
                    exits.push(strength);
                }
            }
            self.exits.push(exits);
        }
    }

    fn set_rows(&mut self) {
        for (node, &row) in self.graph.nodes.iter().zip(&self.forest.row) {
            self.tallest[row] = self.tallest[row].max(height(node));
        }
        let mut trees = self.forest.trees.iter().skip(1).peekable();
        let mut y = MARGIN;
        for row in 0..self.forest.rows {
            if trees.next_if_eq(&&row).is_some() {
                y += APART;
            }
            self.upper[row] = y;
            y += self.tallest[row] + GAP + LANE * self.ways.below[row];
        }
        self.bottom = y;
    }

    fn set_buses(&mut self) {
        for (number, edge) in self.graph.edges.iter().enumerate() {
            let Some(bus) = self.ways.bus(self.forest, number, edge) else {
                continue;
            };
            let (leaves, arrives) = (self.leaves(number), self.arrives(number));
            let track = self.buses.entry(bus).or_insert(Track {
                upper: leaves,
                lower: leaves,
                nth: 0,
            });
            track.upper = track.upper.min(leaves).min(arrives);
            track.lower = track.lower.max(leaves).max(arrives);
        }
    }

    /// Buses that share a gutter and a height run beside each other.
    fn set_tracks(&mut self) {
        let mut buses: Vec<_> = self.buses.iter_mut().collect();
        buses.sort_by_key(|(bus, track)| (bus.column, track.upper));
        // By column and track, how far down it is taken.
        let mut taken: Vec<Vec<usize>> = vec![Vec::new(); self.left.len()];
        for (bus, track) in buses {
            let taken = &mut taken[bus.column];
            let free = taken.iter().position(|&lower| lower + BUS < track.upper);
            track.nth = free.unwrap_or(taken.len());
            if free.is_none() {
                taken.push(0);
            }
            taken[track.nth] = track.lower;
        }
    }

    /// The height at which an edge comes into the gutter of its target.
    fn leaves(&self, edge: usize) -> usize {
        match self.ways.by_edge[edge] {
            Way::Hangs | Way::Straight => {
                self.upper[self.forest.row[self.graph.edges[edge].from]] + PORT
            }
            Way::Lane(lane) => {
                let Lane { row, above, .. } = self.ways.lanes[lane];
                self.upper[row] + self.tallest[row] + LANE * (above + 1)
            }
        }
    }

    /// The height at which it leaves that gutter, if it does not hang.
    fn arrives(&self, edge: usize) -> usize {
        let edge = &self.graph.edges[edge];
        self.upper[self.forest.row[edge.to]] + PORT + ENTRY * self.ways.entry(edge)
    }

    fn set_columns(&mut self) {
        let columns = self.left.len();
        let mut tracks = vec![0; columns];
        for (bus, track) in &self.buses {
            tracks[bus.column] = tracks[bus.column].max(track.nth + 1);
        }
        let mut letters = vec![0; columns + 1];
        for number in 0..self.graph.edges.len() {
            let gutter = self.forest.column[self.graph.edges[number].from] + 1;
            for line in self.in_gutter(number) {
                letters[gutter] = letters[gutter].max(words::width(&line));
            }
        }
        let mut x = MARGIN;
        for column in 0..columns {
            if column > 0 {
                x += LABEL + LETTER * letters[column];
            }
            if column > 0 || tracks[column] > 0 {
                x += ARROW + BUS * tracks[column];
            }
            self.left[column] = x;
            x += BOX;
        }
        self.right = x + MARGIN;
    }

    /// The label of an edge if it stands in the gutter right of where the edge comes from.
    fn in_gutter(&self, edge: usize) -> Vec<String> {
        match self.ways.by_edge[edge] {
            Way::Hangs | Way::Straight => words::wrap(&self.said(edge), LETTERS),
            Way::Lane(_) => Vec::new(),
        }
    }

    fn said(&self, edge: usize) -> String {
        words::legible(self.graph.edges[edge].words())
    }

    fn rect(&self, node: usize) -> Rect {
        Rect {
            x: self.left[self.forest.column[node]],
            y: self.upper[self.forest.row[node]],
            height: height(&self.graph.nodes[node]),
        }
    }

    fn line(&self, edge: usize) -> Line {
        match self.ways.by_edge[edge] {
            Way::Hangs => self.hanging(edge),
            Way::Straight => self.straight(edge),
            Way::Lane(lane) => self.by_lane(edge, &self.ways.lanes[lane]),
        }
    }

    fn hanging(&self, number: usize) -> Line {
        let edge = &self.graph.edges[number];
        let (from, to) = (self.rect(edge.from), self.rect(edge.to));
        let mut exits = self.exits[edge.from].iter();
        let exit = exits.position(|&exit| exit == edge.strength);
        let exit = EXIT * exit.unwrap_or(0);
        let (start, y) = ((from.x + BOX, from.y + PORT + exit), to.y + PORT);
        let down = start.0 + 12 + exit;
        let points = if start.1 == y {
            vec![start, (to.x, y)]
        } else {
            vec![start, (down, start.1), (down, y), (to.x, y)]
        };
        let label = Label {
            lines: self.in_gutter(number),
            at: (start.0 + LABEL, y),
            ends: false,
        };
        Line {
            points,
            merges: false,
            label,
        }
    }

    fn straight(&self, edge: usize) -> Line {
        let from = self.rect(self.graph.edges[edge].from);
        let start = (from.x + BOX, from.y + PORT);
        let label = Label {
            lines: self.in_gutter(edge),
            at: (start.0 + LABEL, start.1),
            ends: false,
        };
        self.arriving(edge, vec![start], label)
    }

    fn by_lane(&self, edge: usize, lane: &Lane) -> Line {
        let from = self.rect(self.graph.edges[edge].from);
        let inset = 16 + lane.outside * BUS.min(BOX / 2 / lane.beside);
        let (x, y) = (
            from.x + if lane.right { inset } else { BOX - inset },
            self.leaves(edge),
        );
        // To the left there is room as far as the edge of the picture.
        let room = if lane.right { BOX } else { BOX.min(x) };
        let mut lines = Vec::new();
        if lane.speaker == edge {
            lines.push(words::cut(&self.said(edge), room / LETTER - 1));
        }
        let label = Label {
            lines,
            at: (if lane.right { x + 6 } else { x - 6 }, y),
            ends: !lane.right,
        };
        self.arriving(edge, vec![(x, from.y + from.height), (x, y)], label)
    }

    /// Continues to the gutter of the target, and over the bus into the target.
    fn arriving(&self, number: usize, mut points: Vec<Point>, label: Label) -> Line {
        let edge = &self.graph.edges[number];
        let to = self.rect(edge.to);
        let (leaves, arrives) = (self.leaves(number), self.arrives(number));
        let bus = self.ways.bus(self.forest, number, edge);
        let track = bus.and_then(|bus| self.buses.get(&bus));
        let x = to.x - (ARROW - BUS) - BUS * track.map_or(0, |track| track.nth);
        points.extend([(x, leaves), (x, arrives), (to.x, arrives)]);
        Line {
            points,
            merges: bus.is_some_and(|bus| matches!(bus.shared, Shared::To(..))),
            label,
        }
    }
}

/// Room for the head, the name and the facts; and lines of three strengths fit on every side.
fn height(node: &Node) -> usize {
    58 + 17 * node.lines.len().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::samples;

    fn plan(graph: &Graph) -> Plan {
        let forest = Forest::new(graph);
        Plan::new(graph, &forest, &Ways::new(graph, &forest))
    }

    /// Whether two spans have more than an end in common.
    fn meet(one: (usize, usize), other: (usize, usize)) -> bool {
        one.0.min(one.1) < other.0.max(other.1) && other.0.min(other.1) < one.0.max(one.1)
    }

    fn check(graph: &Graph) {
        let plan = plan(graph);
        for (n, one) in plan.boxes.iter().enumerate() {
            let (across, down) = ((one.x, one.x + BOX), (one.y, one.y + one.height));
            for other in &plan.boxes[..n] {
                let beside = !meet(across, (other.x, other.x + BOX));
                assert!(beside || !meet(down, (other.y, other.y + other.height)));
            }
            for line in &plan.lines {
                for step in line.points.windows(2) {
                    let ((x, y), (to_x, to_y)) = (step[0], step[1]);
                    let crosses = if x == to_x {
                        across.0 < x && x < across.1 && meet(down, (y, to_y))
                    } else {
                        down.0 < y && y < down.1 && meet(across, (x, to_x))
                    };
                    assert!(!crosses, "a line crosses a box");
                }
            }
            assert!(across.1 < plan.width && down.1 < plan.height);
        }
    }

    #[test]
    fn no_box_meets_a_box_or_a_line() {
        check(&samples::one());
        check(&samples::cycle());
        check(&samples::findings(100));
        for seed in 0..200 {
            check(&samples::tangle(12, 20, seed));
        }
        check(&samples::tangle(60, 300, 1));
    }

    #[test]
    fn lines_run_across_or_down() {
        for line in plan(&samples::tangle(30, 90, 7)).lines {
            for step in line.points.windows(2) {
                assert!(step[0].0 == step[1].0 || step[0].1 == step[1].1);
            }
        }
    }

    #[test]
    fn every_line_ends_at_the_left_of_its_target() {
        let graph = samples::tangle(30, 90, 3);
        let plan = plan(&graph);
        for (edge, line) in graph.edges.iter().zip(&plan.lines) {
            let (target, &(x, y)) = (plan.boxes[edge.to], line.points.last().unwrap());
            assert_eq!(x, target.x);
            assert!(target.y < y && y < target.y + target.height);
        }
    }

    #[test]
    fn a_picture_of_many_is_tall_and_no_wider() {
        let culprits: Vec<_> = (1..=100).map(|n| (0, n)).collect();
        let few = plan(&samples::bare(11, &culprits[..10]));
        let many = plan(&samples::bare(101, &culprits));
        assert_eq!(few.width, many.width);
        assert!(many.height > 9 * few.height);
    }
}
