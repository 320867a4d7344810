"""EKS add-ons, their versions and configuration, and pod identity associations."""
import json
import uuid

import iam
from account import utcnow
from eks import Eks, arn, invalid, missing, once
from hooks import implements
from wire import ACCOUNT, Refused

POLICY = "arn:aws:iam::aws:policy/"
# name: (versions, newest first, type, service account and recommended policy for pod identity, needs nodes to be healthy)
CATALOGUE = {
    "aws-ebs-csi-driver": (["v1.53.0-eksbuild.1", "v1.52.1-eksbuild.1"], "storage", ("ebs-csi-controller-sa", "service-role/AmazonEBSCSIDriverPolicy"), True),
    "coredns": (["v1.12.4-eksbuild.1", "v1.12.3-eksbuild.1"], "networking", None, True),
    "eks-pod-identity-agent": (["v1.3.9-eksbuild.3", "v1.3.8-eksbuild.2"], "security", None, False),
    "kube-proxy": (["v1.34.0-eksbuild.4", "v1.34.0-eksbuild.2"], "networking", None, False),
    "metrics-server": (["v0.8.0-eksbuild.2", "v0.7.2-eksbuild.4"], "observability", None, True),
    "snapshot-controller": (["v8.3.0-eksbuild.1"], "storage", None, True),
    "vpc-cni": (["v1.20.4-eksbuild.1", "v1.20.3-eksbuild.1"], "networking", ("aws-node", "AmazonEKS_CNI_Policy"), False),
}


class Addon:
    """One add-on; `data` is what DescribeAddon says of it."""

    def __init__(self, cluster, data):
        self.cluster, self.data = cluster, data

    def healthy(self):
        """What the add-on's status is when nothing is being done to it, and what ails it."""
        name, account = self.data["addonName"], self.cluster.account
        ailing = account.settings["addonDegraded"]
        if name in ailing:
            code = ailing[name] if isinstance(ailing, dict) else "InsufficientNumberOfReplicas"
            return "DEGRADED", code, "The add-on is unhealthy: the settings say so."
        if CATALOGUE[name][3] and not any(group.instances for group in self.cluster.nodegroups.values()):
            return "DEGRADED", "InsufficientNumberOfReplicas", "The add-on is unhealthy because it doesn't have the desired number of replicas."
        return "ACTIVE", None, None

    def settle(self):
        """Brings the status up to date with the nodes there are."""
        if self.data["status"] in ("ACTIVE", "DEGRADED"):
            self.data["status"], code, message = self.healthy()
            self.data["health"] = {"issues": [{"code": code, "message": message, "resourceIds": []}] if code else []}
        return self.data


def addon_of(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["clusterName"])
    name = call.parameters["addonName"]
    if name not in cluster.addons:
        raise missing("addon", name, clusterName=cluster.name, addonName=name)
    return cluster, cluster.addons[name]


def version_of(name, wanted):
    """The version wanted, the newest without a wish."""
    if name not in CATALOGUE:
        raise invalid(f"Addon {name} specified is not supported", addonName=name)
    versions = CATALOGUE[name][0]
    if wanted is not None and wanted not in versions:
        raise invalid(f"Addon version specified is not supported: {wanted}", addonName=name)
    return wanted or versions[0]


def configuration(text):
    """Refuses configuration values that are not a JSON object (YAML is not read here)."""
    if text:
        try:
            if isinstance(json.loads(text), dict):
                return
        except ValueError:
            pass
        raise invalid("ConfigurationValue is not in valid JSON format")


@implements("eks", "CreateAddon")
def create_addon(account, call):
    p = call.parameters
    cluster, name = account.part(Eks, call.region).cluster(p["clusterName"]), p["addonName"]

    def make(_token):
        if name in cluster.addons:
            raise Refused("ResourceInUseException", "Addon already exists.", 409, clusterName=cluster.name, addonName=name)
        cluster.active("an add-on")
        version = version_of(name, p.get("addonVersion"))
        configuration(p.get("configurationValues"))
        data = {
            "addonName": name, "clusterName": cluster.name, "status": "CREATING", "addonVersion": version, "health": {"issues": []},
            "addonArn": arn(call.region, "addon", f"{cluster.name}/{name}/{uuid.uuid4()}"), "createdAt": utcnow(), "modifiedAt": utcnow(),
            "tags": p.get("tags", {}), "publisher": "eks", "owner": "aws", "podIdentityAssociations": [],
            **{key: p[key] for key in ("configurationValues", "serviceAccountRoleArn") if key in p}}
        wanted = p.get("podIdentityAssociations", [])
        for one in wanted:
            iam.assumable(account, one["roleArn"], "pods.eks.amazonaws.com", [])
        cluster.addons[name] = Addon(cluster, data)
        for one in wanted:
            made = associate(cluster, "kube-system", one["serviceAccount"], one["roleArn"], {}, data["addonArn"])
            data["podIdentityAssociations"].append(made["associationArn"])

        def over():
            if data["status"] == "CREATING":
                data["status"] = "ACTIVE"
        account.later("addon", over)
        return name, {"addon": dict(data)}

    return once(account, call, make, lambda key: {"addon": cluster.addons[key].settle()} if key in cluster.addons else None)


@implements("eks", "DescribeAddon")
def describe_addon(account, call):
    return {"addon": addon_of(account, call)[1].settle()}


@implements("eks", "ListAddons")
def list_addons(account, call):
    return {"addons": sorted(account.part(Eks, call.region).cluster(call.parameters["clusterName"]).addons)}


@implements("eks", "UpdateAddon")
def update_addon(account, call):
    cluster, addon = addon_of(account, call)
    p, data = call.parameters, addon.data
    if data["status"] not in ("ACTIVE", "DEGRADED", "UPDATE_FAILED"):
        raise Refused("ResourceInUseException", f"The add-on is {data['status']}", 409, clusterName=cluster.name, addonName=data["addonName"])
    version = version_of(data["addonName"], p.get("addonVersion", data["addonVersion"]))
    configuration(p.get("configurationValues"))
    if "podIdentityAssociations" in p:
        for key in [k for k, a in cluster.associations.items() if a.get("ownerArn") == data["addonArn"]]:
            del cluster.associations[key]
        data["podIdentityAssociations"] = [associate(cluster, "kube-system", one["serviceAccount"], one["roleArn"], {}, data["addonArn"])["associationArn"]
                                           for one in p["podIdentityAssociations"]]

    def over():
        data.update({key: p[key] for key in ("configurationValues", "serviceAccountRoleArn") if key in p}, addonVersion=version, modifiedAt=utcnow())
    return cluster.update("AddonUpdate", {"AddonVersion": version}, "addon", over, ("addonName", data["addonName"]), data)


@implements("eks", "DeleteAddon")
def delete_addon(account, call):
    cluster, addon = addon_of(account, call)
    data = addon.data
    if data["status"] != "DELETING":
        data["status"] = "DELETING"

        def gone():
            cluster.addons.pop(data["addonName"], None)
            for key in [k for k, a in cluster.associations.items() if a.get("ownerArn") == data["addonArn"]]:
                del cluster.associations[key]
        account.later("addonDelete", gone)
    return {"addon": dict(data)}


@implements("eks", "DescribeAddonVersions")
def describe_addon_versions(account, call):
    wanted, version = call.parameters.get("addonName"), call.parameters.get("kubernetesVersion")
    if version and version not in account.settings["versions"]:
        raise invalid(f"unsupported Kubernetes version: {version}")
    if wanted and wanted not in CATALOGUE:
        raise missing("addon", wanted, addonName=wanted)
    clusters = [version] if version else account.settings["versions"]
    return {"addons": [{
        "addonName": name, "type": kind, "publisher": "eks", "owner": "aws", "addonVersions": [{
            "addonVersion": one, "architecture": ["amd64", "arm64"], "computeTypes": ["ec2"], "requiresConfiguration": False, "requiresIamPermissions": bool(pod),
            "compatibilities": [{"clusterVersion": c, "platformVersions": ["*"], "defaultVersion": one == versions[0]} for c in clusters]} for one in versions]}
        for name, (versions, kind, pod, _) in sorted(CATALOGUE.items()) if wanted in (None, name)]}


@implements("eks", "DescribeAddonConfiguration")
def describe_addon_configuration(_account, call):
    name = call.parameters["addonName"]
    version = version_of(name, call.parameters.get("addonVersion"))
    pod = CATALOGUE[name][2]
    schema = {"$schema": "http://json-schema.org/draft-06/schema#", "title": name, "type": "object", "additionalProperties": True}
    return {"addonName": name, "addonVersion": version, "configurationSchema": json.dumps(schema),
            "podIdentityConfiguration": [{"serviceAccount": pod[0], "recommendedManagedPolicies": [POLICY + pod[1]]}] if pod else []}


def associate(cluster, namespace, service_account, role, tags, owner=None):
    """Makes a pod identity association; one service account has one at most."""
    if any((a["namespace"], a["serviceAccount"]) == (namespace, service_account) for a in cluster.associations.values()):
        raise Refused("ResourceInUseException", f"Association already exists for service account {service_account} in namespace {namespace}", 409, clusterName=cluster.name)
    identity = "a-" + uuid.uuid4().hex[:17]
    cluster.associations[identity] = data = {
        "clusterName": cluster.name, "namespace": namespace, "serviceAccount": service_account, "roleArn": role, "tags": tags, "associationId": identity,
        "associationArn": f"arn:aws:eks:{cluster.region}:{ACCOUNT}:podidentityassociation/{cluster.name}/{identity}", "createdAt": utcnow(), "modifiedAt": utcnow(),
        **({"ownerArn": owner} if owner else {})}
    return data


@implements("eks", "CreatePodIdentityAssociation")
def create_pod_identity_association(account, call):
    p = call.parameters
    cluster = account.part(Eks, call.region).cluster(p["clusterName"])

    def make(_token):
        iam.assumable(account, p["roleArn"], "pods.eks.amazonaws.com", [])
        made = associate(cluster, p["namespace"], p["serviceAccount"], p["roleArn"], p.get("tags", {}))
        return made["associationId"], {"association": made}

    return once(account, call, make, lambda key: {"association": cluster.associations[key]} if key in cluster.associations else None)


def association_of(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["clusterName"])
    identity = call.parameters["associationId"]
    if identity not in cluster.associations:
        raise Refused("ResourceNotFoundException", f"No association found for id: {identity}", 404, clusterName=cluster.name)
    return cluster, cluster.associations[identity]


@implements("eks", "DescribePodIdentityAssociation")
def describe_pod_identity_association(account, call):
    return {"association": association_of(account, call)[1]}


@implements("eks", "ListPodIdentityAssociations")
def list_pod_identity_associations(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["clusterName"])
    wanted = {key: call.parameters[key] for key in ("namespace", "serviceAccount") if key in call.parameters}
    return {"associations": [a for a in cluster.associations.values() if all(a[key] == value for key, value in wanted.items())]}


@implements("eks", "UpdatePodIdentityAssociation")
def update_pod_identity_association(account, call):
    _, data = association_of(account, call)
    if "roleArn" in call.parameters:
        iam.assumable(account, call.parameters["roleArn"], "pods.eks.amazonaws.com", [])
        data |= {"roleArn": call.parameters["roleArn"], "modifiedAt": utcnow()}
    return {"association": data}


@implements("eks", "DeletePodIdentityAssociation")
def delete_pod_identity_association(account, call):
    cluster, data = association_of(account, call)
    if data.get("ownerArn"):
        raise Refused("InvalidRequestException", f"The association {data['associationId']} belongs to {data['ownerArn']}", 400, clusterName=cluster.name)
    return {"association": cluster.associations.pop(data["associationId"])}
