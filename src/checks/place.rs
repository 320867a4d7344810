use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    evidence::Evidence,
    object::{label, name, namespace},
    workload,
};

/// Where a component answers HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The port of its container.
    pub port: u16,
}

/// The components that answer HTTP: by what Deployment, or by what the operator makes, and on which port.
const DEPLOYED: [(&str, &str, u16); 2] = [("grafana", "grafana", 3000), ("frontend", "frontend", 8080)];
const OPERATED: [(&str, &str, u16); 4] = [
    ("prometheus", "Prometheus", 9090),
    ("prometheus-reloader", "Prometheus", 8080),
    ("alertmanager", "Alertmanager", 9093),
    ("alertmanager-reloader", "Alertmanager", 8080),
];

/// Where to ask each component of the stack: at a pod that is ready, or else at one that may be.
pub fn places(e: &Evidence) -> BTreeMap<&'static str, Place> {
    let mut places = BTreeMap::new();
    for (component, named, port) in DEPLOYED {
        let wanted = e
            .applied("Deployment")
            .find(|object| label(object, "app.kubernetes.io/name") == named);
        if let Some(place) = wanted
            .and_then(|wanted| e.live(wanted))
            .and_then(|live| place(e, live, port))
        {
            places.insert(component, place);
        }
    }
    for (component, kind, port) in OPERATED {
        let made = workload::made_for(e, kind).unwrap_or_default();
        if let Some(place) = made.first().and_then(|set| place(e, set, port)) {
            places.insert(component, place);
        }
    }
    places
}

fn place(e: &Evidence, workload: &Value, port: u16) -> Option<Place> {
    let pods = workload::pods(e, workload);
    let pod = pods
        .iter()
        .find(|pod| workload::pod_ready(pod))
        .or_else(|| pods.first())?;
    Some(Place {
        namespace: namespace(pod).to_owned(),
        pod: name(pod).to_owned(),
        port,
    })
}

/// Which Secret and keys hold the user and password of Grafana: `(namespace, secret, user key, password key)`.
pub fn grafana_login(e: &Evidence) -> Option<(String, String, String, String)> {
    let wanted = e
        .applied("Deployment")
        .find(|object| label(object, "app.kubernetes.io/name") == "grafana")?;
    let containers = super::object::items(wanted, "/spec/template/spec/containers");
    let variable = |named: &str| {
        let all = containers
            .iter()
            .flat_map(|container| super::object::items(container, "/env"));
        let found = all
            .into_iter()
            .find(|variable| super::object::name_of(variable) == named)?;
        let reference = found.pointer("/valueFrom/secretKeyRef")?;
        Some((
            super::object::name_of(reference),
            super::object::text(reference, "/key"),
        ))
    };
    let (_, user) = variable("GF_SECURITY_ADMIN_USER")?;
    let (secret, password) = variable("GF_SECURITY_ADMIN_PASSWORD")?;
    Some((
        namespace(wanted).to_owned(),
        secret.to_owned(),
        user.to_owned(),
        password.to_owned(),
    ))
}
