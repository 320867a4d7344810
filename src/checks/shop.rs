use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, none},
    cluster::backing,
    evidence::{Evidence, excerpt},
    object::{items, label, name, namespace, number, text, title},
    workload,
};

/// What is asked of the shop.
pub(super) const HEALTH: &str = "frontend:/_healthz";
pub(super) const HOME: &str = "frontend:/";
const TRAFFIC: &str = "prometheus:/api/v1/query?query=sum%20by%20(namespace)%20(rate(container_network_receive_bytes_total%7Bpod%3D~%22frontend-.*%22%7D%5B5m%5D))";
/// The label by which the shop's parts are known.
const PART: &str = "online-boutique";

pub(super) const CHECKS: &[Check] = &[
    Check::new("demo.deployments", "every service of the shop runs", deployments)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment"])
        .fix("kubectl -n online-boutique get deployments"),
    Check::new("demo.services", "every Service of the shop leads to a ready pod", services)
        .needs(&["cluster.reachable"])
        .reads(&["Service", "Pod"])
        .hint("its selector matches no ready pod")
        .fix("kubectl -n online-boutique get endpointslices"),
    Check::new("demo.wiring", "every service of the shop finds those that it calls", wiring)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment", "Service"])
        .hint("a variable *_SERVICE_ADDR or *_ADDR names a Service or port that does not exist"),
    Check::new("demo.external", "the shop has an address outside the cluster", external)
        .real()
        .warning()
        .needs(&["demo.services"])
        .reads(&["Service"])
        .hint("nothing in this cluster makes load balancers: reach the shop with 'kubectl -n online-boutique port-forward service/frontend 8080:80'"),
    Check::new("demo.health", "the shop's frontend calls itself healthy", health)
        .standard()
        .needs(&["demo.deployments"])
        .reads(&[HEALTH])
        .fix("kubectl -n online-boutique logs deployment/frontend --tail=20"),
    Check::new("demo.home", "the shop's home page is served", home)
        .standard()
        .needs(&["demo.health"])
        .reads(&[HOME])
        .hint("the page needs the services for products, currencies and carts: the error names the one that fails")
        .fix("kubectl -n online-boutique logs deployment/frontend --tail=20"),
    Check::new("demo.traffic", "the shop's traffic is seen by the monitoring", traffic)
        .standard()
        .warning()
        .needs(&["prom.ready", "targets.cadvisor"])
        .reads(&[TRAFFIC])
        .hint("the shop's services have no metrics of their own: its traffic is seen through cAdvisor, a few minutes after the start"),
];

/// The shop's objects of a kind, as the stack wants them.
fn parts<'a>(e: &'a Evidence, kind: &str) -> Result<Vec<&'a Value>, Miss> {
    let found: Vec<&Value> = e
        .applied(kind)
        .filter(|object| label(object, "app.kubernetes.io/part-of") == PART)
        .collect();
    if found.is_empty() {
        return Err(Miss::skip("the stack has no Online Boutique"));
    }
    Ok(found)
}

fn deployments(e: &Evidence, _: &'static str) -> Outcome {
    let parts = parts(e, "Deployment")?;
    let why = |wanted: &&Value| match e.live(wanted) {
        Some(live) => workload::ready(live).err(),
        None => Some(format!("{} is missing", title(wanted))),
    };
    let wrong: Vec<String> = parts.iter().filter_map(why).collect();
    none(&wrong, format!("{} Deployments", parts.len()), "all available")
}

fn services(e: &Evidence, _: &'static str) -> Outcome {
    let parts = parts(e, "Service")?;
    let bare = parts
        .iter()
        .filter(|wanted| e.live(wanted).is_none_or(|live| backing(e, live) == 0));
    let wrong: Vec<String> = bare
        .map(|service| format!("{} has no ready pod", title(service)))
        .collect();
    none(
        &wrong,
        format!("{} Services", parts.len()),
        "a ready pod behind each",
    )
}

fn wiring(e: &Evidence, _: &'static str) -> Outcome {
    // The frontend does not start without this address, and nobody is deployed behind it.
    const OPTIONAL: &str = "SHOPPING_ASSISTANT_SERVICE_ADDR";
    let mut wrong = Vec::new();
    let mut count = 0;
    for wanted in parts(e, "Deployment")? {
        let Some(live) = e.live(wanted) else { continue };
        let spec = "/spec/template/spec";
        for container in items(live, &format!("{spec}/containers")) {
            for variable in items(container, "/env") {
                let (variable, value) = (text(variable, "/name"), text(variable, "/value"));
                let address = value
                    .rsplit_once(':')
                    .filter(|_| variable.ends_with("_ADDR") && variable != OPTIONAL);
                let Some((host, port)) = address else { continue };
                count += 1;
                let in_namespace = host.split('.').nth(1).unwrap_or(namespace(live));
                let service = e.find("Service", in_namespace, host.split('.').next().unwrap_or(host));
                let offered = service.is_some_and(|service| {
                    items(service, "/spec/ports")
                        .iter()
                        .any(|offer| number(offer, "/port").to_string() == port)
                });
                if !offered {
                    wrong.push(format!("{}: {variable}={value}", name(live)));
                }
            }
        }
    }
    none(&wrong, format!("{count} addresses"), "each the port of a Service")
}

fn external(e: &Evidence, _: &'static str) -> Outcome {
    let balanced = parts(e, "Service")?
        .into_iter()
        .filter(|service| text(service, "/spec/type") == "LoadBalancer");
    let balanced: Vec<&Value> = balanced.filter_map(|service| e.live(service)).collect();
    if balanced.is_empty() {
        return Err(Miss::skip("the stack offers the shop inside the cluster only"));
    }
    let without: Vec<String> = balanced
        .iter()
        .filter(|service| items(service, "/status/loadBalancer/ingress").is_empty())
        .map(|service| format!("{} has no address", title(service)))
        .collect();
    if e.profile == "kind" && !without.is_empty() {
        return Err(Miss::skip(
            "kind makes no load balancers: reach the shop through a port-forward",
        ));
    }
    none(
        &without,
        "an address",
        "an address for each Service of type LoadBalancer",
    )
}

fn health(e: &Evidence, _: &'static str) -> Outcome {
    parts(e, "Deployment")?;
    Ok(excerpt(e.body(HEALTH)?))
}

fn home(e: &Evidence, _: &'static str) -> Outcome {
    parts(e, "Deployment")?;
    let page = e.body(HOME)?;
    // The real page lists products; what answers in its place must at least say which page it is.
    let products = page.matches("hot-product-card\"").count();
    match (page.contains("Hot Products"), page.contains("Online Boutique")) {
        (true, _) if products > 0 => Ok(format!("{products} products")),
        (true, _) | (_, true) => Ok(format!("{} bytes", page.len())),
        _ => Err(Miss::fail(excerpt(page), "a page of Online Boutique")),
    }
}

fn traffic(e: &Evidence, _: &'static str) -> Outcome {
    let namespaces: BTreeSet<&str> = parts(e, "Deployment")?.into_iter().map(namespace).collect();
    let samples = e.samples(TRAFFIC)?;
    let bytes: f64 = samples
        .iter()
        .filter(|(labels, _)| namespaces.contains(text(labels, "/namespace")))
        .map(|(_, value)| value)
        .sum();
    if bytes > 0.0 {
        return Ok(format!("{bytes:.0} bytes/s received by the frontend"));
    }
    Err(Miss::wait(
        "no bytes received by the frontend",
        "a rate above zero",
    ))
}
