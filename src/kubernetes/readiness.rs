use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    client::text,
    pods::{doom, trouble, waits_for_node},
};
use crate::resource::Readiness;

/// What must be known beside an object to say whether it can be used.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    /// The pods of its present revision.
    pub(super) pods: Vec<Arc<Value>>,
    /// A provider gives load balancers here.
    pub(super) load_balancers: bool,
    /// A volume is only made once a pod wants it.
    pub(super) first_consumer: bool,
    /// The API server answers for the type that this definition makes.
    pub(super) served: bool,
    /// How long a pod may find no node before that is a failure.
    pub(super) unschedulable: Duration,
    /// Where nodes come and go, when this run looked first: what lasts since long may mend now.
    pub(super) first_look: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// Whether an object can be used.
pub(super) fn readiness(object: &Value, around: &Around) -> Readiness {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Readiness::NotYet(terminating(object));
    }
    if let (Some(seen), Some(now)) = (
        number(object, "/status/observedGeneration"),
        number(object, "/metadata/generation"),
    ) && seen != now
    {
        return Readiness::NotYet("its controller has not seen the last change yet".into());
    }
    let readiness = by_kind(object, around);
    let Readiness::NotYet(words) = readiness else {
        return readiness;
    };
    // One pod that can never start may be one node's fault; all of them are the manifest's.
    let dooms: Vec<String> = around.pods.iter().filter_map(|pod| doom(pod, around)).collect();
    if let Some(first) = dooms.first()
        && dooms.len() == around.pods.len()
    {
        return Readiness::Failed(first.clone());
    }
    match around.pods.iter().find_map(|pod| trouble(pod)) {
        Some(trouble) => Readiness::NotYet(format!("{words}, {trouble}")),
        None => Readiness::NotYet(words),
    }
}

fn by_kind(object: &Value, around: &Around) -> Readiness {
    let group = text(object, "/apiVersion")
        .split_once('/')
        .map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("apps", "Deployment") => deployment(object, around),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object, around),
        ("", "Namespace") => namespace(object),
        ("", "PersistentVolumeClaim") => volume_claim(object, around),
        ("", "Service") => service(object, around),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object, around),
        ("apiregistration.k8s.io", "APIService") => conditional(object, "Available"),
        ("monitoring.coreos.com", "Prometheus" | "PrometheusAgent" | "Alertmanager" | "ThanosRuler") => {
            monitoring(object)
        }
        _ => generic(object),
    }
}

pub(super) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

fn count(object: &Value, pointer: &str) -> i64 {
    number(object, pointer).unwrap_or(0)
}

/// A condition of this type.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object
        .pointer("/status/conditions")
        .and_then(Value::as_array)?
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

fn holds(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

/// `Reason: message` of a condition.
pub(super) fn words(condition: &Value) -> String {
    let (reason, message) = (text(condition, "/reason"), text(condition, "/message"));
    match (reason, message) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn waits(text: impl Into<String>) -> Readiness {
    Readiness::NotYet(text.into())
}

/// Why an object that is being deleted is still there.
fn terminating(object: &Value) -> String {
    let mut finalizers: Vec<&str> = ["/metadata/finalizers", "/spec/finalizers"]
        .iter()
        .filter_map(|pointer| object.pointer(pointer).and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    finalizers.dedup();
    let mut text = if finalizers.is_empty() {
        "terminating".to_owned()
    } else {
        format!("terminating: finalizers {}", finalizers.join(", "))
    };
    for reason in stuck(object) {
        text = format!("{text}; {reason}");
    }
    text
}

/// What keeps a namespace from going away, in the server's words.
pub(super) fn stuck(object: &Value) -> Vec<String> {
    let reasons = [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceContentRemaining",
        "NamespaceFinalizersRemaining",
    ];
    reasons
        .iter()
        .filter(|kind| holds(object, kind))
        .filter_map(|kind| condition(object, kind))
        .map(|condition| text(condition, "/message").to_owned())
        .collect()
}

fn deployment(object: &Value, around: &Around) -> Readiness {
    if object.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        return Readiness::Ready;
    }
    if number(object, "/status/observedGeneration").is_none() {
        return waits("its controller has not seen it yet");
    }
    if let Some(progressing) = condition(object, "Progressing")
        && text(progressing, "/reason") == "ProgressDeadlineExceeded"
    {
        // The Deployment's own clock does not know that nodes are on their way.
        let on_its_way = around
            .pods
            .iter()
            .any(|pod| waits_for_node(pod) && doom(pod, around).is_none());
        return if on_its_way {
            waits(words(progressing))
        } else {
            Readiness::Failed(words(progressing))
        };
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let updated = count(object, "/status/updatedReplicas");
    let available = count(object, "/status/availableReplicas");
    let all = count(object, "/status/replicas");
    if let Some(failure) = condition(object, "ReplicaFailure")
        && text(failure, "/status") == "True"
    {
        return waits(format!("{available}/{wanted} available, {}", words(failure)));
    }
    if updated < wanted {
        waits(format!("{updated}/{wanted} of the new revision"))
    } else if all > updated {
        waits(format!("{} of the former revision still there", all - updated))
    } else if available < wanted || count(object, "/status/readyReplicas") < wanted {
        waits(format!("{available}/{wanted} available"))
    } else {
        Readiness::Ready
    }
}

fn stateful_set(object: &Value) -> Readiness {
    if number(object, "/status/observedGeneration").is_none() {
        return waits("its controller has not seen it yet");
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    let all = count(object, "/status/replicas");
    if ready < wanted || all < wanted {
        return waits(format!("{ready}/{wanted} ready"));
    }
    if all > wanted {
        return waits(format!("{} more than wanted still there", all - wanted));
    }
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Readiness::Ready;
    }
    let updated = count(object, "/status/updatedReplicas");
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    let current = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if partition > 0 && updated >= wanted - partition || partition == 0 && (current || updated >= wanted) {
        Readiness::Ready
    } else {
        waits(format!("{updated}/{} of the new revision", wanted - partition))
    }
}

fn daemon_set(object: &Value) -> Readiness {
    let Some(wanted) = number(object, "/status/desiredNumberScheduled")
        .filter(|_| number(object, "/status/observedGeneration").is_some())
    else {
        return waits("its controller has not seen it yet");
    };
    let updated = count(object, "/status/updatedNumberScheduled");
    let available = count(object, "/status/numberAvailable");
    let on_delete = text(object, "/spec/updateStrategy/type") == "OnDelete";
    if updated < wanted && !on_delete {
        waits(format!("{updated}/{wanted} of the new revision"))
    } else if available < wanted || count(object, "/status/numberReady") < wanted {
        waits(format!("{available}/{wanted} available"))
    } else {
        Readiness::Ready
    }
}

fn replica_set(object: &Value) -> Readiness {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let available = count(object, "/status/availableReplicas");
    if number(object, "/status/observedGeneration").is_none() {
        waits("its controller has not seen it yet")
    } else if let Some(failure) =
        condition(object, "ReplicaFailure").filter(|_| holds(object, "ReplicaFailure"))
    {
        waits(format!("{available}/{wanted} available, {}", words(failure)))
    } else if available < wanted || count(object, "/status/replicas") != wanted {
        waits(format!("{available}/{wanted} available"))
    } else {
        Readiness::Ready
    }
}

fn job(object: &Value) -> Readiness {
    if holds(object, "Complete") {
        return Readiness::Ready;
    }
    if let Some(failed) = condition(object, "Failed").filter(|_| holds(object, "Failed")) {
        return Readiness::Failed(words(failed));
    }
    if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return Readiness::Ready;
    }
    let wanted = number(object, "/spec/completions").unwrap_or(1);
    waits(format!(
        "{}/{wanted} completed",
        count(object, "/status/succeeded")
    ))
}

fn pod(object: &Value, around: &Around) -> Readiness {
    match text(object, "/status/phase") {
        "Succeeded" => Readiness::Ready,
        "Failed" => Readiness::Failed(match text(object, "/status/message") {
            "" => trouble(object).unwrap_or_else(|| "the pod failed".into()),
            message => format!("{}: {message}", text(object, "/status/reason")),
        }),
        "Running" if holds(object, "Ready") => Readiness::Ready,
        phase => {
            if let Some(doom) = doom(object, around) {
                return Readiness::Failed(doom);
            }
            let phase = if phase.is_empty() { "Pending" } else { phase };
            waits(trouble(object).unwrap_or_else(|| format!("{phase}, not ready")))
        }
    }
}

fn namespace(object: &Value) -> Readiness {
    match text(object, "/status/phase") {
        "Active" => Readiness::Ready,
        phase => waits(format!(
            "phase {}",
            if phase.is_empty() { "not set" } else { phase }
        )),
    }
}

fn volume_claim(object: &Value, around: &Around) -> Readiness {
    match text(object, "/status/phase") {
        "Bound" => Readiness::Ready,
        "Lost" => Readiness::Failed("the volume that it was bound to is gone".into()),
        _ if around.first_consumer => Readiness::Ready,
        _ => waits("no volume bound yet"),
    }
}

fn service(object: &Value, around: &Around) -> Readiness {
    let list = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_array)
            .is_some_and(|items| !items.is_empty())
    };
    let waits_for_address = around.load_balancers
        && text(object, "/spec/type") == "LoadBalancer"
        && !list("/spec/externalIPs")
        && !list("/status/loadBalancer/ingress");
    if waits_for_address {
        waits("no load balancer address yet")
    } else {
        Readiness::Ready
    }
}

fn definition(object: &Value, around: &Around) -> Readiness {
    let refused =
        |kind: &str| condition(object, kind).filter(|condition| text(condition, "/status") == "False");
    if let Some(names) = refused("NamesAccepted") {
        return Readiness::Failed(words(names));
    }
    if let Some(established) = refused("Established").filter(|found| text(found, "/reason") != "Installing") {
        return Readiness::Failed(words(established));
    }
    if !holds(object, "Established") {
        waits("not established yet")
    } else if around.served {
        Readiness::Ready
    } else {
        waits("established, not served yet")
    }
}

/// Each condition of the operator's resources says itself which generation it is about; without one nothing runs yet.
fn monitoring(object: &Value) -> Readiness {
    if object.pointer("/spec/paused") == Some(&Value::Bool(true)) {
        return Readiness::Ready;
    }
    let generation = number(object, "/metadata/generation");
    for kind in ["Reconciled", "Available"] {
        let Some(found) = condition(object, kind) else {
            return waits("the operator has not seen it yet");
        };
        let seen = number(found, "/observedGeneration");
        if seen.is_some() && seen != generation {
            return waits("the operator has not seen the last change yet");
        }
        if text(found, "/status") != "True" {
            let state = format!("{kind} is {}", text(found, "/status"));
            return match words(found).as_str() {
                "" => waits(state),
                why => waits(format!("{state}, {why}")),
            };
        }
    }
    Readiness::Ready
}

fn conditional(object: &Value, kind: &str) -> Readiness {
    match condition(object, kind) {
        Some(found) if text(found, "/status") == "True" => Readiness::Ready,
        Some(found) => waits(words(found)),
        None => waits(format!("condition {kind} not set yet")),
    }
}

fn generic(object: &Value) -> Readiness {
    if let Some(stalled) = condition(object, "Stalled").filter(|_| holds(object, "Stalled")) {
        return Readiness::Failed(words(stalled));
    }
    if let Some(reconciling) = condition(object, "Reconciling").filter(|_| holds(object, "Reconciling")) {
        return waits(words(reconciling));
    }
    if condition(object, "Ready").is_some() {
        conditional(object, "Ready")
    } else {
        Readiness::Ready
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "json! makes values that are used once"
)]
#[path = "readiness_tests.rs"]
mod tests;
