use http::Method;
use serde_json::Value;

use super::{
    apply::{Mode, prepared, query},
    client::{Cluster, Clusters, Sent, text},
    diff::{diff, overlaid},
    error::{CallError, Refusal},
    item::Item,
    refusal::{conflicts, refused, repairable},
};
use crate::{
    model::{Conflict, FieldChange},
    resource::ResourceError,
};

/// How servers say that a field cannot be changed in place.
const IMMUTABLE: [&str; 8] = [
    "immutable",
    "may not change once set",
    "may not be changed",
    "cannot change roleRef",
    "updates to statefulset spec",
    "updates to provisioner",
    "updates to parameters",
    "may not change fields other than",
];

/// What holds others' data or objects: never replaced without being told.
const NEVER_REPLACED: [&str; 4] = [
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Namespace",
    "CustomResourceDefinition",
];

/// How a live object differs from what is wanted.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) changes: Vec<FieldChange>,
    pub(super) forces: Vec<String>,
    pub(super) conflicts: Vec<Conflict>,
    /// Someone wrote to the object since `live` was read, so that this is not about `live`.
    pub(super) moved: bool,
}

/// Asks the server what an apply would do.
pub(super) async fn compare(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    live: &Value,
) -> Result<Comparison, ResourceError> {
    let sent = prepared(item, Some(live))?;
    let path = item.path(cluster).await?;
    let mut result = dry_run(cluster, &path, &sent, Mode::Polite).await;
    if let Err(CallError::Refused(refusal)) = &result
        && repairable(item, live, refusal)
    {
        result = dry_run(cluster, &path, &sent, Mode::Force).await;
    }
    let mut found = Comparison::default();
    let alone = || diff(live, &overlaid(live, &sent), &clusters.marks);
    let error = match result {
        Ok(wanted) => {
            found.changes = diff(live, &wanted, &clusters.marks);
            // What a dry-run returns carries the version that it began with.
            let version = "/metadata/resourceVersion";
            found.moved = !found.changes.is_empty() && text(&wanted, version) != text(live, version);
            return Ok(found);
        }
        Err(error) => error,
    };
    let Some(refusal) = error.refusal() else {
        return Err(error.into());
    };
    if refusal.field_conflicts().next().is_some() {
        found.conflicts = conflicts(clusters, live, &sent, refusal);
    } else if refusal.message.contains("does not support dry run") {
        // A webhook that acts on the world is not asked what it would do.
        found.changes = alone();
    } else if let Some(forces) = immutable(refusal) {
        if NEVER_REPLACED.contains(&item.identity.kind.as_str()) {
            return Err(never_replaced(item, &forces));
        }
        found.changes = alone();
        if found.changes.is_empty() {
            found.changes = unseen(&forces);
        }
        found.forces = forces;
    } else {
        return Err(refused(clusters, item, &sent, Some(live), error));
    }
    Ok(found)
}

async fn dry_run(cluster: &Cluster, path: &str, sent: &Value, mode: Mode) -> Result<Value, CallError> {
    let path = format!("{path}{}", query(mode, true));
    cluster.call(Method::PATCH, &path, Sent::Apply(sent)).await
}

/// The fields that cannot be changed in place, if they are all that the server objects to: a value that is simply
/// invalid would be refused after a replace as well.
fn immutable(refusal: &Refusal) -> Option<Vec<String>> {
    let is_immutable = |message: &str| IMMUTABLE.iter().any(|words| message.contains(words));
    if refusal.code != 422 || refusal.causes.is_empty() {
        return None;
    }
    let mut fields = Vec::new();
    for cause in &refusal.causes {
        if !is_immutable(&cause.message) {
            return None;
        }
        fields.push(cause.field.clone());
    }
    fields.sort();
    fields.dedup();
    Some(fields)
}

/// A change that only the server sees, as when a field is no longer sent.
fn unseen(forces: &[String]) -> Vec<FieldChange> {
    let text = |words: &str| crate::model::Shown::Value(words.into());
    forces
        .iter()
        .map(|field| FieldChange {
            path: field.clone(),
            old: text("(as it is)"),
            new: text("(as the manifest has it)"),
            owner: None,
        })
        .collect()
}

fn never_replaced(item: &Item<'_>, fields: &[String]) -> ResourceError {
    let identity = &item.identity;
    let (kind, name) = (&identity.kind, &identity.name);
    let fields = fields.join(", ");
    let loses = match kind.as_str() {
        "Namespace" => "everything in it",
        "CustomResourceDefinition" => "every object of its type",
        _ => "its data",
    };
    ResourceError::permanent(format!(
        "{fields} cannot be changed in place, and a {kind} is not replaced since that would delete {loses}"
    ))
    .hint(format!(
        "undo the change of {fields}, give the new one another name, or delete {kind} {name} yourself and apply again"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::error::StatusCause;

    fn invalid(causes: &[(&str, &str)]) -> Refusal {
        Refusal {
            code: 422,
            causes: causes
                .iter()
                .map(|(field, message)| StatusCause {
                    reason: "FieldValueInvalid".into(),
                    message: (*message).into(),
                    field: (*field).into(),
                })
                .collect(),
            ..Refusal::default()
        }
    }

    #[test]
    fn fields_that_cannot_be_changed_in_place_force_a_replace() {
        for (field, message) in [
            ("spec.selector", "Invalid value: {…}: field is immutable"),
            (
                "spec.clusterIPs[0]",
                "Invalid value: [\"10.0.0.1\"]: may not change once set",
            ),
            ("roleRef", "Invalid value: rbac.RoleRef{…}: cannot change roleRef"),
            ("provisioner", "Forbidden: updates to provisioner are forbidden."),
            ("data", "Forbidden: field is immutable when `immutable` is set"),
            (
                "spec",
                "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden",
            ),
        ] {
            assert_eq!(
                immutable(&invalid(&[(field, message)])),
                Some(vec![field.to_owned()])
            );
        }
    }

    #[test]
    fn case_26_an_invalid_value_never_forces_a_replace() {
        let wrong = (
            "spec.type",
            "Unsupported value: \"Wrong\": supported values: \"ClusterIP\"",
        );
        assert_eq!(immutable(&invalid(&[wrong])), None);
        let both = [("spec.selector", "Invalid value: field is immutable"), wrong];
        assert_eq!(immutable(&invalid(&both)), None);
    }
}
