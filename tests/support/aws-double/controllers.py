"""What AWS does inside a cluster of the double: one thread a cluster looks once a second at its objects and at the
account (`cloud`) and makes each follow the other.

Here: instances become nodes, Services get load balancers, budgets hold up drains. Beside it: controllers_addons.py
(what an add-on puts into a cluster), controllers_storage.py (EBS), controllers_operator.py (the Prometheus operator).
"""

import datetime
import http.client
import logging
import re
import threading

from cluster import ApiError
from controllers_addons import Addons
from controllers_operator import Operator
from controllers_storage import Volumes

LOG = logging.getLogger("double.controllers")
SECONDS = 1
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
# Classes that EKS makes in every cluster: https://docs.aws.amazon.com/eks/latest/userguide/storage-classes.html
GP2 = {
    "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "gp2"},
    "provisioner": "kubernetes.io/aws-ebs", "parameters": {"type": "gp2", "fsType": "ext4"},
    "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
}


class Controllers:
    """The controllers of one cluster. `cloud` is the account; its calls must be quick and safe from any thread."""

    def __init__(self, control_plane, cloud, cluster_name):
        self.operator = Operator(control_plane)
        api = control_plane.api
        self.budgets = Budgets(api, cloud, cluster_name)
        parts = [part(api, cloud, cluster_name) for part in (Nodes, Addons, LoadBalancers, Volumes)]
        self.parts = [*parts, self.budgets, self.operator]
        self.api, self.name = api, cluster_name
        self.ends, self.look = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"controllers of {cluster_name}", daemon=True)

    def start(self):
        self.thread.start()

    def wake(self):
        """Makes it look at once, where something in the account has just changed."""
        self.look.set()

    def budgets_block(self):
        """Whether a budget would hold up a drain at this moment; False where the API server does not answer."""
        try:
            return self.budgets.block()
        except (ApiError, OSError, http.client.HTTPException):
            return False

    def stop(self):
        """Returns when the thread and what it started have ended. The account is left as it is, as AWS would."""
        self.ends.set()
        self.look.set()
        if self.thread.is_alive():
            self.thread.join()
        self.operator.stop()

    def _run(self):
        self._once(lambda: self.api.create(GP2), "storage class gp2")
        while not self.ends.is_set():
            for part in self.parts:
                self._once(part.step, type(part).__name__)
                if self.ends.is_set():
                    return
            self.look.wait(SECONDS)
            self.look.clear()

    def _once(self, step, what):
        try:
            step()
        except ApiError as error:
            # 404 and 409: somebody was faster; the next look shows it.
            if error.status not in (404, 409):
                LOG.warning("%s: %s: %s", self.name, what, error)
        except (OSError, http.client.HTTPException) as error:
            if not self.ends.is_set():
                LOG.warning("%s: %s: %s", self.name, what, error)
        except Exception:
            LOG.exception("%s: %s", self.name, what)


class Nodes:
    """Each running instance is a node, which kwok keeps Ready; without its instance it goes, with its pods."""

    def __init__(self, api, cloud, cluster):
        self.api, self.cloud, self.cluster = api, cloud, cluster
        self.written = {}

    def step(self):
        wanted = {instance["privateDnsName"]: instance for instance in self.cloud.nodes(self.cluster)}
        nodes = {node["metadata"]["name"]: node for node in self.api.items("/api/v1/nodes")}
        for name, instance in wanted.items():
            if name not in nodes:
                node = node_of(instance, self.cloud.region)
                self.api.create(node)
                self.written[name] = (node["metadata"]["labels"], node["spec"]["taints"])
            else:
                self._update(nodes[name], instance)
        for name in nodes.keys() - wanted.keys():
            if nodes[name]["spec"].get("providerID", "").startswith("aws:///"):
                self._remove(name)

    def _update(self, node, instance):
        """Labels and taints of its node group may change while it runs; those of others stay."""
        name, changed = node["metadata"]["name"], node_of(instance, self.cloud.region)
        labels, taints = changed["metadata"]["labels"], changed["spec"]["taints"]
        old = self.written.get(name)
        if old is None or old == (labels, taints):
            return
        gone = {key: None for key in old[0].keys() - labels.keys()}
        kept = [taint for taint in node["spec"].get("taints", []) if taint not in old[1]]
        change = {"metadata": {"labels": gone | labels}, "spec": {"taints": kept + taints}}
        change["metadata"]["resourceVersion"] = node["metadata"]["resourceVersion"]
        self.api.merge(f"/api/v1/nodes/{name}", change)
        self.written[name] = (labels, taints)

    def _remove(self, name):
        # The garbage collector of pods would take 40 seconds more.
        pods = self.api.call("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}")
        self.api.delete(f"/api/v1/nodes/{name}")
        for pod in pods.get("items", []):
            at = pod["metadata"]
            self.api.delete(f"/api/v1/namespaces/{at['namespace']}/pods/{at['name']}", grace=0)
        self.written.pop(name, None)


def node_of(instance, region):
    """The Node of an instance, labelled as EKS does, with kwok's mark."""
    name, kind, zone = instance["privateDnsName"], instance["instanceType"], instance["zone"]
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64" if re.match(r"[a-z]+\d+[a-z]*g[a-z]*\.", kind) else "amd64",
        "node.kubernetes.io/instance-type": kind,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
        "topology.ebs.csi.aws.com/zone": zone,
        "k8s.io/cloud-provider-aws": "double",
    }
    if instance.get("nodegroup"):
        labels["eks.amazonaws.com/nodegroup"] = instance["nodegroup"]
        labels["eks.amazonaws.com/capacityType"] = instance.get("capacityType") or "ON_DEMAND"
    labels |= instance.get("labels") or {}
    taints = [
        {"key": taint["key"], "value": taint.get("value") or "", "effect": EFFECTS.get(taint["effect"], taint["effect"])}
        for taint in instance.get("taints") or []
    ]
    size = sizes(kind)
    addresses = [{"type": "InternalDNS", "address": name}, {"type": "Hostname", "address": name}]
    if numbers := re.match(r"ip-(\d+)-(\d+)-(\d+)-(\d+)\b", name):
        addresses.insert(0, {"type": "InternalIP", "address": ".".join(numbers.groups())})
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"}},
        "spec": {"providerID": f"aws:///{zone}/{instance['instanceId']}", "taints": taints},
        "status": {"addresses": addresses, "capacity": size, "allocatable": size},
    }


def sizes(kind):
    """What an instance type offers, by the rule that most families follow: vCPUs by size, memory by family (c 2, m and
    t 4, r 8 GiB a vCPU), pods by the addresses of its network interfaces."""
    family, _, size = kind.partition(".")
    factor = int(re.match(r"\d*", size).group() or 1)
    cpus = 4 * factor if "xlarge" in size else 2
    memory = cpus * {"c": 2, "r": 8, "x": 16}.get(family[0], 4)
    if "xlarge" not in size and size != "large":
        memory = {"nano": 0.5, "micro": 1, "small": 2}.get(size, 4)
    pods = {"nano": 4, "micro": 4, "small": 11, "medium": 17, "large": 29}.get(size, 58 if factor <= 2 else 234)
    if family.startswith("t") and size == "large":
        pods = 35
    return {"cpu": str(cpus), "memory": f"{int(memory * 1024)}Mi", "pods": str(pods), "ephemeral-storage": "80Gi"}


class LoadBalancers:
    """A Service of type LoadBalancer gets a classic load balancer, as the controller in EKS's control plane makes it;
    the Service stays, held by a finalizer, until that is gone."""

    FINALIZER = "service.kubernetes.io/load-balancer-cleanup"

    def __init__(self, api, cloud, cluster):
        self.api, self.cloud, self.cluster = api, cloud, cluster
        self.names, self.told = {}, set()

    def step(self):
        for service in self.api.items("/api/v1/services"):
            metadata = service["metadata"]
            held = self.FINALIZER in metadata.get("finalizers", [])
            wanted = self._wanted(service) and "deletionTimestamp" not in metadata
            if not held and not wanted:
                continue
            path = f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}"
            try:
                if wanted:
                    self._ensure(path, service, held)
                else:
                    self._free(path, service)
            except (ApiError, OSError, http.client.HTTPException):
                raise
            except Exception as error:  # What AWS refuses, its controller tells as an event, and tries again.
                self._tell(service, error)

    @staticmethod
    def _wanted(service):
        # Another class, or this annotation, leaves it to a controller that is not part of EKS.
        kind = (service["metadata"].get("annotations") or {}).get("service.beta.kubernetes.io/aws-load-balancer-type")
        spec = service["spec"]
        return spec["type"] == "LoadBalancer" and not spec.get("loadBalancerClass") and kind not in ("external", "nlb-ip")

    def _ensure(self, path, service, held):
        metadata, uid = service["metadata"], service["metadata"]["uid"]
        if not held:
            finalizers = [*metadata.get("finalizers", []), self.FINALIZER]
            self.api.merge(path, {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}})
        if uid not in self.names:
            self.names[uid] = self.cloud.create_load_balancer(self.cluster, metadata["namespace"], metadata["name"], uid)
        if not service.get("status", {}).get("loadBalancer", {}).get("ingress") and self.cloud.load_balancer_ready(uid):
            self._status(path, [{"hostname": self.names[uid]}])

    def _free(self, path, service):
        metadata = service["metadata"]
        self.cloud.delete_load_balancer(metadata["uid"])
        self.names.pop(metadata["uid"], None)
        if "deletionTimestamp" not in metadata:
            self._status(path, [])
        finalizers = [name for name in metadata["finalizers"] if name != self.FINALIZER]
        self.api.merge(path, {"metadata": {"finalizers": finalizers}})

    def _status(self, path, ingress):
        self.api.merge(f"{path}/status", {"status": {"loadBalancer": {"ingress": ingress}}})

    def _tell(self, service, error):
        LOG.warning("%s: service %s: %s", self.cluster, service["metadata"]["name"], error)
        at, message = service["metadata"], f"Error syncing load balancer: {error}"
        if (at["uid"], message) in self.told:
            return
        self.told.add((at["uid"], message))
        now = datetime.datetime.now(datetime.UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.api.create({
            "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "SyncLoadBalancerFailed", "message": message,
            "metadata": {"name": f"{at['name']}.{int(now.timestamp() * 1e6):x}", "namespace": at["namespace"]},
            "involvedObject": {
                "apiVersion": "v1", "kind": "Service", "name": at["name"], "namespace": at["namespace"], "uid": at["uid"],
            },
            "source": {"component": "service-controller"}, "firstTimestamp": stamp, "lastTimestamp": stamp, "count": 1,
        })


class Budgets:
    """Tells the account whether a PodDisruptionBudget would hold up a drain of all nodes: one that keeps some of the
    pods it protects, where such pods run. (Once a drain has moved as many as it allows, nothing else has room for them.)"""

    def __init__(self, api, cloud, cluster):
        self.api, self.cloud, self.cluster = api, cloud, cluster
        self.blocked = None

    def step(self):
        blocked = self.block()
        if blocked != self.blocked:
            self.cloud.pdb_blocks(self.cluster, blocked)
            self.blocked = blocked

    def block(self):
        budgets = self.api.call("GET", "/apis/policy/v1/poddisruptionbudgets")["items"]
        states = [budget.get("status", {}) for budget in budgets]
        return any(state.get("desiredHealthy", 0) > 0 and state.get("currentHealthy", 0) > 0 for state in states)
