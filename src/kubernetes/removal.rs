use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::{Value, json};

use super::{
    client::{Cluster, Clusters, Sent, encoded, text},
    discovery::ApiType,
    error::CallError,
    item::{Item, OWNER, Owner},
    pods::labels,
};
use crate::resource::{Cause, ResourceError, Target};

/// How long the operator's pods may take to end before its leftovers are left to the next call.
const OPERATOR_ENDS_WITHIN: Duration = Duration::from_mins(1);
const OPERATORS_LABEL: &str = "app.kubernetes.io/managed-by";

/// Begins the removal of an object; harmless if it is gone.
pub(super) async fn delete(clusters: &Clusters, target: &Target) -> Result<(), ResourceError> {
    let item = Item::read(target)?;
    let cluster = item.connect(clusters).await?;
    let identity = &item.identity;
    let found = cluster
        .discovery
        .find(&cluster, &identity.api_version, &identity.kind)
        .await?;
    let Some(of) = found else {
        // With its type all its objects have gone.
        return Ok(());
    };
    let path = of.object(Some(item.namespace()), &identity.name);
    let live = cluster.find(&path).await?;
    if let Some(live) = &live {
        if let Some(whose) = not_ours(&item, live) {
            return Err(
                ResourceError::new(Cause::Refused, format!("it belongs to {whose}"))
                    .hint("delete it yourself if it should go, then run the same command again: it forgets what is gone"),
            );
        }
        for gone in ApiType::of_definition(live) {
            cluster.discovery.forget(&gone);
        }
        if live.pointer("/metadata/deletionTimestamp").is_none() {
            remove(&cluster, &path, live).await?;
        }
    }
    let leaves = live.as_ref().and_then(leftover).or(item.remembered().leaves);
    match leaves {
        Some(service) => sweep(&cluster, &item, live.as_ref(), &service).await,
        None => Ok(()),
    }
}

/// Whose it is, if it may not be deleted. What Kubernetes itself lives in is only touched where our mark is on it.
fn not_ours(item: &Item<'_>, live: &Value) -> Option<String> {
    if let Some(whose) = item.protected() {
        return Some(whose);
    }
    let namespace = text(live, "/metadata/namespace");
    let marked = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(OWNER))
        .is_some();
    match item.owner(live) {
        Owner::Other(whose) => Some(whose),
        Owner::Nobody => Some("nobody: it carries no mark of a stack".into()),
        Owner::Us if (namespace == "default" || namespace.starts_with("kube-")) && !marked => Some(format!(
            "nobody: it carries no mark of a stack, in the namespace {namespace}"
        )),
        Owner::Us => None,
    }
}

pub(super) async fn remove(cluster: &Cluster, path: &str, live: &Value) -> Result<(), ResourceError> {
    // Whose pods must be gone before what they use goes.
    let foreground = matches!(
        text(live, "/kind"),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "CronJob"
    );
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": text(live, "/metadata/uid")},
        "propagationPolicy": if foreground { "Foreground" } else { "Background" },
    });
    match cluster.call(Method::DELETE, path, Sent::Json(&options)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The Service that the Prometheus operator behind this Deployment keeps for the kubelets and leaves behind.
pub(super) fn leftover(deployment: &Value) -> Option<String> {
    if text(deployment, "/kind") != "Deployment" {
        return None;
    }
    let containers = deployment.pointer("/spec/template/spec/containers")?.as_array()?;
    containers
        .iter()
        .filter_map(|container| container.get("args").and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str)
        .find_map(|argument| argument.strip_prefix("--kubelet-service="))
        .filter(|service| service.contains('/'))
        .map(str::to_owned)
}

/// Removes what the operator leaves behind, once it has ended: until then it would make it again.
async fn sweep(
    cluster: &Arc<Cluster>,
    item: &Item<'_>,
    operator: Option<&Value>,
    service: &str,
) -> Result<(), ResourceError> {
    if let Some(labels) = operator.and_then(labels) {
        let pod = cluster.discovery.need(cluster, "v1", "Pod").await?;
        let pods = cluster.watches.open(cluster, &pod, Some(item.namespace()), "");
        if tokio::time::timeout(OPERATOR_ENDS_WITHIN, pods.none_left(&labels))
            .await
            .is_err()
        {
            return Err(ResourceError::new(
                Cause::Transient,
                format!("the operator's pods have not ended, and it would make the Service {service} again"),
            ));
        }
    }
    let others = cluster.list("/apis/apps/v1/deployments", "").await?;
    let mine = |other: &Value| {
        text(other, "/metadata/name") == item.identity.name
            && text(other, "/metadata/namespace") == item.namespace()
    };
    // One that is being deleted keeps nothing; it may wait for its pods as we do.
    let keeps = |other: &Value| {
        !mine(other)
            && other.pointer("/metadata/deletionTimestamp").is_none()
            && leftover(other).as_deref() == Some(service)
    };
    if others.iter().any(keeps) {
        // Another operator keeps it.
        return Ok(());
    }
    let Some((namespace, name)) = service.split_once('/') else {
        return Ok(());
    };
    let (namespace, name) = (encoded(namespace), encoded(name));
    let core = format!("/api/v1/namespaces/{namespace}");
    for path in [
        format!("{core}/services/{name}"),
        format!("{core}/endpoints/{name}"),
    ] {
        sweep_one(cluster, &path).await?;
    }
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let selector = format!(
        "?labelSelector={}",
        encoded(&format!("kubernetes.io/service-name={name}"))
    );
    for slice in cluster.list(&slices, &selector).await? {
        sweep_one(
            cluster,
            &format!("{slices}/{}", encoded(text(&slice, "/metadata/name"))),
        )
        .await?;
    }
    Ok(())
}

/// Deletes one thing, if the operator says that it is its own.
async fn sweep_one(cluster: &Cluster, path: &str) -> Result<(), CallError> {
    let Some(found) = cluster.find(path).await? else {
        return Ok(());
    };
    let label = found
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(OPERATORS_LABEL))
        .and_then(Value::as_str);
    if label != Some("prometheus-operator") {
        return Ok(());
    }
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": text(&found, "/metadata/uid")}});
    match cluster.call(Method::DELETE, path, Sent::Json(&options)).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::item::tests::target;

    #[test]
    fn the_operators_argument_names_what_it_leaves_behind() {
        let with = |arguments: Value| json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"args": arguments}]}}}});
        let operator = with(json!([
            "--log-level=info",
            "--kubelet-service=kube-system/monitoring-kubelet"
        ]));
        assert_eq!(leftover(&operator).unwrap(), "kube-system/monitoring-kubelet");
        assert_eq!(leftover(&with(json!(["--port=80"]))), None);
    }

    #[test]
    fn what_carries_no_mark_or_another_is_not_deleted() {
        let target = target(Some("u1"));
        let item = Item::read(&target).unwrap();
        let live = |uid: &str, namespace: &str, mark: Option<&str>| {
            json!({"metadata": {"uid": uid, "namespace": namespace,
                "annotations": mark.map_or(json!({}), |mark| json!({OWNER: mark}))}})
        };
        assert_eq!(not_ours(&item, &live("u1", "shop", Some("stack-1/x"))), None);
        assert_eq!(
            not_ours(&item, &live("u1", "shop", None)),
            None,
            "the one that we made"
        );
        assert!(not_ours(&item, &live("u2", "shop", None)).is_some());
        assert!(not_ours(&item, &live("u1", "kube-system", None)).is_some());
        assert!(not_ours(&item, &live("u1", "shop", Some("stack-2/x"))).is_some());
    }
}
