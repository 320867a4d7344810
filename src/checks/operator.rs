use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::Value;

use super::{
    certificate::Certificate,
    check::{Check, Miss, Outcome, none},
    evidence::Evidence,
    inventory, nodes,
    object::{
        condition, flag, full_title, items, keys, mount_of, name, name_of, namespace, tag, text, texts, title,
    },
    workload,
};

const DEPLOYMENT: &str = "operator.deployment";
const SYNCS: &str = "prometheus:/api/v1/query?query=prometheus_operator_syncs";
const READY: &str = "prometheus:/api/v1/query?query=prometheus_operator_ready";
const RESOURCES: &str = "prometheus:/api/v1/query?query=prometheus_operator_managed_resources";

/// How long before its end a certificate is warned of: `stackup apply` makes one anew 30 days before.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) const CHECKS: &[Check] = &[
    Check::new(DEPLOYMENT, "the Prometheus operator runs", deployment)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment"])
        .hint("without it no change of a monitor or rule reaches Prometheus")
        .fix("kubectl -n monitoring describe deployment monitoring-kube-prometheus-operator"),
    Check::new("operator.args", "the operator's arguments connect the parts of the stack", args)
        .needs(&[DEPLOYMENT])
        .reads(&["Deployment", "Secret"])
        .hint("the operator keeps the Service of the kubelets, chooses the reloader's image and serves the webhooks as its arguments say"),
    Check::new("operator.single", "one operator alone works on the stack's objects", single)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment"])
        .hint("two operators undo each other's StatefulSets: remove one, or give each a --controller-id"),
    Check::new("operator.kubelet-service", "the Service of the kubelets lists every node", kubelet_service)
        .needs(&[DEPLOYMENT])
        .reads(&["Deployment", "Service", "EndpointSlice", "Node"])
        .hint("the operator writes it every few minutes; it may lack the right to write Endpoints in kube-system"),
    Check::new("operator.kubelet-stale", "there is one Service of kubelets", kubelet_stale)
        .warning()
        .needs(&["cluster.reachable"])
        .reads(&["Service"])
        .hint("an operator leaves its Service behind when it is removed; every kubelet is then scraped twice")
        .fix("kubectl -n kube-system get services -l k8s-app=kubelet"),
    Check::new("operator.webhook-config", "the webhooks lead to the operator", webhook_config)
        .needs(&[DEPLOYMENT])
        .reads(&["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Service"])
        .fix("stackup diff"),
    Check::new("operator.webhook-ca", "the API server trusts the operator's certificate", webhook_ca)
        .needs(&["operator.webhook-config"])
        .reads(&["Deployment", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Secret"])
        .hint("where the API server does not trust that certificate, rules are stored unchecked (failurePolicy Ignore)")
        .fix("stackup apply"),
    Check::new("operator.webhook-stamp", "the webhook sees every rule that is stored", webhook_stamp)
        .warning()
        .needs(&["operator.webhook-config"])
        .reads(&["PrometheusRule", "Deployment", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
        .hint("these were stored while the webhook did not answer, so nobody has checked them"),
    Check::new("operator.version-skew", "operator, reloader and CRDs are of one version", versions)
        .needs(&[DEPLOYMENT])
        .reads(&["Deployment", "CustomResourceDefinition"])
        .hint("an operator with older CRDs cannot write fields that it needs")
        .fix("stackup diff"),
    Check::new("operator.ready", "the operator's controllers have seen all objects", controllers)
        .standard()
        .needs(&["prom.ready", "targets.operator"])
        .reads(&[READY])
        .hint("its log names the right or CRD that it lacks"),
    Check::new("operator.syncs", "the operator carries out every change", syncs)
        .standard()
        .needs(&["prom.ready", "targets.operator"])
        .reads(&[SYNCS])
        .hint("its log names the object and why")
        .fix("kubectl -n monitoring logs deployment/monitoring-kube-prometheus-operator --tail=50"),
    Check::new("operator.rejected", "the operator accepts every monitor and rule", rejected)
        .standard()
        .needs(&["prom.ready", "targets.operator"])
        .reads(&[RESOURCES])
        .hint("an Event with the reason InvalidConfiguration names the object")
        .fix("kubectl get events -A --field-selector=reason=InvalidConfiguration"),
];

/// The operator that the stack wants, and its container.
fn wanted(e: &Evidence) -> Result<(&Value, &Value), Miss> {
    inventory::operator(e).ok_or_else(|| Miss::skip("the stack has no Prometheus operator"))
}

/// The live operator and its container.
fn operator(e: &Evidence) -> Result<(&Value, &Value), Miss> {
    let (wanted, container) = wanted(e)?;
    let live = e
        .live(wanted)
        .ok_or_else(|| Miss::fail(format!("no {}", full_title(wanted)), "the operator"))?;
    let containers = items(live, "/spec/template/spec/containers");
    let found = containers
        .iter()
        .find(|found| name_of(found) == name_of(container));
    Ok((live, found.unwrap_or(container)))
}

fn deployment(e: &Evidence, _: &'static str) -> Outcome {
    let (live, container) = operator(e)?;
    let ready = workload::ready(live).map_err(|why| Miss::fail(why, "available"))?;
    Ok(format!("{ready} {}", tag(text(container, "/image"))))
}

fn args(e: &Evidence, _: &'static str) -> Outcome {
    let (live, container) = operator(e)?;
    let mut wrong = Vec::new();
    let reloader = flag(container, "--prometheus-config-reloader").unwrap_or_default();
    if reloader.is_empty() {
        wrong.push("--prometheus-config-reloader names no image".to_owned());
    }
    if flag(container, "--kubelet-service").is_none_or(|service| !service.contains('/')) {
        wrong.push("--kubelet-service names no Service".to_owned());
    }
    if flag(container, "--web.enable-tls") == Some("true") {
        for part in ["--web.cert-file", "--web.key-file"] {
            let path = flag(container, part).unwrap_or_default();
            if let Err(why) = secret_file(e, live, container, path) {
                wrong.push(format!("{part}={path}: {why}"));
            }
        }
    }
    for (kind, part) in [
        ("Prometheus", "--prometheus-instance-namespaces"),
        ("Alertmanager", "--alertmanager-instance-namespaces"),
    ] {
        let watched = flag(container, part).filter(|watched| !watched.is_empty());
        for object in e.applied(kind) {
            if watched.is_some_and(|watched| !watched.split(',').any(|one| one == namespace(object))) {
                wrong.push(format!("{part} lacks {}", namespace(object)));
            }
        }
    }
    none(
        &wrong,
        format!("reloader {}", tag(reloader)),
        "each argument fits what is there",
    )
}

/// The Secret, and the key of it, that a path of a container is.
fn secret_file<'a, 'p>(
    e: &'a Evidence,
    workload: &Value,
    container: &Value,
    path: &'p str,
) -> Result<(&'a Value, &'p str), String> {
    let mount = mount_of(container, path).ok_or("no volume is mounted there")?;
    let volumes = items(workload, "/spec/template/spec/volumes");
    let volume = volumes
        .iter()
        .find(|volume| name_of(volume) == name_of(mount))
        .ok_or("its volume is missing")?;
    let named = text(volume, "/secret/secretName");
    let secret = e
        .find("Secret", namespace(workload), named)
        .ok_or_else(|| format!("there is no Secret {named}"))?;
    let key = path.rsplit('/').next().unwrap_or_default();
    if keys(secret, "/data").contains(&key) {
        Ok((secret, key))
    } else {
        Err(format!("Secret {named} has no key {key}"))
    }
}

fn single(e: &Evidence, _: &'static str) -> Outcome {
    operator(e)?;
    let operators: Vec<String> = e
        .all("Deployment")
        .iter()
        .filter(|deployment| {
            items(deployment, "/spec/template/spec/containers")
                .iter()
                .any(|container| {
                    flag(container, "--prometheus-config-reloader").is_some()
                        && flag(container, "--controller-id").is_none()
                })
        })
        .map(title)
        .collect();
    if operators.len() > 1 {
        return Err(Miss::fail(operators.join(", "), "one"));
    }
    Ok(operators.join(", "))
}

fn kubelet_service(e: &Evidence, _: &'static str) -> Outcome {
    let (_, container) = operator(e)?;
    let service = flag(container, "--kubelet-service").unwrap_or_default();
    let (in_namespace, named) = service.split_once('/').unwrap_or(("", service));
    if e.find("Service", in_namespace, named).is_none() {
        return Err(Miss::fail(
            format!("no Service {service}"),
            "the operator makes it",
        ));
    }
    let listed: Vec<&str> = super::pool::slices(e, in_namespace, named)
        .flat_map(|slice| items(slice, "/endpoints"))
        .flat_map(|endpoint| texts(endpoint, "/addresses"))
        .collect();
    let lacking = e.all("Node").iter().filter(|node| {
        !nodes::addresses(node)
            .iter()
            .any(|address| listed.contains(address))
    });
    let wrong: Vec<String> = lacking
        .map(|node| format!("{} is not listed", name(node)))
        .collect();
    none(
        &wrong,
        format!("{} addresses", listed.len()),
        "an address of every node",
    )
}

fn kubelet_stale(e: &Evidence, _: &'static str) -> Outcome {
    wanted(e)?;
    let services = e
        .all("Service")
        .iter()
        .filter(|service| super::object::label(service, "k8s-app") == "kubelet");
    let found: Vec<String> = services.map(title).collect();
    if found.len() > 1 {
        return Err(Miss::fail(found.join(", "), "one"));
    }
    Ok(found.join(", "))
}

/// The applied webhooks, live: configuration and webhook.
fn webhooks(e: &Evidence) -> Result<Vec<(&Value, &Value)>, Miss> {
    let kinds = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
    let wanted: Vec<&Value> = kinds.iter().flat_map(|kind| e.applied(kind)).collect();
    if wanted.is_empty() {
        return Err(Miss::skip("the stack has no webhooks"));
    }
    let mut found = Vec::new();
    for configuration in wanted {
        let live = e.live(configuration).ok_or_else(|| {
            Miss::fail(
                format!("no {}", full_title(configuration)),
                "the webhooks that the stack applied",
            )
        })?;
        found.extend(items(live, "/webhooks").iter().map(|webhook| (live, webhook)));
    }
    Ok(found)
}

fn webhook_config(e: &Evidence, _: &'static str) -> Outcome {
    let webhooks = webhooks(e)?;
    let mut wrong = Vec::new();
    for (_, webhook) in &webhooks {
        let service = (
            text(webhook, "/clientConfig/service/namespace"),
            text(webhook, "/clientConfig/service/name"),
        );
        if e.find("Service", service.0, service.1).is_none() {
            wrong.push(format!(
                "{}: no Service {}/{}",
                name_of(webhook),
                service.0,
                service.1
            ));
        }
    }
    none(
        &wrong,
        format!("{} webhooks", webhooks.len()),
        "each with a Service",
    )
}

/// The name that the API server asks for when it calls the Service of a webhook:
/// <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#service-reference>.
fn service_name(webhook: &Value) -> Option<String> {
    let service = webhook.pointer("/clientConfig/service")?;
    Some(format!(
        "{}.{}.svc",
        name_of(service),
        text(service, "/namespace")
    ))
}

fn webhook_ca(e: &Evidence, _: &'static str) -> Outcome {
    let webhooks = webhooks(e)?;
    let (live, container) = operator(e)?;
    let path = flag(container, "--web.cert-file").unwrap_or_default();
    let (secret, key) = secret_file(e, live, container, path).map_err(|why| {
        Miss::fail(
            format!("--web.cert-file={path}: {why}"),
            "a certificate in a Secret",
        )
    })?;
    let named = name(secret);
    let lacks = |key: &str, what: &str| {
        Miss::fail(
            format!("Secret {named} has no certificate under '{key}'"),
            format!("the {what}'s certificate"),
        )
    };
    let authority = text(secret, "/data/ca");
    if authority.is_empty() {
        return Err(lacks("ca", "authority"));
    }
    let data = secret.pointer("/data").and_then(|data| data.get(key));
    let certificate = data.and_then(Value::as_str).and_then(Certificate::read);
    let certificate = certificate.ok_or_else(|| lacks(key, "operator"))?;
    let other = webhooks
        .iter()
        .filter(|(_, webhook)| text(webhook, "/clientConfig/caBundle") != authority);
    let mut wrong: Vec<String> = other
        .map(|(_, webhook)| format!("{} trusts another authority", name_of(webhook)))
        .collect();
    let hosts: BTreeSet<String> = webhooks
        .iter()
        .filter_map(|(_, webhook)| service_name(webhook))
        .collect();
    wrong.extend(hosts.iter().filter(|host| !certificate.is_for(host)).map(|host| {
        let only = certificate.names.join(", ");
        format!("the certificate under '{key}' is not for {host}, only for: {only}")
    }));
    let Certificate { from, until, .. } = certificate;
    if until < e.at {
        wrong.push(format!("the certificate under '{key}' expired at {until}"));
    }
    if e.at < from {
        wrong.push(format!(
            "the certificate under '{key}' is not valid before {from}"
        ));
    }
    let hosts = Vec::from_iter(hosts).join(", ");
    let expected = format!("the authority in Secret {named}, and there a valid certificate for {hosts}");
    if wrong.is_empty() && until.duration_since(e.at) < SOON {
        let observed = format!("the certificate under '{key}' expires at {until}");
        return Err(Miss::warn(
            observed,
            format!("{expected}, for {} days at least", SOON.as_hours() / 24),
        )
        .hint("'stackup apply' renews a certificate that stackup made"));
    }
    none(
        &wrong,
        format!(
            "{} webhooks; a certificate for {hosts} until {until}",
            webhooks.len()
        ),
        expected,
    )
}

/// Rules that were stored while no operator ran, nobody could ask it about.
fn webhook_stamp(e: &Evidence, _: &'static str) -> Outcome {
    webhooks(e)?;
    let (operator, _) = operator(e)?;
    let since =
        condition(operator, "Available").map_or("", |available| text(available, "/lastTransitionTime"));
    let stamp = "/metadata/annotations/prometheus-operator-validated";
    let rules: Vec<&Value> = e
        .some_applied("PrometheusRule")?
        .into_iter()
        .filter_map(|rule| e.live(rule))
        .collect();
    let (seen, unseen): (Vec<&Value>, Vec<&Value>) =
        rules.iter().partition(|rule| text(rule, stamp) == "true");
    let (early, late): (Vec<&Value>, Vec<&Value>) = unseen
        .iter()
        .partition(|rule| text(rule, "/metadata/creationTimestamp") < since);
    let wrong: Vec<String> = late.into_iter().map(title).collect();
    if wrong.is_empty() && seen.is_empty() {
        return Err(Miss::skip(format!(
            "no rule was stored since the operator runs ({} before): nothing shows whether its webhook is asked",
            early.len()
        )));
    }
    let holds = format!(
        "{} seen, {} stored before the operator ran",
        seen.len(),
        early.len()
    );
    none(
        &wrong,
        holds,
        "the mark of the webhook on every rule that is younger than the operator",
    )
}

fn versions(e: &Evidence, _: &'static str) -> Outcome {
    let (_, container) = operator(e)?;
    let operator = tag(text(container, "/image"));
    let reloader = tag(flag(container, "--prometheus-config-reloader").unwrap_or_default());
    let mut wrong = Vec::new();
    if reloader != operator {
        wrong.push(format!("reloader {reloader}"));
    }
    for wanted in e.applied("CustomResourceDefinition") {
        let Some(live) = e.live(wanted) else { continue };
        let annotations = live.pointer("/metadata/annotations");
        let version = annotations
            .and_then(|all| all.get("operator.prometheus.io/version"))
            .and_then(Value::as_str);
        if let Some(version) = version.filter(|version| *version != operator.trim_start_matches('v')) {
            wrong.push(format!("{} {version}", name(live)));
        }
    }
    none(&wrong, operator, format!("{operator}, as the operator"))
}

fn controllers(e: &Evidence, _: &'static str) -> Outcome {
    wanted(e)?;
    let samples = e.samples(READY)?;
    if samples.is_empty() {
        return Err(Miss::wait(
            "no sample of prometheus_operator_ready yet",
            "1 for each controller",
        ));
    }
    let unready = samples
        .iter()
        .filter(|(_, value)| (*value - 1.0).abs() > f64::EPSILON);
    let wrong: Vec<String> = unready
        .map(|(labels, _)| format!("controller {}", text(labels, "/controller")))
        .collect();
    none(
        &wrong,
        format!("{} controllers", samples.len()),
        "1 for each controller",
    )
}

fn syncs(e: &Evidence, _: &'static str) -> Outcome {
    wanted(e)?;
    let samples = e.samples(SYNCS)?;
    if samples.is_empty() {
        return Err(Miss::wait(
            "no sample of prometheus_operator_syncs yet",
            "no object whose last sync failed",
        ));
    }
    let failed = samples
        .iter()
        .filter(|(labels, value)| text(labels, "/status") == "failed" && *value > 0.0);
    let wrong: Vec<String> = failed
        .map(|(labels, value)| format!("{}: {value} failed", text(labels, "/controller")))
        .collect();
    none(&wrong, "none failed", "no object whose last sync failed")
}

fn rejected(e: &Evidence, _: &'static str) -> Outcome {
    wanted(e)?;
    let samples = e.samples(RESOURCES)?;
    if samples.is_empty() {
        return Err(Miss::wait(
            "no sample of prometheus_operator_managed_resources yet",
            "none rejected",
        ));
    }
    let rejected = samples
        .iter()
        .filter(|(labels, value)| text(labels, "/state") == "rejected" && *value > 0.0);
    let wrong: Vec<String> = rejected
        .map(|(labels, value)| format!("{value} {}", text(labels, "/resource")))
        .collect();
    let selected: f64 = samples
        .iter()
        .filter(|(labels, _)| text(labels, "/state") == "selected")
        .map(|(_, value)| value)
        .sum();
    none(
        &wrong,
        format!("{selected} selected, none rejected"),
        "none rejected",
    )
}
