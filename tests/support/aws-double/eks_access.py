"""Who may talk to a cluster's API: access entries and their policies; and tags of everything EKS has."""
import uuid
from urllib.parse import unquote

import iam
from account import OWNER, utcnow
from eks import Eks, invalid, once
from hooks import implements
from wire import ACCOUNT, Refused

POLICY = "arn:aws:eks::aws:cluster-access-policy/"
# Names of the policies for people and for nodes (user guide, "Review access policy permissions").
POLICIES = ["AmazonEKSAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSClusterAdminPolicy", "AmazonEKSEditPolicy", "AmazonEKSViewPolicy",
            "AmazonEKSAutoNodePolicy", "AmazonEKSBlockStoragePolicy", "AmazonEKSClusterInsightsPolicy", "AmazonEKSComputePolicy",
            "AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy"]
TYPES = {"STANDARD": [], "EC2_LINUX": ["system:nodes"], "EC2_WINDOWS": ["system:nodes", "eks:kube-proxy-windows"], "EC2": [],
         "FARGATE_LINUX": ["system:nodes"], "HYBRID_LINUX": ["system:nodes"], "HYPERPOD_LINUX": []}


class Entry:
    """One access entry; `data` is what DescribeAccessEntry says of it."""

    def __init__(self, cluster, principal, kind="STANDARD", username=None, groups=(), tags=None):
        account_part, name = principal.split(":")[4], principal.split("/")[-1]
        role = ":role/" in principal
        default = f"arn:aws:sts::{account_part}:assumed-role/{name}/{{{{SessionName}}}}" if role else principal
        self.account, self.policies = cluster.account, {}
        self.ready_at = cluster.account.now() + cluster.account.seconds("accessSpread")
        self.data = {
            "clusterName": cluster.name, "principalArn": principal, "kubernetesGroups": [*groups, *TYPES[kind]], "type": kind,
            "username": username or ("system:node:{{EC2PrivateDNSName}}" if kind.startswith("EC2_") else default), "tags": tags or {},
            "createdAt": utcnow(), "modifiedAt": utcnow(),
            "accessEntryArn": f"{cluster.data['arn'].replace(':cluster/', ':access-entry/')}/{'role' if role else 'user'}/{ACCOUNT}/{name}/{uuid.uuid4()}"}
        cluster.entries[principal] = self

    def spread(self):
        """Whether the API servers know of the entry by now."""
        return self.account.now() >= self.ready_at

    def groups(self):
        """Groups that the policies stand for: the administrator's is `system:masters`, the others give nothing here."""
        return ["system:masters"] if POLICY + "AmazonEKSClusterAdminPolicy" in self.policies else []


def admit(cluster, principal):
    """Makes somebody administrator, as CreateCluster does with its caller."""
    found = iam_arn(principal)
    Entry(cluster, found).policies[POLICY + "AmazonEKSClusterAdminPolicy"] = association(POLICY + "AmazonEKSClusterAdminPolicy", {"type": "cluster", "namespaces": []})


def iam_arn(principal):
    """The role of a session, or the principal itself."""
    return iam.role_arn(principal.split("/")[1]) if ":assumed-role/" in principal else principal


def association(policy, scope):
    return {"policyArn": policy, "accessScope": {"namespaces": [], **scope}, "associatedAt": utcnow(), "modifiedAt": utcnow()}


def entry_of(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["clusterName"])
    principal = unquote(call.parameters["principalArn"])
    if principal not in cluster.entries:
        raise Refused("ResourceNotFoundException", f"The specified principalArn could not be found: {principal}", 404, clusterName=cluster.name)
    return cluster, cluster.entries[principal]


def modes(cluster):
    """Refuses access entries where the cluster does not use them."""
    if cluster.data["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
        raise Refused("InvalidRequestException", "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.", 400, clusterName=cluster.name)


@implements("eks", "CreateAccessEntry")
def create_access_entry(account, call):
    p = call.parameters
    cluster = account.part(Eks, call.region).cluster(p["clusterName"])
    principal, kind = p["principalArn"], p.get("type", "STANDARD")

    def make(_token):
        cluster.active("an access entry")
        modes(cluster)
        if principal in cluster.entries:
            raise Refused("ResourceInUseException", "The specified access entry resource is already in use on this cluster.", 409, clusterName=cluster.name)
        if kind not in TYPES:
            raise invalid(f"The specified type is not supported: {kind}", clusterName=cluster.name)
        if kind != "STANDARD" and (p.get("username") or p.get("kubernetesGroups")):
            raise invalid("The username and groups of an access entry can be set for type STANDARD only.", clusterName=cluster.name)
        if any(group.startswith("system:") for group in p.get("kubernetesGroups", [])):
            raise invalid("The specified kubernetesGroups is invalid: a group cannot begin with system:", clusterName=cluster.name)
        known(account, call.region, principal)
        entry = Entry(cluster, principal, kind, p.get("username"), p.get("kubernetesGroups", []), p.get("tags"))
        return principal, {"accessEntry": entry.data}

    return once(account, call, make, lambda key: {"accessEntry": cluster.entries[key].data} if key in cluster.entries else None)


def known(account, region, principal):
    """Refuses a principal that IAM does not have, or that is a session."""
    wrong = invalid("The specified principalArn is invalid: invalid principal.")
    if principal == OWNER:
        return
    kind, _, name = principal.split(":", 5)[-1].partition("/")
    operations = {"role": ("GetRole", "RoleName"), "user": ("GetUser", "UserName")}
    if kind not in operations or not principal.startswith("arn:aws:iam::"):
        raise wrong
    operation, member = operations[kind]
    try:
        found = account.do("iam", operation, region, **{member: name.split("/")[-1]})[operation[3:]]
    except Refused:
        raise wrong from None
    if found["Arn"] != principal:
        raise wrong


@implements("eks", "DescribeAccessEntry")
def describe_access_entry(account, call):
    return {"accessEntry": entry_of(account, call)[1].data}


@implements("eks", "ListAccessEntries")
def list_access_entries(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["clusterName"])
    modes(cluster)
    policy = call.parameters.get("associatedPolicyArn")
    return {"accessEntries": sorted(key for key, entry in cluster.entries.items() if policy is None or policy in entry.policies)}


@implements("eks", "UpdateAccessEntry")
def update_access_entry(account, call):
    cluster, entry = entry_of(account, call)
    if entry.data["type"] != "STANDARD":
        raise invalid(f"An access entry of type {entry.data['type']} cannot be updated.", clusterName=cluster.name)
    entry.data |= {key: call.parameters[key] for key in ("kubernetesGroups", "username") if key in call.parameters}
    entry.data["modifiedAt"] = utcnow()
    return {"accessEntry": entry.data}


@implements("eks", "DeleteAccessEntry")
def delete_access_entry(account, call):
    cluster, entry = entry_of(account, call)
    del cluster.entries[entry.data["principalArn"]]


@implements("eks", "AssociateAccessPolicy")
def associate_access_policy(account, call):
    cluster, entry = entry_of(account, call)
    policy, scope = call.parameters["policyArn"], call.parameters["accessScope"]
    if policy not in {POLICY + name for name in POLICIES}:
        raise invalid(f"The policyArn parameter format is not valid or the policy does not exist: {policy}", clusterName=cluster.name)
    if scope.get("type") not in ("cluster", "namespace") or (scope["type"] == "namespace") != bool(scope.get("namespaces")):
        raise invalid("The accessScope must be cluster without namespaces, or namespace with namespaces.", clusterName=cluster.name)
    if entry.data["type"].startswith("EC2_"):
        raise Refused("InvalidRequestException", f"Access policies cannot be associated with an access entry of type {entry.data['type']}.", 400, clusterName=cluster.name)
    made = association(policy, scope)
    if policy in entry.policies:
        made["associatedAt"] = entry.policies[policy]["associatedAt"]
    entry.policies[policy] = made
    return {"clusterName": cluster.name, "principalArn": entry.data["principalArn"], "associatedAccessPolicy": made}


@implements("eks", "DisassociateAccessPolicy")
def disassociate_access_policy(account, call):
    cluster, entry = entry_of(account, call)
    if entry.policies.pop(unquote(call.parameters["policyArn"]), None) is None:
        raise Refused("ResourceNotFoundException", "The specified access policy is not associated.", 404, clusterName=cluster.name)


@implements("eks", "ListAssociatedAccessPolicies")
def list_associated_access_policies(account, call):
    cluster, entry = entry_of(account, call)
    return {"clusterName": cluster.name, "principalArn": entry.data["principalArn"], "associatedAccessPolicies": list(entry.policies.values())}


@implements("eks", "ListAccessPolicies")
def list_access_policies(_account, _call):
    return {"accessPolicies": [{"name": name, "arn": POLICY + name} for name in POLICIES]}


def tagged(account, call):
    """The tags of the resource that a call names, to be read or changed in place."""
    wanted = unquote(call.parameters["resourceArn"])
    for cluster in account.part(Eks, call.region).clusters.values():
        things = [(cluster.data, "arn"), *((g.data, "nodegroupArn") for g in cluster.nodegroups.values()),
                  *((a.data, "addonArn") for a in cluster.addons.values()), *((e.data, "accessEntryArn") for e in cluster.entries.values()),
                  *((a, "associationArn") for a in cluster.associations.values())]
        for data, key in things:
            if data[key] == wanted:
                return data["tags"]
    raise Refused("NotFoundException", f"Resource was not found: {wanted}", 404)


@implements("eks", "TagResource")
def tag_resource(account, call):
    tagged(account, call).update(call.parameters["tags"])


@implements("eks", "UntagResource")
def untag_resource(account, call):
    tags = tagged(account, call)
    for key in call.parameters["tagKeys"]:
        tags.pop(key, None)


@implements("eks", "ListTagsForResource")
def list_tags_for_resource(account, call):
    return {"tags": tagged(account, call)}
