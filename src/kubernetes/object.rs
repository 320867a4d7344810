use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use serde_json::Value;

use super::{
    api::Api,
    apply,
    client::Clusters,
    diagnose, follow,
    item::{Identity, Item},
    observe,
    outside::{Keep, Outside},
    removal,
};
use crate::{
    model::Address,
    resource::{Boxed, Intent, Kind, Made, Observed, ResourceError, Stack, Target, Traits, references},
};

const DOCUMENTATION: &str = "\
One Kubernetes object, kept by server-side apply under the field manager 'stackup'.

cluster    the cluster that it lives in
object     the manifest
namespaced whether its type has namespaces, if the manifest's set says it
generate   what stackup makes for a Secret once: {certificate: {dnsNames, keys: {ca, certificate, privateKey}}}
           or {password: {key, length}}
scaledBy   the autoscaler that sets its number of replicas";

/// All kinds of this room, over the given clusters. `keep` is told of disks that outlast their cluster.
pub fn kinds(clusters: &Arc<Clusters>, keep: Option<Keep>) -> Vec<Arc<dyn Kind>> {
    vec![
        Arc::new(Api::new(clusters)),
        Arc::new(Outside::new(clusters, keep)),
        Arc::new(Object {
            clusters: Arc::clone(clusters),
        }),
    ]
}

/// The kind `k8s.object`.
struct Object {
    clusters: Arc<Clusters>,
}

impl Kind for Object {
    fn name(&self) -> &'static str {
        "k8s.object"
    }

    fn documentation(&self) -> &'static str {
        DOCUMENTATION
    }

    fn traits(&self) -> Traits {
        Traits {
            intent: Intent::Together,
            records_inputs: false,
            at_once: 16,
            expected: None,
            removal: None,
            deadline: Duration::from_mins(10),
            settles: Duration::ZERO,
            paced: true,
            pins: false,
        }
    }

    fn identity(&self, _: &Stack, address: &Address, inputs: &Value) -> Result<Value, ResourceError> {
        let part = |pointer: &str| {
            let found = inputs.pointer(pointer).and_then(Value::as_str);
            found.filter(|found| !found.is_empty()).map(str::to_owned)
        };
        let need = |pointer: &str, what: &str| {
            part(pointer)
                .ok_or_else(|| ResourceError::permanent(format!("the manifest of {address} has no {what}")))
        };
        let cluster = inputs
            .get("cluster")
            .map(references)
            .and_then(|found| found.into_iter().next())
            .ok_or_else(|| ResourceError::permanent(format!("{address} refers to no cluster")))?;
        let namespaced = inputs.get("namespaced").and_then(Value::as_bool);
        let identity = Identity {
            cluster,
            api_version: need("/object/apiVersion", "apiVersion")?,
            kind: need("/object/kind", "kind")?,
            namespace: part("/object/metadata/namespace").filter(|_| namespaced != Some(false)),
            name: need("/object/metadata/name", "metadata.name")?,
        };
        serde_json::to_value(identity).map_err(|error| ResourceError::permanent(error.to_string()))
    }

    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        Box::pin(observe::observe(&self.clusters, targets))
    }

    fn create<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(apply::create(&self.clusters, target))
    }

    fn update<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(apply::update(&self.clusters, target))
    }

    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        Box::pin(removal::delete(&self.clusters, target))
    }

    fn watch<'a>(&'a self, target: &'a Target) -> Option<BoxStream<'a, Result<Observed, ResourceError>>> {
        Some(follow::observed(Arc::clone(&self.clusters), target.clone()))
    }

    fn diagnose<'a>(&'a self, target: &'a Target) -> Boxed<'a, Vec<String>> {
        Box::pin(diagnose::diagnose(&self.clusters, target))
    }

    fn goes_with(&self, target: &Target) -> Option<Address> {
        let item = Item::read(target).ok()?;
        let cluster = item.cluster_outputs().ok()?;
        let ephemeral = cluster.get("ephemeral") == Some(&Value::Bool(true));
        (ephemeral && !item.remembered().outside).then_some(item.identity.cluster)
    }

    fn lives_in(&self, target: &Target) -> Option<Address> {
        Item::read(target).ok().map(|item| item.identity.cluster)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        kubernetes::item::tests::target,
        model::Secret,
        resource::{Reference, Remembered},
    };

    fn kind() -> Arc<dyn Kind> {
        let clusters = Clusters::new("/nowhere".into(), Secret::new(vec![1]), Arc::new(|_| {}), None);
        kinds(&clusters, None).pop().unwrap()
    }

    #[test]
    fn the_identity_needs_no_server() {
        let cluster = Address::new("kwok.cluster", "demo");
        let inputs = json!({"cluster": Reference::whole(&cluster), "namespaced": null,
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}}});
        let stack = target(None).stack;
        let identity = kind()
            .identity(&stack, &Address::new("k8s", "a"), &inputs)
            .unwrap();
        assert_eq!(
            identity,
            json!({"cluster": "kwok.cluster/demo", "apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "a"})
        );
    }

    #[test]
    fn a_manifest_without_a_name_is_told_so() {
        let inputs = json!({"cluster": {"$ref": "kwok.cluster/demo"}, "object": {"apiVersion": "v1", "kind": "ConfigMap"}});
        let stack = target(None).stack;
        let error = kind()
            .identity(&stack, &Address::new("k8s", "a"), &inputs)
            .unwrap_err();
        assert!(error.message.contains("metadata.name"), "{error}");
    }

    #[test]
    fn an_object_goes_with_a_cluster_of_ours_unless_something_of_it_is_outside() {
        let with = |ephemeral: bool, outside: bool| {
            let mut target = target(Some("u1"));
            let cluster =
                json!({"kubeconfig": "k", "context": "c", "profile": "eks", "ephemeral": ephemeral});
            target
                .outputs
                .insert(Address::new("kwok.cluster", "demo"), Arc::new(cluster));
            let remembered = target.remembered.as_deref().cloned().unwrap();
            target.remembered = Some(Arc::new(Remembered {
                outputs: json!({"uid": "u1", "outside": outside}),
                ..remembered
            }));
            kind().goes_with(&target)
        };
        assert_eq!(with(true, false), Some(Address::new("kwok.cluster", "demo")));
        assert_eq!(with(true, true), None);
        assert_eq!(with(false, false), None);
    }
}
