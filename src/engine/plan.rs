use super::{Found, Refreshed, Seen};
use crate::{
    model::{Action, Address, Plan, Reason, Step},
    resource::{Live, Observed, ResourceError},
    state::Status,
};

/// A plan, or everything that could not be read.
pub type Planned = Result<Plan, Vec<(Address, ResourceError)>>;

/// Compares what is wanted, remembered and seen. Pure: the same input gives the same plan, byte for byte.
///
/// `stays` says which of the no longer wanted are only to be forgotten.
pub fn plan(stack: &str, refreshed: &Refreshed, stays: impl Fn(&Found) -> bool) -> Planned {
    let errors: Vec<_> = refreshed
        .found
        .iter()
        .filter_map(|(address, found)| match &found.seen {
            Seen::Error(error) => Some((address.clone(), error.clone())),
            Seen::Known(_) | Seen::After(_) | Seen::GoesWith(_) => None,
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let steps = refreshed
        .found
        .iter()
        .map(|(address, found)| step(address, found, stays(found)))
        .collect();
    Ok(Plan {
        stack: stack.to_owned(),
        steps,
    })
}

fn step(address: &Address, found: &Found, stays: bool) -> Step {
    let component = match (&found.wanted, &found.remembered) {
        (Some(wanted), _) => wanted.component.clone(),
        (None, Some(remembered)) => remembered.component.clone(),
        (None, None) => None,
    };
    let mut step = Step {
        address: address.clone(),
        kind: found.kind().to_owned(),
        component,
        action: Action::Unchanged,
        reason: None,
        fields: Vec::new(),
        forces: Vec::new(),
        conflicts: Vec::new(),
    };
    match &found.wanted {
        Some(_) => decide_wanted(&mut step, found),
        None => decide_unwanted(&mut step, found, stays),
    }
    step
}

fn decide_wanted(step: &mut Step, found: &Found) {
    match &found.seen {
        Seen::Known(Observed::Absent) => {
            step.action = Action::Create;
            step.reason = Some(match &found.status {
                None => Reason::New,
                Some(Status::Begun { .. }) => Reason::Unfinished,
                Some(Status::Failed { .. }) => Reason::Failed,
                Some(Status::Done) => Reason::Vanished,
            });
        }
        Seen::Known(Observed::Live(live)) => {
            compare(step, live);
            if let (Some(other), true) = (&found.along, live.foreign.is_none()) {
                step.action = Action::Replace;
                step.forces.push(other.to_string());
            }
            if let (Some(other), Action::Unchanged | Action::Update) = (&found.follows, step.action) {
                step.action = Action::Update;
                step.reason = Some(Reason::Follows(other.clone()));
            }
        }
        Seen::After(other) | Seen::GoesWith(other) => {
            step.action = Action::Create;
            step.reason = Some(Reason::KnownAfter(other.clone()));
        }
        // The caller has returned all errors before.
        Seen::Error(_) => {}
    }
}

/// How something that stands differs from what is wanted.
pub(super) fn compare(step: &mut Step, live: &Live) {
    step.fields.clone_from(&live.changes);
    step.forces.clone_from(&live.forces);
    step.conflicts.clone_from(&live.conflicts);
    step.reason = None;
    step.action = if let Some(owner) = &live.foreign {
        step.reason = Some(Reason::NotOurs(owner.clone()));
        Action::Conflict
    } else if live.terminating {
        step.reason = Some(Reason::Vanished);
        Action::Replace
    } else if !live.conflicts.is_empty() {
        Action::Conflict
    } else if !live.forces.is_empty() {
        Action::Replace
    } else if !live.changes.is_empty() {
        Action::Update
    } else {
        Action::Unchanged
    };
}

fn decide_unwanted(step: &mut Step, found: &Found, stays: bool) {
    (step.action, step.reason) = match &found.seen {
        Seen::GoesWith(other) => (Action::Delete, Some(Reason::GoesWith(other.clone()))),
        Seen::Known(Observed::Absent) => (Action::Forget, Some(Reason::Vanished)),
        Seen::Known(Observed::Live(live)) => match &live.foreign {
            Some(owner) => (Action::Forget, Some(Reason::NotOurs(owner.clone()))),
            None if stays => (Action::Forget, Some(Reason::NotWanted)),
            None => (Action::Delete, Some(Reason::NotWanted)),
        },
        // What it lives in is there and cannot be asked yet: it is looked at again when it can.
        Seen::After(_) => (Action::Delete, Some(Reason::NotWanted)),
        Seen::Error(_) => (Action::Unchanged, None),
    };
}
