use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use http::Method;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::{
    client::{Cluster, Sent, encoded, text},
    error::CallError,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// One type of object as a server serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiType {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
}

/// The types that a server serves: read whole in two requests, and asked about one by one when something is missing.
#[derive(Default)]
pub(super) struct Discovery {
    types: RwLock<HashMap<(String, String), Arc<ApiType>>>,
    read: tokio::sync::Mutex<bool>,
}

impl ApiType {
    fn root(&self) -> String {
        if self.api_version.contains('/') {
            format!("/apis/{}", self.api_version)
        } else {
            format!("/api/{}", self.api_version)
        }
    }

    /// The path of all objects of this type, or of those in a namespace.
    pub(super) fn collection(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if self.namespaced => {
                format!(
                    "{}/namespaces/{}/{}",
                    self.root(),
                    encoded(namespace),
                    self.plural
                )
            }
            _ => format!("{}/{}", self.root(), self.plural),
        }
    }

    /// The path of one object.
    pub(super) fn object(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), encoded(name))
    }

    /// The same for kube's watcher.
    pub(super) fn resource(&self) -> ApiResource {
        let (group, version) = self
            .api_version
            .split_once('/')
            .unwrap_or(("", self.api_version.as_str()));
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &self.kind), &self.plural)
    }

    /// The type that a `CustomResourceDefinition` makes, in each of its served versions.
    pub(super) fn of_definition(definition: &Value) -> Vec<Self> {
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
        versions
            .into_iter()
            .flatten()
            .filter(|version| version.get("served") == Some(&Value::Bool(true)))
            .map(|version| Self {
                api_version: format!("{}/{}", text(definition, "/spec/group"), text(version, "/name")),
                kind: text(definition, "/spec/names/kind").to_owned(),
                plural: text(definition, "/spec/names/plural").to_owned(),
                namespaced: text(definition, "/spec/scope") == "Namespaced",
            })
            .collect()
    }
}

impl Discovery {
    /// The type of this name, asked of the server if it is not known yet.
    pub(super) async fn find(
        &self,
        cluster: &Cluster,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Arc<ApiType>>, CallError> {
        if let Some(known) = self.known(api_version, kind) {
            return Ok(Some(known));
        }
        {
            let mut read = self.read.lock().await;
            if !*read {
                for root in ["/api", "/apis"] {
                    let body = cluster
                        .exchange(Method::GET, root, Sent::Nothing, AGGREGATED)
                        .await?;
                    self.learn(aggregated(&parse(&body)?));
                }
                *read = true;
            }
        }
        if let Some(known) = self.known(api_version, kind) {
            return Ok(Some(known));
        }
        // New since then, or of a group that was not answering, or the server is too old for the short way.
        let root = if api_version.contains('/') { "apis" } else { "api" };
        let Some(list) = cluster.find(&format!("/{root}/{api_version}")).await? else {
            return Ok(None);
        };
        self.learn(listed(&list));
        Ok(self.known(api_version, kind))
    }

    /// The type of this name; that it is missing is an error.
    pub(super) async fn need(
        &self,
        cluster: &Cluster,
        api_version: &str,
        kind: &str,
    ) -> Result<Arc<ApiType>, CallError> {
        self.find(cluster, api_version, kind)
            .await?
            .ok_or_else(|| CallError::NoSuchType {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
            })
    }

    /// Adds types that were found another way.
    pub(super) fn learn(&self, types: impl IntoIterator<Item = ApiType>) {
        let mut known = self.types.write().unwrap_or_else(PoisonError::into_inner);
        for found in types {
            known.insert((found.api_version.clone(), found.kind.clone()), Arc::new(found));
        }
    }

    /// Drops a type that the server says it does not serve.
    pub(super) fn forget(&self, gone: &ApiType) {
        self.types
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(gone.api_version.clone(), gone.kind.clone()));
    }

    /// Whether the server has said that it serves this type.
    pub(super) fn knows(&self, of: &ApiType) -> bool {
        self.known(&of.api_version, &of.kind)
            .is_some_and(|known| *known == *of)
    }

    fn known(&self, api_version: &str, kind: &str) -> Option<Arc<ApiType>> {
        self.types
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(api_version.to_owned(), kind.to_owned()))
            .cloned()
    }
}

fn parse(body: &[u8]) -> Result<Value, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Unreadable(error.to_string()))
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// The types in an aggregated answer; an older server's answer holds none. A group whose server does not answer is
/// left out, so that it is asked about when it matters and breaks nothing else.
fn aggregated(list: &Value) -> Vec<ApiType> {
    let mut types = Vec::new();
    for group in items(list, "items") {
        let name = text(group, "/metadata/name");
        for version in items(group, "versions").filter(|version| text(version, "/freshness") != "Stale") {
            let api_version = match name {
                "" => text(version, "/version").to_owned(),
                name => format!("{name}/{}", text(version, "/version")),
            };
            types.extend(items(version, "resources").map(|resource| ApiType {
                api_version: api_version.clone(),
                kind: text(resource, "/responseKind/kind").to_owned(),
                plural: text(resource, "/resource").to_owned(),
                namespaced: text(resource, "/scope") == "Namespaced",
            }));
        }
    }
    types
}

/// The types in the answer for one group and version.
fn listed(list: &Value) -> Vec<ApiType> {
    let api_version = text(list, "/groupVersion");
    items(list, "resources")
        .filter(|resource| !text(resource, "/name").contains('/'))
        .map(|resource| ApiType {
            api_version: api_version.to_owned(),
            kind: text(resource, "/kind").to_owned(),
            plural: text(resource, "/name").to_owned(),
            namespaced: resource.get("namespaced") == Some(&Value::Bool(true)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment() -> ApiType {
        ApiType {
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            plural: "deployments".into(),
            namespaced: true,
        }
    }

    #[test]
    fn a_group_that_does_not_answer_is_left_out_and_the_others_are_read() {
        let version = |freshness: &str| {
            json!({"version": "v1", "freshness": freshness, "resources": [{"resource": "deployments",
                "responseKind": {"kind": "Deployment"}, "scope": "Namespaced"}]})
        };
        let list = json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [version("Current")]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [version("Stale")]},
        ]});
        assert_eq!(aggregated(&list), [deployment()]);
    }

    #[test]
    fn subresources_are_no_types() {
        let list = json!({"groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true},
        ]});
        assert_eq!(listed(&list), [deployment()]);
    }

    #[test]
    fn paths_follow_scope_and_group() {
        assert_eq!(
            deployment().object(Some("shop"), "frontend"),
            "/apis/apps/v1/namespaces/shop/deployments/frontend"
        );
        let node = ApiType {
            api_version: "v1".into(),
            kind: "Node".into(),
            plural: "nodes".into(),
            namespaced: false,
        };
        assert_eq!(node.object(Some("ignored"), "n1"), "/api/v1/nodes/n1");
    }
}
