use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    client::{Cluster, Clusters, text},
    error::CallError,
    fields::{managers, projection},
    generate::Generate,
};
use crate::{
    model::Address,
    resource::{Cause, ResourceError, Target},
};

/// Whose it is: `<stack uid>/<address>`.
pub(super) const OWNER: &str = "stackup/owner";
/// Of which stack it is; what the lists select by.
pub(super) const STACK: &str = "stackup/stack";

/// What finds an object again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    /// The address of the cluster that it lives in.
    pub(super) cluster: Address,
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

/// What the state keeps of an object, and what others may refer to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Outputs {
    pub(super) uid: String,
    /// The hash of what was sent and of what we own of the answer; gone when that is not as wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) settled: Option<String>,
    /// The certificate of the own certificate authority, base64 of PEM, as webhooks and API services want it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<String>,
    /// Something of it lives outside the cluster: a load balancer, a disk.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) outside: bool,
    /// The Service that the Prometheus operator makes and leaves behind: `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leaves: Option<String>,
}

/// What an object should be.
#[derive(Debug, Clone)]
pub(super) struct Inputs<'a> {
    pub(super) cluster: &'a Value,
    pub(super) object: &'a Value,
    pub(super) generate: Option<Generate>,
    /// An autoscaler sets its number of replicas.
    pub(super) scaled: bool,
}

/// One target of the engine, read.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) target: &'a Target,
    pub(super) identity: Identity,
    pub(super) inputs: Option<Inputs<'a>>,
}

/// Who a live object belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Us,
    /// It carries no mark.
    Nobody,
    /// Another stack, in words.
    Other(String),
}

impl<'a> Item<'a> {
    pub(super) fn read(target: &'a Target) -> Result<Self, ResourceError> {
        let invalid = |what: String| ResourceError::permanent(format!("{} {what}", target.address));
        let identity = Identity::deserialize(&target.identity)
            .map_err(|error| invalid(format!("is remembered in a way that cannot be read: {error}")))?;
        let inputs = target
            .inputs
            .as_deref()
            .map(Inputs::read)
            .transpose()
            .map_err(invalid)?;
        Ok(Self {
            target,
            identity,
            inputs,
        })
    }

    /// The inputs of a target that is to be made or changed.
    pub(super) fn wanted(&self) -> Result<&Inputs<'a>, ResourceError> {
        self.inputs.as_ref().ok_or_else(|| {
            ResourceError::permanent(format!("{} has no inputs to be made from", self.target.address))
        })
    }

    /// What is known of the cluster; that nothing is known says nothing of the object.
    pub(super) fn cluster_outputs(&self) -> Result<&'a Value, ResourceError> {
        let known = match &self.inputs {
            Some(inputs) => Some(inputs.cluster),
            None => self
                .target
                .outputs
                .get(&self.identity.cluster)
                .map(|outputs| &**outputs),
        };
        known
            .filter(|outputs| super::access::is_known(outputs))
            .ok_or_else(|| {
                ResourceError::new(
                    Cause::Unreachable,
                    format!(
                        "nothing is known of the cluster {} that it lives in",
                        self.identity.cluster
                    ),
                )
                .hint("the state does not say how to reach the cluster: apply makes or finds it again")
            })
    }

    pub(super) async fn connect(&self, clusters: &Clusters) -> Result<Arc<Cluster>, ResourceError> {
        Ok(clusters.connect(self.cluster_outputs()?).await?)
    }

    /// The namespace to look in, where the type has namespaces.
    pub(super) fn namespace(&self) -> &str {
        self.identity.namespace.as_deref().unwrap_or("default")
    }

    pub(super) async fn path(&self, cluster: &Cluster) -> Result<String, CallError> {
        let identity = &self.identity;
        let of = cluster
            .discovery
            .need(cluster, &identity.api_version, &identity.kind)
            .await?;
        Ok(of.object(Some(self.namespace()), &identity.name))
    }

    /// Our mark for this object.
    pub(super) fn mark(&self) -> String {
        format!("{}/{}", self.target.stack.uid, self.target.address)
    }

    /// What the state remembers.
    pub(super) fn remembered(&self) -> Outputs {
        self.target
            .remembered
            .as_ref()
            .and_then(|remembered| Outputs::deserialize(&remembered.outputs).ok())
            .unwrap_or_default()
    }

    pub(super) fn owner(&self, live: &Value) -> Owner {
        let mark = live
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(OWNER))
            .and_then(Value::as_str);
        let uid = mark.map(|mark| mark.split_once('/').map_or(mark, |(uid, _)| uid));
        match uid {
            Some(uid) if uid == self.target.stack.uid => Owner::Us,
            Some(uid) => {
                let labels = live.pointer("/metadata/labels");
                let name = labels
                    .and_then(|labels| labels.get(STACK))
                    .and_then(Value::as_str);
                Owner::Other(format!("stack {} (uid {uid})", name.unwrap_or("without a name")))
            }
            // Someone took the mark away from what we made; that is drift, not another owner.
            None if self.made() == Some(text(live, "/metadata/uid")) => Owner::Us,
            None => Owner::Nobody,
        }
    }

    /// The uid of what we made, if we remember it.
    fn made(&self) -> Option<&str> {
        let remembered = self.target.remembered.as_deref()?;
        remembered
            .id
            .as_deref()
            .or_else(|| remembered.outputs.get("uid").and_then(Value::as_str))
            .filter(|uid| !uid.is_empty())
    }

    /// Whose it is, in words, if we must not touch it.
    pub(super) fn foreign(&self, live: &Value) -> Option<String> {
        if let Some(why) = self.protected() {
            return Some(why);
        }
        match self.owner(live) {
            Owner::Us => None,
            Owner::Nobody if self.target.adopt => None,
            Owner::Nobody => {
                let managers = managers(live).join(", ");
                let managers = if managers.is_empty() { "unknown" } else { &managers };
                Some(format!("nobody's mark; field managers: {managers}"))
            }
            Owner::Other(words) => Some(words),
        }
    }

    /// Why this object is never ours, whoever made it.
    pub(super) fn protected(&self) -> Option<String> {
        let name = &self.identity.name;
        (self.identity.kind == "Namespace" && (name == "default" || name.starts_with("kube-")))
            .then(|| format!("Kubernetes itself: the namespace {name} comes with every cluster"))
    }

    /// The outputs of a live object. `settled` is its hash if it is as wanted.
    pub(super) fn outputs(&self, cluster: &Cluster, live: &Value, settled: Option<String>) -> Outputs {
        let remembered = self.remembered();
        let generate = self.inputs.as_ref().and_then(|inputs| inputs.generate.as_ref());
        Outputs {
            uid: text(live, "/metadata/uid").to_owned(),
            settled,
            ca: generate
                .and_then(|generate| generate.ca(live))
                .map(str::to_owned)
                .or(remembered.ca),
            outside: remembered.outside || (cluster.profile == "eks" && reaches_outside(live)),
            leaves: super::removal::leftover(live).or(remembered.leaves),
        }
    }

    /// Whether values that stackup makes are missing in `live`, or used up.
    pub(super) fn is_due(&self, live: &Value) -> bool {
        let generate = self.inputs.as_ref().and_then(|inputs| inputs.generate.as_ref());
        generate.is_some_and(|generate| generate.is_due(live))
    }

    /// The hash of what is sent and of what we own of `live`.
    pub(super) fn settled(&self, clusters: &Clusters, live: &Value) -> Option<String> {
        let inputs = self.inputs.as_ref()?;
        let fields = projection(live, inputs.scaled.then_some(["spec", "replicas"]))?;
        // The hash of the sent object as well: a value that comes from another resource may have changed.
        Some(clusters.marks.hash_all(&[inputs.object, &fields]))
    }
}

impl<'a> Inputs<'a> {
    fn read(value: &'a Value) -> Result<Self, String> {
        let part = |name: &str| value.get(name).ok_or_else(|| format!("lacks the input '{name}'"));
        let generate = match value.get("generate") {
            None | Some(Value::Null) => None,
            Some(generate) => Some(
                Generate::deserialize(generate)
                    .map_err(|error| format!("has an input 'generate' that cannot be read: {error}"))?,
            ),
        };
        Ok(Self {
            cluster: part("cluster")?,
            object: part("object")?,
            generate,
            scaled: value.get("scaledBy").is_some_and(|by| !by.is_null()),
        })
    }
}

impl Outputs {
    pub(super) fn json(&self) -> Value {
        // Plain strings always become JSON.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Whether a controller makes something outside the cluster for this object.
fn reaches_outside(object: &Value) -> bool {
    match text(object, "/kind") {
        "Service" => text(object, "/spec/type") == "LoadBalancer",
        "Ingress" | "PersistentVolumeClaim" => true,
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::resource::{Remembered, Stack};

    /// A target for a `ConfigMap`.
    pub(in crate::kubernetes) fn target(remembered: Option<&str>) -> Target {
        let identity = json!({"cluster": "kwok.cluster/demo", "apiVersion": "v1", "kind": "ConfigMap",
            "namespace": "shop", "name": "a"});
        Target {
            stack: Arc::new(Stack {
                name: "demo".into(),
                uid: "stack-1".into(),
            }),
            address: Address::new("k8s", "shop/ConfigMap/a"),
            identity: identity.clone(),
            inputs: None,
            input_hash: String::new(),
            remembered: remembered.map(|uid| {
                Arc::new(Remembered {
                    kind: "k8s.object".into(),
                    identity,
                    id: Some(uid.into()),
                    component: None,
                    inputs: None,
                    input_hash: String::new(),
                    outputs: json!({}),
                    needs: Vec::new(),
                    refers: Vec::new(),
                    generation: 0,
                })
            }),
            outputs: BTreeMap::new(),
            generation: 0,
            adopt: false,
        }
    }

    fn live(mark: Option<&str>) -> Value {
        let mut live = json!({"metadata": {"uid": "u1", "labels": {STACK: "other"}, "annotations": {},
            "managedFields": [{"manager": "helm"}]}});
        if let Some(mark) = mark {
            live["metadata"]["annotations"][OWNER] = json!(mark);
        }
        live
    }

    #[test]
    fn our_mark_makes_it_ours_whatever_its_address() {
        let target = target(None);
        let item = Item::read(&target).unwrap();
        assert_eq!(item.foreign(&live(Some("stack-1/k8s/elsewhere"))), None);
    }

    #[test]
    fn another_stack_is_named_and_cannot_be_adopted_from() {
        let mut target = target(None);
        target.adopt = true;
        let item = Item::read(&target).unwrap();
        assert_eq!(
            item.foreign(&live(Some("stack-2/k8s/x"))).unwrap(),
            "stack other (uid stack-2)"
        );
    }

    #[test]
    fn what_nobody_marked_needs_to_be_adopted() {
        let mut target = target(None);
        let foreign = Item::read(&target).unwrap().foreign(&live(None));
        assert_eq!(foreign.unwrap(), "nobody's mark; field managers: helm");
        target.adopt = true;
        assert_eq!(Item::read(&target).unwrap().foreign(&live(None)), None);
    }

    #[test]
    fn what_we_made_stays_ours_when_someone_takes_the_mark_away() {
        let target = target(Some("u1"));
        assert_eq!(Item::read(&target).unwrap().foreign(&live(None)), None);
        let other = self::target(Some("u0"));
        assert!(Item::read(&other).unwrap().foreign(&live(None)).is_some());
    }

    #[test]
    fn the_namespaces_of_kubernetes_are_never_ours() {
        let mut target = target(None);
        target.adopt = true;
        target.identity =
            json!({"cluster": "c/x", "apiVersion": "v1", "kind": "Namespace", "name": "kube-system"});
        let item = Item::read(&target).unwrap();
        assert!(
            item.foreign(&live(Some("stack-1/x")))
                .unwrap()
                .contains("kube-system")
        );
    }

    #[test]
    fn without_the_clusters_outputs_nothing_is_known() {
        let target = target(None);
        let error = Item::read(&target).unwrap().cluster_outputs().unwrap_err();
        assert_eq!(error.cause, Cause::Unreachable);
    }
}
