use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    evidence::Evidence,
    object::{items, label, name, name_of, namespace, text},
    workload,
};

/// Where a pod of a component answers HTTP.
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

/// Where to ask each component of the stack: at every pod that is ready, or else at one that may be.
pub fn places(e: &Evidence) -> BTreeMap<&'static str, Vec<Place>> {
    let mut places = BTreeMap::new();
    for (component, named, port) in DEPLOYED {
        let wanted = e
            .applied("Deployment")
            .find(|object| label(object, "app.kubernetes.io/name") == named);
        let live = wanted.and_then(|wanted| e.live(wanted));
        places.insert(component, of_all(e, live, port));
    }
    for (component, kind, port) in OPERATED {
        let made = workload::made_for(e, kind).unwrap_or_default();
        places.insert(component, of_all(e, made, port));
    }
    places
}

fn of_all<'a>(e: &'a Evidence, workloads: impl IntoIterator<Item = &'a Value>, port: u16) -> Vec<Place> {
    let of = |workload| {
        let mut pods = workload::pods(e, workload);
        if pods.iter().any(|pod| workload::pod_ready(pod)) {
            pods.retain(|pod| workload::pod_ready(pod));
        } else {
            pods.truncate(1);
        }
        pods
    };
    let pods = workloads.into_iter().flat_map(of);
    pods.map(|pod| Place {
        namespace: namespace(pod).to_owned(),
        pod: name(pod).to_owned(),
        port,
    })
    .collect()
}

/// Which Secret and which of its keys hold the user and password of Grafana.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret.
    pub secret: String,
    /// The key of the user.
    pub user: String,
    /// The key of the password.
    pub password: String,
}

/// How to sign in to the stack's Grafana.
pub fn grafana_login(e: &Evidence) -> Option<Login> {
    let wanted = e
        .applied("Deployment")
        .find(|object| label(object, "app.kubernetes.io/name") == "grafana")?;
    let containers = items(wanted, "/spec/template/spec/containers");
    let variables: Vec<&Value> = containers
        .iter()
        .flat_map(|container| items(container, "/env"))
        .collect();
    let reference = |named: &str| {
        let variable = variables.iter().find(|variable| name_of(variable) == named)?;
        variable.pointer("/valueFrom/secretKeyRef")
    };
    let password = reference("GF_SECURITY_ADMIN_PASSWORD")?;
    Some(Login {
        namespace: namespace(wanted).to_owned(),
        secret: name_of(password).to_owned(),
        user: text(reference("GF_SECURITY_ADMIN_USER")?, "/key").to_owned(),
        password: text(password, "/key").to_owned(),
    })
}
