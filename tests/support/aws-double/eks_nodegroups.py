"""Managed node groups: a launch template, an Auto Scaling group and tagged instances in EC2, by the clock."""
import itertools
import logging
import uuid

import iam
from account import utcnow
from eks import Eks, arn, invalid, missing, once, ready, subnets_of
from eks_access import Entry
from hooks import after, implements
from wire import Refused

log = logging.getLogger("double.eks")
NODE_POLICIES = ["AmazonEKSWorkerNodePolicy", ("AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly")]
AMI_TYPES = {"AL2023_x86_64_STANDARD", "AL2023_ARM_64_STANDARD", "AL2023_x86_64_NVIDIA", "AL2023_x86_64_NEURON", "AL2023_ARM_64_NVIDIA",
             "BOTTLEROCKET_x86_64", "BOTTLEROCKET_ARM_64", "BOTTLEROCKET_x86_64_NVIDIA", "BOTTLEROCKET_ARM_64_NVIDIA", "CUSTOM"}


class Activities:
    """Scaling activities of one region's Auto Scaling groups, newest first."""

    def __init__(self, account, region):
        self.account, self.region, self.held = account, region, []

    def add(self, group, status, description, message=None):
        self.held.insert(0, {"ActivityId": str(uuid.uuid4()), "AutoScalingGroupName": group, "Description": description, "StatusCode": status,
                             "Cause": f"At {utcnow():%Y-%m-%dT%H:%M:%SZ} an instance was started in response to a difference between desired and actual capacity.",
                             "StartTime": utcnow(), "EndTime": utcnow(), "Progress": 100, **({"StatusMessage": message} if message else {})})


class Nodegroup:
    """One node group; `data` is what DescribeNodegroup says of it, `instances` are those that run for it."""

    def __init__(self, cluster, data, token_source):
        self.cluster, self.account, self.data, self.template = cluster, cluster.account, data, token_source
        self.asg = data["resources"]["autoScalingGroups"][0]["name"]
        self.unique = self.asg.removeprefix(f"eks-{data['nodegroupName']}-")
        self.instances, self.own_template = [], None

    def ec2(self, name, **parameters):
        return self.account.moto_do("ec2", name, self.cluster.region, **parameters)

    def other(self, service, name, **parameters):
        return self.account.moto_do(service, name, self.cluster.region, **parameters)

    def tags(self):
        name = self.cluster.name
        return {"eks:cluster-name": name, "eks:nodegroup-name": self.data["nodegroupName"], f"kubernetes.io/cluster/{name}": "owned",
                "k8s.io/cluster-autoscaler/enabled": "true", f"k8s.io/cluster-autoscaler/{name}": "owned"}

    def begin(self):
        """Makes what EKS makes before the first instance: launch template, instance profile, Auto Scaling group, access entry."""
        data, cluster = self.data, self.cluster
        images = self.ec2("DescribeImages", Owners=["amazon"], Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"]
        self.image = next(i["ImageId"] for i in images if i.get("Platform") != "windows")
        made = self.ec2("CreateLaunchTemplate", LaunchTemplateName=f"eks-{self.unique}", LaunchTemplateData={"ImageId": self.image, "InstanceType": data["instanceTypes"][0]},
                        TagSpecifications=[specification("launch-template", {k: v for k, v in self.tags().items() if k.startswith("eks:")})])
        self.own_template = made["LaunchTemplate"]["LaunchTemplateId"]
        self.profile = f"eks-{self.unique}"
        self.other("iam", "CreateInstanceProfile", InstanceProfileName=self.profile)
        self.other("iam", "AddRoleToInstanceProfile", InstanceProfileName=self.profile, RoleName=data["nodeRole"].split("/")[-1])
        scaling = data["scalingConfig"]
        tags = [{"Key": k, "Value": v, "PropagateAtLaunch": True, "ResourceId": self.asg, "ResourceType": "auto-scaling-group"} for k, v in self.tags().items()]
        self.other("autoscaling", "CreateAutoScalingGroup", AutoScalingGroupName=self.asg, MinSize=0, MaxSize=max(scaling["maxSize"], 1), DesiredCapacity=0,
                   LaunchTemplate={"LaunchTemplateId": self.own_template, "Version": "1"}, VPCZoneIdentifier=",".join(data["subnets"]), Tags=tags)
        if data["nodeRole"] not in cluster.entries and cluster.data["accessConfig"]["authenticationMode"] != "CONFIG_MAP":
            Entry(cluster, data["nodeRole"], "EC2_LINUX")
        self.account.later(self.account.settings["durations"]["nodegroup"] / 2, self.launch)
        self.account.later("nodegroup", self.activate)

    def places(self):
        """Zones and types that have room, as (subnet, type); raises Refused with AWS's reason when there are none."""
        settings = self.account.settings
        subnets = subnets_of(self.account, self.cluster.region, self.data["subnets"])
        open_subnets = [s for s in subnets if s["AvailabilityZone"] not in settings["zonesWithoutCapacity"]]
        types = [t for t in self.data["instanceTypes"] if t not in settings["typesWithoutCapacity"]]
        if not open_subnets or not types:
            zone = subnets[0]["AvailabilityZone"]
            raise Refused("InsufficientInstanceCapacity", f"We currently do not have sufficient {self.data['instanceTypes'][0]} capacity in the Availability Zone you requested ({zone}).")
        return [(s, types[n % len(types)]) for n, s in enumerate(open_subnets)]

    def launch(self):
        """Brings the number of instances to what is desired."""
        data, activities = self.data, self.account.part(Activities, self.cluster.region)
        if data["status"] == "DELETING":
            return
        wanted = data["scalingConfig"]["desiredSize"]
        try:
            if self.account.settings["nodegroupFails"]:
                raise Refused(self.account.settings["nodegroupFails"], "the settings say so")
            if len(self.instances) < wanted:
                self.within_quota(wanted - len(self.instances))
                for subnet, kind in itertools.islice(itertools.cycle(self.places()), wanted - len(self.instances)):
                    self.run(subnet, kind)
                    activities.add(self.asg, "Successful", f"Launching a new EC2 instance: {self.instances[-1]['instanceId']}")
        except Refused as refused:
            code = "AsgInstanceLaunchFailures" if refused.code in ("InsufficientInstanceCapacity", "VcpuLimitExceeded") else refused.code
            text = f"Could not launch On-Demand Instances. {refused.code} - {refused.message} Launching EC2 instance failed."
            activities.add(self.asg, "Failed", "Launching a new EC2 instance.  Status Reason: " + text, text)
            data["health"] = {"issues": [{"code": code, "message": text, "resourceIds": [self.asg]}]}
            return
        while len(self.instances) > wanted:
            self.terminate([self.instances.pop()])

    def within_quota(self, count):
        quota = "spotVcpu" if self.data["capacityType"] == "SPOT" else "vcpu"
        kind = self.data["instanceTypes"][0]
        size = self.ec2("DescribeInstanceTypes", InstanceTypes=[kind])["InstanceTypes"][0]["VCpuInfo"]["DefaultVCpus"]
        used = sum(size for eks in [self.cluster.eks] for c in eks.clusters.values() for g in c.nodegroups.values() for _ in g.instances if (g.data["capacityType"] == "SPOT") == (quota == "spotVcpu"))
        if used + count * size > self.account.settings["quotas"][quota]:
            raise Refused("VcpuLimitExceeded", f"You have requested more vCPU capacity than your current vCPU limit of {self.account.settings['quotas'][quota]} allows.")

    def run(self, subnet, kind):
        """Starts one instance, with the tags of the group and of the caller's launch template."""
        tags = {kind: dict(self.tags()) if kind == "instance" else {} for kind in ("instance", "volume", "network-interface")}
        tags["volume"] = {"eks:cluster-name": self.cluster.name, "eks:nodegroup-name": self.data["nodegroupName"]}
        tags["network-interface"] = dict(tags["volume"])
        tags["instance"]["aws:autoscaling:groupName"] = self.asg
        for given in self.template.get("TagSpecifications", []):
            tags.get(given["ResourceType"], {}).update({t["Key"]: t["Value"] for t in given["Tags"]})
        groups = self.template.get("SecurityGroupIds") or [self.cluster.data["resourcesVpcConfig"]["clusterSecurityGroupId"]]
        made = self.ec2("RunInstances", ImageId=self.image, MinCount=1, MaxCount=1, InstanceType=kind, SubnetId=subnet["SubnetId"], SecurityGroupIds=groups,
                        IamInstanceProfile={"Name": self.profile})["Instances"][0]
        identity = made["InstanceId"]
        found = self.ec2("DescribeInstances", InstanceIds=[identity])["Reservations"][0]["Instances"][0]
        parts = {"instance": [identity], "volume": [m["Ebs"]["VolumeId"] for m in found.get("BlockDeviceMappings", [])],
                 "network-interface": [i["NetworkInterfaceId"] for i in found.get("NetworkInterfaces", [])]}
        for what, ids in parts.items():
            if ids:
                self.ec2("CreateTags", Resources=ids, Tags=[{"Key": k, "Value": v} for k, v in tags[what].items()])
        # moto names every instance's address alike in some regions: the name is made of the address here, as EC2 does.
        address = found["PrivateIpAddress"].replace(".", "-")
        self.instances.append({
            "instanceId": identity, "privateDnsName": f"ip-{address}.{self.cluster.region}.compute.internal" if self.cluster.region != "us-east-1" else f"ip-{address}.ec2.internal",
            "zone": subnet["AvailabilityZone"], "instanceType": kind, "volumes": parts["volume"], "interfaces": parts["network-interface"]})

    def terminate(self, instances):
        """Ends instances with their volumes and interfaces."""
        ids = [one["instanceId"] for one in instances]
        if not ids:
            return
        self.ec2("TerminateInstances", InstanceIds=ids)
        self.ec2("DescribeInstances", InstanceIds=ids)
        interfaces = {i["NetworkInterfaceId"] for i in self.ec2("DescribeNetworkInterfaces")["NetworkInterfaces"]}
        volumes = {v["VolumeId"] for v in self.ec2("DescribeVolumes")["Volumes"]}
        for one in instances:
            for identity in interfaces & set(one["interfaces"]):
                self.ec2("DeleteNetworkInterface", NetworkInterfaceId=identity)
            for identity in volumes & set(one["volumes"]):
                self.ec2("DeleteVolume", VolumeId=identity)

    def activate(self):
        """CREATING is over: well, or badly when no instance runs or nothing gives the nodes a network."""
        data = self.data
        if data["status"] != "CREATING":
            return
        if data["health"]["issues"]:
            data["status"] = "CREATE_FAILED"
        elif data["scalingConfig"]["desiredSize"] and not self.cluster.self_managed and "vpc-cni" not in self.cluster.addons:
            self.account.later(self.account.settings["durations"]["joinFailure"] - self.account.settings["durations"]["nodegroup"], self.judge_join)
        else:
            data["status"] = "ACTIVE"

    def judge_join(self):
        """Without vpc-cni no node becomes Ready, and EKS says so late."""
        if self.data["status"] == "CREATING":
            if "vpc-cni" in self.cluster.addons:
                self.data["status"] = "ACTIVE"
                return
            self.data |= {"status": "CREATE_FAILED", "health": {"issues": [{
                "code": "NodeCreationFailure", "message": "Instances failed to join the kubernetes cluster", "resourceIds": [one["instanceId"] for one in self.instances]}]}}

    def delete(self):
        """DELETING: the drain takes its time, and five minutes more where a disruption budget holds a pod."""
        self.data |= {"status": "DELETING", "health": {"issues": []}}
        self.patience = self.account.now() + self.account.seconds("nodegroupDelete") + self.account.seconds("podEviction")
        self.account.later("nodegroupDelete", self.drained)

    def drained(self):
        if self.cluster.nodegroups.get(self.data["nodegroupName"]) is not self:
            return
        if self.account.settings["pdbBlocks"] and self.cluster.drain_blocked and self.account.now() < self.patience:
            self.account.soon(self.drained)
            return
        cluster, region = self.cluster, self.cluster.region
        code = self.account.settings["nodegroupDeleteFails"]
        if code:
            issue = {"code": code, "message": "the settings say so", "resourceIds": [self.asg]}
            self.data |= {"status": "DELETE_FAILED", "health": {"issues": [issue]}}
            return
        self.terminate(self.instances)
        self.instances = []
        self.other("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName=self.asg, ForceDelete=True)
        if self.own_template:
            self.ec2("DeleteLaunchTemplate", LaunchTemplateId=self.own_template)
        self.other("iam", "RemoveRoleFromInstanceProfile", InstanceProfileName=self.profile, RoleName=self.data["nodeRole"].split("/")[-1])
        self.other("iam", "DeleteInstanceProfile", InstanceProfileName=self.profile)
        del cluster.nodegroups[self.data["nodegroupName"]]
        role = self.data["nodeRole"]
        if not any(g.data["nodeRole"] == role for g in cluster.nodegroups.values()) and role in cluster.entries and cluster.entries[role].data["type"] == "EC2_LINUX":
            del cluster.entries[role]
        log.info("%s of %s in %s is gone", self.data["nodegroupName"], cluster.name, region)


@after("autoscaling", "DescribeAutoScalingGroups")
def sizes_of_groups(account, call, result):
    """moto holds the groups, but the instances run beside them: their sizes and members are told here."""
    held = {g.asg: g for c in account.part(Eks, call.region).clusters.values() for g in c.nodegroups.values()}
    for group in result["AutoScalingGroups"]:
        if group["AutoScalingGroupName"] in held:
            mine = held[group["AutoScalingGroupName"]]
            scaling = mine.data["scalingConfig"]
            group |= {"MinSize": scaling["minSize"], "MaxSize": scaling["maxSize"], "DesiredCapacity": scaling["desiredSize"], "Instances": [
                {"InstanceId": i["instanceId"], "InstanceType": i["instanceType"], "AvailabilityZone": i["zone"], "LifecycleState": "InService", "HealthStatus": "Healthy",
                 "ProtectedFromScaleIn": False} for i in mine.instances]}


def specification(kind, tags):
    return {"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}


def group_of(account, call):
    cluster = account.part(Eks, call.region).cluster(call.parameters["clusterName"])
    name = call.parameters["nodegroupName"]
    if name not in cluster.nodegroups:
        raise missing("node group", name, clusterName=cluster.name, nodegroupName=name)
    return cluster, cluster.nodegroups[name]


def sizes(scaling, name):
    """Refuses sizes that contradict each other."""
    low, high, want = (scaling.get(k) for k in ("minSize", "maxSize", "desiredSize"))
    if None in (low, high, want) or high < 1 or not 0 <= low <= want <= high:
        raise invalid(f"Minimum capacity {low} can't be greater than desired size {want}, nor that greater than maximum capacity {high}", nodegroupName=name)


def template_of(account, region, given):
    """Data of the caller's launch template, as its version has it."""
    if not given:
        return {}, None
    who = {"LaunchTemplateId": given["id"]} if given.get("id") else {"LaunchTemplateName": given["name"]}
    try:
        found = account.do("ec2", "DescribeLaunchTemplateVersions", region, **who, Versions=[str(given.get("version") or "$Default")])["LaunchTemplateVersions"]
    except Refused as refused:
        raise invalid(f"Launch template details can't be null or are not valid: {refused.message}") from None
    if not found:
        raise Refused("InvalidRequestException", f"The launch template version {given.get('version')} does not exist.", 400)
    version = found[0]
    return version["LaunchTemplateData"], {"id": version["LaunchTemplateId"], "name": version["LaunchTemplateName"], "version": str(version["VersionNumber"])}


@implements("eks", "CreateNodegroup")
def create_nodegroup(account, call):
    p = call.parameters
    cluster, name = account.part(Eks, call.region).cluster(p["clusterName"]), p["nodegroupName"]

    def make(_token):
        if name in cluster.nodegroups:
            raise Refused("ResourceInUseException", f"NodeGroup already exists with name {name} and cluster name {cluster.name}", 409, clusterName=cluster.name, nodegroupName=name)
        cluster.active("a node group")
        if len(cluster.nodegroups) >= account.settings["quotas"]["nodegroups"]:
            raise Refused("ResourceLimitExceededException", "Nodegroup limit exceeded", 400, clusterName=cluster.name, nodegroupName=name)
        scaling = p.get("scalingConfig", {"minSize": 1, "maxSize": 2, "desiredSize": 2})
        sizes(scaling, name)
        data, template = template_of(account, call.region, p.get("launchTemplate"))
        if template and "diskSize" in p:
            raise invalid("Disk size must be specified within the launch template.", nodegroupName=name)
        if data.get("InstanceType") and p.get("instanceTypes"):
            raise invalid("Cannot specify instance types in launch template and API request", nodegroupName=name)
        types = [data["InstanceType"]] if data.get("InstanceType") else p.get("instanceTypes", ["t3.medium"])
        ami = p.get("amiType", "CUSTOM" if data.get("ImageId") else "AL2023_x86_64_STANDARD")
        if ami not in AMI_TYPES:
            raise invalid(f"The amiType {ami} is not supported", nodegroupName=name)
        known_types(account, call.region, types, ami, name)
        if p.get("version", cluster.data["version"]) != cluster.data["version"] and ami != "CUSTOM":
            raise invalid(f"Requested Nodegroup release version {p['version']} is invalid for the cluster's version {cluster.data['version']}", nodegroupName=name)
        subnets = subnets_of(account, call.region, p["subnets"])
        if {s["VpcId"] for s in subnets} != {cluster.data["resourcesVpcConfig"]["vpcId"]}:
            raise invalid("The subnets of a node group must be in the cluster's VPC", nodegroupName=name)
        iam.assumable(account, p["nodeRole"], "ec2.amazonaws.com", NODE_POLICIES)
        iam.service_linked(account, "eks-nodegroup.amazonaws.com")
        iam.service_linked(account, "autoscaling.amazonaws.com")
        version, identity = cluster.data["version"], str(uuid.uuid4())
        said = {
            "nodegroupName": name, "nodegroupArn": arn(call.region, "nodegroup", f"{cluster.name}/{name}/{identity}"), "clusterName": cluster.name,
            "version": version, "releaseVersion": p.get("releaseVersion", f"{version}.3-20261101"), "createdAt": utcnow(), "modifiedAt": utcnow(), "status": "CREATING",
            "capacityType": p.get("capacityType", "ON_DEMAND"), "scalingConfig": scaling, "subnets": p["subnets"], "amiType": ami, "nodeRole": p["nodeRole"],
            "labels": p.get("labels", {}), "taints": p.get("taints", []), "health": {"issues": []}, "updateConfig": p.get("updateConfig", {"maxUnavailable": 1}),
            "resources": {"autoScalingGroups": [{"name": f"eks-{name}-{identity}"}]}, "tags": p.get("tags", {}),
            **({"launchTemplate": template} if template else {"diskSize": p.get("diskSize", 20)}), "instanceTypes": types,
            **{key: p[key] for key in ("nodeRepairConfig",) if key in p}}
        cluster.nodegroups[name] = group = Nodegroup(cluster, said, data)
        group.begin()
        return name, {"nodegroup": dict(said)}

    return once(account, call, make, lambda key: {"nodegroup": cluster.nodegroups[key].data} if key in cluster.nodegroups else None)


def known_types(account, region, types, ami, name):
    """Refuses instance types that do not exist or are of another architecture than the image."""
    wanted = "arm64" if "ARM" in ami else "x86_64"
    for kind in types:
        try:
            found = account.moto_do("ec2", "DescribeInstanceTypes", region, InstanceTypes=[kind])["InstanceTypes"][0]
        except Refused:
            raise invalid(f"The following supplied instance types do not exist: [{kind}]", nodegroupName=name) from None
        if ami != "CUSTOM" and wanted not in found["ProcessorInfo"]["SupportedArchitectures"]:
            raise invalid(f"[{kind}] is not a valid instance type for requested amiType {ami}", nodegroupName=name)


@implements("eks", "DescribeNodegroup")
def describe_nodegroup(account, call):
    return {"nodegroup": dict(group_of(account, call)[1].data)}


@implements("eks", "ListNodegroups")
def list_nodegroups(account, call):
    return {"nodegroups": sorted(account.part(Eks, call.region).cluster(call.parameters["clusterName"]).nodegroups)}


@implements("eks", "DeleteNodegroup")
def delete_nodegroup(account, call):
    cluster, group = group_of(account, call)
    if group.data["status"] == "UPDATING":
        raise Refused("ResourceInUseException", "Nodegroup currently has an update in progress", 409, clusterName=cluster.name, nodegroupName=group.data["nodegroupName"])
    if group.data["status"] != "DELETING":
        group.delete()
    return {"nodegroup": dict(group.data)}


def at_rest(cluster, group):
    ready(cluster)
    if group.data["status"] not in ("ACTIVE", "DEGRADED"):
        raise Refused("ResourceInUseException", f"Nodegroup cannot be updated as it is currently not in Active or Degraded state: {group.data['status']}", 409, clusterName=cluster.name, nodegroupName=group.data["nodegroupName"])


@implements("eks", "UpdateNodegroupConfig")
def update_nodegroup_config(account, call):
    cluster, group = group_of(account, call)
    at_rest(cluster, group)
    p, data = call.parameters, group.data
    scaling = {**data["scalingConfig"], **p.get("scalingConfig", {})}
    sizes(scaling, data["nodegroupName"])
    labels = {**data["labels"], **p.get("labels", {}).get("addOrUpdateLabels", {})}
    for key in p.get("labels", {}).get("removeLabels", []):
        labels.pop(key, None)
    taints = p.get("taints", {})
    replaced = {(t["key"], t["effect"]) for t in taints.get("addOrUpdateTaints", []) + taints.get("removeTaints", [])}
    kept = [t for t in data["taints"] if (t["key"], t["effect"]) not in replaced] + taints.get("addOrUpdateTaints", [])
    new = {"scalingConfig": scaling, "labels": labels, "taints": kept, "modifiedAt": utcnow(), **{k: p[k] for k in ("updateConfig", "nodeRepairConfig") if k in p}}

    def over():
        data.update(new)
        group.launch()
    shown = {"MinSize": scaling["minSize"], "MaxSize": scaling["maxSize"], "DesiredSize": scaling["desiredSize"]}
    return cluster_update(cluster, group, "ConfigUpdate", shown, over)


@implements("eks", "UpdateNodegroupVersion")
def update_nodegroup_version(account, call):
    cluster, group = group_of(account, call)
    at_rest(cluster, group)
    p, data = call.parameters, group.data
    version = p.get("version", cluster.data["version"])
    template = template_of(account, call.region, p.get("launchTemplate"))

    def over():
        data.update(version=version, releaseVersion=p.get("releaseVersion", f"{version}.3-20261101"), modifiedAt=utcnow())
        if template[1]:
            group.template, data["launchTemplate"] = template
        old, group.instances = group.instances, []
        group.launch()
        group.terminate(old)
    return cluster_update(cluster, group, "VersionUpdate", {"Version": version}, over)


def cluster_update(cluster, group, kind, shown, over):
    """An update of a node group: the group is UPDATING, the cluster is not."""
    return cluster.update(kind, shown, "nodegroupUpdate", over, ("nodegroupName", group.data["nodegroupName"]), group.data)
