"""Checks cluster.py and controllers*.py against a real API server: python check_cluster.py [--programs DIR]

One line a case; the last line counts them. Where the `operator` program is missing its case is skipped and said to be.
"""

import argparse
import http.server
import json
import logging
import os
import pathlib
import sys
import tempfile
import threading
import time

import yaml

from cluster import Api, ApiError, ControlPlane, running_from
from controllers import Controllers, sizes

MANIFESTS = pathlib.Path(__file__).resolve().parents[3] / "manifests" / "monitoring"
# The CRDs hold the plain scalar "=", which YAML 1.1 has a type for and PyYAML no constructor.
yaml.SafeLoader.add_constructor("tag:yaml.org,2002:value", yaml.SafeLoader.construct_yaml_str)
CASES = []
DEFAULT = "/api/v1/namespaces/default"


class Cloud:
    """An account in memory, as the controllers see it."""

    region = "eu-central-1"

    def __init__(self):
        self.lock = threading.RLock()
        self.instances, self.installed = [], {}
        self.balancers, self.volumes, self.blocks, self.refusal = {}, {}, [], None

    def nodes(self, cluster):
        return list(self.instances)

    def addons(self, cluster):
        return dict(self.installed)

    def create_load_balancer(self, cluster, namespace, name, uid):
        if self.refusal:
            raise ValueError(self.refusal)
        self.balancers[uid] = f"{cluster}-{namespace}-{name}.{self.region}.elb.amazonaws.com"
        return self.balancers[uid]

    def load_balancer_ready(self, uid):
        return uid in self.balancers

    def delete_load_balancer(self, uid):
        self.balancers.pop(uid, None)

    def create_volume(self, cluster, namespace, name, zone, gib):
        with self.lock:
            volume = f"vol-{len(self.volumes):017x}"
            self.volumes[volume] = (namespace, name, zone, gib)
            return volume

    def delete_volume(self, volume):
        self.volumes.pop(volume, None)

    def pdb_blocks(self, cluster, blocked):
        self.blocks.append(blocked)

    def start(self, number, **more):
        self.instances.append({
            "instanceId": f"i-{number:017x}", "privateDnsName": f"ip-10-0-{number}-7.eu-central-1.compute.internal",
            "zone": f"eu-central-1{'ab'[number % 2]}", "instanceType": "m7i.large", "nodegroup": "main",
            "capacityType": "SPOT", "labels": {"team": "shop"}, "taints": [],
        } | more)


class Review(http.server.BaseHTTPRequestHandler):
    """Accepts the token k8s-aws-v1.good."""

    asked = []

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        token = review["spec"]["token"]
        self.asked.append((self.path, review["apiVersion"], token))
        user = {"username": "arn:aws:iam::123456789012:user/test", "groups": ["system:masters"]}
        review["status"] = {"authenticated": True, "user": user} if token == "k8s-aws-v1.good" else {"authenticated": False}
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Setting:
    def __init__(self, folder, programs):
        self.folder, self.programs, self.cloud = folder, programs, Cloud()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Review)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/review/"
        self.plane = ControlPlane(folder, programs, "shop", self.url + "shop", "1.34")
        self.plane.start()
        self.api = self.plane.api
        self.controllers = Controllers(self.plane, self.cloud, "shop")
        self.controllers.start()

    def deployment(self, name, replicas, volumes=()):
        pod = {"containers": [{"name": "a", "image": "a"}], "terminationGracePeriodSeconds": 0}
        pod["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in volumes]
        self.api.create({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}}, "spec": pod}},
        })

    def available(self, name, namespace="default"):
        found = self.api.find(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
        return found["status"].get("availableReplicas", 0)

    def claim(self, name, storage):
        self.api.create({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": storage, "resources": {"requests": {"storage": "1500Mi"}}},
        })

    def phase(self, name):
        return self.api.find(f"{DEFAULT}/persistentvolumeclaims/{name}")["status"].get("phase")


def case(function):
    CASES.append(function)
    return function


def until(what, seconds=30):
    """Waits until a condition holds; fails with its name otherwise."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: line {what.__code__.co_firstlineno}")
        time.sleep(0.1)
    return found


def refused(api, path, token):
    try:
        api.call("GET", path, token=token)
    except ApiError as error:
        return error.status
    return None


@case
def a_token_that_the_review_accepts_is_admitted_and_any_other_refused(at):
    anybody = Api(at.plane.endpoint, at.plane.place / "pki" / "ca.crt")
    assert anybody.call("GET", "/api/v1/namespaces", token="k8s-aws-v1.good")["items"]
    assert refused(anybody, "/api/v1/namespaces", "k8s-aws-v1.bad") == 401
    assert refused(anybody, "/api/v1/namespaces", None) in (401, 403)
    asked = [(path.partition("?")[0], *rest) for path, *rest in Review.asked]
    assert ("/review/shop", "authentication.k8s.io/v1", "k8s-aws-v1.good") in asked, asked


@case
def nothing_of_a_cluster_can_be_read_by_others(at):
    for path in [at.plane.folder / "kubeconfig", at.plane.place / "kubeconfig.yaml", at.plane.place / "pki" / "admin.key"]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert at.plane.folder.stat().st_mode & 0o077 == 0


@case
def a_cluster_without_nodes_runs_nothing(at):
    assert at.api.items("/api/v1/nodes") == []
    at.cloud.installed["coredns"] = {"version": "v1.12.4-eksbuild.1", "configuration": None}
    until(lambda: at.api.find("/apis/apps/v1/namespaces/kube-system/deployments/coredns"))
    at.deployment("web", 2)
    until(lambda: len(at.api.items(f"{DEFAULT}/pods")) == 2)
    time.sleep(2)
    assert at.available("coredns", "kube-system") == 0 and at.available("web") == 0


@case
def instances_become_ready_nodes_labelled_as_eks_does(at):
    at.cloud.start(1)
    at.cloud.start(2, instanceType="m7g.xlarge", labels={}, taints=[{"key": "only", "value": "db", "effect": "NO_SCHEDULE"}])

    def ready():
        nodes = at.api.items("/api/v1/nodes")
        states = [c["status"] for node in nodes for c in node["status"].get("conditions", []) if c["type"] == "Ready"]
        return len(nodes) == 2 and states == ["True", "True"] and nodes

    first, second = sorted(until(ready), key=lambda node: node["metadata"]["name"])
    labels = first["metadata"]["labels"]
    assert labels["eks.amazonaws.com/nodegroup"] == "main" and labels["team"] == "shop", labels
    assert labels["topology.kubernetes.io/zone"] == "eu-central-1b" and labels["kubernetes.io/arch"] == "amd64", labels
    assert first["spec"]["providerID"] == "aws:///eu-central-1b/i-00000000000000001"
    assert first["status"]["allocatable"]["cpu"] == "2" and first["status"]["allocatable"]["pods"] == "29", first["status"]
    assert "10.0.1.7" in [address["address"] for address in first["status"]["addresses"]]
    assert second["metadata"]["labels"]["kubernetes.io/arch"] == "arm64"
    assert {"key": "only", "value": "db", "effect": "NoSchedule"} in second["spec"]["taints"]


@case
def pods_run_on_them_and_not_where_a_taint_forbids(at):
    until(lambda: at.available("web") == 2)
    until(lambda: at.available("coredns", "kube-system") == 2)
    names = {pod["spec"]["nodeName"] for pod in at.api.items("/api/v1/pods")}
    assert names == {"ip-10-0-1-7.eu-central-1.compute.internal"}, names


@case
def labels_and_taints_of_a_node_group_follow_its_update(at):
    changed = at.cloud.instances[1] | {"labels": {"tier": "b"}, "taints": []}
    at.cloud.instances = [at.cloud.instances[0] | {"labels": {"crew": "c"}}, changed]

    def followed():
        first, second = (at.api.find(f"/api/v1/nodes/{instance['privateDnsName']}") for instance in at.cloud.instances)
        labels = first["metadata"]["labels"]
        untainted = second["metadata"]["labels"].get("tier") == "b" and not second["spec"].get("taints")
        return labels.get("crew") == "c" and "team" not in labels and untainted

    until(followed)


@case
def a_load_balancer_comes_and_goes_with_its_service(at):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": "default"},
               "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}}
    other = {**service, "metadata": {"name": "other", "namespace": "default"}}
    other["spec"] = service["spec"] | {"loadBalancerClass": "service.k8s.aws/nlb"}
    at.api.create(service)
    at.api.create(other)
    path = f"{DEFAULT}/services/front"
    found = until(lambda: at.api.find(path)["status"]["loadBalancer"].get("ingress"))
    assert found == [{"hostname": "shop-default-front.eu-central-1.elb.amazonaws.com"}], found
    assert len(at.cloud.balancers) == 1 and "ingress" not in at.api.find(f"{DEFAULT}/services/other")["status"]["loadBalancer"]
    at.api.delete(path)
    assert at.api.find(path), "it has to stay until its load balancer is gone"
    until(lambda: not at.api.find(path))
    assert not at.cloud.balancers


@case
def a_service_that_needs_no_load_balancer_any_more_frees_it(at):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "turned", "namespace": "default"},
               "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}}
    at.api.create(service)
    path = f"{DEFAULT}/services/turned"
    until(lambda: at.api.find(path)["status"]["loadBalancer"].get("ingress"))
    at.api.merge(path, {"spec": {"type": "ClusterIP"}})
    until(lambda: not at.cloud.balancers)
    until(lambda: "finalizers" not in (found := at.api.find(path))["metadata"] and "ingress" not in found["status"]["loadBalancer"])


@case
def what_aws_refuses_is_told_as_an_event(at):
    at.cloud.refusal = "could not find any suitable subnets for creating the ELB"
    at.api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stuck", "namespace": "default"},
                   "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}})
    query = "fieldSelector=reason%3DSyncLoadBalancerFailed"
    events = until(lambda: at.api.call("GET", f"{DEFAULT}/events?{query}")["items"])
    assert at.cloud.refusal in events[0]["message"] and events[0]["involvedObject"]["name"] == "stuck"
    at.cloud.refusal = None
    until(lambda: at.api.find(f"{DEFAULT}/services/stuck")["status"]["loadBalancer"].get("ingress"))


@case
def a_claim_waits_for_the_add_on_and_for_its_pod_and_its_volume_goes_with_it(at):
    at.claim("early", "gp2")
    at.claim("data", "gp2")
    at.deployment("db", 1, ["data"])
    time.sleep(3)
    assert at.phase("data") == "Pending" and not at.cloud.volumes
    configuration = '{"defaultStorageClass": {"enabled": true}}'
    at.cloud.installed["aws-ebs-csi-driver"] = {"version": "v1.50.1-eksbuild.1", "configuration": configuration}
    until(lambda: at.phase("data") == "Bound")
    until(lambda: at.available("db") == 1)
    assert at.phase("early") == "Pending", "nobody uses it yet"
    [(namespace, name, zone, gib)] = at.cloud.volumes.values()
    pod = next(pod for pod in at.api.items(f"{DEFAULT}/pods") if pod["metadata"]["labels"]["app"] == "db")
    node = at.api.find(f"/api/v1/nodes/{pod['spec']['nodeName']}")
    assert (namespace, name, gib) == ("default", "data", 2)
    assert zone == node["metadata"]["labels"]["topology.kubernetes.io/zone"]
    at.api.delete(f"{DEFAULT}/persistentvolumeclaims/data")
    time.sleep(2)
    assert at.cloud.volumes, "a pod still uses it"
    at.api.delete("/apis/apps/v1/namespaces/default/deployments/db")
    until(lambda: not at.cloud.volumes)
    until(lambda: not at.api.items("/api/v1/persistentvolumes"))
    assert at.api.find("/apis/storage.k8s.io/v1/storageclasses/ebs-csi-default-sc")


@case
def an_immediate_claim_needs_no_pod_and_retain_keeps_the_volume(at):
    at.api.create({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "kept"},
                   "provisioner": "ebs.csi.aws.com", "reclaimPolicy": "Retain", "volumeBindingMode": "Immediate"})
    at.claim("kept", "kept")
    until(lambda: at.phase("kept") == "Bound")
    at.api.delete(f"{DEFAULT}/persistentvolumeclaims/kept")
    until(lambda: [volume["status"]["phase"] for volume in at.api.items("/api/v1/persistentvolumes")] == ["Released"])
    time.sleep(2)
    assert len(at.cloud.volumes) == 1 and len(at.api.items("/api/v1/persistentvolumes")) == 1


@case
def a_budget_that_keeps_pods_blocks_until_it_is_deleted(at):
    until(lambda: at.cloud.blocks and at.cloud.blocks[-1])
    assert at.controllers.budgets_block()
    for name in ("coredns", "ebs-csi-controller"):
        at.api.delete(f"/apis/policy/v1/namespaces/kube-system/poddisruptionbudgets/{name}")
    assert not at.controllers.budgets_block()
    until(lambda: not at.cloud.blocks[-1])
    at.api.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "default"},
                   "spec": {"maxUnavailable": "100%", "selector": {"matchLabels": {"app": "web"}}}})
    time.sleep(2)
    assert not at.controllers.budgets_block(), "it allows everything"
    at.api.merge("/apis/policy/v1/namespaces/default/poddisruptionbudgets/web", {"spec": {"maxUnavailable": 0}})
    until(lambda: at.cloud.blocks[-1])
    at.api.delete("/apis/policy/v1/namespaces/default/poddisruptionbudgets/web")


@case
def the_operator_makes_a_stateful_set_of_a_prometheus(at):
    if not (at.programs / "operator").exists():
        return f"no operator in {at.programs}"
    files = ["namespace.yaml", "operator/rbac.yaml", "operator/deployment.yaml", "prometheus/rbac.yaml"]
    files = [*sorted((MANIFESTS / "crds").glob("*.yaml")), *(MANIFESTS / name for name in files)]
    things = [thing for path in files for thing in yaml.safe_load_all(path.read_text()) if thing]
    for thing in things:
        if not thing["apiVersion"].startswith("monitoring."):
            at.api.apply(thing, "check")
    prometheus = next(thing for thing in yaml.safe_load_all((MANIFESTS / "prometheus" / "prometheus.yaml").read_text())
                      if thing["kind"] == "Prometheus")
    certificate = {name: (at.plane.place / "pki" / f"admin.{end}").read_text() for name, end in (("cert", "crt"), ("key", "key"))}
    at.api.create({"apiVersion": "v1", "kind": "Secret", "stringData": certificate,
                   "metadata": {"name": "monitoring-kube-prometheus-admission", "namespace": "monitoring"}})
    until(lambda: at.available("monitoring-kube-prometheus-operator", "monitoring") == 1)
    at.api.apply(prometheus, "check")
    path = "/apis/apps/v1/namespaces/monitoring/statefulsets/prometheus-monitoring-kube-prometheus-prometheus"
    until(lambda: (at.api.find(path) or {}).get("status", {}).get("availableReplicas") == 1, 90)
    process = at.controllers.operator.process
    at.api.merge("/apis/apps/v1/namespaces/monitoring/deployments/monitoring-kube-prometheus-operator", {"spec": {"replicas": 0}})
    until(lambda: process.poll() is not None)
    return None


@case
def objects_of_an_add_on_go_with_it(at):
    path = "/apis/apps/v1/namespaces/kube-system/daemonsets/"
    at.cloud.installed["vpc-cni"] = {"version": "v1.20.4-eksbuild.1", "configuration": ""}
    until(lambda: (at.api.find(path + "aws-node") or {}).get("status", {}).get("numberReady") == 2)
    del at.cloud.installed["vpc-cni"]
    until(lambda: not at.api.find(path + "aws-node"))


@case
def a_node_goes_with_its_instance_and_takes_its_pods_along(at):
    gone = at.cloud.instances.pop(0)["privateDnsName"]
    at.controllers.wake()
    until(lambda: not at.api.find(f"/api/v1/nodes/{gone}"))
    on = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{gone}"
    until(lambda: not at.api.call("GET", on)["items"])
    until(lambda: at.available("web") == 2)


@case
def two_clusters_run_side_by_side_and_one_serves_an_older_api(at):
    other = ControlPlane(at.folder, at.programs, "other", at.url + "other", "1.33")
    try:
        start = time.monotonic()
        other.start()
        seconds = time.monotonic() - start
        older, newer = (plane.api.call("GET", "/version") for plane in (other, at.plane))
        assert (older["emulationMinor"], newer["emulationMinor"]) == ("33", "34"), (older, newer)
        assert newer["gitVersion"].endswith("-eks-double"), newer
        assert other.endpoint != at.plane.endpoint and other.api.items("/api/v1/nodes") == []
    finally:
        other.stop()
    assert not other.folder.exists() and not running_from(other.place / "bin")
    assert at.api.call("GET", "/readyz")
    print(f"  (it took {seconds:.1f} s to start)")


@case
def sizes_of_instance_types_follow_their_families(_):
    assert sizes("t3.medium") == {"cpu": "2", "memory": "4096Mi", "pods": "17", "ephemeral-storage": "80Gi"}
    assert (sizes("m7i.2xlarge")["cpu"], sizes("m7i.2xlarge")["memory"]) == ("8", "32768Mi")
    assert (sizes("c7g.xlarge")["memory"], sizes("r6i.large")["memory"]) == ("8192Mi", "16384Mi")


@case
def nothing_is_left_when_it_is_stopped(at):
    at.controllers.stop()
    at.plane.stop()
    assert not at.controllers.thread.is_alive()
    assert not running_from(at.plane.place / "bin") and not at.plane.folder.exists()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--programs", default=os.environ.get("STACKUP_CONTROL_PLANE"), help="the folder of kwokctl and the rest")
    options.add_argument("--verbose", action="store_true")
    options = options.parse_args()
    if not options.programs:
        sys.exit("name the folder of kwokctl and the rest: --programs DIR, or STACKUP_CONTROL_PLANE")
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        at = Setting(pathlib.Path(folder), pathlib.Path(options.programs))
        print(f"(the first cluster took {time.monotonic() - start:.1f} s to start)", flush=True)
        try:
            for check in CASES:
                start = time.monotonic()
                try:
                    why = check(at)
                    outcome = "skipped" if why else "passed"
                except Exception as error:
                    outcome, why = "failed", f"{type(error).__name__}: {error}"
                counts[outcome] += 1
                name = check.__name__.replace("_", " ")
                print(f"{outcome:7} {time.monotonic() - start:5.1f} s  {name}{f': {why}' if why else ''}", flush=True)
        finally:
            at.controllers.stop()
            at.plane.stop()
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count or outcome != "skipped"))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
