//! When each step of a run came to what, and which chain of them made the run as long as it was, or will be.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{Refreshed, graph::edges};
use crate::{
    model::{Action, Address, Link, Plan, Reason, Step, Timing, Until},
    resource::{Registry, Traits},
};

/// Takes the times of a run's steps.
pub(super) struct Clock {
    start: Instant,
    steps: Vec<Times>,
}

#[derive(Debug, Clone, Default)]
struct Times {
    ready: u64,
    started: Option<u64>,
    applied: Option<u64>,
    ended: Option<u64>,
    after: Option<usize>,
}

impl Clock {
    /// For so many steps.
    pub(super) fn start(steps: usize) -> Self {
        Self {
            start: Instant::now(),
            steps: vec![Times::default(); steps],
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, step: usize, note: impl FnOnce(&mut Times, u64)) {
        let now = self.now();
        if let Some(times) = self.steps.get_mut(step) {
            note(times, now);
        }
    }

    /// All that a step needs is there, by this one at last.
    pub(super) fn ready(&mut self, step: usize, by: usize) {
        self.note(step, |times, now| (times.ready, times.after) = (now, Some(by)));
    }

    pub(super) fn started(&mut self, step: usize) {
        self.note(step, |times, now| times.started = Some(now));
    }

    pub(super) fn applied(&mut self, step: usize) {
        self.note(step, |times, now| times.applied = Some(now));
    }

    pub(super) fn ended(&mut self, step: usize) {
        self.note(step, |times, now| times.ended = Some(now));
    }

    /// The times of all steps that ended, in the order of the plan.
    pub(super) fn timings(&self, plan: &Plan) -> Vec<Timing> {
        let address = |i: usize| plan.steps.get(i).map(|step| step.address.clone());
        let timing = |(i, times): (usize, &Times)| {
            Some(Timing {
                address: address(i)?,
                ready_ms: times.ready,
                started_ms: times.started.unwrap_or(times.ready),
                applied_ms: times.applied,
                ended_ms: times.ended?,
                after: times.after.and_then(address),
            })
        };
        self.steps.iter().enumerate().filter_map(timing).collect()
    }
}

/// The chain of steps of which each was released by the one before, up to the one that ended last. The times of its
/// links add up to when that was.
pub fn critical_path(timings: &[Timing]) -> Vec<Link> {
    let by_address: BTreeMap<&Address, &Timing> =
        timings.iter().map(|timing| (&timing.address, timing)).collect();
    // Of several that ended at once, the one that was ready last tells the most.
    let mut at = timings
        .iter()
        .max_by_key(|timing| (timing.ended_ms, timing.ready_ms));
    let mut until = at.map_or(0, |timing| timing.ended_ms);
    let (mut links, mut seen) = (Vec::new(), BTreeSet::new());
    while let Some(timing) = at.filter(|timing| seen.insert(&timing.address)) {
        links.push(Link {
            address: timing.address.clone(),
            took_ms: until.saturating_sub(timing.ready_ms),
        });
        until = timing.ready_ms;
        at = timing
            .after
            .as_ref()
            .and_then(|after| by_address.get(after).copied());
    }
    links.reverse();
    links
}

/// How long a plan usually takes, as far as its kinds know, and by which chain of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// From the first step to the last. What no kind knows counts as nothing.
    pub total: Duration,
    /// The chain of steps that takes so long.
    pub path: Vec<Link>,
}

/// How long a step usually takes once it is started, as far as its kind knows. What stands as wanted is started only
/// to wait until it works.
pub(super) fn usual(traits: Traits, step: &Step) -> Option<Duration> {
    match step.action {
        Action::Create | Action::Unchanged => traits.expected,
        Action::Replace => Some(traits.removal.unwrap_or_default() + traits.expected?),
        Action::Delete if !matches!(step.reason, Some(Reason::GoesWith(_))) => traits.removal,
        Action::Delete | Action::Update | Action::Forget | Action::Conflict => None,
    }
}

/// Adds up what each kind says of itself along the plan's edges. A plan with a circle takes no time: it cannot run.
pub fn expected(plan: &Plan, refreshed: &Refreshed, registry: &Registry) -> Expected {
    let Ok(edges) = edges(plan, refreshed) else {
        return Expected::default();
    };
    let lasts: Vec<Duration> = plan
        .steps
        .iter()
        .map(|step| {
            let changes = step.action != Action::Unchanged;
            let kind = registry.get(&step.kind).ok().filter(|_| changes);
            kind.and_then(|kind| usual(kind.traits(), step))
                .unwrap_or_default()
        })
        .collect();
    let last = |i: usize| lasts.get(i).copied().unwrap_or_default();
    let mut begins: Vec<(Duration, Option<(usize, Until)>)> = vec![(Duration::ZERO, None); lasts.len()];
    let mut open = edges.open;
    let mut ready: Vec<usize> = (0..open.len()).filter(|i| open.get(*i) == Some(&0)).collect();
    let mut end: Option<(Duration, usize)> = None;
    while let Some(i) = ready.pop() {
        let begin = begins.get(i).map_or(Duration::ZERO, |(begin, _)| *begin);
        if end.is_none_or(|(end, _)| begin + last(i) > end) {
            end = Some((begin + last(i), i));
        }
        for (node, until) in edges.waiting.get(i).into_iter().flatten() {
            // How long a write takes is nothing beside how long a thing takes to work.
            let met = begin
                + if *until == Until::Ready {
                    last(i)
                } else {
                    Duration::ZERO
                };
            if let Some(slot) = begins.get_mut(*node)
                && met > slot.0
            {
                *slot = (met, Some((i, *until)));
            }
            if let Some(open) = open.get_mut(*node) {
                *open -= 1;
                if *open == 0 {
                    ready.push(*node);
                }
            }
        }
    }
    let Some((total, mut at)) = end else {
        return Expected::default();
    };
    let mut path = Vec::new();
    let mut took = last(at);
    loop {
        if let Some(step) = plan.steps.get(at).filter(|_| !took.is_zero()) {
            path.push(Link {
                address: step.address.clone(),
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            });
        }
        match begins.get(at) {
            Some((_, Some((by, until)))) => {
                at = *by;
                took = if *until == Until::Ready {
                    last(at)
                } else {
                    Duration::ZERO
                };
            }
            _ => break,
        }
    }
    path.reverse();
    Expected { total, path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(name: &str, times: [u64; 4], after: Option<&str>) -> Timing {
        let [ready_ms, started_ms, applied_ms, ended_ms] = times;
        Timing {
            address: Address::new("fake", name),
            ready_ms,
            started_ms,
            applied_ms: Some(applied_ms),
            ended_ms,
            after: after.map(|after| Address::new("fake", after)),
        }
    }

    fn told(links: &[Link]) -> Vec<(&str, u64)> {
        links
            .iter()
            .map(|link| (link.address.name(), link.took_ms))
            .collect()
    }

    #[test]
    fn the_critical_path_ends_with_the_last_step_and_adds_up_to_the_whole_run() {
        let timings = [
            timing("network", [0, 0, 3, 10], None),
            timing("beside", [0, 0, 1, 90], None),
            // Released by the network's write, not by its being ready.
            timing("cluster", [3, 4, 5, 70], Some("network")),
            timing("nodes", [70, 71, 72, 100], Some("cluster")),
        ];
        let path = critical_path(&timings);
        assert_eq!(told(&path), [("network", 3), ("cluster", 67), ("nodes", 30)]);
        assert_eq!(path.iter().map(|link| link.took_ms).sum::<u64>(), 100);
    }

    #[test]
    fn a_run_without_steps_has_no_path_and_a_circle_has_an_end() {
        assert_eq!(critical_path(&[]), []);
        let circle = [
            timing("a", [5, 5, 5, 9], Some("b")),
            timing("b", [9, 9, 9, 9], Some("a")),
        ];
        assert_eq!(critical_path(&circle).len(), 2);
    }
}
