"""Leftovers and strangers: what controllers and people leave in an account behind the back of the tool that made the rest."""
from cloud import Cloud, tag_list
from ec2 import unique
from eks import Eks
from wire import ACCOUNT, Refused


def plant(account, given):
    """Makes one thing: {"what": …, "region": …, further members}; gives what it is called."""
    region = given.get("region", "us-east-1")
    makers = {"load-balancer": load_balancer, "eni": eni, "security-group": security_group, "volume": volume, "subnet": subnet, "cluster-deleted": cluster_deleted,
              "role": role, "session": session, "log-group-deleted": log_group_deleted,
              "vpc-deleted": None}
    make = makers.get(given.get("what"))
    if make is None:
        raise Refused("NotImplementedByDouble", f"cannot plant {given.get('what')}; there are {sorted(k for k, v in makers.items() if v)}", 501)
    account.regions.add(region)
    return make(account, region, given)


def load_balancer(account, region, given):
    """The load balancer of a Service (cluster, namespace, name), which no controller looks after: as after a cluster's sudden end."""
    uid = given.get("uid", unique() * 2)
    dns = account.part(Cloud, region).create_load_balancer(given["cluster"], given.get("namespace", "default"), given.get("name", "left"), uid)
    return {"dns": dns, "uid": uid, "name": account.part(Cloud, region).balancers[uid]["name"]}


def eni(account, region, given):
    """An interface that the network plugin of a dead node left, `available`, in a subnet (subnet, cluster)."""
    made = account.moto_do("ec2", "CreateNetworkInterface", region, SubnetId=given["subnet"], Description=given.get("description", f"aws-K8S-i-{unique()}"),
                           **({"Groups": given["groups"]} if "groups" in given else {}))["NetworkInterface"]["NetworkInterfaceId"]
    tags = given.get("tags", {"node.k8s.amazonaws.com/instance_id": f"i-{unique()}", "cluster.k8s.amazonaws.com/name": given.get("cluster", "")})
    if tags:
        account.moto_do("ec2", "CreateTags", region, Resources=[made], Tags=tag_list(tags))
    return {"id": made}


def security_group(account, region, given):
    """A security group in a VPC (vpc, name, tags, uses: a group whose rules are to name it)."""
    made = account.moto_do("ec2", "CreateSecurityGroup", region, VpcId=given["vpc"], GroupName=given.get("name", f"k8s-traffic-{unique()}"), Description="planted")["GroupId"]
    if given.get("tags"):
        account.moto_do("ec2", "CreateTags", region, Resources=[made], Tags=tag_list(given["tags"]))
    if given.get("uses"):
        account.moto_do("ec2", "AuthorizeSecurityGroupIngress", region, GroupId=given["uses"], IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": made}]}])
    return {"id": made}


def volume(account, region, given):
    """The volume of a claim (cluster, namespace, name, zone, gib) that outlived its cluster."""
    return {"id": account.part(Cloud, region).create_volume(given["cluster"], given.get("namespace", "default"), given.get("name", "data-0"), given.get("zone", region + "a"), given.get("gib", 1))}


def subnet(account, region, given):
    """A subnet (vpc, cidr) that somebody made in the VPC; without tags unless they are given."""
    made = account.moto_do("ec2", "CreateSubnet", region, VpcId=given["vpc"], CidrBlock=given["cidr"])["Subnet"]["SubnetId"]
    if given.get("tags"):
        account.moto_do("ec2", "CreateTags", region, Resources=[made], Tags=tag_list(given["tags"]))
    return {"id": made}


def cluster_deleted(account, region, given):
    """A cluster (cluster) that somebody deletes by hand with its node groups, all at once; its controllers' things stay."""
    cluster = account.part(Eks, region).cluster(given["cluster"])
    for group in list(cluster.nodegroups.values()):
        group.cluster.drain_blocked = False
        group.delete()
        group.drained()
    cluster.end()
    return {}


def role(account, region, given):
    """A role (name) of somebody else, who may be let into a cluster."""
    trust = '{"Version": "2012-10-17", "Statement": []}'
    account.moto_do("iam", "CreateRole", region, RoleName=given["name"], AssumeRolePolicyDocument=trust)
    return {"id": given["name"]}


def session(account, region, given):
    """A key of somebody who has taken a role (role, path); its secret is `test`."""
    account.moto_do("iam", "CreateRole", region, RoleName=given["role"], Path=given["path"], AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}')
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{given['role']}/planted"
    account.keys[given["role"]] = {"secret": "test", "arn": arn, "id": "AROATESTTESTTESTTEST1:planted"}
    return {"key": given["role"]}


def log_group_deleted(account, region, given):
    """A log group (name) that somebody deletes by hand."""
    account.do("logs", "DeleteLogGroup", region, logGroupName=given["name"])
    return {}
