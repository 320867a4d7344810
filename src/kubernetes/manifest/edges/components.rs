use super::{Edges, index::Index, infer::Definitions};
use crate::{kubernetes::manifest::pods, model::Until};

/// A component that depends on another begins when the other works: its first objects need the other's last ones.
pub(super) fn infer(index: &Index<'_>, depends_on: &[Vec<usize>], crds: &Definitions, edges: &mut Edges) {
    let ends = Ends::new(index, depends_on.len(), crds, edges);
    for component in 0..depends_on.len() {
        let mut seen = vec![false; depends_on.len()];
        let mut last = Vec::new();
        for needed in depends_on.get(component).into_iter().flatten() {
            ends.last(*needed, depends_on, &mut seen, &mut last);
        }
        for item in ends.first.get(component).into_iter().flatten() {
            for needed in &last {
                edges.need(*item, *needed, Until::Ready);
            }
        }
    }
}

/// Where each component begins and ends.
struct Ends {
    /// What needs nothing of its own component.
    first: Vec<Vec<usize>>,
    /// What nothing of its own component needs: workloads and custom resources, or whatever there is.
    last: Vec<Vec<usize>>,
}

impl Ends {
    fn new(index: &Index<'_>, components: usize, crds: &Definitions, edges: &Edges) -> Self {
        let component = |number: usize| index.items.get(number).map(|item| item.component);
        let mut needed = vec![false; index.items.len()];
        let mut first = vec![Vec::new(); components];
        for (number, item) in index.iter() {
            let mut own = edges
                .needs(number)
                .filter(|(needed, _)| component(*needed) == Some(item.component))
                .peekable();
            if own.peek().is_none()
                && let Some(first) = first.get_mut(item.component)
            {
                first.push(number);
            }
            for (other, _) in own {
                if let Some(needed) = needed.get_mut(other) {
                    *needed = true;
                }
            }
        }
        let mut last = vec![(Vec::new(), Vec::new()); components];
        for (number, item) in index
            .iter()
            .filter(|(number, _)| needed.get(*number) == Some(&false))
        {
            if let Some((working, other)) = last.get_mut(item.component) {
                let works = pods::has_pods(&item.object) || crds.contains_key(&item.object.group_kind());
                if works {
                    working.push(number);
                } else {
                    other.push(number);
                }
            }
        }
        let last = last
            .into_iter()
            .map(
                |(working, other): (Vec<usize>, Vec<usize>)| if working.is_empty() { other } else { working },
            )
            .collect();
        Self { first, last }
    }

    /// The last items of a component; of one without objects, those of what it depends on.
    fn last(&self, component: usize, depends_on: &[Vec<usize>], seen: &mut [bool], found: &mut Vec<usize>) {
        match seen.get_mut(component) {
            Some(seen) if !*seen => *seen = true,
            _ => return,
        }
        let own = self.last.get(component).map_or(&[][..], Vec::as_slice);
        found.extend(own);
        if own.is_empty() {
            for needed in depends_on.get(component).into_iter().flatten() {
                self.last(*needed, depends_on, seen, found);
            }
        }
    }
}
