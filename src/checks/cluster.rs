use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, few, none},
    evidence::Evidence,
    object::{condition, items, name, namespace, service_selects, text, title, truth},
    workload,
};

const REACHABLE: &str = "cluster.reachable";
const OLDEST: (u32, u32) = (1, 25);

pub(super) const CHECKS: &[Check] = &[
    Check::new(REACHABLE, "the API server answers", reachable)
        .reads(&["cluster:/version"])
        .hint("the cluster may be stopped, or its kubeconfig out of date: 'stackup status' tells what stands")
        .fix("stackup doctor"),
    Check::new("cluster.ready", "the API server calls itself ready", ready)
        .needs(&[REACHABLE])
        .reads(&["cluster:/readyz?verbose"])
        .hint("the parts marked [-] are not ready; with etcd among them its disk is the first place to look")
        .fix("kubectl get --raw '/readyz?verbose'"),
    Check::new("cluster.version", "the Kubernetes version is one that the stack supports", version)
        .warning()
        .needs(&[REACHABLE])
        .reads(&["cluster:/version"])
        .hint("the manifests use what Kubernetes 1.25 and later have"),
    Check::new("cluster.dns", "the cluster's name service has ready pods", dns)
        .real()
        .needs(&[REACHABLE])
        .reads(&["Service", "Pod"])
        .hint("no name inside the cluster resolves without it; nodes without a pod network are the usual cause")
        .fix("kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide"),
    Check::new("cluster.kube-proxy", "kube-proxy runs on every node", kube_proxy)
        .real()
        .needs(&[REACHABLE])
        .reads(&["DaemonSet", "Node"])
        .hint("without it the addresses of Services lead nowhere from that node")
        .fix("kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide"),
    Check::new("cluster.default-storageclass", "volumes that the stack asks for can be made", storage_class)
        .needs(&[REACHABLE])
        .reads(&["StorageClass", "PersistentVolumeClaim", "Pod"])
        .hint("name a class with storage.class, or mark one with the annotation storageclass.kubernetes.io/is-default-class")
        .fix("kubectl get storageclasses"),
    Check::new("cluster.webhooks-alive", "every admission webhook has a ready pod behind it", webhooks)
        .real()
        .warning()
        .needs(&[REACHABLE])
        .reads(&["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Service", "Pod"])
        .hint("what a webhook without a pod guards cannot be written, if its failurePolicy is Fail"),
];

fn reachable(e: &Evidence, _: &'static str) -> Outcome {
    let version = e.json("cluster:/version")?;
    Ok(text(&version, "/gitVersion").to_owned())
}

fn ready(e: &Evidence, _: &'static str) -> Outcome {
    let body = e.body("cluster:/readyz?verbose")?;
    let wrong: Vec<String> = body
        .lines()
        .filter(|line| line.starts_with("[-]"))
        .map(str::to_owned)
        .collect();
    let parts = body.lines().filter(|line| line.starts_with("[+]")).count();
    none(&wrong, format!("{parts} parts ready"), "every part ok")
}

fn version(e: &Evidence, _: &'static str) -> Outcome {
    let answer = e.json("cluster:/version")?;
    let part = |pointer: &str| {
        text(&answer, pointer)
            .trim_end_matches('+')
            .parse::<u32>()
            .unwrap_or_default()
    };
    let found = (part("/major"), part("/minor"));
    let shown = text(&answer, "/gitVersion");
    if found < OLDEST {
        return Err(Miss::fail(shown, format!("{}.{} or later", OLDEST.0, OLDEST.1)));
    }
    Ok(shown.to_owned())
}

fn dns(e: &Evidence, _: &'static str) -> Outcome {
    let Some(service) = e.find("Service", "kube-system", "kube-dns") else {
        return Err(Miss::fail(
            "no Service kube-system/kube-dns",
            "the Service kube-dns and a ready pod behind it",
        ));
    };
    let ready = backing(e, service);
    if ready == 0 {
        return Err(Miss::fail(
            "no ready pod behind kube-system/kube-dns",
            "at least one",
        ));
    }
    Ok(format!("{ready} ready"))
}

/// How many ready pods a Service leads to.
pub(super) fn backing(e: &Evidence, service: &Value) -> usize {
    e.all("Pod")
        .iter()
        .filter(|pod| {
            namespace(pod) == namespace(service) && service_selects(service, pod.pointer("/metadata/labels"))
        })
        .filter(|pod| workload::pod_ready(pod))
        .count()
}

fn kube_proxy(e: &Evidence, _: &'static str) -> Outcome {
    let Some(set) = e.find("DaemonSet", "kube-system", "kube-proxy") else {
        return Err(Miss::skip("this cluster has none: its network does that itself"));
    };
    workload::ready(set).map_err(|why| Miss::fail(why, "a ready pod on every node"))
}

/// The volumes that the stack asks for without naming a class.
fn storage_class(e: &Evidence, _: &'static str) -> Outcome {
    let template = |object: &&Value| {
        let claim = object.pointer("/spec/storage/volumeClaimTemplate/spec");
        claim.is_some_and(|claim| text(claim, "/storageClassName").is_empty())
    };
    let asking = ["Prometheus", "Alertmanager"]
        .iter()
        .flat_map(|kind| e.applied(kind))
        .filter(template);
    let claims = e
        .applied("PersistentVolumeClaim")
        .filter(|claim| text(claim, "/spec/storageClassName").is_empty());
    let asked: Vec<String> = asking.chain(claims).map(title).collect();
    let annotation = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
    let default: Vec<&str> = e
        .all("StorageClass")
        .iter()
        .filter(|class| text(class, annotation) == "true")
        .map(name)
        .collect();
    let pending: Vec<String> = e
        .all("PersistentVolumeClaim")
        .iter()
        .filter(|claim| is_used(e, claim))
        .filter(|claim| text(claim, "/status/phase") != "Bound")
        .map(|claim| format!("{} is {}", title(claim), text(claim, "/status/phase")))
        .collect();
    if !asked.is_empty() && default.is_empty() {
        let observed = format!("no default StorageClass for {}", few(&asked));
        return Err(Miss::fail(
            observed,
            "a default StorageClass, or one that is named",
        ));
    }
    if !pending.is_empty() {
        return Err(Miss::fail(few(&pending), "every claim bound"));
    }
    Ok(match (asked.is_empty(), default.first()) {
        (true, _) => "the stack keeps nothing on volumes of a default class".to_owned(),
        (false, class) => format!("default class {}", class.copied().unwrap_or_default()),
    })
}

/// Whether a claim is the stack's own, or a pod of the stack mounts it: one that nobody uses may wait for its first user.
fn is_used(e: &Evidence, claim: &Value) -> bool {
    let ours = |object: &Value| namespace(object) == namespace(claim) && name(object) == name(claim);
    let mounts = |pod: &&Value| {
        let volumes = items(pod, "/spec/volumes").iter();
        let mut claims = volumes.map(|volume| text(volume, "/persistentVolumeClaim/claimName"));
        namespace(pod) == namespace(claim) && claims.any(|named| named == name(claim))
    };
    e.applied("PersistentVolumeClaim").any(ours) || super::inventory::stack_pods(e).iter().any(mounts)
}

fn webhooks(e: &Evidence, _: &'static str) -> Outcome {
    let kinds = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];
    let mut wrong = Vec::new();
    let mut count = 0;
    for configuration in kinds.iter().flat_map(|kind| e.all(kind)) {
        for webhook in items(configuration, "/webhooks") {
            count += 1;
            let (in_namespace, named) = (
                text(webhook, "/clientConfig/service/namespace"),
                text(webhook, "/clientConfig/service/name"),
            );
            if named.is_empty() {
                continue;
            }
            let alive = e.find("Service", in_namespace, named).is_some_and(|service| {
                // Without a selector someone else keeps its endpoints.
                service.pointer("/spec/selector").is_none() || backing(e, service) > 0
            });
            if !alive {
                wrong.push(format!(
                    "{} of {}: Service {in_namespace}/{named}",
                    text(webhook, "/name"),
                    name(configuration)
                ));
            }
        }
    }
    none(
        &wrong,
        format!("{count} webhooks"),
        "a Service with a ready pod for each",
    )
}

/// Whether a condition of an object is true.
pub(super) fn is(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

/// Whether a node takes no new pods.
pub(super) fn cordoned(node: &Value) -> bool {
    truth(node, "/spec/unschedulable")
}
