//! The graph of what needs what: edges, cycles with their path, reverse.
//!
//! Nodes are numbers given by the caller; the cost of everything here is linear in nodes and edges.

/// A directed graph over the nodes `0..len`; an edge says that one node needs another.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph of `len` nodes without edges.
    pub fn new(len: usize) -> Self {
        Self {
            needs: vec![Vec::new(); len],
            needed_by: vec![Vec::new(); len],
        }
    }

    /// Says that `node` needs `needed`. Edges to nodes that do not exist are ignored; doubles are harmless.
    pub fn need(&mut self, node: usize, needed: usize) {
        if node >= self.needs.len() || needed >= self.needs.len() {
            return;
        }
        if let Some(needs) = self.needs.get_mut(node) {
            needs.push(needed);
        }
        if let Some(needed_by) = self.needed_by.get_mut(needed) {
            needed_by.push(node);
        }
    }

    /// What `node` needs.
    pub fn needs(&self, node: usize) -> &[usize] {
        self.needs.get(node).map_or(&[], Vec::as_slice)
    }

    /// What needs `node`.
    pub fn needed_by(&self, node: usize) -> &[usize] {
        self.needed_by.get(node).map_or(&[], Vec::as_slice)
    }

    /// Every node after all that it needs, or a cycle: nodes of which each needs the next, and the last the first.
    pub fn order(&self) -> Result<Vec<usize>, Vec<usize>> {
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut ready: std::collections::BTreeSet<usize> = open
            .iter()
            .enumerate()
            .filter_map(|(node, count)| (*count == 0).then_some(node))
            .collect();
        let mut order = Vec::with_capacity(open.len());
        while let Some(node) = ready.pop_first() {
            order.push(node);
            for &next in self.needed_by(node) {
                if let Some(count) = open.get_mut(next) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(next);
                    }
                }
            }
        }
        if order.len() == open.len() {
            Ok(order)
        } else {
            Err(self.cycle(&open))
        }
    }

    /// Walks from any node that never became ready along needs that never did: it must meet itself.
    fn cycle(&self, open: &[usize]) -> Vec<usize> {
        let stuck = |node: usize| open.get(node).is_some_and(|count| *count > 0);
        let Some(start) = (0..open.len()).find(|node| stuck(*node)) else {
            return Vec::new();
        };
        let mut path = vec![start];
        let mut seen = vec![usize::MAX; open.len()];
        let mut node = start;
        loop {
            if let Some(at) = seen.get_mut(node) {
                *at = path.len() - 1;
            }
            let Some(&next) = self.needs(node).iter().find(|needed| stuck(**needed)) else {
                return path;
            };
            match seen.get(next) {
                Some(&at) if at != usize::MAX => return path.split_off(at),
                _ => path.push(next),
            }
            node = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Graph;

    #[test]
    fn a_cycle_is_told_with_its_whole_path() {
        let mut graph = Graph::new(4);
        graph.need(0, 1);
        graph.need(1, 2);
        graph.need(2, 3);
        graph.need(3, 1);
        assert_eq!(graph.order(), Err(vec![1, 2, 3]));
    }

    #[test]
    fn a_node_that_needs_itself_is_a_cycle_of_one() {
        let mut graph = Graph::new(2);
        graph.need(1, 1);
        assert_eq!(graph.order(), Err(vec![1]));
    }

    proptest! {
        #[test]
        fn an_order_respects_every_edge_and_a_cycle_is_one(
            len in 1usize..20,
            edges in proptest::collection::vec((0usize..20, 0usize..20), 0..40),
        ) {
            let mut graph = Graph::new(len);
            for (node, needed) in edges {
                graph.need(node, needed);
            }
            match graph.order() {
                Ok(order) => {
                    let mut at = vec![0; len];
                    for (place, node) in order.iter().enumerate() {
                        at[*node] = place;
                    }
                    for node in 0..len {
                        for needed in graph.needs(node) {
                            prop_assert!(at[*needed] < at[node]);
                        }
                    }
                }
                Err(cycle) => {
                    prop_assert!(!cycle.is_empty());
                    for (i, node) in cycle.iter().enumerate() {
                        let next = cycle[(i + 1) % cycle.len()];
                        prop_assert!(graph.needs(*node).contains(&next));
                    }
                }
            }
        }
    }
}
