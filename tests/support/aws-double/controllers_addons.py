"""What EKS add-ons put into a cluster of the double: objects named and labelled as the real ones, of the size that matters
to whoever waits for, counts, monitors or drains them. Their pods are simulated like all others.

Of an add-on's configuration these count: `replicaCount` and `podDisruptionBudget.enabled` (coredns, `replicas` for
metrics-server; under `controller` for aws-ebs-csi-driver) and `defaultStorageClass.enabled` (aws-ebs-csi-driver).
The APIService of metrics-server is left out: nothing runs behind its Service, and discovery would fail for all.
"""

import yaml

from cluster import path_of

SYSTEM = "kube-system"
CRITICAL = {"node": "system-node-critical", "cluster": "system-cluster-critical"}


class Addons:
    """Writes the objects of add-ons once for each version and configuration, and removes them with the add-on. What
    somebody deletes from between stays away, as on EKS."""

    def __init__(self, api, cloud, cluster):
        self.api, self.cloud, self.cluster = api, cloud, cluster
        self.written = {}

    def step(self):
        wanted = self.cloud.addons(self.cluster)
        for name, addon in wanted.items():
            if name not in OBJECTS or (name in self.written and self.written[name][0] == addon):
                continue
            objects = objects_of(name, addon)
            for thing in objects:
                self.api.apply(thing)
            left = self._written(name).keys() - {path_of(thing) for thing in objects}
            for path in left:
                self.api.delete(path)
            self.written[name] = (dict(addon), objects)
        for name in self.written.keys() - wanted.keys():
            for path in self._written(name):
                self.api.delete(path)
            del self.written[name]

    def _written(self, name):
        _, objects = self.written.get(name, (None, []))
        return {path_of(thing): thing for thing in objects}


def objects_of(name, addon):
    """The objects of an add-on; `configuration` is text (JSON or YAML), a mapping or None."""
    configuration = addon.get("configuration") or {}
    if isinstance(configuration, str):
        configuration = yaml.safe_load(configuration) or {}
    return OBJECTS[name](addon["version"], configuration)


def vpc_cni(version, _):
    return [account("aws-node"), daemon_set("aws-node", {"k8s-app": "aws-node"}, {
        "aws-node": f"amazon-k8s-cni:{version}", "aws-eks-nodeagent": f"amazon/aws-network-policy-agent:{version}",
    })]


def kube_proxy(version, _):
    return [account("kube-proxy"), daemon_set("kube-proxy", {"k8s-app": "kube-proxy"}, {"kube-proxy": f"eks/kube-proxy:{version}"})]


def pod_identity_agent(version, _):
    name = "eks-pod-identity-agent"
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name}
    return [daemon_set(name, labels, {name: f"eks/{name}:{version}"}, account="default")]


def coredns(version, configuration):
    labels = {"k8s-app": "kube-dns", "eks.amazonaws.com/component": "coredns"}
    corefile = ".:53 {\n    errors\n    health\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa\n    prometheus :9153\n" \
        "    forward . /etc/resolv.conf\n    cache 30\n    loop\n    reload\n    loadbalance\n}\n"
    return [
        account("coredns"),
        thing("v1", "ConfigMap", "coredns", labels, data={"Corefile": corefile}),
        deployment("coredns", labels, {"coredns": f"eks/coredns:{version}"}, configuration.get("replicaCount", 2)),
        thing("v1", "Service", "kube-dns", labels | {"kubernetes.io/name": "CoreDNS"}, spec={
            "selector": {"k8s-app": "kube-dns"},
            "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53), port("metrics", 9153)],
        }),
        *budget("coredns", labels, configuration),
    ]


def ebs_csi(version, configuration):
    labels = {"app": "ebs-csi-controller", "app.kubernetes.io/name": "aws-ebs-csi-driver"}
    node = {"app": "ebs-csi-node", "app.kubernetes.io/name": "aws-ebs-csi-driver"}
    controller = configuration.get("controller", {})
    sidecars = ["csi-provisioner", "csi-attacher", "csi-resizer", "liveness-probe"]
    images = {"ebs-plugin": f"eks/aws-ebs-csi-driver:{version}"} | {name: f"eks/{name}:{version}" for name in sidecars}
    objects = [
        account("ebs-csi-controller-sa"),
        account("ebs-csi-node-sa"),
        deployment("ebs-csi-controller", labels, images, controller.get("replicaCount", 2), "ebs-csi-controller-sa"),
        daemon_set("ebs-csi-node", node, {"ebs-plugin": images["ebs-plugin"]}, account="ebs-csi-node-sa"),
        *budget("ebs-csi-controller", labels, controller),
        thing("storage.k8s.io/v1", "CSIDriver", "ebs.csi.aws.com", {}, spec={
            "attachRequired": True, "podInfoOnMount": False, "fsGroupPolicy": "ReadWriteOnceWithFSType",
        }),
    ]
    if configuration.get("defaultStorageClass", {}).get("enabled"):
        default = thing("storage.k8s.io/v1", "StorageClass", "ebs-csi-default-sc", {}, provisioner="ebs.csi.aws.com",
                        volumeBindingMode="WaitForFirstConsumer", allowVolumeExpansion=True)
        default["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        objects.append(default)
    return objects


def metrics_server(version, configuration):
    name = "metrics-server"
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name}
    return [
        account(name),
        deployment(name, labels, {name: f"eks/{name}:{version}"}, configuration.get("replicas", 2)),
        thing("v1", "Service", name, labels, spec={"selector": labels, "ports": [port("https", 443)]}),
        *budget(name, labels, configuration),
    ]


OBJECTS = {
    "vpc-cni": vpc_cni,
    "kube-proxy": kube_proxy,
    "eks-pod-identity-agent": pod_identity_agent,
    "coredns": coredns,
    "aws-ebs-csi-driver": ebs_csi,
    "metrics-server": metrics_server,
}


def thing(version, kind, name, labels, **content):
    metadata = {"name": name, "labels": labels}
    if kind not in ("CSIDriver", "StorageClass"):
        metadata["namespace"] = SYSTEM
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def account(name):
    return thing("v1", "ServiceAccount", name, {})


def port(name, number, protocol="TCP"):
    return {"name": name, "port": number, "targetPort": number, "protocol": protocol}


def pods(labels, images, account, priority):
    return {"metadata": {"labels": labels}, "spec": {
        "serviceAccountName": account,
        "priorityClassName": CRITICAL[priority],
        "tolerations": [{"operator": "Exists"}] if priority == "node" else [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        ],
        "containers": [
            {"name": name, "image": image, "resources": {"requests": {"cpu": "25m", "memory": "40Mi"}}}
            for name, image in images.items()
        ],
    }}


def daemon_set(name, labels, images, account=None):
    spec = {"selector": {"matchLabels": labels}, "template": pods(labels, images, account or name, "node")}
    spec["template"]["spec"]["hostNetwork"] = True
    return thing("apps/v1", "DaemonSet", name, labels, spec=spec)


def deployment(name, labels, images, replicas, account=None):
    template = pods(labels, images, account or name, "cluster")
    return thing("apps/v1", "Deployment", name, labels, spec={
        "replicas": replicas, "selector": {"matchLabels": labels}, "template": template,
    })


def budget(name, labels, configuration):
    if not configuration.get("podDisruptionBudget", {}).get("enabled", True):
        return []
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    return [thing("policy/v1", "PodDisruptionBudget", name, labels, spec=spec)]
