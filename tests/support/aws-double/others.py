"""Load balancers, Auto Scaling activities, quotas, log groups and the search by tags, where moto leaves a gap."""
from ec2 import States
from eks_nodegroups import Activities
from hooks import after, before, implements
from wire import Refused

# (service, code): (name, setting, default) of the quotas a stack runs into, with the codes of Service Quotas.
CODES = {
    ("vpc", "L-F678F1CE"): ("VPCs per Region", "vpc"), ("vpc", "L-A4707A72"): ("Internet gateways per Region", "internetGateways"),
    ("vpc", "L-FE5A380F"): ("NAT gateways per Availability Zone", "natPerZone"), ("vpc", "L-407747CB"): ("Subnets per VPC", "subnetsPerVpc"),
    ("vpc", "L-E79EC296"): ("VPC security groups per Region", "securityGroups"), ("vpc", "L-DF5E4CA3"): ("Network interfaces per Region", "networkInterfaces"),
    ("ec2", "L-0263D0A3"): ("EC2-VPC Elastic IPs", "addresses"),
    ("ec2", "L-1216C47A"): ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "vcpu"),
    ("ec2", "L-34B43A08"): ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "spotVcpu"),
    ("eks", "L-1194D53C"): ("Clusters", "clusters"), ("eks", "L-6D54EA21"): ("Managed node groups per cluster", "nodegroups"),
}


def quota(account, region, service, code):
    name, setting = CODES[service, code]
    return {"ServiceCode": service, "QuotaCode": code, "QuotaName": name, "Value": float(account.settings["quotas"][setting]), "Unit": "None",
            "Adjustable": True, "GlobalQuota": False, "QuotaArn": f"arn:aws:servicequotas:{region}:123456789012:{service}/{code}"}


@implements("service-quotas", "GetServiceQuota")
def get_service_quota(account, call):
    key = (call.parameters["ServiceCode"], call.parameters["QuotaCode"])
    if key not in CODES:
        raise Refused("NoSuchResourceException", f"There is no quota {key[1]} of {key[0]}.")
    return {"Quota": quota(account, call.region, *key)}


@implements("service-quotas", "ListServiceQuotas")
def list_service_quotas(account, call):
    return {"Quotas": [quota(account, call.region, *key) for key in CODES if key[0] == call.parameters["ServiceCode"]]}


@before("logs", "DeleteLogGroup")
def tags_go_with_their_log_group(account, call):
    """moto keeps them, so that a group made anew under the same name would carry them."""
    group = {"logGroupName": call.parameters["logGroupName"]}
    tags = account.moto_do("logs", "ListTagsLogGroup", call.region, **group)["tags"]
    if tags:
        account.moto_do("logs", "UntagLogGroup", call.region, **group, tags=list(tags))


@implements("autoscaling", "DescribeScalingActivities")
def describe_scaling_activities(account, call):
    name = call.parameters.get("AutoScalingGroupName")
    return {"Activities": [a for a in account.part(Activities, call.region).held if name in (None, a["AutoScalingGroupName"])]}


@after("elbv2", "CreateLoadBalancer")
def balancer_interfaces(account, call, result):
    """A load balancer sits in its subnets, and nobody can delete them as long as it does."""
    states = account.part(States, call.region)
    for balancer in result["LoadBalancers"]:
        short = balancer["LoadBalancerArn"].split("loadbalancer/")[1]
        kind = "network_load_balancer" if balancer.get("Type") == "network" else "interface"
        balancers(account, call)[balancer["LoadBalancerArn"]] = [
            states.interface(zone["SubnetId"], balancer.get("SecurityGroups") or [], f"ELB {short}", kind) for zone in balancer["AvailabilityZones"]]


def balancers(account, call):
    """Interfaces of a region's load balancers, by ARN or name."""
    states = account.part(States, call.region)
    if not hasattr(states, "balancers"):
        states.balancers = {}
    return states.balancers


@after("elbv2", "DeleteLoadBalancer")
def interfaces_go_later(account, call, _result):
    leave(account, call, balancers(account, call).pop(call.parameters["LoadBalancerArn"], []))


@after("elb", "CreateLoadBalancer")
def classic_interfaces(account, call, _result):
    p, states = call.parameters, account.part(States, call.region)
    balancers(account, call)[p["LoadBalancerName"]] = [
        states.interface(subnet, p.get("SecurityGroups") or [], f"ELB {p['LoadBalancerName']}") for subnet in p.get("Subnets", [])]


@after("elb", "DescribeLoadBalancers")
def names_of_the_region(account, call, result):
    """moto gives every classic load balancer a name in us-east-1."""
    for balancer in result["LoadBalancerDescriptions"]:
        balancer["DNSName"] = balancer["DNSName"].replace("us-east-1", call.region)


@before("elb", "DeleteLoadBalancer")
def classic_interfaces_go_later(account, call):
    from cloud import Cloud
    name = call.parameters["LoadBalancerName"]
    leave(account, call, balancers(account, call).pop(name, []))
    for held in account.part(Cloud, call.region).balancers.values():
        if held["name"] == name:
            leave(account, call, held["interfaces"])


def leave(account, call, interfaces):
    """The interfaces of a load balancer go some time after it."""
    states = account.part(States, call.region)

    def gone():
        for identity in interfaces:
            states.drop(identity)
    account.later("loadBalancer", gone)


@implements("resourcegroupstaggingapi", "GetResources")
def get_resources(account, call):
    """Everything in the account's inventory that has an ARN, tags, and is not IAM's."""
    from admin import inventory
    p, out = call.parameters, []
    wanted = p.get("ResourceTypeFilters", [])
    for kind, items in inventory(account, call.region).items():
        for item in items:
            arn, tags = item.get("arn"), item["tags"]
            if arn is None or not tags or kind.startswith("iam:"):
                continue
            service, found = arn.split(":")[2], kind.split(":")[1]
            if wanted and not any(w in (service, f"{service}:{found}") for w in wanted):
                continue
            if p.get("ResourceARNList") and arn not in p["ResourceARNList"]:
                continue
            if all(f["Key"] in tags and (not f.get("Values") or tags[f["Key"]] in f["Values"]) for f in p.get("TagFilters", [])):
                out.append({"ResourceARN": arn, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]})
    return {"ResourceTagMappingList": out}
