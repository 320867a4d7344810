use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use http::Method;
use serde_json::Value;

use super::{
    apply::{Mode, conflicts, prepared, query, refused, repairable},
    client::{Cluster, Clusters, Sent, encoded, text},
    diff::{diff, overlaid},
    error::{CallError, Refusal},
    item::{Item, Owner, STACK},
    pods,
};
use crate::{
    model::FieldChange,
    resource::{Live, Observed, ResourceError, Target},
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

/// Looks at all targets: one LIST for each cluster, type and namespace, and a GET for what is not in it.
pub(super) async fn observe(clusters: &Clusters, targets: &[Target]) -> Vec<Result<Observed, ResourceError>> {
    let mut answers: BTreeMap<usize, Result<Observed, ResourceError>> = BTreeMap::new();
    let mut groups: BTreeMap<_, Vec<(usize, Item<'_>)>> = BTreeMap::new();
    for (at, target) in targets.iter().enumerate() {
        match Item::read(target) {
            Ok(item) => {
                let identity = item.identity.clone();
                let key = (
                    identity.cluster,
                    identity.api_version,
                    identity.kind,
                    identity.namespace,
                );
                groups.entry(key).or_default().push((at, item));
            }
            Err(error) => drop(answers.insert(at, Err(error))),
        }
    }
    for group in join_all(groups.into_values().map(|group| look_at(clusters, group))).await {
        answers.extend(group);
    }
    answers.into_values().collect()
}

/// Looks at objects of one type in one namespace.
async fn look_at(
    clusters: &Clusters,
    group: Vec<(usize, Item<'_>)>,
) -> Vec<(usize, Result<Observed, ResourceError>)> {
    let Some((_, first)) = group.first() else {
        return Vec::new();
    };
    let listed = list(clusters, first).await;
    let (cluster, mut found) = match listed {
        Ok(Some(listed)) => listed,
        Ok(None) => {
            return group
                .into_iter()
                .map(|(at, _)| (at, Ok(Observed::Absent)))
                .collect();
        }
        Err(error) => {
            return group
                .into_iter()
                .map(|(at, _)| (at, Err(error.clone())))
                .collect();
        }
    };
    let looks = group.into_iter().map(|(at, item)| {
        let found = found.remove(&item.identity.name);
        let cluster = Arc::clone(&cluster);
        async move { (at, look(clusters, &cluster, &item, found).await) }
    });
    join_all(looks).await
}

/// What carries our label, by name. `None` if the cluster does not serve the type.
async fn list(
    clusters: &Clusters,
    item: &Item<'_>,
) -> Result<Option<(Arc<Cluster>, BTreeMap<String, Value>)>, ResourceError> {
    let cluster = item.connect(clusters).await?;
    let identity = &item.identity;
    let found = cluster
        .discovery
        .find(&cluster, &identity.api_version, &identity.kind)
        .await?;
    let Some(of) = found else {
        return Ok(None);
    };
    let selector = encoded(&format!("{STACK}={}", item.target.stack.name));
    let query = format!("?labelSelector={selector}");
    match cluster.list(&of.collection(item.namespace()), &query).await {
        Ok(items) => {
            let named = items
                .into_iter()
                .map(|item| (text(&item, "/metadata/name").to_owned(), item));
            Ok(Some((cluster, named.collect())))
        }
        // The type was served when we asked, and is no longer.
        Err(error) if error.is_not_found() => {
            cluster.discovery.forget(&of);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn look(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    listed: Option<Value>,
) -> Result<Observed, ResourceError> {
    let found = match listed {
        Some(found) => Some(found),
        None => cluster.find(&item.path(cluster).await?).await?,
    };
    match found {
        None => Ok(Observed::Absent),
        Some(live) => Ok(Observed::Live(Box::new(
            judge(clusters, cluster, item, &live).await?,
        ))),
    }
}

/// What a live object is to its target.
async fn judge(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    live: &Value,
) -> Result<Live, ResourceError> {
    let mut answer = Live {
        id: Some(text(live, "/metadata/uid").to_owned()),
        readiness: pods::readiness(cluster, live).await?,
        foreign: item.foreign(live),
        terminating: is_terminating(live),
        ..Live::ready(Value::Null)
    };
    let mut settled = false;
    if item.inputs.is_some() && answer.foreign.is_none() && !answer.terminating {
        if !is_settled(clusters, item, live) {
            compare(clusters, cluster, item, live, &mut answer).await?;
        }
        settled = answer.changes.is_empty() && answer.forces.is_empty() && answer.conflicts.is_empty();
    }
    let mut outputs = item.outputs(clusters, cluster, live, settled);
    if item.inputs.is_none() {
        // Nothing was compared, so what is known stays.
        outputs.settled = item.remembered().settled;
    }
    answer.outputs = outputs.json();
    Ok(answer)
}

pub(super) fn is_terminating(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether nothing has changed since the last run, on either side.
fn is_settled(clusters: &Clusters, item: &Item<'_>, live: &Value) -> bool {
    let Some(remembered) = item.target.remembered.as_deref() else {
        return false;
    };
    let outputs = item.remembered();
    let due = item
        .inputs
        .as_ref()
        .and_then(|inputs| inputs.generate.as_ref())
        .is_some_and(|generate| generate.is_due(live));
    remembered.input_hash == item.target.input_hash
        && outputs.uid == text(live, "/metadata/uid")
        && outputs.settled.is_some()
        && outputs.settled == item.settled(clusters, live)
        && item.owner(live) == Owner::Us
        && !due
}

/// Asks the server what an apply would do.
async fn compare(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    live: &Value,
    answer: &mut Live,
) -> Result<(), ResourceError> {
    let sent = prepared(item, Some(live))?;
    let path = item.path(cluster).await?;
    let mut result = dry_run(cluster, &path, &sent, Mode::Polite).await;
    if let Err(CallError::Refused(refusal)) = &result
        && repairable(item, live, refusal)
    {
        result = dry_run(cluster, &path, &sent, Mode::Force).await;
    }
    let alone = || diff(live, &overlaid(live, &sent), &clusters.marks);
    let error = match result {
        Ok(wanted) => {
            answer.changes = diff(live, &wanted, &clusters.marks);
            return Ok(());
        }
        Err(error) => error,
    };
    let Some(refusal) = error.refusal() else {
        return Err(error.into());
    };
    if refusal.field_conflicts().next().is_some() {
        answer.conflicts = conflicts(clusters, live, &sent, refusal);
    } else if refusal.message.contains("does not support dry run") {
        // A webhook that acts on the world is not asked what it would do.
        answer.changes = alone();
    } else if let Some(forces) = immutable(refusal) {
        if NEVER_REPLACED.contains(&item.identity.kind.as_str()) {
            return Err(never_replaced(item, &forces));
        }
        answer.changes = alone();
        if answer.changes.is_empty() {
            answer.changes = unseen(&forces);
        }
        answer.forces = forces;
    } else {
        return Err(refused(clusters, item, &sent, Some(live), error));
    }
    Ok(())
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
