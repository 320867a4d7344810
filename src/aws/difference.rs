//! How a kind of this room notes what differs, and that something has gone.

use serde_json::Value;

use crate::{
    model::{FieldChange, Shown},
    resource::{Change, ResourceError, Target},
};

/// A field that can be changed in place. `null` stands for what is not there.
pub(super) fn field(change: &mut Change, path: &str, old: Value, new: Value) {
    if old != new {
        change.fields.push(FieldChange {
            path: path.to_owned(),
            old: shown(old),
            new: shown(new),
            owner: None,
        });
    }
}

fn shown(value: Value) -> Shown {
    if value.is_null() {
        Shown::Absent
    } else {
        Shown::Value(value)
    }
}

/// A field that only a new one can mend.
pub(super) fn force(change: &mut Change, path: &str, old: Value, new: Value) {
    if old != new {
        field(change, path, old, new);
        change.forces.push(path.to_owned());
    }
}

/// What was to be changed is not there any more.
pub(super) fn vanished(target: &Target) -> ResourceError {
    ResourceError::permanent(format!("{} is gone", target.address))
        .hint("run 'stackup apply' again: it makes what is missing")
}
