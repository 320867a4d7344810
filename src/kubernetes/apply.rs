use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};

use super::{
    client::{Cluster, Clusters, Sent, text},
    diff::{at, is_hidden, is_secret, shown, without_status},
    error::{CallError, Refusal},
    fields::{MANAGER, only_updates, take_over},
    item::{Item, OWNER, Outputs, Owner},
    pods,
};
use crate::{
    model::Conflict,
    resource::{Cause, Live, Made, ResourceError, Target},
};

/// How often an object's status may be written while we take a field back.
const ATTEMPTS: u32 = 10;

/// How an object is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Another manager's field stops it.
    Polite,
    /// Fields that others changed become ours again.
    Force,
}

/// The query of a server-side apply.
pub(super) fn query(mode: Mode, dry_run: bool) -> String {
    format!(
        "?fieldManager={MANAGER}&fieldValidation=Strict&force={}{}",
        mode == Mode::Force,
        if dry_run { "&dryRun=All" } else { "" }
    )
}

/// What is sent for an object: without what is the server's to say, with our mark, and with the values that are
/// decided by what lives.
pub(super) fn prepared(item: &Item<'_>, live: Option<&Value>) -> Result<Value, ResourceError> {
    let inputs = item.wanted()?;
    let mut object = inputs.object.clone();
    let Value::Object(fields) = &mut object else {
        return Err(ResourceError::permanent(format!(
            "{} is not an object",
            item.target.address
        )));
    };
    fields.remove("status");
    if fields.contains_key("aggregationRule") {
        // A controller fills them in from the roles that the rule selects.
        fields.remove("rules");
    }
    if item.identity.kind == "Secret"
        && let Some(Value::Object(plain)) = fields.remove("stringData")
    {
        // The server would keep a key of stringData that is no longer sent.
        let data = fields.entry("data").or_insert_with(|| json!({}));
        if let Value::Object(data) = data {
            data.extend(plain.into_iter().map(|(key, value)| {
                let text = value.as_str().unwrap_or_default();
                (key, Value::String(STANDARD.encode(text)))
            }));
        }
    }
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        for filled_in in [
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "generation",
            "selfLink",
        ] {
            metadata.remove(filled_in);
        }
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Value::Object(annotations) = annotations {
            annotations.insert(OWNER.into(), item.mark().into());
        }
    }
    if inputs.scaled
        && let Some(replicas) = live.and_then(|live| live.pointer("/spec/replicas"))
        && let Some(Value::Object(spec)) = object.get_mut("spec")
    {
        spec.insert("replicas".into(), replicas.clone());
    }
    if let Some(generate) = &inputs.generate {
        generate.fill(&mut object, live)?;
    }
    Ok(object)
}

/// Makes an object that was not there.
pub(super) async fn create(clusters: &Clusters, target: &Target) -> Result<Made, ResourceError> {
    let item = Item::read(target)?;
    refuse_protected(&item)?;
    let cluster = item.connect(clusters).await?;
    let path = item.path(&cluster).await?;
    let ephemeral = item.cluster_outputs()?.get("ephemeral") == Some(&Value::Bool(true));
    // On a cluster of others someone may have made one of this name since we looked; applying would merge into it.
    if !ephemeral && let Some(live) = cluster.find(&path).await? {
        let whose = item.foreign(&live);
        let cause = if whose.is_some() {
            Cause::Refused
        } else {
            Cause::Outdated
        };
        let whose = whose.map_or_else(String::new, |whose| format!(" ({whose})"));
        return Err(ResourceError::new(cause, format!("it exists meanwhile{whose}"))
            .hint("run the same command again to see what it would do"));
    }
    let object = prepared(&item, None)?;
    let answer = apply(&cluster, &path, &object, Mode::Polite).await;
    let answer = answer.map_err(|error| refused(clusters, &item, &object, None, error))?;
    made(clusters, &cluster, &item, answer)
}

/// Changes an object in place.
pub(super) async fn update(clusters: &Clusters, target: &Target) -> Result<Made, ResourceError> {
    let item = Item::read(target)?;
    refuse_protected(&item)?;
    let cluster = item.connect(clusters).await?;
    let path = item.path(&cluster).await?;
    let Some(mut live) = cluster.find(&path).await? else {
        return Err(ResourceError::new(Cause::Outdated, "it is gone meanwhile"));
    };
    if let Some(whose) = item.foreign(&live) {
        return Err(
            ResourceError::new(Cause::Refused, format!("it belongs to {whose}"))
                .hint("--adopt takes over what carries no mark; what another stack owns stays its own"),
        );
    }
    if item.owner(&live) == Owner::Nobody
        && let Some(patch) = take_over(&live)
    {
        let path = format!("{path}?fieldManager={MANAGER}");
        live = cluster
            .call(Method::PATCH, &path, Sent::JsonPatch(&patch))
            .await
            .map_err(outdated)?;
    }
    let mut object = prepared(&item, Some(&live))?;
    // Never makes another object in the place of one that goes away at this moment.
    bind(&mut object, "uid", &live);
    let answer = match apply(&cluster, &path, &object, Mode::Polite).await {
        Err(CallError::Refused(refusal)) if repairable(&item, &live, &refusal) => {
            take_back(&cluster, &path, &mut object, live).await?
        }
        Err(error) => return Err(refused(clusters, &item, &object, Some(&live), error)),
        Ok(answer) => answer,
    };
    made(clusters, &cluster, &item, answer)
}

async fn apply(cluster: &Cluster, path: &str, object: &Value, mode: Mode) -> Result<Value, CallError> {
    let path = format!("{path}{}", query(mode, false));
    cluster.call(Method::PATCH, &path, Sent::Apply(object)).await
}

/// Applies with force what was decided on the sight of `live`, and only if nothing that matters was written since: a
/// controller that counts its pods may write in between.
async fn take_back(
    cluster: &Cluster,
    path: &str,
    object: &mut Value,
    mut live: Value,
) -> Result<Value, ResourceError> {
    let mut attempts = 0;
    loop {
        bind(object, "resourceVersion", &live);
        let error = match apply(cluster, path, object, Mode::Force).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        attempts += 1;
        let moved = error.refusal().is_some_and(|refusal| refusal.code == 409);
        if !moved || attempts == ATTEMPTS {
            return Err(outdated(error));
        }
        match cluster.find(path).await? {
            Some(now) if without_status(&now) == without_status(&live) => live = now,
            _ => return Err(outdated(error)),
        }
    }
}

fn bind(object: &mut Value, field: &str, live: &Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        let pointer = format!("/metadata/{field}");
        metadata.insert(field.to_owned(), text(live, &pointer).into());
    }
}

fn made(clusters: &Clusters, cluster: &Cluster, item: &Item<'_>, live: Value) -> Result<Made, ResourceError> {
    if text(&live, "/metadata/uid").is_empty() {
        return Err(ResourceError::permanent(
            "the API server's answer to an apply is no object",
        ));
    }
    let outputs = item.outputs(clusters, cluster, &live, true);
    remember(clusters, item, &outputs);
    Ok(Made {
        id: Some(outputs.uid.clone()),
        live: Some(Live {
            id: Some(outputs.uid.clone()),
            readiness: pods::at_once(cluster, &live),
            ..Live::ready(outputs.json())
        }),
    })
}

/// A watch that begins later tells the outputs of this apply, not of what it finds: a change that someone made in
/// between stays visible to the next run.
fn remember(clusters: &Clusters, item: &Item<'_>, outputs: &Outputs) {
    clusters
        .applied
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .insert(item.target.address.clone(), outputs.json());
}

fn refuse_protected(item: &Item<'_>) -> Result<(), ResourceError> {
    item.protected().map_or(Ok(()), |whose| {
        Err(ResourceError::new(
            Cause::Refused,
            format!("it belongs to {whose}"),
        ))
    })
}

/// A call that named what it is based on, and whose base has moved.
fn outdated(error: CallError) -> ResourceError {
    let moved = error
        .refusal()
        .is_some_and(|refusal| refusal.code == 409 || refusal.code == 422);
    let mut error = ResourceError::from(error);
    if moved {
        error.cause = Cause::Outdated;
    }
    error
}

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
            item.namespace().unwrap_or_default()
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

    use super::*;
    use crate::{
        kubernetes::{error::StatusCause, item::tests::target},
        model::{Secret, Shown},
    };

    fn clusters() -> Arc<Clusters> {
        Clusters::new("/nowhere".into(), Secret::new(vec![1]), Arc::new(|_| {}))
    }

    fn wanting(object: Value, more: Value) -> Target {
        let mut target = target(None);
        target.identity["kind"] = object["kind"].clone();
        let mut inputs = json!({"cluster": {"kubeconfig": "k", "context": "c"}, "object": object});
        inputs
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        target.inputs = Some(Arc::new(inputs));
        target
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
    fn what_is_sent_carries_our_mark_and_nothing_of_the_servers() {
        let target = wanting(
            json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "x", "creationTimestamp": null}, "status": {}}),
            json!({}),
        );
        let sent = prepared(&Item::read(&target).unwrap(), None).unwrap();
        let mark = "stack-1/k8s/shop/ConfigMap/a";
        assert_eq!(
            sent,
            json!({"kind": "ConfigMap", "metadata": {"name": "a", "annotations": {OWNER: mark}}})
        );
    }

    #[test]
    fn plain_text_of_a_secret_is_sent_as_data() {
        let target = wanting(
            json!({"kind": "Secret", "data": {"b": "Yg=="}, "stringData": {"a": "a"}}),
            json!({}),
        );
        let sent = prepared(&Item::read(&target).unwrap(), None).unwrap();
        assert_eq!(sent["data"], json!({"a": "YQ==", "b": "Yg=="}));
        assert_eq!(sent.get("stringData"), None);
    }

    #[test]
    fn case_22_replicas_that_an_autoscaler_set_are_sent_as_they_are() {
        let object = json!({"kind": "Deployment", "spec": {"replicas": 1}});
        let target = wanting(object, json!({"scaledBy": "k8s/shop/HorizontalPodAutoscaler/a"}));
        let item = Item::read(&target).unwrap();
        let live = json!({"spec": {"replicas": 5}});
        assert_eq!(prepared(&item, Some(&live)).unwrap()["spec"]["replicas"], 5);
        assert_eq!(prepared(&item, None).unwrap()["spec"]["replicas"], 1);
    }

    #[test]
    fn case_37_rules_that_a_controller_aggregates_are_not_sent() {
        let target = wanting(
            json!({"kind": "ClusterRole", "aggregationRule": {}, "rules": []}),
            json!({}),
        );
        let sent = prepared(&Item::read(&target).unwrap(), None).unwrap();
        assert_eq!(sent.get("rules"), None);
    }

    #[test]
    fn only_a_persons_change_to_an_object_of_ours_is_repaired() {
        let target = wanting(json!({"kind": "ConfigMap"}), json!({}));
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
        let target = wanting(json!({"kind": "ConfigMap"}), json!({}));
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
        let target = wanting(json!({"kind": "Secret"}), json!({}));
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
