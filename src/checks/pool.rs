use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    check::Miss,
    evidence::Evidence,
    object::{items, label, name, namespace, selects, text, texts, title, truth},
};

/// One endpoint of a `ServiceMonitor`, and the addresses that its Services list for it.
pub(super) struct Pool<'a> {
    pub(super) name: String,
    pub(super) monitor: &'a Value,
    pub(super) endpoint: &'a Value,
    pub(super) addresses: BTreeSet<String>,
    /// How many Services the monitor chooses.
    pub(super) services: usize,
}

/// The `EndpointSlice`s of a Service.
pub(super) fn slices<'a>(
    e: &'a Evidence,
    in_namespace: &'a str,
    service: &'a str,
) -> impl Iterator<Item = &'a Value> {
    e.all("EndpointSlice").iter().filter(move |slice| {
        namespace(slice) == in_namespace && label(slice, "kubernetes.io/service-name") == service
    })
}

/// Whether a Prometheus chooses an object by the selectors under `/spec/<prefix>Selector`.
pub(super) fn chooses(e: &Evidence, prometheus: &Value, prefix: &str, object: &Value) -> bool {
    let Some(selector) = prometheus
        .pointer(&format!("/spec/{prefix}Selector"))
        .filter(|selector| !selector.is_null())
    else {
        return false;
    };
    let in_namespace = match prometheus
        .pointer(&format!("/spec/{prefix}NamespaceSelector"))
        .filter(|found| !found.is_null())
    {
        None => namespace(object) == namespace(prometheus),
        Some(selector) if selector.as_object().is_some_and(serde_json::Map::is_empty) => true,
        Some(selector) => {
            let found = e.find("Namespace", "", namespace(object));
            found.is_some_and(|found| selects(selector, found.pointer("/metadata/labels")))
        }
    };
    in_namespace && selects(selector, object.pointer("/metadata/labels"))
}

/// The endpoints of all `ServiceMonitor`s that the stack's Prometheus chooses.
pub(super) fn pools(e: &Evidence) -> Result<Vec<Pool<'_>>, Miss> {
    let live: Vec<&Value> = e
        .some_applied("Prometheus")?
        .into_iter()
        .filter_map(|wanted| e.live(wanted))
        .collect();
    let monitors = e.all("ServiceMonitor").iter();
    let chosen = monitors.filter(|monitor| {
        live.iter()
            .any(|prometheus| chooses(e, prometheus, "serviceMonitor", monitor))
    });
    Ok(chosen
        .flat_map(|monitor| {
            let services = services(e, monitor);
            items(monitor, "/spec/endpoints")
                .iter()
                .enumerate()
                .map(move |(index, endpoint)| Pool {
                    name: format!("serviceMonitor/{}/{}/{index}", namespace(monitor), name(monitor)),
                    addresses: services
                        .iter()
                        .flat_map(|service| addresses(e, service, endpoint))
                        .collect(),
                    services: services.len(),
                    monitor,
                    endpoint,
                })
        })
        .collect())
}

/// The Services that a monitor chooses.
fn services<'a>(e: &'a Evidence, monitor: &Value) -> Vec<&'a Value> {
    let names = texts(monitor, "/spec/namespaceSelector/matchNames");
    let any = truth(monitor, "/spec/namespaceSelector/any");
    let selector = monitor.pointer("/spec/selector").unwrap_or(&Value::Null);
    let within = |service: &Value| {
        any || names.contains(&namespace(service))
            || (names.is_empty() && namespace(service) == namespace(monitor))
    };
    let all = e.all("Service").iter();
    all.filter(|service| within(service) && selects(selector, service.pointer("/metadata/labels")))
        .collect()
}

/// `address:port` of everything that a Service lists for an endpoint of a monitor.
fn addresses(e: &Evidence, service: &Value, endpoint: &Value) -> Vec<String> {
    let (port, target) = (text(endpoint, "/port"), endpoint.pointer("/targetPort"));
    let mut found = Vec::new();
    for slice in slices(e, namespace(service), name(service)) {
        let ports = items(slice, "/ports").iter().filter(|offer| match target {
            Some(target) if port.is_empty() => {
                offer.pointer("/port") == Some(target) || offer.pointer("/name") == Some(target)
            }
            _ => text(offer, "/name") == port,
        });
        for number in ports.filter_map(|offer| offer.pointer("/port").and_then(Value::as_u64)) {
            for address in items(slice, "/endpoints")
                .iter()
                .flat_map(|endpoint| texts(endpoint, "/addresses"))
            {
                let address = if address.contains(':') {
                    format!("[{address}]")
                } else {
                    address.to_owned()
                };
                found.push(format!("{address}:{number}"));
            }
        }
    }
    found
}

impl Pool<'_> {
    /// Why no Service gives it an address, if that is so.
    pub(super) fn unmatched(&self) -> Option<String> {
        let port = text(self.endpoint, "/port");
        let named = title(self.monitor);
        match (self.services, self.addresses.len()) {
            (0, _) => Some(format!("{named} chooses no Service")),
            (_, 0) => Some(format!("{named} asks for port '{port}', which no Service lists")),
            _ => None,
        }
    }

    /// What a target lacks, or which targets are down.
    pub(super) fn wrong(&self, targets: &[&Value]) -> Vec<String> {
        let at = |target: &Value| text(target, "/discoveredLabels/__address__").to_owned();
        let found: BTreeSet<String> = targets.iter().map(|target| at(target)).collect();
        let missing = self
            .addresses
            .difference(&found)
            .map(|address| format!("{address} is not scraped"));
        let down = targets
            .iter()
            .filter(|target| text(target, "/health") != "up")
            .map(|target| {
                let (url, health, error) = (
                    text(target, "/scrapeUrl"),
                    text(target, "/health"),
                    text(target, "/lastError"),
                );
                format!("{url} is {health}: {error}")
                    .trim_end_matches([':', ' '])
                    .to_owned()
            });
        down.chain(missing).collect()
    }
}
