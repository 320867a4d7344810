"""EKS clusters: their life by the clock, what they make in EC2, updates, versions.

Node groups, add-ons and access entries stand in eks_nodegroups.py, eks_addons.py and eks_access.py.
"""
import logging
import re
import threading
import uuid
from datetime import datetime, timedelta

import iam
from account import utcnow
from ec2 import States
from hooks import implements
from wire import ACCOUNT, Refused

log = logging.getLogger("double.eks")
ROLE_POLICIES = ["AmazonEKSClusterPolicy"]
# What CreateCluster sets where the caller does not (API reference of CreateCluster).
VPC_DEFAULTS = {"endpointPublicAccess": True, "endpointPrivateAccess": False, "publicAccessCidrs": ["0.0.0.0/0"], "securityGroupIds": []}
LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
UPDATES = {"resourcesVpcConfig": "EndpointAccessUpdate", "logging": "LoggingUpdate", "accessConfig": "AccessConfigUpdate",
           "upgradePolicy": "UpgradePolicyUpdate", "zonalShiftConfig": "ZonalShiftConfigUpdate",
           "deletionProtection": "DeletionProtectionUpdate", "controlPlaneScalingConfig": "ControlPlaneScalingConfigUpdate"}


def missing(kind, name, **members):
    """The refusal of a name that does not exist."""
    return Refused("ResourceNotFoundException", f"No {kind} found for name: {name}.", 404, **members)


def invalid(message, **members):
    return Refused("InvalidParameterException", message, 400, **members)


def arn(region, kind, path):
    return f"arn:aws:eks:{region}:{ACCOUNT}:{kind}/{path}"


def once(account, call, make, find):
    """Result of `make()`, or of `find()` when the same token made it before and it still exists."""
    token = call.parameters.pop("clientRequestToken", None) or str(uuid.uuid4())
    key = (call.region, call.name, token)
    if key in account.tokens:
        parameters, name = account.tokens[key]
        found = find(name)
        if found is not None:
            if parameters != call.parameters:
                raise invalid(f"The client request token {token} was used with other parameters before.")
            return found
    parameters = dict(call.parameters)
    name, result = make(token)
    account.tokens[key] = (parameters, name)
    return result


class Eks:
    """EKS of one region."""

    def __init__(self, account, region):
        self.account, self.region, self.clusters = account, region, {}

    def cluster(self, name):
        if name not in self.clusters:
            raise missing("cluster", name, clusterName=name)
        return self.clusters[name]


class Cluster:
    """One cluster; `data` is what DescribeCluster says of it."""

    def __init__(self, eks, data):
        self.eks, self.account, self.region, self.data = eks, eks.account, eks.region, data
        self.name = data["name"]
        self.nodegroups, self.addons, self.entries, self.associations, self.updates = {}, {}, {}, {}, {}
        self.interfaces, self.plane, self.controllers, self.failure = [], None, None, None
        self.drain_blocked = False

    def ec2(self, name, **parameters):
        """What EKS itself does in the caller's EC2."""
        return self.account.do("ec2", name, self.region, **parameters)

    def begin(self, subnets):
        """Makes the security group, the control plane's interfaces and, with programs, the API server."""
        tags = [{"Key": "aws:eks:cluster-name", "Value": self.name}, {"Key": f"kubernetes.io/cluster/{self.name}", "Value": "owned"},
                {"Key": "Name", "Value": f"eks-cluster-sg-{self.name}"}]
        vpc = subnets[0]["VpcId"]
        group = self.account.moto_do("ec2", "CreateSecurityGroup", self.region, VpcId=vpc, GroupName=f"eks-cluster-sg-{self.name}-{uuid.uuid4().int % 10**10}",
                                     Description="EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as any managed workloads.")["GroupId"]
        self.account.moto_do("ec2", "CreateTags", self.region, Resources=[group], Tags=tags)
        self.data["resourcesVpcConfig"] |= {"vpcId": vpc, "clusterSecurityGroupId": group}
        one_a_zone = {subnet["AvailabilityZone"]: subnet for subnet in subnets}
        for subnet in list(one_a_zone.values())[:2]:
            self.interfaces.append(self.account.part(States, self.region).interface(subnet["SubnetId"], [group], f"Amazon EKS {self.name}"))
        if self.account.programs:
            threading.Thread(target=self.start_plane, daemon=True).start()
        self.account.later("cluster", self.activate)

    def start_plane(self):
        """Starts the API server, without the lock: it takes seconds."""
        from cloud import Cloud
        from cluster import ControlPlane
        from controllers import Controllers
        try:
            url = f"{self.account.url}/_double/token-review/{self.region}/{self.name}"
            plane = ControlPlane(self.account.folder, self.account.programs, f"{self.region}-{self.name}", url, self.data["version"])
            plane.start()
            with self.account.lock:
                cloud = self.account.part(Cloud, self.region)
                alive = self.eks.clusters.get(self.name) is self
                self.plane = plane
            if not alive:
                plane.stop()
                return
            self.controllers = Controllers(plane, cloud, self.name)
            self.controllers.start()
        except Exception as error:
            log.exception("the API server of %s", self.name)
            self.failure = f"{type(error).__name__}: {error}"

    def activate(self):
        """CREATING is over."""
        if self.data["status"] != "CREATING":
            return
        if self.failure or self.account.settings["clusterFails"]:
            self.data["status"] = "FAILED"
            self.data["health"] = {"issues": [{"code": "InternalFailure", "message": self.failure or "the settings say so", "resourceIds": []}]}
            return
        if self.account.programs and self.controllers is None:
            self.account.soon(self.activate)
            return
        from gate import address
        endpoint, authority = address(self)
        self.data |= {"status": "ACTIVE", "endpoint": endpoint, "certificateAuthority": {"data": authority}}
        self.write_logs()

    def write_logs(self):
        """A cluster that logs makes its log group where there is none, at its end too."""
        if any(kind["enabled"] for kind in self.data["logging"]["clusterLogging"]):
            name = f"/aws/eks/{self.name}/cluster"
            try:
                self.account.moto_do("logs", "CreateLogGroup", self.region, logGroupName=name)
            except Refused as refused:
                if refused.code != "ResourceAlreadyExistsException":
                    raise

    def active(self, what):
        """Refuses what only a cluster that is ACTIVE can have."""
        if self.data["status"] != "ACTIVE":
            raise Refused("InvalidRequestException", f"Cluster '{self.name}' is not in ACTIVE status, {what} needs it to be.", 400, clusterName=self.name)

    def update(self, kind, parameters, duration, done, of=None, target=None):
        """An update in progress: `target` (or the cluster) is UPDATING until the duration is over, then `done()` is called.

        One that fails changes nothing, and leaves the target as active as it was: only DescribeUpdate tells.
        """
        target = self.data if target is None else target
        entry = {"id": str(uuid.uuid4()), "status": "InProgress", "type": kind, "createdAt": utcnow(), "errors": [],
                 "params": [{"type": key, "value": str(value)} for key, value in parameters.items()]}
        self.updates[entry["id"]] = (of, entry)
        target["status"] = "UPDATING"

        def over():
            code = self.account.settings["updateFails"]
            if code:
                entry.update(status="Failed", errors=[{"errorCode": code, "errorMessage": "the settings say so", "resourceIds": []}])
            else:
                done()
                entry["status"] = "Successful"
            if target["status"] == "UPDATING":
                target["status"] = "ACTIVE"
        self.account.later(duration, over)
        return {"update": entry}

    def end(self):
        """DELETING is over: what the cluster made goes, unless somebody else holds on to it."""
        from gate import close
        del self.eks.clusters[self.name]
        for interface in self.interfaces:
            self.account.part(States, self.region).drop(interface)
        try:
            self.ec2("DeleteSecurityGroup", GroupId=self.data["resourcesVpcConfig"]["clusterSecurityGroupId"])
        except Refused as refused:
            log.info("%s leaves its security group: %s", self.name, refused)
        self.write_logs()
        close(self)
        threading.Thread(target=self.stop_plane).start()

    def stop_plane(self):
        """Ends the controllers and the API server, without the lock."""
        for part in (self.controllers, self.plane):
            if part is not None:
                part.stop()

    def entry_for(self, principal):
        """The access entry of a caller, or None; an assumed role's is that of the role."""
        found = re.fullmatch(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.+", principal)
        for key, entry in self.entries.items():
            same = key == principal or (found and key.startswith(f"arn:aws:iam::{found[1]}:role/") and key.split("/")[-1] == found[2])
            if same and entry.spread():
                return entry
        return None


@implements("eks", "CreateCluster")
def create_cluster(account, call):
    eks, p = account.part(Eks, call.region), call.parameters
    name = p["name"]

    def make(token):
        if name in eks.clusters:
            raise Refused("ResourceInUseException", f"Cluster already exists with name: {name}", 409, clusterName=name)
        subnets = judge(account, eks, p)
        caller = account.principal(call.key)["arn"]
        given = p.get("accessConfig", {})
        access = {"authenticationMode": given.get("authenticationMode", "CONFIG_MAP")}
        network = {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": "ipv4", **p.get("kubernetesNetworkConfig", {})}
        version = p.get("version", account.settings["defaultVersion"])
        data = {
            "name": name, "arn": arn(call.region, "cluster", name), "createdAt": utcnow(), "version": version, "roleArn": p["roleArn"],
            "resourcesVpcConfig": {**VPC_DEFAULTS, **p["resourcesVpcConfig"]}, "kubernetesNetworkConfig": network,
            "logging": logs(p.get("logging")), "status": "CREATING", "platformVersion": "eks.1", "tags": p.get("tags", {}),
            "identity": {"oidc": {"issuer": f"https://oidc.eks.{call.region}.amazonaws.com/id/{uuid.uuid4().hex.upper()}"}},
            "encryptionConfig": p.get("encryptionConfig", []), "health": {"issues": []}, "accessConfig": access, "clientRequestToken": token,
            "upgradePolicy": {"supportType": "EXTENDED", **p.get("upgradePolicy", {})}, "deletionProtection": p.get("deletionProtection", False),
            "controlPlaneScalingConfig": {"tier": "standard", **p.get("controlPlaneScalingConfig", {})},
            **{key: p[key] for key in ("zonalShiftConfig", "computeConfig", "storageConfig") if key in p},
        }
        eks.clusters[name] = cluster = Cluster(eks, data)
        cluster.self_managed = p.get("bootstrapSelfManagedAddons", True)
        cluster.begin(subnets)
        iam.service_linked(account, "eks.amazonaws.com")
        if given.get("bootstrapClusterCreatorAdminPermissions", True) and access["authenticationMode"] != "CONFIG_MAP":
            from eks_access import admit
            admit(cluster, caller)
        return name, {"cluster": dict(data)}

    return once(account, call, make, lambda key: {"cluster": eks.clusters[key].data} if key in eks.clusters else None)


def logs(given):
    """The log types of a cluster, each said to be on or off."""
    enabled = {kind for setup in (given or {}).get("clusterLogging", []) if setup.get("enabled") for kind in setup.get("types", [])}
    on, off = [k for k in LOG_TYPES if k in enabled], [k for k in LOG_TYPES if k not in enabled]
    return {"clusterLogging": [{"types": types, "enabled": flag} for types, flag in ((on, True), (off, False)) if types]}


def judge(account, eks, p):
    """Subnets of a cluster to be, once everything that EKS checks is in order."""
    name = p["name"]
    if not re.fullmatch(r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}", name):
        raise invalid(f"The cluster name {name} is not valid: it must begin with a letter or digit and have at most 100 of letters, digits, - and _.")
    if len(eks.clusters) >= account.settings["quotas"]["clusters"]:
        raise Refused("ResourceLimitExceededException", f"Cluster limit exceeded: there are {len(eks.clusters)} clusters.", 400, clusterName=name)
    if p.get("version") and p["version"] not in account.settings["versions"]:
        raise invalid(f"unsupported Kubernetes version: {p['version']}", clusterName=name)
    auto = [p.get("computeConfig", {}).get("enabled"), p.get("storageConfig", {}).get("blockStorage", {}).get("enabled"),
            p.get("kubernetesNetworkConfig", {}).get("elasticLoadBalancing", {}).get("enabled")]
    if len({bool(one) for one in auto}) > 1:
        raise invalid("For EKS Auto Mode, please ensure that all required configs, including computeConfig, kubernetesNetworkConfig, and blockStorage are all either fully enabled or fully disabled.")
    network = p["resourcesVpcConfig"]
    if not network.get("endpointPublicAccess", True) and not network.get("endpointPrivateAccess", False):
        raise invalid("Private and public endpoint access cannot be false at the same time.")
    subnets = subnets_of(account, eks.region, network.get("subnetIds", []))
    if len({subnet["AvailabilityZone"] for subnet in subnets}) < 2:
        raise invalid("Subnets specified must be in at least two different AZs", clusterName=name)
    if len({subnet["VpcId"] for subnet in subnets}) > 1:
        raise invalid("Subnets specified must be in the same VPC", clusterName=name)
    without = account.settings["zonesWithoutEks"]
    bad = sorted({s["AvailabilityZone"] for s in subnets if s["AvailabilityZone"] in without or s["AvailabilityZoneId"] in without})
    if bad:
        zones = account.do("ec2", "DescribeAvailabilityZones", eks.region)["AvailabilityZones"]
        valid = sorted(z["ZoneName"] for z in zones if z["ZoneName"] not in without and z["ZoneId"] not in without)
        raise Refused("UnsupportedAvailabilityZoneException", f"Cannot create cluster '{name}' because {bad[0]}, the targeted availability zone, does not currently have sufficient capacity to support the cluster. Retry and choose from these availability zones: {', '.join(valid)}", 400, clusterName=name, validZones=valid)
    iam.assumable(account, p["roleArn"], "eks.amazonaws.com", ROLE_POLICIES)
    return subnets


def subnets_of(account, region, ids):
    """The subnets of these ids, all of them."""
    try:
        return account.do("ec2", "DescribeSubnets", region, SubnetIds=ids)["Subnets"] if ids else []
    except Refused as refused:
        # moto names any of the ids that were asked for, and not the one that is missing.
        if len(ids) > 1:
            for one in ids:
                subnets_of(account, region, [one])
        raise invalid(f"{refused.message} (Service: AmazonEC2; Error Code: {refused.code})") from None


@implements("eks", "DescribeCluster")
def describe_cluster(account, call):
    return {"cluster": dict(account.part(Eks, call.region).cluster(call.parameters["name"]).data)}


@implements("eks", "ListClusters")
def list_clusters(account, call):
    return {"clusters": sorted(account.part(Eks, call.region).clusters)}


@implements("eks", "DeleteCluster")
def delete_cluster(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["name"])
    data, name = cluster.data, cluster.name
    if cluster.nodegroups:
        raise Refused("ResourceInUseException", "Cluster has nodegroups attached", 409, clusterName=name, nodegroupName=min(cluster.nodegroups))
    if data["status"] == "UPDATING":
        raise Refused("ResourceInUseException", f"Cannot delete because cluster {name} currently has an update in progress", 409, clusterName=name)
    if data["deletionProtection"]:
        raise Refused("InvalidRequestException", f"Cluster {name} has deletion protection enabled and cannot be deleted.", 400, clusterName=name)
    if data["status"] != "DELETING":
        data["status"] = "DELETING"
        account.later("clusterDelete", cluster.end)
    return {"cluster": dict(data)}


@implements("eks", "UpdateClusterConfig")
def update_cluster_config(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["name"])
    changes = {key: value for key, value in call.parameters.items() if key in UPDATES}
    ready(cluster)
    if len(changes) != 1:
        raise invalid("Exactly one kind of configuration can be updated at a time.", clusterName=cluster.name)
    (key, value), = changes.items()
    old = cluster.data.get(key)
    if key == "logging":
        on = {k for setup in old["clusterLogging"] if setup["enabled"] for k in setup["types"]}
        for setup in value.get("clusterLogging", []):
            on = on | set(setup["types"]) if setup.get("enabled") else on - set(setup["types"])
        new = logs({"clusterLogging": [{"types": sorted(on), "enabled": True}]})
    else:
        new = {**old, **value} if isinstance(value, dict) and old else value
    if new == old:
        raise invalid(f"Cluster is already at the desired configuration with {key}: {value}", clusterName=cluster.name)
    if key == "accessConfig" and old["authenticationMode"] == "API":
        raise Refused("InvalidParameterException", f"Unsupported authentication mode update from API to {value.get('authenticationMode')}", 400)
    if key == "deletionProtection":
        cluster.data[key] = new
    return cluster.update(UPDATES[key], changes, 1 if key == "deletionProtection" else "clusterUpdate", lambda: cluster.data.update({key: new}))


def ready(cluster):
    """Refuses an update of a cluster that is not at rest."""
    if cluster.data["status"] != "ACTIVE":
        raise Refused("ResourceInUseException", f"Cannot update cluster {cluster.name}: it is {cluster.data['status']}", 409, clusterName=cluster.name)


@implements("eks", "UpdateClusterVersion")
def update_cluster_version(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["name"])
    ready(cluster)
    old, new = cluster.data["version"], call.parameters["version"]
    if new not in account.settings["versions"] or int(new.split(".")[1]) != int(old.split(".")[1]) + 1:
        raise invalid(f"Unsupported Kubernetes minor version update from {old} to {new}", clusterName=cluster.name)
    return cluster.update("VersionUpdate", {"Version": new, "PlatformVersion": "eks.1"}, "cluster", lambda: cluster.data.update(version=new))


def owner(parameters):
    """What an update belongs to: a node group, an add-on, or None for the cluster itself."""
    return next(((kind, parameters[kind]) for kind in ("nodegroupName", "addonName") if parameters.get(kind)), None)


@implements("eks", "DescribeUpdate")
def describe_update(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["name"])
    of, entry = cluster.updates.get(call.parameters["updateId"], (None, None))
    if entry is None or of != owner(call.parameters):
        raise Refused("ResourceNotFoundException", f"No update found for ID: {call.parameters['updateId']}", 404, clusterName=cluster.name)
    return {"update": entry}


@implements("eks", "ListUpdates")
def list_updates(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["name"])
    return {"updateIds": [key for key, (of, _) in cluster.updates.items() if of == owner(call.parameters)]}


@implements("eks", "DescribeClusterVersions")
def describe_cluster_versions(account, call):
    p, settings = call.parameters, account.settings
    out = []
    for number, version in enumerate(settings["versions"]):
        released = datetime(2025, 5, 29) + timedelta(days=120 * number)
        out.append({
            "clusterVersion": version, "clusterType": "eks", "defaultPlatformVersion": "eks.1", "defaultVersion": version == settings["defaultVersion"],
            "releaseDate": released, "endOfStandardSupportDate": released + timedelta(days=425), "endOfExtendedSupportDate": released + timedelta(days=790),
            "status": "standard-support", "versionStatus": "STANDARD_SUPPORT", "kubernetesPatchVersion": f"{version}.3"})
    if p.get("defaultOnly"):
        out = [one for one in out if one["defaultVersion"]]
    if p.get("clusterVersions"):
        out = [one for one in out if one["clusterVersion"] in p["clusterVersions"]]
    wanted = p.get("versionStatus") or p.get("status", "").upper().replace("-", "_")
    return {"clusterVersions": [one for one in reversed(out) if wanted in ("", one["versionStatus"])]}
