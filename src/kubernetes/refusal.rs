use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    client::Clusters,
    diff::{at, is_hidden, is_secret, shown},
    error::{CallError, Refusal},
    fields::{MANAGER, only_updates},
    item::{Item, Owner},
};
use crate::{model::Conflict, resource::ResourceError};

/// Whether all fields in the way were changed by a person with kubectl, or by a former stackup, on an object of ours:
/// drift that is repaired, as it was shown in the plan.
pub(super) fn repairable(item: &Item<'_>, live: &Value, refusal: &Refusal) -> bool {
    let mut conflicts = refusal.field_conflicts().peekable();
    refusal.code == 409
        && conflicts.peek().is_some()
        && (item.owner(live) == Owner::Us || item.target.adopt)
        && conflicts.all(|conflict| {
            let manager = manager(&conflict.message);
            let passing = manager.starts_with("kubectl")
                || manager.starts_with(MANAGER)
                || manager == "before-first-apply";
            passing && only_updates(live, manager)
        })
}

/// Which fields another manager owns.
pub(super) fn conflicts(clusters: &Clusters, live: &Value, sent: &Value, refusal: &Refusal) -> Vec<Conflict> {
    refusal
        .field_conflicts()
        .map(|cause| {
            let path = cause.field.trim_start_matches('.').replace('"', "");
            let show = |object: &Value| shown(sent, &path, at(object, &cause.field), &clusters.marks);
            Conflict {
                manager: manager(&cause.message).to_owned(),
                theirs: show(live),
                ours: show(sent),
                path,
            }
        })
        .collect()
}

/// `conflict with "helm" using apps/v1` names helm.
fn manager(message: &str) -> &str {
    message.split('"').nth(1).unwrap_or("someone unnamed")
}

/// The failure of an apply, in words that name the fields and hold no value of a Secret.
pub(super) fn refused(
    clusters: &Clusters,
    item: &Item<'_>,
    sent: &Value,
    live: Option<&Value>,
    error: CallError,
) -> ResourceError {
    let Some(refusal) = error.refusal() else {
        return error.into();
    };
    let nothing = Value::Null;
    let conflicts = conflicts(clusters, live.unwrap_or(&nothing), sent, refusal);
    let hidden = is_secret(sent);
    let message = if !conflicts.is_empty() {
        let fields: Vec<String> = conflicts
            .iter()
            .map(|conflict| format!("{} is owned by {}", conflict.path, conflict.manager))
            .collect();
        fields.join("; ")
    } else if refusal.code == 422 && !refusal.causes.is_empty() {
        let causes: Vec<String> = refusal
            .causes
            .iter()
            .map(|cause| {
                let message = if hidden && is_hidden(&cause.field) {
                    without_values(&cause.message)
                } else {
                    &cause.message
                };
                format!("{}: {message}", cause.field)
            })
            .collect();
        causes.join("; ")
    } else if hidden {
        scrubbed(&refusal.message, sent)
    } else {
        refusal.message.clone()
    };
    let hint = match refusal.code {
        _ if !conflicts.is_empty() => {
            Some("take the field out of the manifest, or have its owner give it up".to_owned())
        }
        404 if refusal.message.contains("namespaces") => Some(format!(
            "make the namespace {} part of the stack",
            item.namespace()
        )),
        _ => None,
    };
    let mut error = ResourceError::from(error);
    error.message = message;
    error.hint = hint.or(error.hint);
    error
}

/// `Invalid value: "…": field is immutable` without the value.
fn without_values(message: &str) -> &str {
    message.rsplit_once(": ").map_or(message, |(_, last)| last)
}

/// A message without the values of a Secret, however they may be written in it.
fn scrubbed(message: &str, secret: &Value) -> String {
    let mut message = message.to_owned();
    let values = secret
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    for (_, value) in values {
        let encoded = value.as_str().unwrap_or_default();
        let plain = STANDARD
            .decode(encoded)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        for value in [encoded, plain.as_str()] {
            if value.len() >= 3 && message.contains(value) {
                message = message.replace(value, "(secret)");
            }
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        kubernetes::{apply::tests::wanting, error::StatusCause, item::OWNER},
        model::{Secret, Shown},
        resource::Cause,
    };

    fn clusters() -> Arc<Clusters> {
        Clusters::new("/nowhere".into(), Secret::new(vec![1]), Arc::new(|_| {}), None)
    }

    fn conflict(manager: &str) -> Refusal {
        Refusal {
            code: 409,
            causes: vec![StatusCause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with \"{manager}\" using v1"),
                field: ".data.key".into(),
            }],
            ..Refusal::default()
        }
    }

    #[test]
    fn only_a_persons_change_to_an_object_of_ours_is_repaired() {
        let target = wanting(&json!({"kind": "ConfigMap"}), &json!({}));
        let item = Item::read(&target).unwrap();
        let live = |operation: &str, mark: &str| {
            json!({"metadata": {"annotations": {OWNER: mark},
                "managedFields": [{"manager": "kubectl-edit", "operation": operation}]}})
        };
        let edit = conflict("kubectl-edit");
        assert!(repairable(&item, &live("Update", "stack-1/x"), &edit));
        assert!(
            !repairable(&item, &live("Apply", "stack-1/x"), &edit),
            "someone applies it"
        );
        assert!(
            !repairable(&item, &live("Update", "stack-2/x"), &edit),
            "not ours"
        );
        assert!(!repairable(
            &item,
            &live("Update", "stack-1/x"),
            &conflict("helm")
        ));
    }

    #[test]
    fn case_18_a_conflict_names_field_manager_and_both_values() {
        let target = wanting(&json!({"kind": "ConfigMap"}), &json!({}));
        let item = Item::read(&target).unwrap();
        let (live, sent) = (
            json!({"data": {"key": "theirs"}}),
            json!({"data": {"key": "ours"}}),
        );
        let found = conflicts(&clusters(), &live, &sent, &conflict("helm"));
        assert_eq!(found[0].path, "data.key");
        assert_eq!(found[0].theirs, Shown::Value(json!("theirs")));
        assert_eq!(found[0].ours, Shown::Value(json!("ours")));
        let error = CallError::Refused(Box::new(conflict("helm")));
        let error = refused(&clusters(), &item, &sent, Some(&live), error);
        assert_eq!(error.cause, Cause::Refused);
        assert_eq!(error.message, "data.key is owned by helm");
    }

    #[test]
    fn case_26_an_error_about_a_secret_does_not_tell_it() {
        let target = wanting(&json!({"kind": "Secret"}), &json!({}));
        let item = Item::read(&target).unwrap();
        let sent = json!({"apiVersion": "v1", "kind": "Secret", "data": {"key": "aHVudGVyMg=="}});
        let invalid = Refusal {
            code: 422,
            message: "Secret \"a\" is invalid: data: aHVudGVyMg==".into(),
            causes: vec![StatusCause {
                reason: "FieldValueInvalid".into(),
                message: "Invalid value: \"aHVudGVyMg==\": field is immutable".into(),
                field: "data.key".into(),
            }],
            ..Refusal::default()
        };
        let plain = Refusal {
            code: 400,
            message: "cannot decode hunter2 or aHVudGVyMg==".into(),
            ..Refusal::default()
        };
        for (refusal, expected) in [
            (invalid, "data.key: field is immutable"),
            (plain, "cannot decode (secret) or (secret)"),
        ] {
            let error = CallError::Refused(Box::new(refusal));
            assert_eq!(refused(&clusters(), &item, &sent, None, error).message, expected);
        }
    }
}
