//! What must be done for one step, with what is known when its turn comes.

use std::sync::Arc;

use serde_json::Value;

use super::{Seen, execute::Coordinator, node::Node, plan::compare};
use crate::{
    model::{Action, Address, Failure, Reason, Step},
    resource::{Cause, Intent, Live, Observed, Readiness, Remembered, ResourceError, resolve},
    state::{Intended, Record, Status},
};

/// How a step begins.
pub(super) enum Start {
    /// It stands as wanted and as remembered: nothing to do but to read its outputs.
    Standing(Arc<Value>),
    Work(Box<Node>),
}

impl Coordinator<'_> {
    /// One record that announces everything whose identity is known beforehand.
    pub(super) fn intent(&self) -> Vec<Record> {
        let together = |step: &&Step| {
            self.kinds
                .get(step.kind.as_str())
                .is_some_and(|kind| kind.traits().intent == Intent::Together)
        };
        let nodes: Vec<Intended> = self
            .plan
            .steps
            .iter()
            .filter(together)
            .filter(|step| {
                step.action.writes() || (step.action == Action::Unchanged && self.must_record(step))
            })
            .map(|step| self.intended(step))
            .collect();
        if nodes.is_empty() {
            Vec::new()
        } else {
            vec![Record::Intend { nodes }]
        }
    }

    fn intended(&self, step: &Step) -> Intended {
        let found = self.refreshed.found.get(&step.address);
        let before = found.and_then(|found| found.remembered.as_deref());
        let wanted = found.and_then(|found| found.wanted.as_deref());
        let remembered = match (wanted, before) {
            (Some(wanted), before) => Remembered {
                kind: step.kind.clone(),
                identity: found
                    .map(|found| found.target.identity.clone())
                    .unwrap_or_default(),
                id: before
                    .filter(|_| step.action != Action::Create)
                    .and_then(|before| before.id.clone()),
                component: wanted.component.clone(),
                inputs: self
                    .kinds
                    .get(step.kind.as_str())
                    .filter(|kind| kind.traits().records_inputs)
                    .map(|_| Value::clone(&wanted.inputs)),
                input_hash: found
                    .map(|found| found.target.input_hash.clone())
                    .unwrap_or_default(),
                outputs: Value::Null,
                needs: wanted.needs.clone(),
                refers: found.map(|found| found.refers.clone()).unwrap_or_default(),
                // One that is new to the state may have stood there before, and been forgotten.
                generation: before.map_or(self.serial, |before| before.generation)
                    + u64::from(step.action == Action::Replace),
            },
            (None, Some(before)) => before.clone(),
            (None, None) => Remembered {
                kind: step.kind.clone(),
                identity: Value::Null,
                id: None,
                component: None,
                inputs: None,
                input_hash: String::new(),
                outputs: Value::Null,
                needs: Vec::new(),
                refers: Vec::new(),
                generation: 0,
            },
        };
        Intended {
            address: step.address.clone(),
            action: step.action,
            remembered,
        }
    }

    /// Whether the state says something else of an unchanged resource than what stands.
    fn must_record(&self, step: &Step) -> bool {
        let Some(found) = self.refreshed.found.get(&step.address) else {
            return false;
        };
        let (Some(wanted), Some(before)) = (&found.wanted, &found.remembered) else {
            return true;
        };
        let outputs = match &found.seen {
            Seen::Known(Observed::Live(live)) => live.outputs == before.outputs,
            Seen::Known(Observed::Absent) | Seen::After(_) | Seen::GoesWith(_) | Seen::Error(_) => false,
        };
        found.status != Some(Status::Done)
            || before.input_hash != found.target.input_hash
            || !outputs
            || before.needs != wanted.needs
            || before.refers != found.refers
            || before.component != wanted.component
    }

    /// What must be done for a step, with what is known now: references resolved, the action decided once more.
    pub(super) fn node(&self, i: usize, step: &Step) -> Result<Start, ResourceError> {
        let found = self
            .refreshed
            .found
            .get(&step.address)
            .ok_or_else(|| missing(&step.address))?;
        let mut target = found.target.clone();
        for address in &found.refers {
            if let Some(outputs) = self.outputs.get(address) {
                target.outputs.insert(address.clone(), Arc::clone(outputs));
            }
        }
        if let Some(wanted) = &found.wanted {
            target.inputs = Some(resolve(&wanted.inputs, &target.outputs)?);
        }
        let live: Option<Live> = match &found.seen {
            Seen::Known(observed) => observed.live().cloned(),
            Seen::After(_) | Seen::GoesWith(_) => None,
            Seen::Error(error) => return Err(error.clone()),
        };
        let action = decide(step, found.wanted.is_some(), live.as_ref())?;
        let record = action.writes() || self.must_record(step);
        if action == Action::Unchanged
            && !record
            && let Some(live) = live.as_ref().filter(|live| live.readiness == Readiness::Ready)
        {
            return Ok(Start::Standing(Arc::new(live.outputs.clone())));
        }
        let (Some(kind), Some(limit), Some(looker)) = (
            self.kinds.get(step.kind.as_str()),
            self.at_once.get(step.kind.as_str()),
            self.lookers.get(step.kind.as_str()),
        ) else {
            return Err(missing(&step.address));
        };
        let intended = Intended {
            action,
            ..self.intended(step)
        };
        target.generation = intended.remembered.generation;
        let first = if action == Action::Replace {
            self.pinning(&step.address)
        } else {
            Vec::new()
        };
        Ok(Start::Work(Box::new(Node {
            run: self.run.clone(),
            index: i,
            action,
            kind: Arc::clone(kind),
            target,
            live,
            first,
            doubt: matches!(found.status, Some(Status::Begun { .. } | Status::Failed { .. })),
            intended,
            inside: self.inside.get(&step.address).cloned().unwrap_or_default(),
            record,
            tell: self.tell.clone(),
            limit: Arc::clone(limit),
            looker: looker.clone(),
        })))
    }

    /// What must be gone before this resource can be made anew, as it stands now.
    fn pinning(&self, address: &Address) -> Vec<Node> {
        let node = |(i, step): (usize, &Step)| {
            let found = self.refreshed.found.get(&step.address)?;
            if found.along.as_ref() != Some(address) || step.action != Action::Replace {
                return None;
            }
            Some(Node {
                run: self.run.clone(),
                index: i,
                action: step.action,
                kind: Arc::clone(self.kinds.get(step.kind.as_str())?),
                target: found.target.clone(),
                live: None,
                first: self.pinning(&step.address),
                doubt: false,
                intended: self.intended(step),
                inside: Vec::new(),
                record: true,
                tell: self.tell.clone(),
                limit: Arc::clone(self.at_once.get(step.kind.as_str())?),
                looker: self.lookers.get(step.kind.as_str())?.clone(),
            })
        };
        self.plan.steps.iter().enumerate().filter_map(node).collect()
    }
}

/// The action, now that everything it refers to is known: never more destructive than the plan that was shown.
fn decide(step: &Step, wanted: bool, live: Option<&Live>) -> Result<Action, ResourceError> {
    let late = matches!(step.reason, Some(Reason::KnownAfter(_) | Reason::Follows(_)));
    let mut now = step.clone();
    match (wanted, live) {
        (true, None) => now.action = Action::Create,
        (true, Some(live)) if late => compare(&mut now, live),
        (true, Some(_)) | (false, _) => {}
    }
    let worse = now.action.severity() > step.action.severity().max(Action::Update.severity());
    if now.action == Action::Conflict {
        return Err(conflict_error(&now));
    }
    if worse {
        let why = if live.is_some_and(|live| live.terminating) {
            "it is being deleted and would have to be made anew".to_owned()
        } else {
            format!(
                "it would now have to be replaced (because of {})",
                now.forces.join(", ")
            )
        };
        return Err(
            ResourceError::new(Cause::Outdated, format!("{why}, which the plan did not show"))
                .hint("run 'stackup diff' to see the plan as it is now, then apply it"),
        );
    }
    Ok(now.action)
}

pub(super) fn failure(action: Action, error: &ResourceError) -> Failure {
    Failure {
        action,
        message: error.to_string(),
        hint: error.hint.clone(),
        details: Vec::new(),
        deadline: false,
        refused: matches!(error.cause, Cause::Refused | Cause::Outdated),
        unreachable: error.cause == Cause::Unreachable,
    }
}

pub(super) fn conflict(step: &Step) -> Failure {
    failure(Action::Conflict, &conflict_error(step))
}

/// Why a resource cannot be touched, in words.
fn conflict_error(step: &Step) -> ResourceError {
    let refused = |message: String| ResourceError::new(Cause::Refused, message);
    if let Some(Reason::NotOurs(owner)) = &step.reason {
        return refused(format!("it is there and not ours: {owner}")).hint(
            "run again with --adopt to take over what no other stack owns, or remove it from the stack",
        );
    }
    let fields: Vec<String> = step
        .conflicts
        .iter()
        .map(|conflict| format!("{} (owned by {})", conflict.path, conflict.manager))
        .collect();
    refused(format!("another writer owns {}", fields.join(", ")))
        .hint("remove these fields from the manifest, or have the other writer give them up")
}

fn missing(address: &Address) -> ResourceError {
    ResourceError::permanent(format!(
        "{address} was planned and is unknown to the run: please report this"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_now_be_replaced_is_refused_with_its_reason() {
        let step = Step {
            address: Address::new("cloud.thing", "a"),
            kind: "cloud.thing".into(),
            component: None,
            action: Action::Create,
            reason: Some(Reason::KnownAfter(Address::new("cloud.thing", "b"))),
            fields: Vec::new(),
            forces: Vec::new(),
            conflicts: Vec::new(),
        };
        let refused = |live: Live| decide(&step, true, Some(&live)).unwrap_err().to_string();
        let terminating = Live {
            terminating: true,
            ..Live::ready(Value::Null)
        };
        assert_eq!(
            refused(terminating),
            "it is being deleted and would have to be made anew, which the plan did not show"
        );
        let forced = Live {
            forces: vec!["size".into()],
            ..Live::ready(Value::Null)
        };
        assert_eq!(
            refused(forced),
            "it would now have to be replaced (because of size), which the plan did not show"
        );
    }
}
