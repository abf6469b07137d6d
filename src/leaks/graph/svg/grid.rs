//! Who stands where: columns from left to right, rows from top to bottom.
//!
//! 1. A node hangs from the first node that leads to it, breadth first, and stands in the column right of that. Any other
//!    edge to it gets a way of its own.
//! 2. The first that hangs from a node stands in the same row, every other begins a row below. A row is
//!    thus a chain, and right of its last node nothing stands in it.

use crate::leaks::graph::{Edge, Graph, Strength};
use std::collections::VecDeque;

pub(super) struct Grid {
    pub(super) column: Vec<usize>,
    pub(super) row: Vec<usize>,
    /// For each node, the edge by which it hangs.
    pub(super) hangs: Vec<Option<usize>>,
    /// For each node, the edges by which others hang from it, the one to look at first.
    pub(super) branches: Vec<Vec<usize>>,
    /// The rows with which trees begin.
    pub(super) trees: Vec<usize>,
    pub(super) rows: usize,
}

impl Grid {
    pub(super) fn new(graph: &Graph) -> Self {
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
        grid.hang(graph);
        grid.stack(graph);
        grid
    }

    /// Begins with all that nothing leads to. What is left then are cycles, and they begin with the role that pictures
    /// begin with.
    fn spread(&mut self, graph: &Graph) {
        let deciding = Deciding::new(graph);
        let (tied, mut first): (Vec<_>, Vec<_>) =
            (0..graph.nodes.len()).partition(|&node| deciding.is_tied[node]);
        self.spread_from(graph, &deciding, &first);
        first = tied;
        first.sort_by_key(|&node| graph.nodes[node].role);
        for node in first {
            if self.column[node] == usize::MAX {
                self.spread_from(graph, &deciding, &[node]);
            }
        }
    }

    fn spread_from(&mut self, graph: &Graph, deciding: &Deciding, first: &[usize]) {
        let mut queue: VecDeque<_> = first.iter().copied().collect();
        for &node in first {
            self.column[node] = 0;
        }
        while let Some(node) = queue.pop_front() {
            let column = self.column[node] + 1;
            for &edge in &deciding.out[node] {
                let to = graph.edges[edge].to;
                if self.column[to] == usize::MAX {
                    self.column[to] = column;
                    self.hangs[to] = Some(edge);
                    queue.push_back(to);
                } else if self.column[to] == column {
                    // Both are as near: it hangs from the one to look at.
                    self.hangs[to] = self.hangs[to]
                        .into_iter()
                        .chain([edge])
                        .min_by_key(|&edge| graph.edges[edge].strength);
                }
            }
        }
    }

    fn hang(&mut self, graph: &Graph) {
        let mut hanging: Vec<usize> = self.hangs.iter().flatten().copied().collect();
        hanging.sort_unstable_by_key(|&edge| (graph.edges[edge].strength, edge));
        for edge in hanging {
            self.branches[graph.edges[edge].from].push(edge);
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

/// The edges that decide who stands where: those that hold, and for a node that nothing holds the first
/// one that says where it belongs.
struct Deciding {
    /// By node, the deciding edges that leave it.
    out: Vec<Vec<usize>>,
    /// By node, whether a deciding edge leads to it.
    is_tied: Vec<bool>,
}

impl Deciding {
    fn new(graph: &Graph) -> Self {
        let mut deciding = Self {
            out: vec![Vec::new(); graph.nodes.len()],
            is_tied: vec![false; graph.nodes.len()],
        };
        deciding.take(graph, |edge, _| edge.strength != Strength::Weak);
        deciding.take(graph, |edge, is_tied| {
            edge.strength == Strength::Weak && !is_tied
        });
        deciding
    }

    fn take(&mut self, graph: &Graph, is_wanted: impl Fn(&Edge, bool) -> bool) {
        for (number, edge) in graph.edges.iter().enumerate() {
            if edge.from != edge.to && is_wanted(edge, self.is_tied[edge.to]) {
                self.out[edge.from].push(number);
                self.is_tied[edge.to] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::{Role, samples};

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
    fn what_nothing_holds_stands_where_it_belongs() {
        let mut graph = samples::bare(3, &[(0, 1)]);
        graph.connect(1, 2, "", Strength::Weak);
        assert_eq!(Grid::new(&graph).column, [0, 1, 2]);
        graph.connect(0, 2, "", Strength::Strong);
        assert_eq!(Grid::new(&graph).column, [0, 1, 1]);
    }

    #[test]
    fn a_node_hangs_from_the_edge_to_look_at() {
        let mut graph = samples::bare(3, &[(0, 2)]);
        graph.connect(1, 2, "", Strength::Suspect);
        assert_eq!(Grid::new(&graph).hangs[2], Some(1));
    }
}
