//! What cannot be asked about before the thing that it lives in is there: it waits, and is looked at then.

use std::sync::Arc;

use super::{Refreshed, Seen, execute::Coordinator, refresh};
use crate::{
    model::{Action, Address, Reason, Step},
    resource::Observed,
};

impl Coordinator<'_> {
    /// Steps that could not be asked about wait for one more look, once what they live in is there.
    pub(super) fn hold_back(&mut self) {
        for (i, step) in self.plan.steps.iter().enumerate() {
            let mut inner = step;
            // Also in what that other one goes with: the outermost tells of all of them at once.
            while let Some(Reason::GoesWith(other)) = &inner.reason {
                self.inside
                    .entry(other.clone())
                    .or_default()
                    .push(step.address.clone());
                match self.index.get(other).and_then(|i| self.plan.steps.get(*i)) {
                    Some(outer) => inner = outer,
                    None => break,
                }
            }
            let found = self.refreshed.found.get(&step.address);
            let Some(other) = found.and_then(|found| match &found.seen {
                Seen::After(other) => Some(other),
                Seen::Known(_) | Seen::GoesWith(_) | Seen::Error(_) => found.follows.as_ref(),
            }) else {
                continue;
            };
            self.after
                .entry(other.clone())
                .or_default()
                .push(step.address.clone());
            if let Some(open) = self.edges.open.get_mut(i) {
                *open += 1;
            }
        }
    }

    /// What lives in this resource could not be asked about before it was there: now it can.
    pub(super) fn look_again(&mut self, i: usize, step: &Step) {
        let Some(waiting) = self.after.remove(&step.address) else {
            return;
        };
        // What was planned without asking may have been there all the same, and only been looked at.
        let absent = || {
            let found = self.refreshed.found.get(&step.address);
            matches!(
                found.map(|found| &found.seen),
                Some(Seen::Known(Observed::Absent))
            )
        };
        let made = step.action == Action::Replace || step.action == Action::Create && absent();
        let (empty, waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|address| made && self.lives_in(address, &step.address));
        for address in empty {
            // It lives in what this run made a moment ago: nothing of ours is in there.
            if let Some(found) = self.refreshed.found.get_mut(&address) {
                found.seen = Seen::Known(Observed::Absent);
            }
            self.release(&address, i);
        }
        let waiting = self.hold_on(waiting);
        if waiting.is_empty() {
            return;
        }
        let open = waiting
            .into_iter()
            .filter_map(|address| Some((address.clone(), self.refreshed.found.get(&address)?.clone())))
            .collect();
        let (run, outputs) = (self.run.clone(), self.outputs.clone());
        let task = self
            .looking
            .spawn(async move { (i, refresh::again(&run, open, &outputs).await) });
        self.tasks.insert(task.id(), i);
    }

    /// Those of `waiting` that can be asked about now. The others refer to more that is still to come, and wait for that.
    fn hold_on(&mut self, waiting: Vec<Address>) -> Vec<Address> {
        let mut now = Vec::new();
        for address in waiting {
            match self.to_come(&address) {
                None => now.push(address),
                Some(other) => self.after.entry(other).or_default().push(address),
            }
        }
        now
    }

    /// What a wanted resource refers to and this run has not yet brought there.
    fn to_come(&self, address: &Address) -> Option<Address> {
        let found = self.refreshed.found.get(address)?;
        found.wanted.as_ref()?;
        let mut refers = found.refers.iter();
        let other =
            refers.find(|other| self.index.contains_key(*other) && !self.outputs.contains_key(*other));
        other.cloned()
    }

    /// Whether a resource is inside another one, and not only refers to it.
    fn lives_in(&self, address: &Address, other: &Address) -> bool {
        let Some(found) = self.refreshed.found.get(address) else {
            return false;
        };
        let mut target = found.target.clone();
        target.outputs.extend(
            self.outputs
                .get(other)
                .map(|outputs| (other.clone(), Arc::clone(outputs))),
        );
        self.kinds.get(found.kind()).is_some_and(|kind| {
            kind.goes_with(&target).as_ref() == Some(other) || kind.lives_in(&target).as_ref() == Some(other)
        })
    }

    pub(super) fn looked(&mut self, (by, refreshed): (usize, Refreshed)) {
        for (address, found) in refreshed.found {
            self.refreshed.found.insert(address.clone(), found);
            self.release(&address, by);
        }
    }

    fn release(&mut self, address: &Address, by: usize) {
        if let Some(&i) = self.index.get(address) {
            self.one_less(i, by);
        }
    }
}
