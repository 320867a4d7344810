use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    object::{list_at, text_at},
    pods,
};
use crate::resource::Wanted;

/// Arguments of programs that start pods themselves, with the image to start.
const ARGUMENTS: [&str; 1] = ["--prometheus-config-reloader="];

/// Every image that the wanted objects name, as they name it.
pub fn images(wanted: &[Wanted]) -> BTreeSet<String> {
    wanted
        .iter()
        .filter_map(|wanted| wanted.inputs.get("object"))
        .flat_map(of)
        .collect()
}

/// Every image that an object names.
pub(super) fn of(object: &Value) -> Vec<String> {
    sites(object)
        .into_iter()
        .filter_map(|(pointer, prefix)| {
            let text = object.pointer(&pointer)?.as_str()?;
            text.strip_prefix(prefix).map(str::to_owned)
        })
        .collect()
}

/// Rewrites the images of an object.
pub(super) fn rewrite(object: &mut Value, images: &BTreeMap<String, String>) {
    for (pointer, prefix) in sites(object) {
        if let Some(Value::String(text)) = object.pointer_mut(&pointer)
            && let Some(image) = text
                .strip_prefix(prefix)
                .and_then(|image| rewritten(image, images))
        {
            *text = format!("{prefix}{image}");
        }
    }
}

/// Whether a key of `images:` says something about one of these images.
pub(super) fn concerns(key: &str, images: &[String]) -> bool {
    let only = BTreeMap::from([(key.to_owned(), key.to_owned())]);
    images.iter().any(|image| rewritten(image, &only).is_some())
}

/// Where images stand: a JSON pointer, and what stands before the image in the text.
fn sites(object: &Value) -> Vec<(String, &'static str)> {
    let kind = text_at(object, &["kind"]).unwrap_or_default();
    let api_version = text_at(object, &["apiVersion"]).unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    // A group without a dot, or of Kubernetes itself, holds no custom resources.
    let custom = group.contains('.') && !group.ends_with(".k8s.io");
    let spec = match pods::spec_pointer(group, kind) {
        Some(pointer) => pointer,
        None if custom => "/spec".to_owned(),
        None => return Vec::new(),
    };
    let mut sites = Vec::new();
    if custom {
        sites.push((format!("{spec}/image"), ""));
    }
    let Some(pod) = object.pointer(&spec) else {
        return sites;
    };
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in list_at(pod, &[list]).iter().enumerate() {
            let container_at = format!("{spec}/{list}/{index}");
            sites.push((format!("{container_at}/image"), ""));
            for field in ["command", "args"] {
                for (argument, text) in list_at(container, &[field]).iter().enumerate() {
                    let text = text.as_str().unwrap_or_default();
                    let prefix = ARGUMENTS.into_iter().find(|prefix| text.starts_with(prefix));
                    sites.extend(prefix.map(|prefix| (format!("{container_at}/{field}/{argument}"), prefix)));
                }
            }
        }
    }
    for index in 0..list_at(pod, &["volumes"]).len() {
        sites.push((format!("{spec}/volumes/{index}/image/reference"), ""));
    }
    sites
}

/// What an image becomes; `None` if no key fits. The longest key that fits decides.
fn rewritten(image: &str, images: &BTreeMap<String, String>) -> Option<String> {
    let name = name(image);
    let version = image.get(name.len()..).unwrap_or_default();
    images
        .iter()
        .filter_map(|(key, to)| {
            let key = key.trim_end_matches('/');
            let result = if key == image || full(key) == full(image) {
                to.clone()
            } else if key == name || full(key) == full(name) {
                // A name with a tag or digest of its own says all; else the old ones stay.
                let whole = self::name(to).len() < to.len();
                if whole {
                    to.clone()
                } else {
                    format!("{to}{version}")
                }
            } else {
                let rest = below(image, key)
                    .map(str::to_owned)
                    .or_else(|| below(&full(image), key).map(str::to_owned));
                format!("{}{}", to.trim_end_matches('/'), rest?)
            };
            Some((key.len(), result))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, result)| result)
}

/// What follows a prefix that ends at a slash.
fn below<'a>(image: &'a str, prefix: &str) -> Option<&'a str> {
    image.strip_prefix(prefix).filter(|rest| rest.starts_with('/'))
}

/// The name without tag and digest.
fn name(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

/// The name as the container runtime completes it.
fn full(image: &str) -> String {
    let first = image.split('/').next().unwrap_or_default();
    let registry = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    match (registry, image.contains('/')) {
        (true, _) => image.to_owned(),
        (false, true) => format!("docker.io/{image}"),
        (false, false) => format!("docker.io/library/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_rewritten_by_prefix_or_by_name() {
        for (image, key, to, expected) in [
            (
                "quay.io/prometheus/prometheus:v3",
                "quay.io",
                "mirror.example/quay",
                Some("mirror.example/quay/prometheus/prometheus:v3"),
            ),
            (
                "quay.io/prometheus/prometheus:v3",
                "quay.io/prometheus/",
                "m.example/p/",
                Some("m.example/p/prometheus:v3"),
            ),
            (
                "quay.io/prometheus/prometheus:v3",
                "quay.io/prom",
                "m.example",
                None,
            ),
            (
                "quay.io/prometheus/prometheus:v3",
                "quay.io/prometheus/prometheus",
                "m.example/prom",
                Some("m.example/prom:v3"),
            ),
            (
                "quay.io/prometheus/prometheus:v3",
                "quay.io/prometheus/prometheus",
                "m.example/prom:v4",
                Some("m.example/prom:v4"),
            ),
            (
                "a.io/b:v3",
                "a.io/b",
                "a.io/b@sha256:12",
                Some("a.io/b@sha256:12"),
            ),
            (
                "a.io/b:v3@sha256:12",
                "a.io/b",
                "c.io/b",
                Some("c.io/b:v3@sha256:12"),
            ),
            ("a.io:5000/b", "a.io:5000", "c.io", Some("c.io/b")),
            (
                "redis:alpine",
                "docker.io",
                "m.example",
                Some("m.example/library/redis:alpine"),
            ),
            (
                "redis:alpine",
                "docker.io/library/redis",
                "m.example/redis",
                Some("m.example/redis:alpine"),
            ),
            (
                "redis:alpine",
                "redis",
                "m.example/redis",
                Some("m.example/redis:alpine"),
            ),
            (
                "redis:alpine",
                "redis:alpine",
                "m.example/redis:8",
                Some("m.example/redis:8"),
            ),
            ("redis:alpine", "redis:8", "m.example/redis:8", None),
            (
                "grafana/grafana:1",
                "docker.io/grafana",
                "m.example",
                Some("m.example/grafana:1"),
            ),
        ] {
            let images = BTreeMap::from([(key.to_owned(), to.to_owned())]);
            assert_eq!(rewritten(image, &images).as_deref(), expected, "{image} by {key}");
        }
    }

    #[test]
    fn the_longest_key_decides() {
        let images = [("a.io", "x"), ("a.io/b/c", "z/c"), ("a.io/b", "y")]
            .map(|(key, to)| (key.to_owned(), to.to_owned()));
        assert_eq!(rewritten("a.io/b/c:1", &images.into()).as_deref(), Some("z/c:1"));
    }

    #[test]
    fn every_place_that_names_an_image_is_rewritten_and_no_other() {
        let images = BTreeMap::from([("a.io".to_owned(), "b.io".to_owned())]);
        let pod = |registry: &str| {
            json!({
                "initContainers": [{"image": format!("{registry}/1")}],
                "containers": [{"image": format!("{registry}/2"), "args": ["--x=a.io/3", format!("--prometheus-config-reloader={registry}/4:v1")]}],
                "volumes": [{"image": {"reference": format!("{registry}/5")}}, {"name": "x"}],
                "image": "a.io/6",
            })
        };
        for kind in ["Deployment", "StatefulSet"] {
            let object = |registry| json!({"apiVersion": "apps/v1", "kind": kind, "spec": {"template": {"spec": pod(registry)}}});
            let mut rewritten = object("a.io");
            rewrite(&mut rewritten, &images);
            assert_eq!(rewritten, object("b.io"));
            assert_eq!(of(&rewritten), ["b.io/1", "b.io/2", "b.io/4:v1", "b.io/5"]);
        }
        let custom = |registry| json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "spec": {"image": registry, "containers": [{"name": "x"}]}});
        let mut rewritten = custom("a.io/p:1");
        rewrite(&mut rewritten, &images);
        assert_eq!(rewritten, custom("b.io/p:1"));
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "spec": {"image": "a.io/x"}});
        assert!(of(&other).is_empty());
    }
}
