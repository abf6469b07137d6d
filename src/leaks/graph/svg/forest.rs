//! Who stands where: columns from left to right, rows from top to bottom.
//!
//! 1. A node hangs from at most one other, which stands in the column to its left. What holds it besides
//!    gets a line of its own.
//! 2. The first that hangs from a node stands in the same row, every other begins a row below. A row is
//!    thus a chain, and right of its last node nothing stands in it.
//! 3. What merely holds something that hangs from another stands left of it, below it: in a row of its
//!    branch whose left is free, or else in a row of its own.

use crate::leaks::graph::{Edge, Graph, Strength};
use std::{collections::HashSet, ops::Range};

pub(super) struct Forest {
    pub(super) column: Vec<usize>,
    pub(super) row: Vec<usize>,
    /// For each node, the edge by which it hangs.
    pub(super) hangs: Vec<Option<usize>>,
    /// For each node, the edges by which others hang from it.
    pub(super) branches: Vec<Vec<usize>>,
    /// By node, whether others may stand further right in its row without hanging from it.
    pub(super) squeezed: Vec<bool>,
    /// The rows with which trees begin.
    pub(super) trees: Vec<usize>,
    pub(super) rows: usize,
}

impl Forest {
    pub(super) fn new(graph: &Graph) -> Self {
        let references = References::new(graph);
        let walk = Walk::over(graph, &references);
        let mut forest = Self {
            column: vec![0; graph.nodes.len()],
            row: vec![0; graph.nodes.len()],
            hangs: vec![None; graph.nodes.len()],
            branches: vec![Vec::new(); graph.nodes.len()],
            squeezed: vec![false; graph.nodes.len()],
            trees: Vec::new(),
            rows: 0,
        };
        forest.spread(graph, &references, &walk);
        forest.pull(graph, &references);
        forest.hang(graph, &references, &walk);
        forest.stack(graph, &references);
        forest
    }

    pub(super) fn goes_right(&self, edge: &Edge) -> bool {
        self.column[edge.from] < self.column[edge.to]
    }

    /// As far right as the longest chain that leads there.
    fn spread(&mut self, graph: &Graph, references: &References, walk: &Walk) {
        for &node in walk.done.iter().rev() {
            for &edge in &references.out[node] {
                let to = graph.edges[edge].to;
                if !walk.back[edge] {
                    self.column[to] = self.column[to].max(self.column[node] + 1);
                }
            }
        }
    }

    /// What nothing holds moves right, to what it holds.
    fn pull(&mut self, graph: &Graph, references: &References) {
        let mut nearest = vec![usize::MAX; graph.nodes.len()];
        for edge in graph
            .edges
            .iter()
            .filter(|edge| !references.tied[edge.from])
        {
            if edge.to != edge.from {
                nearest[edge.from] = nearest[edge.from].min(self.column[edge.to]);
            }
        }
        for (node, &nearest) in nearest.iter().enumerate() {
            if nearest != usize::MAX {
                self.column[node] = nearest.saturating_sub(1);
            }
        }
    }

    /// Picks the edge by which each node hangs: the one to look at, if there is a choice.
    fn hang(&mut self, graph: &Graph, references: &References, walk: &Walk) {
        for edge in references.out.iter().flatten().copied() {
            let Edge { from, to, .. } = graph.edges[edge];
            if walk.back[edge] || self.column[from] + 1 != self.column[to] {
                continue;
            }
            let rank = |edge: usize| (graph.edges[edge].strength, edge);
            if self.hangs[to].is_none_or(|other| rank(edge) < rank(other)) {
                self.hangs[to] = Some(edge);
            }
        }
        let mut hanging: Vec<usize> = self.hangs.iter().flatten().copied().collect();
        hanging.sort_unstable();
        for edge in hanging {
            self.branches[graph.edges[edge].from].push(edge);
        }
    }

    /// Gives out the rows, branch by branch.
    fn stack(&mut self, graph: &Graph, references: &References) {
        let (beside, roots) = self.roots(graph, references);
        let mut free = Free::new(graph.nodes.len());
        for root in roots {
            self.trees.push(self.rows);
            // What is still to be placed; the top is placed next.
            let mut waiting = Vec::new();
            wait(&mut waiting, &beside, root, true);
            while let Some(next) = waiting.pop() {
                match next {
                    Next::Beside { node, held } => self.place_beside(&mut free, node, held),
                    Next::Hanging { node, begins } => {
                        self.rows += usize::from(begins);
                        self.row[node] = self.rows - 1;
                        for (n, &edge) in self.branches[node].iter().enumerate().rev() {
                            wait(&mut waiting, &beside, graph.edges[edge].to, n > 0);
                        }
                    }
                }
            }
        }
    }

    /// Into the next row of the branch that is free, if there the line to what it holds meets nothing.
    fn place_beside(&mut self, free: &mut Free, node: usize, held: usize) {
        let column = self.column[node];
        let near = column + 1 == self.column[held];
        let branch = self.row[held] + 1..self.rows;
        self.squeezed[node] = near;
        let row = if near {
            free.take(held, column, branch)
        } else {
            None
        };
        self.row[node] = row.unwrap_or_else(|| {
            free.close(self.rows, column, near);
            self.rows += 1;
            self.rows - 1
        });
    }

    /// What stands beside each node because it holds that node and nothing hangs from it, and the rest
    /// that hangs nowhere: the roots.
    fn roots(&self, graph: &Graph, references: &References) -> (Vec<Vec<usize>>, Vec<usize>) {
        let mut held = vec![None; graph.nodes.len()];
        for edge in graph.edges.iter().rev().filter(|edge| edge.from != edge.to) {
            held[edge.from] = Some(edge.to);
        }
        let mut beside = vec![Vec::new(); graph.nodes.len()];
        let mut roots = Vec::new();
        for node in 0..graph.nodes.len() {
            if self.hangs[node].is_some() {
                continue;
            }
            let alone = !references.tied[node] && self.branches[node].is_empty();
            match held[node].filter(|_| alone) {
                Some(held) => beside[held].push(node),
                None => roots.push(node),
            }
        }
        (beside, roots)
    }
}

enum Next {
    Hanging {
        node: usize,
        begins: bool,
    },
    /// Placed when the whole branch of what it holds is.
    Beside {
        node: usize,
        held: usize,
    },
}

fn wait(waiting: &mut Vec<Next>, beside: &[Vec<usize>], node: usize, begins: bool) {
    let held = node;
    let holders = beside[held].iter().rev();
    waiting.extend(holders.map(|&node| Next::Beside { node, held }));
    waiting.push(Next::Hanging { node, begins });
}

/// Which places left of branches are free.
struct Free {
    /// Rows that a line runs along.
    closed: HashSet<usize>,
    /// Row and column.
    taken: HashSet<(usize, usize)>,
    /// By node that is held: how far down its branch the places are given out.
    next: Vec<usize>,
}

impl Free {
    fn new(nodes: usize) -> Self {
        Self {
            closed: HashSet::new(),
            taken: HashSet::new(),
            next: vec![0; nodes],
        }
    }

    fn take(&mut self, held: usize, column: usize, branch: Range<usize>) -> Option<usize> {
        let mut rows = branch.start.max(self.next[held])..branch.end;
        let free =
            |row: &usize| !self.closed.contains(row) && !self.taken.contains(&(*row, column));
        let row = rows.find(free);
        self.next[held] = rows.start;
        self.taken.extend(row.map(|row| (row, column)));
        row
    }

    /// Notes a node in a row of its own: if what it holds is far away, its line takes the whole row.
    fn close(&mut self, row: usize, column: usize, near: bool) {
        self.taken.insert((row, column));
        if !near {
            self.closed.insert(row);
        }
    }
}

/// The edges that decide who stands where: those that hold, and for a node that nothing holds the first
/// one that says where it belongs.
struct References {
    /// By node, the deciding edges that leave it.
    out: Vec<Vec<usize>>,
    /// By node, whether a deciding edge leads to it.
    tied: Vec<bool>,
}

impl References {
    fn new(graph: &Graph) -> Self {
        let mut references = Self {
            out: vec![Vec::new(); graph.nodes.len()],
            tied: vec![false; graph.nodes.len()],
        };
        references.take(graph, |edge, _| edge.strength != Strength::Weak);
        references.take(graph, |edge, tied| edge.strength == Strength::Weak && !tied);
        references
    }

    fn take(&mut self, graph: &Graph, wanted: impl Fn(&Edge, bool) -> bool) {
        for (number, edge) in graph.edges.iter().enumerate() {
            if edge.from != edge.to && wanted(edge, self.tied[edge.to]) {
                self.out[edge.from].push(number);
                self.tied[edge.to] = true;
            }
        }
    }
}

/// A walk along the deciding edges that finds those that close a cycle.
struct Walk {
    mark: Vec<Mark>,
    /// Every node, after all that it leads to except over cycles.
    done: Vec<usize>,
    /// By edge, whether it leads back to where the walk came from.
    back: Vec<bool>,
}

#[derive(Clone, Copy)]
enum Mark {
    New,
    /// On the way from the start to where the walk is.
    Open,
    Done,
}

impl Walk {
    /// Begins where nothing leads to; what is left then are cycles, and they begin with the role that
    /// pictures begin with.
    fn over(graph: &Graph, references: &References) -> Self {
        let mut walk = Self {
            mark: vec![Mark::New; graph.nodes.len()],
            done: Vec::new(),
            back: vec![false; graph.edges.len()],
        };
        let mut starts: Vec<usize> = (0..graph.nodes.len()).collect();
        starts.sort_by_key(|&node| (references.tied[node], graph.nodes[node].role));
        for start in starts {
            walk.from(graph, references, start);
        }
        walk
    }

    /// The way is a stack of our own: chains may be 10,000 long.
    fn from(&mut self, graph: &Graph, references: &References, start: usize) {
        let mut way = Vec::new();
        self.enter(&mut way, start);
        while let Some((node, next)) = way.last_mut() {
            let Some(&edge) = references.out[*node].get(*next) else {
                self.mark[*node] = Mark::Done;
                self.done.push(*node);
                way.pop();
                continue;
            };
            *next += 1;
            let to = graph.edges[edge].to;
            self.back[edge] = matches!(self.mark[to], Mark::Open);
            self.enter(&mut way, to);
        }
    }

    fn enter(&mut self, way: &mut Vec<(usize, usize)>, node: usize) {
        if matches!(self.mark[node], Mark::New) {
            self.mark[node] = Mark::Open;
            way.push((node, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaks::graph::{Role, samples};

    #[test]
    fn a_chain_is_one_row() {
        let forest = Forest::new(&samples::bare(3, &[(0, 1), (1, 2)]));
        assert_eq!(forest.column, [0, 1, 2]);
        assert_eq!((forest.row, forest.rows), (vec![0, 0, 0], 1));
    }

    #[test]
    fn the_longest_chain_decides_the_column() {
        let forest = Forest::new(&samples::bare(3, &[(0, 2), (0, 1), (1, 2)]));
        assert_eq!(forest.column, [0, 1, 2]);
        assert_eq!(forest.hangs, [None, Some(1), Some(2)]);
    }

    #[test]
    fn who_holds_the_same_stands_below_in_a_row_of_its_own() {
        let forest = Forest::new(&samples::bare(4, &[(0, 1), (1, 2), (3, 2)]));
        assert_eq!(forest.column, [0, 1, 2, 1]);
        assert_eq!(forest.row, [0, 0, 0, 1]);
        assert_eq!(forest.trees, [0]);
    }

    #[test]
    fn who_holds_the_same_stands_left_of_the_branch_if_there_is_room() {
        let forest = Forest::new(&samples::bare(5, &[(0, 1), (1, 2), (1, 3), (4, 1)]));
        assert_eq!(forest.row, [0, 0, 0, 1, 1]);
        assert_eq!((forest.column[4], forest.rows), (0, 2));
    }

    #[test]
    fn a_cycle_begins_with_what_is_nearest_to_the_outside() {
        let mut graph = samples::bare(2, &[(0, 1), (1, 0)]);
        assert_eq!(Forest::new(&graph).column, [0, 1]);
        graph.nodes[1].role = Role::Alive;
        assert_eq!(Forest::new(&graph).column, [1, 0]);
    }

    #[test]
    fn what_nothing_holds_stands_where_it_belongs() {
        let mut graph = samples::bare(3, &[(0, 1)]);
        graph.connect(1, 2, "", Strength::Weak);
        assert_eq!(Forest::new(&graph).column, [0, 1, 2]);
        graph.connect(0, 2, "", Strength::Strong);
        assert_eq!(Forest::new(&graph).column, [0, 1, 1]);
    }

    #[test]
    fn a_node_hangs_from_the_edge_to_look_at() {
        let mut graph = samples::bare(3, &[(0, 2)]);
        graph.connect(1, 2, "", Strength::Suspect);
        assert_eq!(Forest::new(&graph).hangs[2], Some(1));
    }
}
