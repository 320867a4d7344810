use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, path::Path};

use super::{LocalError, cluster::is_version};
use crate::model::KindModel;

/// The one list of versions.
const VERSIONS: &str = include_str!("../../manifests/versions.yaml");

/// Where the mark is mounted on every node. The mount is part of the container from its first moment on, so a half-made
/// cluster has it, and so has one whose data folder was lost; `docker inspect` shows it.
pub(crate) const MARK: &str = "/etc/stackup";

/// Lets the components of the control plane and kube-proxy be scraped, which kind binds to loopback. Without a version
/// and with maps of arguments, kind fits them to the kubeadm that it meets.
const OPEN_METRICS: [&str; 2] = [
    "kind: ClusterConfiguration
controllerManager: {extraArgs: {bind-address: 0.0.0.0}}
scheduler: {extraArgs: {bind-address: 0.0.0.0}}
etcd: {local: {extraArgs: {listen-metrics-urls: 'http://0.0.0.0:2381'}}}
",
    "kind: KubeProxyConfiguration
metricsBindAddress: 0.0.0.0:10249
",
];

/// What a kind cluster is made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KindConfig {
    /// The configuration for `kind create cluster`.
    pub(crate) root: Value,
    /// The image of the first node.
    pub(crate) image: String,
    /// Whether the image was named, and not only looked up.
    pub(crate) named: bool,
    /// How many nodes are workers.
    pub(crate) workers: u32,
    /// A hash of the user's own part.
    pub(crate) hash: String,
}

#[derive(Deserialize)]
struct Versions {
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kubernetes {
    version: String,
    kind_node_images: BTreeMap<String, String>,
}

/// The node image for a stack: the one that it names, else the listed one for its version of Kubernetes.
pub fn node_image(model: &KindModel) -> Result<String, LocalError> {
    if let Some(image) = &model.image {
        return Ok(image.clone());
    }
    let listed: Versions = serde_saphyr::from_str(VERSIONS).map_err(|error| LocalError::Answer {
        command: "manifests/versions.yaml".to_owned(),
        why: error.to_string(),
    })?;
    let Kubernetes {
        version,
        kind_node_images: images,
    } = listed.kubernetes;
    let usual = version
        .rsplit_once('.')
        .map_or(version.as_str(), |(minor, _)| minor);
    let wanted = model.kubernetes.as_deref().unwrap_or(usual);
    let fits = |image: &&String| {
        image
            .rsplit_once(':')
            .is_some_and(|(_, tag)| is_version(tag, wanted))
    };
    images
        .values()
        .find(fits)
        .cloned()
        .ok_or_else(|| LocalError::Version {
            wanted: wanted.to_owned(),
            known: images.keys().cloned().collect(),
        })
}

impl KindConfig {
    /// The configuration of a stack. `folder` is what is mounted as the mark; it must be there.
    pub(crate) fn new(model: &KindModel, uid: &str, folder: &Path) -> Result<Self, LocalError> {
        let image = node_image(model)?;
        let hash = hash(model.config.as_ref().unwrap_or(&Value::Null));
        let mount = json!({
            "hostPath": folder,
            "containerPath": format!("{MARK}/{uid}/{hash}"),
            "readOnly": true,
        });
        let node = |role: &str| json!({"role": role, "image": image, "extraMounts": [mount]});
        let workers = (0..model.workers).map(|_| node("worker"));
        let generated = json!({
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": std::iter::once(node("control-plane")).chain(workers).collect::<Vec<_>>(),
            "kubeadmConfigPatches": OPEN_METRICS,
        });
        let mut root = match &model.config {
            Some(own) => merge(generated, own),
            None => generated,
        };
        let nodes = root.get_mut("nodes").and_then(Value::as_array_mut);
        for node in nodes.into_iter().flatten().filter_map(Value::as_object_mut) {
            complete(node, &image, &mount);
        }
        let nodes = || root.get("nodes").and_then(Value::as_array).into_iter().flatten();
        let text = |node: &Value, field: &str| node.get(field).and_then(Value::as_str).map(str::to_owned);
        let first = nodes().next().and_then(|node| text(node, "image"));
        let workers = nodes()
            .filter(|node| text(node, "role").as_deref() == Some("worker"))
            .count();
        Ok(Self {
            named: model.image.is_some() || first.as_ref() != Some(&image),
            image: first.unwrap_or(image),
            workers: u32::try_from(workers).unwrap_or(u32::MAX),
            hash,
            root,
        })
    }

    /// Whether the user brings the pod network, so that nodes become Ready only once a component has installed it.
    pub(crate) fn without_network(&self) -> bool {
        self.root.pointer("/networking/disableDefaultCNI") == Some(&Value::Bool(true))
    }
}

/// Gives a node that only the user's own part has what every node of ours has.
fn complete(node: &mut Map<String, Value>, image: &str, mount: &Value) {
    node.entry("role").or_insert_with(|| "worker".into());
    node.entry("image").or_insert_with(|| image.into());
    let mounts = node.entry("extraMounts").or_insert_with(|| json!([]));
    if let Some(mounts) = mounts.as_array_mut().filter(|mounts| !mounts.contains(mount)) {
        mounts.insert(0, mount.clone());
    }
}

/// The user's part over the generated one: maps are merged, nodes by their position, other lists are added to ours.
fn merge(generated: Value, own: &Value) -> Value {
    match (generated, own) {
        (Value::Object(mut generated), Value::Object(own)) => {
            for (key, value) in own {
                let merged = match (generated.remove(key), value) {
                    (Some(Value::Array(nodes)), Value::Array(own)) if key == "nodes" => {
                        let mut own = own.iter();
                        let mut merged: Vec<Value> = nodes
                            .into_iter()
                            .map(|node| match own.next() {
                                Some(own) => merge(node, own),
                                None => node,
                            })
                            .collect();
                        merged.extend(own.cloned());
                        merged.into()
                    }
                    (Some(generated), value) => merge(generated, value),
                    (None, value) => value.clone(),
                };
                generated.insert(key.clone(), merged);
            }
            Value::Object(generated)
        }
        (Value::Array(mut generated), Value::Array(own)) => {
            generated.extend(own.iter().cloned());
            Value::Array(generated)
        }
        (_, own) => own.clone(),
    }
}

/// A short hash that does not depend on the order of fields.
fn hash(value: &Value) -> String {
    fn feed(value: &Value, hasher: &mut Sha256) {
        match value {
            Value::Object(map) => {
                hasher.update(b"{");
                let sorted: BTreeMap<&String, &Value> = map.iter().collect();
                for (key, value) in sorted {
                    hasher.update(Value::String(key.clone()).to_string());
                    feed(value, hasher);
                }
                hasher.update(b"}");
            }
            Value::Array(items) => {
                hasher.update(b"[");
                for item in items {
                    feed(item, hasher);
                }
                hasher.update(b"]");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                hasher.update(value.to_string());
                hasher.update(b",");
            }
        }
    }
    let mut hasher = Sha256::new();
    feed(value, &mut hasher);
    let start = hasher.finalize().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> KindModel {
        KindModel {
            workers: 2,
            kubernetes: Some("1.34".into()),
            image: None,
            load_images: Vec::new(),
            config: None,
        }
    }

    fn config(model: &KindModel) -> KindConfig {
        KindConfig::new(model, "uid", Path::new("/data/kind")).unwrap()
    }

    #[test]
    fn the_version_is_looked_up_unless_an_image_is_named() {
        assert!(node_image(&model()).unwrap().starts_with("kindest/node:v1.34."));
        let unsaid = KindModel {
            kubernetes: None,
            ..model()
        };
        assert!(node_image(&unsaid).unwrap().starts_with("kindest/node:v1.34."));
        let named = KindModel {
            image: Some("mine:1".into()),
            ..model()
        };
        assert_eq!(node_image(&named).unwrap(), "mine:1");
    }

    #[test]
    fn a_version_that_is_not_listed_is_an_error_that_names_the_listed_ones() {
        let old = KindModel {
            kubernetes: Some("1.12".into()),
            ..model()
        };
        let error = node_image(&old).unwrap_err().to_string();
        assert!(error.contains("1.12") && error.contains("1.34"), "{error}");
    }

    #[test]
    fn every_node_carries_the_mark_and_every_component_can_be_scraped() {
        let config = config(&model());
        let nodes = config.root["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 3);
        for node in nodes {
            let path = node["extraMounts"][0]["containerPath"].as_str().unwrap();
            assert!(path.starts_with("/etc/stackup/uid/"));
        }
        let text = config.root.to_string();
        for open in ["bind-address", "0.0.0.0:2381", "0.0.0.0:10249"] {
            assert!(text.contains(open), "{open}");
        }
        assert_eq!((config.workers, config.named), (2, false));
    }

    #[test]
    fn the_users_part_is_merged_node_by_node_and_its_lists_are_added() {
        let own = json!({
            "networking": {"disableDefaultCNI": true},
            "kubeadmConfigPatches": ["kind: InitConfiguration"],
            "nodes": [
                {"extraPortMappings": [{"containerPort": 80}], "extraMounts": [{"hostPath": "/x"}]},
                {}, {}, {"role": "worker", "image": "other:1"}
            ],
        });
        let config = config(&KindModel {
            config: Some(own),
            ..model()
        });
        let nodes = config.root["nodes"].as_array().unwrap();
        assert_eq!(nodes[0]["role"], "control-plane");
        assert_eq!(nodes[0]["extraPortMappings"][0]["containerPort"], 80);
        assert_eq!(nodes[0]["extraMounts"].as_array().unwrap().len(), 2);
        assert_eq!(nodes[3]["image"], "other:1");
        assert_eq!(nodes[3]["extraMounts"].as_array().unwrap().len(), 1);
        assert_eq!(config.root["kubeadmConfigPatches"].as_array().unwrap().len(), 3);
        assert_eq!(config.workers, 3);
        assert!(config.without_network());
    }

    #[test]
    fn the_hash_follows_the_users_part_but_not_the_order_of_its_fields() {
        let hash = |text: &str| hash(&serde_json::from_str(text).unwrap());
        assert_eq!(hash(r#"{"a":1,"b":[2]}"#), hash(r#"{"b":[2],"a":1}"#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":"1"}"#));
        assert_ne!(hash("[[1],2]"), hash("[[1,2]]"));
    }
}
