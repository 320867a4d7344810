use std::collections::{BTreeMap, BTreeSet};

use super::{Found, Refreshed, Seen};
use crate::{
    graph::Graph,
    model::{Action, Address, Need, Plan, Reason, Step, Until},
};

/// Who waits for whom in a run. Indices are those of the plan's steps.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// For each step: which others wait for it, and for how much of it.
    pub(super) waiting: Vec<Vec<(usize, Until)>>,
    /// For each step: how many it waits for.
    pub(super) open: Vec<usize>,
}

/// The edges of a run, or the addresses of a cycle, of which each waits for the next.
///
/// What is made waits for what it needs. What is removed goes before what it needed, and after what needed it and stays.
pub(super) fn edges(plan: &Plan, refreshed: &Refreshed) -> Result<Edges, Vec<Address>> {
    let index: BTreeMap<&Address, usize> = plan
        .steps
        .iter()
        .enumerate()
        .map(|(i, step)| (&step.address, i))
        .collect();
    let action = |i: usize| plan.steps.get(i).map_or(Action::Unchanged, |step| step.action);
    let removed = |i: usize| matches!(action(i), Action::Delete | Action::Forget);
    let mut graph = Graph::new(plan.steps.len());
    let mut edges = Edges {
        waiting: vec![Vec::new(); plan.steps.len()],
        open: vec![0; plan.steps.len()],
    };
    let mut add = |node: usize, needed: usize, until: Until| {
        graph.need(node, needed);
        if let Some(waiting) = edges.waiting.get_mut(needed) {
            waiting.push((node, until));
        }
        if let Some(open) = edges.open.get_mut(node) {
            *open += 1;
        }
    };
    for (i, step) in plan.steps.iter().enumerate() {
        let Some(found) = refreshed.found.get(&step.address) else {
            continue;
        };
        if let Some(Reason::GoesWith(other)) = &step.reason {
            if let Some(&other) = index.get(other) {
                add(i, other, Until::Ready);
            }
            continue;
        }
        let before = needed_before(found);
        if removed(i) {
            for need in before {
                for needed in with_homes(plan, &index, &need.address).take_while(|needed| removed(*needed)) {
                    add(needed, i, Until::Ready);
                }
                // What stands in what is made anew goes first, unless it goes with it.
                if let Some(&needed) = index.get(&need.address)
                    && action(needed) == Action::Replace
                    && matches!(found.seen, Seen::Known(_))
                {
                    add(needed, i, Until::Ready);
                }
            }
            if let Seen::After(other) = &found.seen
                && let Some(&other) = index.get(other)
            {
                add(i, other, Until::Ready);
            }
            continue;
        }
        for need in before {
            // It no longer needs what is removed, once its new form is written.
            if let Some(&needed) = index.get(&need.address).filter(|needed| removed(**needed)) {
                add(needed, i, Until::Applied);
            }
        }
        let wanted = found
            .wanted
            .iter()
            .flat_map(|wanted| needs(&wanted.needs, &found.refers));
        for need in wanted {
            if let Some(&needed) = index.get(&need.address) {
                add(i, needed, need.until);
            }
        }
    }
    for (goes, needed) in held(plan, refreshed, &index) {
        add(needed, goes, Until::Ready);
    }
    match graph.order() {
        Ok(_) => Ok(edges),
        Err(cycle) => Err(cycle
            .into_iter()
            .filter_map(|i| Some(plan.steps.get(i)?.address.clone()))
            .collect()),
    }
}

/// What goes with another and works until then, with each thing that it needs and that must therefore be removed later:
/// all that can outlast that other one. What itself stands on that other one goes before it.
fn held(plan: &Plan, refreshed: &Refreshed, index: &BTreeMap<&Address, usize>) -> Vec<(usize, usize)> {
    let before = |step: &Step| {
        refreshed
            .found
            .get(&step.address)
            .map(needed_before)
            .unwrap_or_default()
    };
    let goes = |step: &Step| matches!(step.reason, Some(Reason::GoesWith(_)));
    let mut on: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, step) in plan.steps.iter().enumerate() {
        for need in before(step) {
            if let Some(&needed) = index.get(&need.address) {
                on.entry(needed).or_default().push(i);
            }
        }
    }
    let mut standing: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut held = Vec::new();
    for (i, step) in plan.steps.iter().enumerate().filter(|(_, step)| goes(step)) {
        let Some(home) = with_homes(plan, index, &step.address).last() else {
            continue;
        };
        let standing = standing.entry(home).or_insert_with(|| above(&on, home));
        let needed = before(step)
            .into_iter()
            .filter_map(|need| index.get(&need.address).copied());
        let outlasts = |needed: &usize| {
            let removed = plan
                .steps
                .get(*needed)
                .is_some_and(|step| matches!(step.action, Action::Delete | Action::Forget) && !goes(step));
            removed && !standing.contains(needed)
        };
        held.extend(needed.filter(outlasts).map(|needed| (i, needed)));
    }
    held
}

/// A step and all that stand on it.
fn above(on: &BTreeMap<usize, Vec<usize>>, step: usize) -> BTreeSet<usize> {
    let mut all = BTreeSet::from([step]);
    let mut open = vec![step];
    while let Some(next) = open.pop() {
        open.extend(
            on.get(&next)
                .into_iter()
                .flatten()
                .filter(|above| all.insert(**above)),
        );
    }
    all
}

/// What a resource needed when it was made.
fn needed_before(found: &Found) -> Vec<Need> {
    let remembered = found.remembered.iter();
    remembered
        .flat_map(|remembered| needs(&remembered.needs, &remembered.refers))
        .collect()
}

/// A step and what it goes with, outwards: what goes with another waits for nobody itself, that other one does.
fn with_homes<'a>(
    plan: &'a Plan,
    index: &'a BTreeMap<&Address, usize>,
    address: &Address,
) -> impl Iterator<Item = usize> + 'a {
    let first = index.get(address).copied();
    std::iter::successors(first, |i| match &plan.steps.get(*i)?.reason {
        Some(Reason::GoesWith(other)) => index.get(other).copied(),
        _ => None,
    })
}

/// Declared needs, and what is referred to: that must be ready, since its outputs are read.
fn needs(declared: &[Need], refers: &[Address]) -> Vec<Need> {
    let mut all: BTreeMap<&Address, Until> = refers.iter().map(|address| (address, Until::Ready)).collect();
    for need in declared {
        let until = all.entry(&need.address).or_insert(need.until);
        *until = (*until).max(need.until);
    }
    all.into_iter()
        .map(|(address, until)| Need {
            address: address.clone(),
            until,
        })
        .collect()
}
