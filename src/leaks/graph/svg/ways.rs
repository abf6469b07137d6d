//! Which way every edge goes.
//!
//! The gutters between columns and the lanes between rows are free of boxes. Lines run there alone, and
//! along rows where nothing stands, so that no line ever crosses a box. There are three ways:
//!
//! * the edge by which a node hangs: from the right of the one over the gutter to the left of the other,
//! * straight: what nothing hangs from has nothing to its right, so a line may run along its row,
//! * by lane: down into a lane below the row, along it, and over the gutter left of the target.
//!
//! The last two arrive over a bus: a vertical line in the gutter left of the target. Edges share what
//! would be drawn twice: a lane if they come from one node and say the same, a bus if they come from one
//! lane or, else, if they arrive at one node.

use super::forest::Forest;
use crate::leaks::graph::{Edge, Graph, Strength};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Hangs,
    Straight,
    /// A number among the lanes.
    Lane(usize),
}

/// A line below a row.
pub(super) struct Lane {
    pub(super) row: usize,
    /// How many lanes of its row are above it.
    pub(super) above: usize,
    /// How many lanes of its node and side leave nearer to the corner of the box.
    pub(super) outside: usize,
    /// How many lanes its node and side have.
    pub(super) beside: usize,
    /// Whether its edges go to columns further right.
    pub(super) right: bool,
    /// The edge that carries the label for all.
    pub(super) speaker: usize,
    edges: usize,
}

/// A vertical line, by the column left of which it runs and what shares it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bus {
    pub(super) column: usize,
    pub(super) shared: Shared,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shared {
    /// What comes from one lane.
    From(usize),
    /// What arrives at one node with one strength.
    To(usize, Strength),
}

pub(super) struct Ways {
    pub(super) by_edge: Vec<Way>,
    pub(super) lanes: Vec<Lane>,
    /// By row, how many lanes are below it.
    pub(super) below: Vec<usize>,
    /// By target and strength: which of the lines that reach the target this is, and how many edges it has.
    arrivals: BTreeMap<(usize, Strength), (usize, usize)>,
}

impl Ways {
    pub(super) fn new(graph: &Graph, forest: &Forest) -> Self {
        let mut ways = Self {
            by_edge: vec![Way::Hangs; graph.edges.len()],
            lanes: Vec::new(),
            below: vec![0; forest.rows],
            arrivals: BTreeMap::new(),
        };
        let detours = ways.straight(graph, forest);
        ways.by_lane(graph, forest, detours);
        ways.count_arrivals(graph);
        ways
    }

    /// Which vertical line an edge arrives by, if it does not hang.
    pub(super) fn bus(&self, forest: &Forest, number: usize, edge: &Edge) -> Option<Bus> {
        let to = (edge.to, edge.strength);
        let shared = match self.by_edge[number] {
            Way::Hangs => return None,
            Way::Lane(lane) if self.lanes[lane].edges > 1 && self.arrivals[&to].1 == 1 => {
                Shared::From(lane)
            }
            Way::Straight | Way::Lane(_) => Shared::To(edge.to, edge.strength),
        };
        let column = forest.column[edge.to];
        Some(Bus { column, shared })
    }

    /// Which of the lines that reach its target an edge belongs to: 1 is the one below that by which it hangs.
    pub(super) fn entry(&self, edge: &Edge) -> usize {
        self.arrivals
            .get(&(edge.to, edge.strength))
            .map_or(0, |arrival| arrival.0)
    }

    /// Finds the edges that may go straight, and returns those that need a lane.
    fn straight(&mut self, graph: &Graph, forest: &Forest) -> Vec<usize> {
        // Right of a node is room for one line, if nothing hangs from it: along its row, or to the gutter.
        let mut free: Vec<bool> = forest.branches.iter().map(Vec::is_empty).collect();
        let mut detours = Vec::new();
        for (number, edge) in graph.edges.iter().enumerate() {
            if forest.hangs[edge.to] == Some(number) {
                continue;
            }
            let next = forest.column[edge.from] + 1 == forest.column[edge.to];
            let clear = next || (forest.goes_right(edge) && !forest.squeezed[edge.from]);
            if clear && std::mem::take(&mut free[edge.from]) {
                self.by_edge[number] = Way::Straight;
            } else {
                detours.push(number);
            }
        }
        detours
    }

    /// The lanes of a box lie below each other so that those further down leave further out: no line
    /// crosses the label of another.
    fn by_lane(&mut self, graph: &Graph, forest: &Forest, mut detours: Vec<usize>) {
        let side = |number: usize| {
            let edge = &graph.edges[number];
            (edge.from, forest.goes_right(edge))
        };
        let lane = |number: usize| {
            let edge = &graph.edges[number];
            (side(number), edge.strength, edge.words())
        };
        detours.sort_by_key(|&number| lane(number));
        for box_side in detours.chunk_by(|&one, &other| side(one) == side(other)) {
            let lanes: Vec<&[usize]> = box_side
                .chunk_by(|&one, &other| lane(one) == lane(other))
                .collect();
            for (n, together) in lanes.iter().enumerate() {
                let (from, right) = side(together[0]);
                let row = forest.row[from];
                for &number in *together {
                    self.by_edge[number] = Way::Lane(self.lanes.len());
                }
                self.lanes.push(Lane {
                    row,
                    above: self.below[row],
                    outside: lanes.len() - 1 - n,
                    beside: lanes.len(),
                    right,
                    speaker: together[0],
                    edges: together.len(),
                });
                self.below[row] += 1;
            }
        }
    }

    fn count_arrivals(&mut self, graph: &Graph) {
        // By node, how many lines reach it.
        let mut lines = vec![0; graph.nodes.len()];
        for (edge, way) in graph.edges.iter().zip(&self.by_edge) {
            if *way != Way::Hangs {
                let arrival = self.arrivals.entry((edge.to, edge.strength));
                let (_, edges) = arrival.or_insert_with(|| {
                    lines[edge.to] += 1;
                    (lines[edge.to], 0)
                });
                *edges += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::samples;

    fn ways(graph: &Graph) -> (Forest, Ways) {
        let forest = Forest::new(graph);
        let ways = Ways::new(graph, &forest);
        (forest, ways)
    }

    #[test]
    fn who_holds_what_hangs_elsewhere_goes_straight() {
        let (_, ways) = ways(&samples::bare(3, &[(0, 1), (2, 1)]));
        assert!(ways.by_edge == [Way::Hangs, Way::Straight]);
    }

    #[test]
    fn an_edge_that_closes_a_cycle_goes_by_lane() {
        let (_, ways) = ways(&samples::bare(2, &[(0, 1), (1, 0)]));
        assert!(ways.by_edge == [Way::Hangs, Way::Lane(0)]);
        assert!(!ways.lanes[0].right);
    }

    #[test]
    fn edges_that_say_the_same_share_a_lane_and_a_bus() {
        let mut graph = samples::bare(5, &[(0, 1), (1, 2), (0, 3), (3, 4)]);
        graph.connect(0, 2, "", Strength::Weak);
        graph.connect(0, 4, "", Strength::Weak);
        let (forest, ways) = ways(&graph);
        assert!(ways.by_edge[4] == Way::Lane(0) && ways.by_edge[5] == Way::Lane(0));
        let bus = |number: usize| ways.bus(&forest, number, &graph.edges[number]);
        assert!(bus(4).is_some() && bus(4) == bus(5));
        assert!(bus(0).is_none());
    }

    #[test]
    fn edges_that_say_something_else_have_lanes_of_their_own() {
        let mut graph = samples::bare(4, &[(0, 1), (1, 2), (1, 3)]);
        graph.connect(0, 2, "one", Strength::Weak);
        graph.connect(0, 3, "other", Strength::Weak);
        let (_, ways) = ways(&graph);
        assert!(ways.by_edge[3..] == [Way::Lane(0), Way::Lane(1)]);
        assert_eq!(ways.below, [2, 0]);
    }

    #[test]
    fn edges_of_one_strength_to_one_node_share_a_bus() {
        let graph = samples::bare(4, &[(0, 1), (2, 1), (3, 1)]);
        let (forest, ways) = ways(&graph);
        let bus = |number: usize| ways.bus(&forest, number, &graph.edges[number]);
        assert!(bus(1).is_some() && bus(1) == bus(2));
        assert_eq!(ways.entry(&graph.edges[1]), 1);
    }
}
