//! The picture in pixels: who stands where, how large every box is, and where every line runs.
//!
//! 1. A node hangs from the first node that leads to it, breadth first, and stands in the column right of that.
//! 2. The first that hangs from a node stands in the same row, every other begins a row below. A row is
//!    thus a chain, and right of its last node nothing stands in it.
//! 3. The edge by which a node hangs runs from the right of the one box to the left of the other. Any other edge, which is
//!    rare, runs down into a lane of its own below the row, along it, and up or down in the gutter left of the target.
//!
//! The gutters between columns and the lanes between rows are free of boxes, and lines run there alone, so that no line
//! ever crosses a box.

use crate::leaks::graph::{Graph, Node, Strength, legible};
use std::collections::VecDeque;

/// How wide every box is.
pub(super) const BOX: usize = 252;
/// How far below the upper edge of a box its lines leave and arrive.
pub(super) const PORT: usize = 24;
/// How far below the port, or below each other, further lines arrive.
const ENTRY: usize = 12;
/// How many of them arrive below each other: all others at the last of these.
const ENTRIES: usize = 3;
/// How far below each other lines of different strengths leave.
const EXIT: usize = 9;
/// Where in its gutter a label begins, right of the lines that leave.
const LABEL: usize = 42;
/// What is left of a gutter behind its labels: room for an arrowhead.
const ARROW: usize = 26;
/// Between two lines that run up or down beside each other.
const TRACK: usize = 10;
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
    pub(super) label: Label,
}

/// One line above the edge, or one above and one below it.
pub(super) struct Label {
    pub(super) lines: Vec<String>,
    pub(super) at: Point,
}

/// Columns from left to right, rows from top to bottom.
struct Grid {
    column: Vec<usize>,
    row: Vec<usize>,
    /// For each node, the edge by which it hangs.
    hangs: Vec<Option<usize>>,
    /// For each node, the edges by which others hang from it, the one to look at first.
    branches: Vec<Vec<usize>>,
    /// The rows with which trees begin.
    trees: Vec<usize>,
    rows: usize,
}

impl Grid {
    fn new(graph: &Graph) -> Self {
        let nodes = graph.nodes.len();
        let mut grid = Self {
            column: vec![usize::MAX; nodes],
            row: vec![0; nodes],
            hangs: vec![None; nodes],
            branches: vec![Vec::new(); nodes],
            trees: Vec::new(),
            rows: 0,
        };
        grid.spread(graph);
        let mut hanging: Vec<usize> = grid.hangs.iter().flatten().copied().collect();
        hanging.sort_unstable_by_key(|&edge| (graph.edges[edge].strength, edge));
        for edge in hanging {
            grid.branches[graph.edges[edge].from].push(edge);
        }
        grid.stack(graph);
        grid
    }

    /// Begins with all that nothing leads to. What is left then are cycles, and they begin with the role that pictures
    /// begin with.
    fn spread(&mut self, graph: &Graph) {
        let mut leaving = vec![Vec::new(); graph.nodes.len()];
        let mut is_held = vec![false; graph.nodes.len()];
        for (number, edge) in graph.edges.iter().enumerate() {
            if edge.from != edge.to {
                leaving[edge.from].push(number);
                is_held[edge.to] = true;
            }
        }
        let (mut held, first): (Vec<_>, Vec<_>) =
            (0..graph.nodes.len()).partition(|&node| is_held[node]);
        self.spread_from(graph, &leaving, first);
        held.sort_by_key(|&node| graph.nodes[node].role);
        for node in held {
            if self.column[node] == usize::MAX {
                self.spread_from(graph, &leaving, vec![node]);
            }
        }
    }

    fn spread_from(&mut self, graph: &Graph, leaving: &[Vec<usize>], first: Vec<usize>) {
        for &node in &first {
            self.column[node] = 0;
        }
        let mut queue = VecDeque::from(first);
        while let Some(node) = queue.pop_front() {
            for &edge in &leaving[node] {
                let to = graph.edges[edge].to;
                if self.column[to] == usize::MAX {
                    self.column[to] = self.column[node] + 1;
                    self.hangs[to] = Some(edge);
                    queue.push_back(to);
                }
            }
        }
    }

    /// Gives out the rows, branch by branch. The nodes to place are a stack of our own: chains may be 10,000 long.
    fn stack(&mut self, graph: &Graph) {
        let roots = (0..self.hangs.len()).filter(|&node| self.hangs[node].is_none());
        let mut waiting: Vec<_> = roots.rev().map(|root| (root, true)).collect();
        while let Some((node, begins)) = waiting.pop() {
            if self.hangs[node].is_none() {
                self.trees.push(self.rows);
            }
            self.rows += usize::from(begins);
            self.row[node] = self.rows - 1;
            let branches = self.branches[node].iter().enumerate().rev();
            waiting.extend(branches.map(|(n, &edge)| (graph.edges[edge].to, n > 0)));
        }
    }
}

/// The way of an edge by which nothing hangs.
#[derive(Clone, Copy)]
struct Lane {
    /// Which of the lanes below its row it is.
    in_row: usize,
    /// How many of the lanes of its node are further down.
    outside: usize,
    /// Which of the lines that run up or down left of the target's column it is.
    track: usize,
    /// Which of the lines that arrive at the target it is: 1 is the one below that by which the target hangs.
    entry: usize,
}

/// Every step of the making needs those before it.
pub(super) struct Layout<'a> {
    graph: &'a Graph,
    grid: Grid,
    /// By edge; none for those by which nodes hang.
    lanes: Vec<Option<Lane>>,
    /// By row: where it begins, and the height of its boxes.
    upper: Vec<usize>,
    tallest: Vec<usize>,
    /// By column.
    left: Vec<usize>,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl<'a> Layout<'a> {
    pub(super) fn new(graph: &'a Graph) -> Self {
        let grid = Grid::new(graph);
        let columns = grid.column.iter().max().map_or(0, |last| last + 1);
        let mut layout = Self {
            graph,
            lanes: vec![None; graph.edges.len()],
            upper: vec![0; grid.rows],
            tallest: vec![0; grid.rows],
            left: vec![0; columns],
            grid,
            width: 0,
            height: 0,
        };
        let mut lanes = vec![0; layout.grid.rows];
        let mut tracks = vec![0; columns];
        layout.set_lanes(&mut lanes, &mut tracks);
        layout.set_rows(&lanes);
        layout.set_columns(&tracks);
        layout
    }

    /// Counts the lanes of each row, and the tracks left of each column.
    fn set_lanes(&mut self, lanes: &mut [usize], tracks: &mut [usize]) {
        let grid = &self.grid;
        let mut entries = vec![0; self.graph.nodes.len()];
        let mut leaving = vec![0; self.graph.nodes.len()];
        for (number, edge) in self.graph.edges.iter().enumerate() {
            if grid.hangs[edge.to] == Some(number) {
                continue;
            }
            let (row, column) = (grid.row[edge.from], grid.column[edge.to]);
            entries[edge.to] += 1;
            self.lanes[number] = Some(Lane {
                in_row: lanes[row],
                outside: leaving[edge.from],
                track: tracks[column],
                entry: entries[edge.to].min(ENTRIES),
            });
            lanes[row] += 1;
            tracks[column] += 1;
            leaving[edge.from] += 1;
        }
        for (lane, edge) in self.lanes.iter_mut().zip(&self.graph.edges) {
            if let Some(lane) = lane {
                lane.outside = leaving[edge.from] - 1 - lane.outside;
            }
        }
    }

    fn set_rows(&mut self, lanes: &[usize]) {
        for (node, &row) in self.graph.nodes.iter().zip(&self.grid.row) {
            self.tallest[row] = self.tallest[row].max(height(node));
        }
        let mut y = MARGIN;
        for (row, lanes) in lanes.iter().enumerate() {
            if row > 0 && self.grid.trees.binary_search(&row).is_ok() {
                y += APART;
            }
            self.upper[row] = y;
            y += self.tallest[row] + GAP + LANE * lanes;
        }
        self.height = y;
    }

    fn set_columns(&mut self, tracks: &[usize]) {
        let mut letters = vec![0; self.left.len() + 1];
        for (number, edge) in self.graph.edges.iter().enumerate() {
            if self.lanes[number].is_none() {
                let gutter = self.grid.column[edge.from] + 1;
                let widest = wrap(&legible(edge.words()), LETTERS);
                let widest = widest.iter().map(|line| width(line)).max();
                letters[gutter] = letters[gutter].max(widest.unwrap_or(0));
            }
        }
        let mut x = MARGIN;
        for (column, &tracks) in tracks.iter().enumerate() {
            if column > 0 {
                x += LABEL + LETTER * letters[column];
            }
            if column > 0 || tracks > 0 {
                x += ARROW + TRACK * tracks;
            }
            self.left[column] = x;
            x += BOX;
        }
        self.width = x + MARGIN;
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
        let label = legible(edge.words());
        match self.lanes[number] {
            None => self.hanging(number, from, to, &label),
            Some(lane) => self.by_lane(lane, self.grid.row[edge.from], from, to, &label),
        }
    }

    fn hanging(&self, number: usize, from: Rect, to: Rect, label: &str) -> Line {
        let exit = EXIT * self.exit(number);
        let (start, y) = ((from.x + BOX, from.y + PORT + exit), to.y + PORT);
        let down = start.0 + 12 + exit;
        let points = if start.1 == y {
            vec![start, (to.x, y)]
        } else {
            vec![start, (down, start.1), (down, y), (to.x, y)]
        };
        let label = Label {
            lines: wrap(label, LETTERS),
            at: (start.0 + LABEL, y),
        };
        Line { points, label }
    }

    /// Which of the vertical lines of its node an edge hangs from: there is one for each strength.
    fn exit(&self, number: usize) -> usize {
        let edge = &self.graph.edges[number];
        let branches = &self.grid.branches[edge.from];
        let strength = |branch: &usize| self.graph.edges[*branch].strength;
        // They are sorted by strength.
        let occurs = |other: &Strength| branches.binary_search_by_key(other, strength).is_ok();
        let before = Strength::ALL
            .into_iter()
            .filter(|&other| other < edge.strength);
        before.filter(occurs).count()
    }

    fn by_lane(&self, lane: Lane, row: usize, from: Rect, to: Rect, label: &str) -> Line {
        // Those further down leave further out: no line crosses the label of another.
        let x = from.x + 16 + (lane.outside * TRACK).min(BOX / 2);
        let y = self.upper[row] + self.tallest[row] + LANE * (lane.in_row + 1);
        let track = to.x - (ARROW - TRACK) - TRACK * lane.track;
        let arrives = to.y + PORT + ENTRY * lane.entry;
        let label = Label {
            lines: vec![cut(label, BOX / LETTER - 1)],
            at: (x + 6, y),
        };
        Line {
            points: vec![
                (x, from.y + from.height),
                (x, y),
                (track, y),
                (track, arrives),
                (to.x, arrives),
            ],
            label,
        }
    }
}

/// Room for the head, the name and the facts; and lines of three strengths fit on every side.
fn height(node: &Node) -> usize {
    58 + 17 * node.lines.len().max(1)
}

/// How many columns of a monospaced font a character takes, and rather too many than too few.
fn columns(c: char) -> usize {
    match c {
        '\u{2000}'..='\u{2bff}' => 1,
        c if c >= '\u{1100}' => 2,
        _ => 1,
    }
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// The beginning and the end of a text that is too long: names and paths often differ in the end alone.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let end = fitting(text.chars().rev(), room / 2);
    let start = fitting(
        text.chars(),
        room - end.iter().copied().map(columns).sum::<usize>(),
    );
    let mut short: String = start.into_iter().collect();
    short.push('…');
    short.extend(end.into_iter().rev());
    short
}

fn fitting(text: impl Iterator<Item = char>, mut room: usize) -> Vec<char> {
    text.map_while(|c| {
        room = room.checked_sub(columns(c))?;
        Some(c)
    })
    .collect()
}

/// One line, or two that part at a space; what is longer is cut.
fn wrap(text: &str, most: usize) -> Vec<String> {
    if width(text) <= most {
        return vec![text.to_owned()];
    }
    let first: usize = fitting(text.chars(), most + 1)
        .into_iter()
        .map(char::len_utf8)
        .sum();
    match text[..first].rfind(' ') {
        Some(space) if space > 0 => {
            vec![
                text[..space].to_owned(),
                cut(text[space..].trim_start(), most),
            ]
        }
        _ => vec![cut(text, most)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::{Role, samples};

    /// Every box, every line, and the size of the picture.
    fn laid_out(graph: &Graph) -> (Vec<Rect>, Vec<Vec<Point>>, Point) {
        let layout = Layout::new(graph);
        let boxes = (0..graph.nodes.len()).map(|node| layout.rect(node));
        let lines = (0..graph.edges.len()).map(|edge| layout.line(edge).points);
        let size = (layout.width, layout.height);
        (boxes.collect(), lines.collect(), size)
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
    fn an_edge_that_closes_a_cycle_goes_by_lane() {
        let graph = samples::bare(2, &[(0, 1), (1, 0)]);
        let lanes = Layout::new(&graph).lanes;
        assert_eq!((lanes[0].is_none(), lanes[1].is_some()), (true, true));
    }

    #[test]
    fn a_chain_is_one_row() {
        let grid = Grid::new(&samples::bare(3, &[(0, 1), (1, 2)]));
        assert_eq!(grid.column, [0, 1, 2]);
        assert_eq!((grid.row, grid.rows), (vec![0, 0, 0], 1));
    }

    #[test]
    fn the_shortest_chain_decides_the_column() {
        let grid = Grid::new(&samples::bare(3, &[(0, 1), (1, 2), (0, 2)]));
        assert_eq!(grid.column, [0, 1, 1]);
        assert_eq!(grid.hangs, [None, Some(0), Some(2)]);
    }

    #[test]
    fn who_holds_the_same_stands_below_in_a_row_of_its_own() {
        let grid = Grid::new(&samples::bare(4, &[(0, 1), (1, 2), (3, 1)]));
        assert_eq!(grid.column, [0, 1, 2, 0]);
        assert_eq!(grid.row, [0, 0, 0, 1]);
        assert_eq!(grid.trees, [0, 1]);
    }

    #[test]
    fn a_cycle_begins_with_what_is_nearest_to_the_outside() {
        let mut graph = samples::bare(2, &[(0, 1), (1, 0)]);
        assert_eq!(Grid::new(&graph).column, [0, 1]);
        graph.nodes[1].role = Role::Alive;
        assert_eq!(Grid::new(&graph).column, [1, 0]);
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(cut("connection-12345", 9), "conn…2345");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("too long", 1), "…");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(cut("接続接続接続", 7), "接続…続");
        assert_eq!(cut("接続接続接続", 6), "接…続");
    }

    #[test]
    fn a_label_is_parted_at_a_space() {
        assert_eq!(
            wrap("holds, taken at src/net/conn.rs:41", 20),
            ["holds, taken at", "src/net/conn.rs:41"]
        );
        assert_eq!(wrap("holds", 20), ["holds"]);
        assert_eq!(wrap("nospaceanywhereinthis", 9), ["nosp…this"]);
    }
}
