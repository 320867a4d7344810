"""What the controllers of a cluster do in the account: load balancers and volumes, and what they learn about nodes and add-ons.

Every method may be called from any thread.
"""
import functools
import uuid

from ec2 import States
from eks import Eks
from wire import Refused


def locked(method):
    """Takes the account's lock, and brings the account up to date first."""
    @functools.wraps(method)
    def taking(self, *arguments, **named):
        with self.account.lock:
            self.account.settle()
            return method(self, *arguments, **named)
    return taking


def tag_list(tags):
    return [{"Key": k, "Value": v} for k, v in tags.items()]


class Cloud:
    """The account as one region's controllers see it."""

    def __init__(self, account, region):
        self.account, self.region, self.balancers = account, region, {}

    def ec2(self, name, **parameters):
        return self.account.moto_do("ec2", name, self.region, **parameters)

    @locked
    def create_load_balancer(self, cluster, namespace, name, uid):
        """Makes the classic load balancer of a Service in the cluster's public subnets; gives its DNS name, the same for the same uid."""
        if uid in self.balancers:
            return self.balancers[uid]["dns"]
        vpc = self.account.part(Eks, self.region).cluster(cluster).data["resourcesVpcConfig"]["vpcId"]
        mine = [s for s in self.ec2("DescribeSubnets")["Subnets"] if s["VpcId"] == vpc]
        public = [s for s in mine if any(t["Key"] == "kubernetes.io/role/elb" for t in s.get("Tags", []))]
        subnets = list({s["AvailabilityZone"]: s for s in public}.values())
        if not subnets:
            raise Refused("InvalidConfigurationRequest", "could not find any suitable subnets for creating the ELB", 400)
        short = "a" + uid.replace("-", "")[:31]
        tags = {f"kubernetes.io/cluster/{cluster}": "owned", "kubernetes.io/service-name": f"{namespace}/{name}"}
        group = self.ec2("CreateSecurityGroup", VpcId=vpc, GroupName=f"k8s-elb-{short}", Description=f"Security group for Kubernetes ELB {short} ({namespace}/{name})")["GroupId"]
        self.ec2("CreateTags", Resources=[group], Tags=tag_list({f"kubernetes.io/cluster/{cluster}": "owned"}))
        # The group of the nodes lets the balancer's group in: it cannot go as long as this rule stands.
        nodes = self.account.part(Eks, self.region).cluster(cluster).data["resourcesVpcConfig"]["clusterSecurityGroupId"]
        permission = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
        self.ec2("AuthorizeSecurityGroupIngress", GroupId=nodes, IpPermissions=permission)
        made = self.account.moto_do("elb", "CreateLoadBalancer", self.region, LoadBalancerName=short, Subnets=[s["SubnetId"] for s in subnets], SecurityGroups=[group],
                                    Listeners=[{"Protocol": "TCP", "LoadBalancerPort": 80, "InstanceProtocol": "TCP", "InstancePort": 30080}], Tags=tag_list(tags))
        made["DNSName"] = made["DNSName"].replace("us-east-1", self.region)
        states = self.account.part(States, self.region)
        enis = [states.interface(s["SubnetId"], [group], f"ELB {short}") for s in subnets]
        self.balancers[uid] = {"name": short, "dns": made["DNSName"], "group": group, "nodes": nodes, "permission": permission, "interfaces": enis, "ready": False}
        self.account.later("loadBalancer", lambda: self.balancers.get(uid, {}).update(ready=True))
        return made["DNSName"]

    @locked
    def load_balancer_ready(self, uid):
        return self.balancers.get(uid, {}).get("ready", False)

    @locked
    def delete_load_balancer(self, uid):
        """Deletes the load balancer, its rule and its group at once; its interfaces go when its time is over."""
        held = self.balancers.pop(uid, None)
        if held is None:
            return
        self.quietly("elb", "DeleteLoadBalancer", LoadBalancerName=held["name"])
        self.quietly("ec2", "RevokeSecurityGroupIngress", GroupId=held["nodes"], IpPermissions=held["permission"])
        states = self.account.part(States, self.region)

        def gone():
            for identity in held["interfaces"]:
                states.drop(identity)
            self.quietly("ec2", "DeleteSecurityGroup", GroupId=held["group"])
        self.account.later("loadBalancer", gone)

    def quietly(self, service, name, **parameters):
        """Does what somebody else may have done already."""
        try:
            self.account.moto_do(service, name, self.region, **parameters)
        except Refused as refused:
            if "NotFound" not in refused.code:
                raise

    @locked
    def create_volume(self, cluster, pvc_namespace, pvc_name, zone, gib):
        """Makes the volume of a claim, tagged as the EBS driver tags it; gives its id."""
        identity = self.ec2("CreateVolume", AvailabilityZone=zone, Size=gib, VolumeType="gp3", Encrypted=True)["VolumeId"]
        tags = {"kubernetes.io/created-for/pvc/name": pvc_name, "kubernetes.io/created-for/pvc/namespace": pvc_namespace, "ebs.csi.aws.com/cluster": "true",
                f"kubernetes.io/cluster/{cluster}": "owned", "CSIVolumeName": f"pvc-{uuid.uuid4()}", "KubernetesCluster": cluster}
        self.ec2("CreateTags", Resources=[identity], Tags=tag_list(tags))
        return identity

    @locked
    def delete_volume(self, identity):
        self.quietly("ec2", "DeleteVolume", VolumeId=identity)

    @locked
    def nodes(self, cluster):
        """The instances that run for a cluster's node groups."""
        held = self.account.part(Eks, self.region).clusters.get(cluster)
        return [{**{key: one[key] for key in ("instanceId", "privateDnsName", "zone", "instanceType")}, "nodegroup": name, "capacityType": group.data["capacityType"],
                 "labels": group.data["labels"], "taints": group.data["taints"]}
                for name, group in (held.nodegroups if held else {}).items() for one in group.instances]

    @locked
    def addons(self, cluster):
        """name → version and configuration of a cluster's add-ons that are not being deleted."""
        held = self.account.part(Eks, self.region).clusters.get(cluster)
        return {name: {"version": addon.data["addonVersion"], "configuration": addon.data.get("configurationValues")}
                for name, addon in (held.addons if held else {}).items() if addon.data["status"] != "DELETING"}

    @locked
    def pdb_blocks(self, cluster, blocked):
        """Says whether a disruption budget holds back the drain of a node."""
        held = self.account.part(Eks, self.region).clusters.get(cluster)
        if held:
            held.drain_blocked = blocked
