"""The EBS CSI driver of a cluster of the double: claims get volumes of the account, which go with them.

Like the real one it works only while the add-on is there and its controller runs: claims that are deleted later leave
their volumes behind.
"""

import math
import re

DRIVER = "ebs.csi.aws.com"
CLAIM = "volume.kubernetes.io/storage-provisioner"
NODE = "volume.kubernetes.io/selected-node"
MADE_BY = "pv.kubernetes.io/provisioned-by"
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
PROTECTION = "kubernetes.io/pv-protection"
UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class Volumes:
    """Which claims are its own the controller manager says (an annotation); binding and protection are its work, too."""

    def __init__(self, api, cloud, cluster):
        self.api, self.cloud, self.cluster = api, cloud, cluster
        self.made = {}  # claim's uid → volume

    def step(self):
        if "aws-ebs-csi-driver" not in self.cloud.addons(self.cluster):
            return
        controller = self.api.find("/apis/apps/v1/namespaces/kube-system/deployments/ebs-csi-controller")
        if not (controller or {}).get("status", {}).get("availableReplicas"):
            return
        for claim in self.api.items("/api/v1/persistentvolumeclaims"):
            metadata = claim["metadata"]
            ours = (metadata.get("annotations") or {}).get(CLAIM) == DRIVER
            if ours and not claim["spec"].get("volumeName") and "deletionTimestamp" not in metadata:
                self._provision(claim)
        for volume in self.api.items("/api/v1/persistentvolumes"):
            if (volume["metadata"].get("annotations") or {}).get(MADE_BY) == DRIVER:
                self._reclaim(volume)

    def _provision(self, claim):
        metadata, uid = claim["metadata"], claim["metadata"]["uid"]
        storage = self.api.find(f"/apis/storage.k8s.io/v1/storageclasses/{claim['spec'].get('storageClassName')}")
        zone = self._zone(claim, storage) if storage else None
        if not zone:
            return
        gib = max(1, math.ceil(size(claim["spec"]["resources"]["requests"]["storage"]) / 2**30))
        if uid not in self.made:
            self.made[uid] = self.cloud.create_volume(self.cluster, metadata["namespace"], metadata["name"], zone, gib)
        reclaim = storage.get("reclaimPolicy") or "Delete"
        self.api.create({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {
                "name": f"pvc-{uid}", "annotations": {MADE_BY: DRIVER},
                "finalizers": [PROTECTION] + ([FINALIZER] if reclaim == "Delete" else []),
            },
            "spec": {
                "capacity": {"storage": f"{gib}Gi"},
                "accessModes": claim["spec"]["accessModes"],
                "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
                "persistentVolumeReclaimPolicy": reclaim,
                "storageClassName": claim["spec"]["storageClassName"],
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "uid": uid,
                    "namespace": metadata["namespace"], "name": metadata["name"],
                },
                "csi": {"driver": DRIVER, "volumeHandle": self.made[uid], "fsType": "ext4"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]},
                ]}]}},
            },
        })

    def _zone(self, claim, storage):
        """Where the volume has to be; None where that is not known yet."""
        name = (claim["metadata"].get("annotations") or {}).get(NODE)
        if name:
            node = self.api.find(f"/api/v1/nodes/{name}")
            if node:
                return node["metadata"]["labels"].get("topology.kubernetes.io/zone")
            # The node went meanwhile: the scheduler shall choose another.
            at = claim["metadata"]
            path = f"/api/v1/namespaces/{at['namespace']}/persistentvolumeclaims/{at['name']}"
            self.api.merge(path, {"metadata": {"annotations": {NODE: None}}})
            return None
        if storage.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        zones = sorted(instance["zone"] for instance in self.cloud.nodes(self.cluster))
        allowed = [
            value
            for topology in storage.get("allowedTopologies") or []
            for rule in topology.get("matchLabelExpressions") or []
            for value in rule["values"]
        ]
        return next((zone for zone in zones if not allowed or zone in allowed), None)

    def _reclaim(self, volume):
        metadata, spec = volume["metadata"], volume["spec"]
        path = f"/api/v1/persistentvolumes/{metadata['name']}"
        if "deletionTimestamp" not in metadata:
            released = volume.get("status", {}).get("phase") == "Released"
            if released and spec["persistentVolumeReclaimPolicy"] == "Delete":
                self.api.delete(path)
        elif metadata.get("finalizers") == [FINALIZER]:
            # It is deleted, and no claim uses it any more: its protection went first.
            if spec["persistentVolumeReclaimPolicy"] == "Delete":
                self.cloud.delete_volume(spec["csi"]["volumeHandle"])
            self.made.pop(spec["claimRef"]["uid"], None)
            self.api.merge(path, {"metadata": {"finalizers": []}})


def size(quantity):
    """Bytes of a Kubernetes quantity such as 10Gi."""
    number, unit = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([kKMGT]?i?)", str(quantity)).groups()
    return float(number) * UNITS[unit]
