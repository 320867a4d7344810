use std::sync::PoisonError;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};

use super::{
    client::{Cluster, Clusters, Sent, text},
    diff::without_status,
    error::CallError,
    fields::{MANAGER, take_over},
    follow::Applied,
    item::{Item, OWNER, Owner},
    pods,
    readiness::number,
    refusal::{refused, repairable},
};
use crate::resource::{Cause, Live, Made, ResourceError, Target};

/// How often an object's status may be written while we take a field back.
const ATTEMPTS: u32 = 10;
/// A version that no object has: the first write of a new store is a later one. An apply that is based on it makes an
/// object, and conflicts with any that is there.
const NO_VERSION: &str = "1";

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

/// Makes an object that was not there. Should someone have made one of this name since we looked, the server refuses:
/// otherwise an apply would merge into it.
pub(super) async fn create(clusters: &Clusters, target: &Target) -> Result<Made, ResourceError> {
    let item = Item::read(target)?;
    refuse_protected(&item)?;
    let cluster = item.connect(clusters).await?;
    let path = item.path(&cluster).await?;
    let mut object = prepared(&item, None)?;
    set(&mut object, "resourceVersion", NO_VERSION);
    let refusal = match apply(&cluster, &path, &object, Mode::Polite).await {
        Ok(answer) => return made(clusters, &cluster, &item, &answer),
        Err(error) => error,
    };
    let live = if refusal.refusal().is_some_and(|refusal| refusal.code == 409) {
        cluster.find(&path).await?
    } else {
        None
    };
    let Some(live) = live else {
        return Err(refused(clusters, &item, &object, None, refusal));
    };
    if !just_made(&item, &live) {
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
    let mut object = prepared(&item, Some(&live))?;
    bind(&mut object, "uid", &live);
    let answer = apply(&cluster, &path, &object, Mode::Polite).await;
    let answer = answer.map_err(|error| refused(clusters, &item, &object, Some(&live), error))?;
    made(clusters, &cluster, &item, &answer)
}

/// Whether it is what an earlier call of ours made whose answer was lost.
fn just_made(item: &Item<'_>, live: &Value) -> bool {
    let marks = live.pointer("/metadata/annotations");
    let mark = marks.and_then(|marks| marks.get(OWNER)?.as_str());
    mark == Some(&item.mark()) && live.pointer("/metadata/deletionTimestamp").is_none()
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
    made(clusters, &cluster, &item, &answer)
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
    set(object, field, text(live, &format!("/metadata/{field}")));
}

fn set(object: &mut Value, field: &str, to: &str) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.insert(field.to_owned(), to.into());
    }
}

fn made(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    live: &Value,
) -> Result<Made, ResourceError> {
    if text(live, "/metadata/uid").is_empty() {
        return Err(ResourceError::permanent(
            "the API server's answer to an apply is no object",
        ));
    }
    let outputs = item.outputs(cluster, live, item.settled(clusters, live));
    let made = Made {
        id: Some(outputs.uid.clone()),
        live: Some(Live {
            id: Some(outputs.uid.clone()),
            readiness: pods::at_once(cluster, live),
            ..Live::ready(outputs.json())
        }),
    };
    // A watch that begins later tells these outputs, not those of what it finds: a change that someone made in between
    // stays visible to the next run.
    let generation = number(live, "/metadata/generation");
    clusters
        .applied
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(item.target.address.clone(), Applied { outputs, generation });
    Ok(made)
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kubernetes::item::tests::target;

    /// A target that wants this object.
    pub(in crate::kubernetes) fn wanting(object: &Value, more: &Value) -> Target {
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

    #[test]
    fn what_is_sent_carries_our_mark_and_nothing_of_the_servers() {
        let target = wanting(
            &json!({"kind": "ConfigMap", "metadata": {"name": "a", "uid": "x", "creationTimestamp": null}, "status": {}}),
            &json!({}),
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
            &json!({"kind": "Secret", "data": {"b": "Yg=="}, "stringData": {"a": "a"}}),
            &json!({}),
        );
        let sent = prepared(&Item::read(&target).unwrap(), None).unwrap();
        assert_eq!(sent["data"], json!({"a": "YQ==", "b": "Yg=="}));
        assert_eq!(sent.get("stringData"), None);
    }

    #[test]
    fn case_22_replicas_that_an_autoscaler_set_are_sent_as_they_are() {
        let object = json!({"kind": "Deployment", "spec": {"replicas": 1}});
        let target = wanting(
            &object,
            &json!({"scaledBy": "k8s/shop/HorizontalPodAutoscaler/a"}),
        );
        let item = Item::read(&target).unwrap();
        let live = json!({"spec": {"replicas": 5}});
        assert_eq!(prepared(&item, Some(&live)).unwrap()["spec"]["replicas"], 5);
        assert_eq!(prepared(&item, None).unwrap()["spec"]["replicas"], 1);
    }

    #[test]
    fn case_37_rules_that_a_controller_aggregates_are_not_sent() {
        let target = wanting(
            &json!({"kind": "ClusterRole", "aggregationRule": {}, "rules": []}),
            &json!({}),
        );
        let sent = prepared(&Item::read(&target).unwrap(), None).unwrap();
        assert_eq!(sent.get("rules"), None);
    }
}
