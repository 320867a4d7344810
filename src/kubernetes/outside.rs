//! The kind `k8s.outside`: what controllers made outside a cluster (load balancers, disks) on behalf of its objects.
//! When its cluster goes, the objects go first, whoever made them, and their controllers clean up behind them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, join_all, try_join_all};
use serde_json::{Value, json};

use super::{
    api::{cluster_of, identity},
    client::{Cluster, Clusters, text},
    error::CallError,
    removal::remove,
};
use crate::{
    model::Address,
    resource::{
        Boxed, Cause, Intent, Kind, Live, Made, Observed, Readiness, ResourceError, Stack, Target, Traits,
    },
};

const DOCUMENTATION: &str = "\
What controllers make outside a cluster for its objects: load balancers of Services, Ingresses and Gateways, disks of
volume claims. Nothing is made. When the cluster is to go, these objects are deleted, whoever made them, and awaited
until their controllers have cleaned up; disruption budgets go as well, since each may hold a node for minutes. A disk
that Kubernetes was told to keep (reclaimPolicy: Retain) is marked before, so that nothing takes it for a leftover.
Never does so in a cluster that was there before.

cluster    all outputs of the API server";

/// What has, or may have, something outside.
const TYPES: [(&str, &str); 5] = [
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "PersistentVolume"),
];
const BUDGETS: (&str, &str) = ("policy/v1", "PodDisruptionBudget");
/// How many of what is left are named.
const NAMED: usize = 5;
/// How long a chain of owners may be: Prometheus, `StatefulSet`, Pod is three.
const OWNERS: usize = 8;

/// Marks disks that are to outlast the cluster of a stack that has these outputs: by the ids that their drivers use, any
/// number of times.
pub type Keep =
    Arc<dyn Fn(&Stack, &Value, Vec<String>) -> BoxFuture<'static, Result<(), ResourceError>> + Send + Sync>;

/// The kind `k8s.outside`.
pub(super) struct Outside {
    clusters: Arc<Clusters>,
    /// Nothing where nobody would take a disk for a leftover.
    keep: Option<Keep>,
    /// What this run has begun to remove: budgets that are made anew meanwhile hold nothing up.
    begun: Mutex<BTreeSet<Address>>,
}

impl Outside {
    pub(super) fn new(clusters: &Arc<Clusters>, keep: Option<Keep>) -> Self {
        Self {
            clusters: Arc::clone(clusters),
            keep,
            begun: Mutex::default(),
        }
    }

    async fn look(&self, target: &Target) -> Result<Observed, ResourceError> {
        if target.inputs.is_some() {
            return Ok(Observed::Live(Box::new(Live::ready(json!({})))));
        }
        let Some((cluster, _)) = self.ours(target).await? else {
            return Ok(Observed::Absent);
        };
        let begun = self
            .begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&target.address);
        let types: Vec<_> = TYPES.into_iter().chain((!begun).then_some(BUDGETS)).collect();
        let found = try_join_all(types.iter().map(|of| list(&cluster, *of))).await?;
        let left: Vec<&Value> = found
            .iter()
            .flatten()
            // Those that stay are worth a look until this run has marked them.
            .filter(|object| is_outside(object) || (!begun && self.keep.is_some() && kept(object).is_some()))
            .collect();
        if left.is_empty() {
            return Ok(Observed::Absent);
        }
        Ok(Observed::Live(Box::new(Live {
            readiness: Readiness::NotYet(words(&left)),
            ..Live::ready(json!({}))
        })))
    }

    /// One pass: everything is asked to go, and what failed is told after the rest was tried.
    async fn clear(&self, target: &Target) -> Result<(), ResourceError> {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(target.address.clone());
        let Some((cluster, outputs)) = self.ours(target).await? else {
            return Ok(());
        };
        let types = TYPES.into_iter().chain([BUDGETS]);
        let found = try_join_all(types.map(|of| list(&cluster, of))).await?;
        let disks: Vec<String> = found.iter().flatten().filter_map(kept).collect();
        if let Some(keep) = self.keep.as_ref().filter(|_| !disks.is_empty()) {
            keep(&target.stack, outputs, disks).await?;
        }
        let (claims, others): (Vec<_>, Vec<_>) = found
            .into_iter()
            .flatten()
            .filter(|object| is_outside(object) && text(object, "/kind") != "PersistentVolume")
            .partition(|object| text(object, "/kind") == "PersistentVolumeClaim");
        let users = owners_of_users(&cluster, &claims).await?;
        // A claim stays while a pod mounts it, and whoever keeps the pod would make claim and pod again.
        for objects in [others, users, claims] {
            let removed = join_all(objects.iter().map(|object| take(&cluster, object))).await;
            removed.into_iter().collect::<Result<(), ResourceError>>()?;
        }
        Ok(())
    }

    /// The cluster and its outputs, if it is one of ours that goes as a whole.
    async fn ours<'a>(&self, target: &'a Target) -> Result<Option<(Arc<Cluster>, &'a Value)>, ResourceError> {
        let outputs = cluster_of(target).and_then(|cluster| target.outputs.get(&cluster));
        let Some(outputs) = outputs.filter(|outputs| super::access::is_known(outputs)) else {
            return Err(ResourceError::new(
                Cause::Unreachable,
                "nothing is known of the cluster in which it would be looked for",
            ));
        };
        if outputs.get("ephemeral") != Some(&Value::Bool(true)) {
            return Ok(None);
        }
        Ok(Some((self.clusters.connect(outputs).await?, outputs)))
    }
}

async fn list(cluster: &Cluster, (api_version, kind): (&str, &str)) -> Result<Vec<Value>, CallError> {
    match cluster.discovery.find(cluster, api_version, kind).await? {
        Some(of) => match cluster.list(&of.collection(None), "").await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed,
        },
        None => Ok(Vec::new()),
    }
}

/// Whether an object of these types keeps something outside, or keeps nodes from going.
fn is_outside(object: &Value) -> bool {
    match text(object, "/kind") {
        "Service" => text(object, "/spec/type") == "LoadBalancer",
        "PersistentVolume" => {
            let annotations = object.pointer("/metadata/annotations");
            text(object, "/spec/persistentVolumeReclaimPolicy") == "Delete"
                && annotations.is_some_and(|all| all.get("pv.kubernetes.io/provisioned-by").is_some())
        }
        _ => true,
    }
}

/// The disk that a volume leaves behind when it goes, as its driver names it.
fn kept(object: &Value) -> Option<String> {
    if text(object, "/kind") != "PersistentVolume" || is_outside(object) {
        return None;
    }
    // The second one is how volumes look that were made through the class of a driver that was once in Kubernetes.
    let ids =
        ["/spec/csi/volumeHandle", "/spec/awsElasticBlockStore/volumeID"].map(|path| text(object, path));
    ids.into_iter().find(|id| !id.is_empty()).map(str::to_owned)
}

/// What is left, and what holds it.
fn words(left: &[&Value]) -> String {
    let one = |object: &&Value| {
        let name = match text(object, "/metadata/namespace") {
            "" => text(object, "/metadata/name").to_owned(),
            namespace => format!("{namespace}/{}", text(object, "/metadata/name")),
        };
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let finalizers: Vec<&str> = finalizers
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let held = if finalizers.is_empty() {
            String::new()
        } else {
            format!(" (finalizers {})", finalizers.join(", "))
        };
        format!("{} {name}{held}", text(object, "/kind"))
    };
    let mut all: Vec<String> = left.iter().take(NAMED).map(one).collect();
    if left.len() > NAMED {
        all.push(format!("{} more", left.len() - NAMED));
    }
    format!("still there: {}", all.join(", "))
}

/// The topmost owners of all pods that mount one of these claims.
async fn owners_of_users(cluster: &Cluster, claims: &[Value]) -> Result<Vec<Value>, CallError> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let place =
        |object: &Value, name: &str| (text(object, "/metadata/namespace").to_owned(), name.to_owned());
    let claimed: BTreeSet<_> = claims
        .iter()
        .map(|claim| place(claim, text(claim, "/metadata/name")))
        .collect();
    let pods = list(cluster, ("v1", "Pod")).await?;
    let users = pods
        .into_iter()
        .filter(|pod| mounted(pod).any(|claim| claimed.contains(&place(pod, &claim))));
    let owners = try_join_all(users.map(|pod| root(cluster, pod))).await?;
    let by_uid: BTreeMap<String, Value> = owners
        .into_iter()
        .map(|owner| (text(&owner, "/metadata/uid").to_owned(), owner))
        .collect();
    Ok(by_uid.into_values().collect())
}

/// The names of the claims that a pod mounts, those that are made with the pod included.
fn mounted(pod: &Value) -> impl Iterator<Item = String> {
    let name = text(pod, "/metadata/name");
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    volumes.into_iter().flatten().filter_map(move |volume| {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        if volume.get("ephemeral").is_some() {
            Some(format!("{name}-{}", text(volume, "/name")))
        } else {
            (!claim.is_empty()).then(|| claim.to_owned())
        }
    })
}

/// The controller of an object's controller, up to the one that nobody controls.
async fn root(cluster: &Cluster, mut object: Value) -> Result<Value, CallError> {
    for _ in 0..OWNERS {
        let owners = object
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array);
        let controller = owners
            .into_iter()
            .flatten()
            .find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
        let Some(owner) = controller else { break };
        let found = cluster
            .discovery
            .find(cluster, text(owner, "/apiVersion"), text(owner, "/kind"))
            .await?;
        // A type that is no longer served has no objects.
        let Some(of) = found else { break };
        let path = of.object(Some(text(&object, "/metadata/namespace")), text(owner, "/name"));
        match cluster.find(&path).await? {
            Some(mut above) if text(&above, "/metadata/uid") == text(owner, "/uid") => {
                if let Value::Object(fields) = &mut above {
                    fields.entry("kind").or_insert_with(|| of.kind.clone().into());
                    fields
                        .entry("apiVersion")
                        .or_insert_with(|| of.api_version.clone().into());
                }
                object = above;
            }
            _ => break,
        }
    }
    Ok(object)
}

/// Begins the removal of one object; that it went or was made anew meanwhile is seen at the next look.
async fn take(cluster: &Cluster, object: &Value) -> Result<(), ResourceError> {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Ok(());
    }
    let of = cluster
        .discovery
        .need(cluster, text(object, "/apiVersion"), text(object, "/kind"))
        .await?;
    let path = of.object(
        Some(text(object, "/metadata/namespace")),
        text(object, "/metadata/name"),
    );
    match remove(cluster, &path, object).await {
        Err(error) if error.cause == Cause::Outdated => Ok(()),
        removed => removed,
    }
}

impl Kind for Outside {
    fn name(&self) -> &'static str {
        "k8s.outside"
    }

    fn documentation(&self) -> &'static str {
        DOCUMENTATION
    }

    fn traits(&self) -> Traits {
        Traits {
            intent: Intent::Together,
            records_inputs: false,
            at_once: 4,
            expected: None,
            removal: None,
            // A load balancer takes a minute or two to go; the controllers behind them try again in minutes.
            deadline: Duration::from_mins(15),
            settles: Duration::ZERO,
            paced: true,
            pins: false,
        }
    }

    fn identity(&self, _: &Stack, address: &Address, inputs: &Value) -> Result<Value, ResourceError> {
        identity(address, inputs)
    }

    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        Box::pin(join_all(targets.iter().map(|target| self.look(target))))
    }

    fn create<'a>(&'a self, _: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        let live = Some(Live::ready(json!({})));
        Box::pin(std::future::ready(Ok(Made { id: None, live })))
    }

    fn update<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        self.create(target)
    }

    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        Box::pin(self.clear(target))
    }

    fn lives_in(&self, target: &Target) -> Option<Address> {
        cluster_of(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_something_outside_counts() {
        let of = |kind: &str, spec: Value| json!({"kind": kind, "metadata": {"name": "a"}, "spec": spec});
        assert!(is_outside(&of("Service", json!({"type": "LoadBalancer"}))));
        assert!(!is_outside(&of("Service", json!({"type": "ClusterIP"}))));
        assert!(is_outside(&of("Ingress", json!({}))));
        assert!(is_outside(&of("PersistentVolumeClaim", json!({}))));
        let volume = |policy: &str, annotations: Value| {
            json!({"kind": "PersistentVolume", "metadata": {"annotations": annotations},
                "spec": {"persistentVolumeReclaimPolicy": policy}})
        };
        let made = json!({"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"});
        assert!(is_outside(&volume("Delete", made.clone())));
        assert!(!is_outside(&volume("Retain", made)), "told to stay");
        assert!(!is_outside(&volume("Delete", json!({}))), "made by hand");
    }

    #[test]
    fn a_disk_is_kept_where_kubernetes_would_leave_it() {
        let volume = |policy: &str, source: Value| {
            let made = json!({"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"});
            let mut spec = json!({"persistentVolumeReclaimPolicy": policy});
            spec.as_object_mut()
                .unwrap()
                .extend(source.as_object().unwrap().clone());
            json!({"kind": "PersistentVolume", "metadata": {"annotations": made}, "spec": spec})
        };
        let csi = json!({"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}});
        assert_eq!(kept(&volume("Retain", csi.clone())).unwrap(), "vol-1");
        assert_eq!(kept(&volume("Delete", csi)), None);
        let old = json!({"awsElasticBlockStore": {"volumeID": "aws://eu-central-1a/vol-2"}});
        assert_eq!(kept(&volume("Retain", old)).unwrap(), "aws://eu-central-1a/vol-2");
        assert_eq!(
            kept(&volume("Retain", json!({"hostPath": {"path": "/data"}}))),
            None
        );
        assert_eq!(
            kept(&json!({"kind": "Service", "spec": {"type": "ClusterIP"}})),
            None
        );
    }

    #[test]
    fn what_is_awaited_is_named_with_what_holds_it_and_not_without_end() {
        let service = json!({"kind": "Service", "metadata": {"namespace": "shop", "name": "front",
            "finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}});
        let volume = json!({"kind": "PersistentVolume", "metadata": {"name": "pvc-1"}});
        assert_eq!(
            words(&[&service, &volume]),
            "still there: Service shop/front (finalizers service.kubernetes.io/load-balancer-cleanup), PersistentVolume pvc-1"
        );
        let many: Vec<&Value> = std::iter::repeat_n(&volume, 9).collect();
        assert!(
            words(&many).ends_with("PersistentVolume pvc-1, 4 more"),
            "{}",
            words(&many)
        );
    }

    #[test]
    fn a_pod_mounts_claims_by_name_and_those_made_with_it() {
        let pod = json!({"metadata": {"name": "db-0"}, "spec": {"volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "config", "configMap": {"name": "c"}},
        ]}});
        assert_eq!(mounted(&pod).collect::<Vec<_>>(), ["data-db-0", "db-0-scratch"]);
    }
}
