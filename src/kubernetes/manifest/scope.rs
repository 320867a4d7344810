use std::collections::HashMap;

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope, Resource, ResourceScope, api, apiextensions_apiserver,
    kube_aggregator,
};

use super::object::{Object, list_at, text_at};

/// An API group and a kind in it: what a version does not change.
pub(super) type GroupKind = (String, String);

/// What is known of a type without asking a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) namespaced: bool,
    /// The plural that webhooks and roles name it by.
    pub(super) plural: String,
}

/// Every type that this program or the stack knows.
#[derive(Debug)]
pub(super) struct Types(HashMap<GroupKind, Type>);

impl Types {
    /// The built-in types, and those that the CRDs among the objects define.
    pub(super) fn new<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Self {
        let mut types: HashMap<_, _> = builtin()
            .into_iter()
            .map(|(group, kind, plural, namespaced)| {
                let plural = plural.to_owned();
                ((group.to_owned(), kind.to_owned()), Type { namespaced, plural })
            })
            .collect();
        types.extend(objects.into_iter().filter_map(defined));
        Self(types)
    }

    /// What is known of the type of an object.
    pub(super) fn of(&self, object: &Object) -> Option<&Type> {
        self.0.get(&object.group_kind())
    }
}

/// The type that an object defines, if it is a CRD.
pub(super) fn defined(object: &Object) -> Option<(GroupKind, Type)> {
    if !object.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return None;
    }
    let text = |path: &[&str]| text_at(&object.value, path).map(str::to_owned);
    let group_kind = (text(&["spec", "group"])?, text(&["spec", "names", "kind"])?);
    Some((
        group_kind,
        Type {
            namespaced: object.text(&["spec", "scope"]) == "Namespaced",
            plural: text(&["spec", "names", "plural"])?,
        },
    ))
}

/// Whether a list of API groups or resources names this one.
pub(super) fn names(rule: &serde_json::Value, field: &str, wanted: &str) -> bool {
    list_at(rule, &[field])
        .iter()
        .filter_map(serde_json::Value::as_str)
        .any(|named| named == "*" || named == wanted)
}

trait Scoped: ResourceScope {
    const NAMESPACED: bool;
}

impl Scoped for ClusterResourceScope {
    const NAMESPACED: bool = false;
}

impl Scoped for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}

type Row = (&'static str, &'static str, &'static str, bool);

fn row<T: Resource<Scope: Scoped>>() -> Row {
    (
        T::GROUP,
        T::KIND,
        T::URL_PATH_SEGMENT,
        <T::Scope as Scoped>::NAMESPACED,
    )
}

/// The types that every server has. Versions do not matter here.
fn builtin() -> Vec<Row> {
    use api::{
        admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v2 as autoscaling,
        batch::v1 as batch, certificates::v1 as certificates, coordination::v1 as coordination,
        core::v1 as core, discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flow,
        networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
        resource::v1 as resource, scheduling::v1 as scheduling, storage::v1 as storage,
    };
    vec![
        row::<core::ConfigMap>(),
        row::<core::Endpoints>(),
        row::<core::Event>(),
        row::<core::LimitRange>(),
        row::<core::Namespace>(),
        row::<core::Node>(),
        row::<core::PersistentVolume>(),
        row::<core::PersistentVolumeClaim>(),
        row::<core::Pod>(),
        row::<core::PodTemplate>(),
        row::<core::ReplicationController>(),
        row::<core::ResourceQuota>(),
        row::<core::Secret>(),
        row::<core::Service>(),
        row::<core::ServiceAccount>(),
        row::<admission::MutatingWebhookConfiguration>(),
        row::<admission::ValidatingAdmissionPolicy>(),
        row::<admission::ValidatingAdmissionPolicyBinding>(),
        row::<admission::ValidatingWebhookConfiguration>(),
        row::<api::admissionregistration::v1beta1::MutatingAdmissionPolicy>(),
        row::<api::admissionregistration::v1beta1::MutatingAdmissionPolicyBinding>(),
        row::<apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition>(),
        row::<kube_aggregator::pkg::apis::apiregistration::v1::APIService>(),
        row::<apps::ControllerRevision>(),
        row::<apps::DaemonSet>(),
        row::<apps::Deployment>(),
        row::<apps::ReplicaSet>(),
        row::<apps::StatefulSet>(),
        row::<autoscaling::HorizontalPodAutoscaler>(),
        row::<batch::CronJob>(),
        row::<batch::Job>(),
        row::<certificates::CertificateSigningRequest>(),
        row::<coordination::Lease>(),
        row::<discovery::EndpointSlice>(),
        row::<events::Event>(),
        row::<flow::FlowSchema>(),
        row::<flow::PriorityLevelConfiguration>(),
        row::<networking::IPAddress>(),
        row::<networking::Ingress>(),
        row::<networking::IngressClass>(),
        row::<networking::NetworkPolicy>(),
        row::<networking::ServiceCIDR>(),
        row::<node::RuntimeClass>(),
        row::<policy::PodDisruptionBudget>(),
        row::<rbac::ClusterRole>(),
        row::<rbac::ClusterRoleBinding>(),
        row::<rbac::Role>(),
        row::<rbac::RoleBinding>(),
        row::<resource::DeviceClass>(),
        row::<resource::ResourceClaim>(),
        row::<resource::ResourceClaimTemplate>(),
        row::<resource::ResourceSlice>(),
        row::<scheduling::PriorityClass>(),
        row::<storage::CSIDriver>(),
        row::<storage::CSINode>(),
        row::<storage::CSIStorageCapacity>(),
        row::<storage::StorageClass>(),
        row::<storage::VolumeAttachment>(),
        row::<storage::VolumeAttributesClass>(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kubernetes::manifest::{object::Source, yaml::Place};

    fn object(value: Value) -> Object {
        Object {
            value,
            source: Source {
                file: "a".into(),
                place: Place::default(),
            },
        }
    }

    #[test]
    fn scope_comes_from_the_table_then_from_the_crds_and_is_else_unknown() {
        let crd = object(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}},
        }));
        let types = Types::new([&crd]);
        for (api_version, kind, expected) in [
            ("v1", "ConfigMap", Some(("configmaps", true))),
            ("v1", "Namespace", Some(("namespaces", false))),
            (
                "autoscaling/v1",
                "HorizontalPodAutoscaler",
                Some(("horizontalpodautoscalers", true)),
            ),
            (
                "rbac.authorization.k8s.io/v1",
                "ClusterRole",
                Some(("clusterroles", false)),
            ),
            ("example.com/v1alpha1", "Widget", Some(("widgets", true))),
            ("example.org/v1", "Widget", None),
        ] {
            let object = object(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}));
            let found = types
                .of(&object)
                .map(|found| (found.plural.as_str(), found.namespaced));
            assert_eq!(found, expected, "{kind}");
        }
    }
}
