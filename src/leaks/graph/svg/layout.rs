//! The picture in pixels: how large every box is, and where every line runs.
//!
//! The gutters between columns and the lanes between rows are free of boxes, and lines run there alone, so that no line
//! ever crosses a box. There are three ways:
//!
//! * the edge by which a node hangs: from the right of the one over the gutter to the left of the other,
//! * straight: what nothing hangs from has room for one line to the gutter on its right,
//! * by lane: down into a lane below the row, along it, and over the gutter left of the target.
//!
//! The last two arrive over a bus: a vertical line in the gutter left of the target. Edges share what would be drawn
//! twice: a lane if they come from one node and say the same, a bus if they arrive at one node with one strength.

use super::{fit, grid::Grid};
use crate::leaks::graph::{Graph, Node, Strength, legible};
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
const LETTER: usize = 8;

pub(super) type Point = (usize, usize);

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

/// One line above the edge, or one above and one below it; none if another edge carries them.
pub(super) struct Label {
    pub(super) lines: Vec<String>,
    pub(super) at: Point,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Hangs,
    Straight,
    /// The number of the lane among those of the node that the edge comes from.
    Lane(usize),
}

/// A vertical line left of a target.
struct Bus {
    /// Which of the lines that arrive at its target it is: 1 is the one below that by which the target hangs.
    entry: usize,
    upper: usize,
    lower: usize,
    /// Which of the buses that run beside each other it is.
    nth: usize,
}

/// Every step of the making needs those before it.
pub(super) struct Layout<'a> {
    graph: &'a Graph,
    grid: &'a Grid,
    /// By edge.
    ways: Vec<Way>,
    /// By edge: whether it carries the label of its lane.
    is_speaker: Vec<bool>,
    /// By node: how many lanes it has, and how many of its row are above them.
    lanes: Vec<(usize, usize)>,
    /// By target and strength.
    buses: BTreeMap<(usize, Strength), Bus>,
    /// By row: where it begins, and the height of its boxes.
    upper: Vec<usize>,
    tallest: Vec<usize>,
    /// By column.
    left: Vec<usize>,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(graph: &'a Graph, grid: &'a Grid) -> Self {
        let columns = grid.column.iter().max().map_or(0, |last| last + 1);
        let mut layout = Self {
            graph,
            grid,
            ways: vec![Way::Hangs; graph.edges.len()],
            is_speaker: vec![true; graph.edges.len()],
            lanes: vec![(0, 0); graph.nodes.len()],
            buses: BTreeMap::new(),
            upper: vec![0; grid.rows],
            tallest: vec![0; grid.rows],
            left: vec![0; columns],
            width: 0,
            height: 0,
        };
        layout.set_ways();
        layout.set_rows();
        layout.set_buses();
        let tracks = layout.set_tracks();
        layout.set_columns(&tracks);
        layout
    }

    fn set_ways(&mut self) {
        let grid = self.grid;
        let mut is_free: Vec<bool> = grid.branches.iter().map(Vec::is_empty).collect();
        let mut known = BTreeMap::new();
        for (number, edge) in self.graph.edges.iter().enumerate() {
            let is_next = grid.column[edge.from] < grid.column[edge.to];
            if grid.hangs[edge.to] == Some(number) {
                continue;
            }
            self.ways[number] = if is_next && std::mem::take(&mut is_free[edge.from]) {
                Way::Straight
            } else {
                let (count, _) = &mut self.lanes[edge.from];
                let lane = *known
                    .entry((edge.from, edge.strength, edge.words()))
                    .or_insert(*count);
                self.is_speaker[number] = lane == *count;
                *count += usize::from(self.is_speaker[number]);
                Way::Lane(lane)
            };
        }
    }

    fn set_rows(&mut self) {
        let mut below = vec![0; self.grid.rows];
        for (node, &row) in self.grid.row.iter().enumerate() {
            self.tallest[row] = self.tallest[row].max(height(&self.graph.nodes[node]));
            let (count, above) = &mut self.lanes[node];
            *above = below[row];
            below[row] += *count;
        }
        let mut trees = self.grid.trees.iter().skip(1).peekable();
        let mut y = MARGIN;
        for (row, below) in below.into_iter().enumerate() {
            if trees.next_if_eq(&&row).is_some() {
                y += APART;
            }
            self.upper[row] = y;
            y += self.tallest[row] + GAP + LANE * below;
        }
        self.height = y;
    }

    fn set_buses(&mut self) {
        let mut entries = vec![0; self.graph.nodes.len()];
        for (number, edge) in self.graph.edges.iter().enumerate() {
            if self.ways[number] == Way::Hangs {
                continue;
            }
            let leaves = self.leaves(number);
            let to = self.upper[self.grid.row[edge.to]] + PORT;
            let bus = self.buses.entry((edge.to, edge.strength));
            let bus = bus.or_insert_with(|| {
                entries[edge.to] += 1;
                let arrives = to + ENTRY * entries[edge.to];
                Bus {
                    entry: entries[edge.to],
                    upper: arrives,
                    lower: arrives,
                    nth: 0,
                }
            });
            bus.upper = bus.upper.min(leaves);
            bus.lower = bus.lower.max(leaves);
        }
    }

    /// Buses that share a gutter and a height run beside each other. Returns how many do, by column.
    fn set_tracks(&mut self) -> Vec<usize> {
        let column = &self.grid.column;
        let mut buses: Vec<_> = self.buses.iter_mut().collect();
        buses.sort_by_key(|((to, _), bus)| (column[*to], bus.upper));
        // By column and track, how far down it is taken.
        let mut taken: Vec<Vec<usize>> = vec![Vec::new(); self.left.len()];
        for ((to, _), bus) in buses {
            let taken = &mut taken[column[*to]];
            let free = taken.iter().position(|&lower| lower + BUS < bus.upper);
            bus.nth = free.unwrap_or(taken.len());
            taken.resize(taken.len().max(bus.nth + 1), 0);
            taken[bus.nth] = bus.lower;
        }
        taken.iter().map(Vec::len).collect()
    }

    fn set_columns(&mut self, tracks: &[usize]) {
        let mut letters = vec![0; self.left.len() + 1];
        for number in 0..self.graph.edges.len() {
            let gutter = self.grid.column[self.graph.edges[number].from] + 1;
            for line in self.in_gutter(number) {
                letters[gutter] = letters[gutter].max(fit::width(&line));
            }
        }
        let mut x = MARGIN;
        for (column, &tracks) in tracks.iter().enumerate() {
            if column > 0 {
                x += LABEL + LETTER * letters[column];
            }
            if column > 0 || tracks > 0 {
                x += ARROW + BUS * tracks;
            }
            self.left[column] = x;
            x += BOX;
        }
        self.width = x + MARGIN;
    }

    /// The height at which an edge that does not hang comes into the gutter of its target.
    fn leaves(&self, number: usize) -> usize {
        let from = self.graph.edges[number].from;
        let row = self.grid.row[from];
        match self.ways[number] {
            Way::Hangs | Way::Straight => self.upper[row] + PORT,
            Way::Lane(lane) => {
                let (_, above) = self.lanes[from];
                self.upper[row] + self.tallest[row] + LANE * (above + lane + 1)
            }
        }
    }

    /// The label of an edge if it stands in the gutter right of where the edge comes from.
    fn in_gutter(&self, edge: usize) -> Vec<String> {
        match self.ways[edge] {
            Way::Hangs | Way::Straight => fit::wrap(&self.said(edge), LETTERS),
            Way::Lane(_) => Vec::new(),
        }
    }

    fn said(&self, edge: usize) -> String {
        legible(self.graph.edges[edge].words())
    }

    pub(super) fn rect(&self, node: usize) -> Rect {
        Rect {
            x: self.left[self.grid.column[node]],
            y: self.upper[self.grid.row[node]],
            height: height(&self.graph.nodes[node]),
        }
    }

    pub(super) fn line(&self, number: usize) -> Line {
        let edge = &self.graph.edges[number];
        let (from, to) = (self.rect(edge.from), self.rect(edge.to));
        let (right, port) = (from.x + BOX, from.y + PORT);
        let lines = self.in_gutter(number);
        match self.ways[number] {
            Way::Hangs => self.hanging(number, from, to),
            Way::Straight => {
                let at = (right + LABEL, port);
                self.arriving(number, vec![(right, port)], Label { lines, at })
            }
            Way::Lane(lane) => {
                // Those further down leave further out: no line crosses the label of another.
                let outside = self.lanes[edge.from].0 - 1 - lane;
                let x = from.x + 16 + (outside * BUS).min(BOX / 2);
                let y = self.leaves(number);
                let mut lines = Vec::new();
                if self.is_speaker[number] {
                    lines.push(fit::cut(&self.said(number), BOX / LETTER - 1));
                }
                let label = Label {
                    lines,
                    at: (x + 6, y),
                };
                self.arriving(number, vec![(x, from.y + from.height), (x, y)], label)
            }
        }
    }

    fn hanging(&self, number: usize, from: Rect, to: Rect) -> Line {
        let exit = EXIT * self.exit(number);
        let (start, y) = ((from.x + BOX, from.y + PORT + exit), to.y + PORT);
        let down = start.0 + 12 + exit;
        let points = if start.1 == y {
            vec![start, (to.x, y)]
        } else {
            vec![start, (down, start.1), (down, y), (to.x, y)]
        };
        Line {
            points,
            merges: false,
            label: Label {
                lines: self.in_gutter(number),
                at: (start.0 + LABEL, y),
            },
        }
    }

    /// Which of the vertical lines of its node an edge hangs from: there is one for each strength.
    fn exit(&self, number: usize) -> usize {
        let edge = &self.graph.edges[number];
        let branches = &self.grid.branches[edge.from];
        let strength = |branch: &usize| self.graph.edges[*branch].strength;
        // They are sorted by strength.
        let begins = |other: &Strength| {
            let at = branches.partition_point(|branch| strength(branch) < *other);
            branches.get(at).map(strength) == Some(*other)
        };
        let before = Strength::ALL.iter().filter(|&&other| other < edge.strength);
        before.filter(|&other| begins(other)).count()
    }

    /// Continues to the gutter of the target, and over the bus into the target.
    fn arriving(&self, number: usize, mut points: Vec<Point>, label: Label) -> Line {
        let edge = &self.graph.edges[number];
        let (to, bus) = (self.rect(edge.to), &self.buses[&(edge.to, edge.strength)]);
        let arrives = to.y + PORT + ENTRY * bus.entry;
        let x = to.x - (ARROW - BUS) - BUS * bus.nth;
        points.extend([(x, self.leaves(number)), (x, arrives), (to.x, arrives)]);
        Line {
            points,
            merges: true,
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

    /// Every box, every line, and the size of the picture.
    fn laid_out(graph: &Graph) -> (Vec<Rect>, Vec<Vec<Point>>, Point) {
        let grid = Grid::new(graph);
        let layout = Layout::new(graph, &grid);
        let boxes = (0..graph.nodes.len()).map(|node| layout.rect(node));
        let lines = (0..graph.edges.len()).map(|edge| layout.line(edge).points);
        let size = (layout.width, layout.height);
        (boxes.collect(), lines.collect(), size)
    }

    fn ways(graph: &Graph) -> Vec<Way> {
        Layout::new(graph, &Grid::new(graph)).ways
    }

    /// Whether two spans have more than an end in common.
    fn meet(one: (usize, usize), other: (usize, usize)) -> bool {
        one.0.min(one.1) < other.0.max(other.1) && other.0.min(other.1) < one.0.max(one.1)
    }

    fn check(graph: &Graph) {
        let (boxes, lines, (width, height)) = laid_out(graph);
        for (n, one) in boxes.iter().enumerate() {
            let (across, down) = ((one.x, one.x + BOX), (one.y, one.y + one.height));
            for other in &boxes[..n] {
                let beside = !meet(across, (other.x, other.x + BOX));
                assert!(beside || !meet(down, (other.y, other.y + other.height)));
            }
            for line in &lines {
                for step in line.windows(2) {
                    let ((x, y), (to_x, to_y)) = (step[0], step[1]);
                    let crosses = if x == to_x {
                        across.0 < x && x < across.1 && meet(down, (y, to_y))
                    } else {
                        down.0 < y && y < down.1 && meet(across, (x, to_x))
                    };
                    assert!(!crosses, "a line crosses a box");
                }
            }
            assert!(across.1 < width && down.1 < height);
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
        for line in laid_out(&samples::tangle(30, 90, 7)).1 {
            for step in line.windows(2) {
                assert!(step[0].0 == step[1].0 || step[0].1 == step[1].1);
            }
        }
    }

    #[test]
    fn every_line_ends_at_the_left_of_its_target() {
        let graph = samples::tangle(30, 90, 3);
        let (boxes, lines, _) = laid_out(&graph);
        for (edge, line) in graph.edges.iter().zip(&lines) {
            let (target, &(x, y)) = (boxes[edge.to], line.last().unwrap());
            assert_eq!(x, target.x);
            assert!(target.y < y && y < target.y + target.height);
        }
    }

    #[test]
    fn a_picture_of_many_is_tall_and_no_wider() {
        let culprits: Vec<_> = (1..=100).map(|n| (0, n)).collect();
        let (_, _, few) = laid_out(&samples::bare(11, &culprits[..10]));
        let (_, _, many) = laid_out(&samples::bare(101, &culprits));
        assert_eq!(few.0, many.0);
        assert!(many.1 > 9 * few.1);
    }

    #[test]
    fn who_holds_what_hangs_elsewhere_goes_straight() {
        let ways = ways(&samples::bare(3, &[(0, 1), (2, 1)]));
        assert!(ways == [Way::Hangs, Way::Straight]);
    }

    #[test]
    fn an_edge_that_closes_a_cycle_goes_by_lane() {
        let ways = ways(&samples::bare(2, &[(0, 1), (1, 0)]));
        assert!(ways == [Way::Hangs, Way::Lane(0)]);
    }

    #[test]
    fn edges_that_say_the_same_share_a_lane() {
        let mut graph = samples::bare(5, &[(0, 1), (1, 2), (0, 3), (3, 4)]);
        graph.connect(0, 2, "", Strength::Weak);
        graph.connect(0, 4, "", Strength::Weak);
        graph.connect(0, 4, "other", Strength::Weak);
        assert!(ways(&graph)[4..] == [Way::Lane(0), Way::Lane(0), Way::Lane(1)]);
        let labels = |graph: &Graph| -> Vec<bool> {
            let grid = Grid::new(graph);
            let layout = Layout::new(graph, &grid);
            let has_label = |edge| !layout.line(edge).label.lines.is_empty();
            (4..graph.edges.len()).map(has_label).collect()
        };
        assert_eq!(labels(&graph), [true, false, true]);
    }

    #[test]
    fn edges_of_one_strength_to_one_node_share_a_bus() {
        let graph = samples::bare(4, &[(0, 1), (2, 1), (3, 1)]);
        let (_, lines, _) = laid_out(&graph);
        assert_eq!(lines[1][2..], lines[2][2..]);
        assert_eq!(lines[1][1].0, lines[1][2].0);
    }
}
