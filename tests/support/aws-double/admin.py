"""What tests ask of the double itself, under /_double/: settings, inventory, calls made, reset, leftovers to be planted."""
import json
from urllib.parse import unquote

import plant
from eks import Eks
from wire import ACCOUNT, Refused

# kind: (operation, path to the list, id, ARN's form, whether it counts)
EC2 = {
    "vpc": ("DescribeVpcs", "Vpcs", "VpcId"), "subnet": ("DescribeSubnets", "Subnets", "SubnetId"),
    "internet-gateway": ("DescribeInternetGateways", "InternetGateways", "InternetGatewayId"), "natgateway": ("DescribeNatGateways", "NatGateways", "NatGatewayId"),
    "elastic-ip": ("DescribeAddresses", "Addresses", "AllocationId"), "route-table": ("DescribeRouteTables", "RouteTables", "RouteTableId"),
    "security-group": ("DescribeSecurityGroups", "SecurityGroups", "GroupId"), "network-interface": ("DescribeNetworkInterfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    "volume": ("DescribeVolumes", "Volumes", "VolumeId"), "launch-template": ("DescribeLaunchTemplates", "LaunchTemplates", "LaunchTemplateId"),
    "vpc-endpoint": ("DescribeVpcEndpoints", "VpcEndpoints", "VpcEndpointId"),
}


def answer(account, method, path, body):
    """(status, headers, body) of a request to the double itself."""
    try:
        given = json.loads(body or b"{}")
        if path == "settings":
            if method == "POST":
                account.configure(given)
            out = account.settings
        elif path == "account" and method == "GET":
            out = {}
            for region in sorted(account.regions):
                for kind, items in inventory(account, region).items():
                    out.setdefault(kind, []).extend({**item, "region": region} for item in items if item not in out.get(kind, []))
            out = {kind: items for kind, items in out.items() if items}
            for service in ("iam", "s3"):
                for kind in out:
                    if kind.startswith(f"{service}:"):
                        out[kind] = list({item["id"]: item for item in out[kind]}.values())
        elif path == "clock" and method == "POST":
            account.advance(float(given["advance"]))
            out = {}
        elif path == "reset" and method == "POST":
            account.reset()
            out = {}
        elif path == "calls" and method == "GET":
            out = account.calls
        elif path == "plant" and method == "POST":
            out = plant.plant(account, given)
        else:
            raise Refused("NotImplementedByDouble", f"there is no {method} /_double/{path}", 501)
    except Refused as refused:
        return refused.status, {"Content-Type": "application/json"}, json.dumps({"code": refused.code, "message": refused.message}).encode()
    except (ValueError, KeyError, TypeError) as error:
        return 400, {"Content-Type": "application/json"}, json.dumps({"code": "BadRequest", "message": f"{type(error).__name__}: {error}"}).encode()
    return 200, {"Content-Type": "application/json"}, json.dumps(out, default=str).encode()


def entry(identity, name, tags, arn=None):
    return {"id": identity, "name": name, "tags": tags, **({"arn": arn} if arn else {})}


def tags_of(item):
    return {t["Key"]: t["Value"] for t in item.get("Tags") or item.get("TagSet") or []}


def inventory(account, region):
    """kind → everything of that kind that exists in a region beyond a fresh account."""
    out = ec2(account, region)
    out |= {"eks:cluster": [], "eks:nodegroup": [], "eks:addon": [], "eks:access-entry": [], "eks:podidentityassociation": []}
    for cluster in account.part(Eks, region).clusters.values():
        out["eks:cluster"].append(entry(cluster.name, cluster.name, cluster.data["tags"], cluster.data["arn"]))
        out["eks:nodegroup"] += [entry(f"{cluster.name}/{n}", n, g.data["tags"], g.data["nodegroupArn"]) for n, g in cluster.nodegroups.items()]
        out["eks:addon"] += [entry(f"{cluster.name}/{n}", n, a.data["tags"], a.data["addonArn"]) for n, a in cluster.addons.items()]
        out["eks:access-entry"] += [entry(f"{cluster.name}/{n}", n, e.data["tags"], e.data["accessEntryArn"]) for n, e in cluster.entries.items()]
        out["eks:podidentityassociation"] += [entry(f"{cluster.name}/{n}", n, a["tags"], a["associationArn"]) for n, a in cluster.associations.items()]
    return out | iam(account) | rest(account, region)


def ec2(account, region):
    """Things of EC2 without those that AWS makes with an account or a VPC."""
    out = {}
    default = {v["VpcId"] for v in account.moto_do("ec2", "DescribeVpcs", region)["Vpcs"] if v.get("IsDefault")}
    for kind, (operation, name, key) in EC2.items():
        items = account.do("ec2", operation, region).get(name, [])
        kept = [i for i in items if i.get("VpcId") not in default and not automatic(i, default)]
        out[f"ec2:{kind}"] = [entry(i[key], i.get("GroupName") or i.get("LaunchTemplateName") or i.get("Description") or tags_of(i).get("Name"), tags_of(i),
                                    f"arn:aws:ec2:{region}:{ACCOUNT}:{kind}/{i[key]}") for i in kept]
    instances = [i for r in account.moto_do("ec2", "DescribeInstances", region)["Reservations"] for i in r["Instances"]]
    out["ec2:instance"] = [entry(i["InstanceId"], tags_of(i).get("Name"), tags_of(i), f"arn:aws:ec2:{region}:{ACCOUNT}:instance/{i['InstanceId']}")
                           for i in instances if i["State"]["Name"] not in ("terminated", "shutting-down")]
    return out


def automatic(item, default):
    """Whether a thing comes and goes with its VPC, or is gone already."""
    main = any(a.get("Main") for a in item.get("Associations", []))
    ours = any(a.get("VpcId") in default for a in item.get("Attachments", []))
    return main or ours or item.get("GroupName") == "default" or item.get("State") == "deleted"


def iam(account):
    """Roles but those of services, policies, profiles, users, providers."""
    def listed(operation, name, **parameters):
        return account.do("iam", operation, "us-east-1", **parameters).get(name, [])
    roles = [r for r in listed("ListRoles", "Roles", MaxItems=1000) if not r["Path"].startswith("/aws-service-role/")]
    return {
        "iam:role": [entry(r["RoleName"], r["RoleName"], tags_of({"Tags": listed("ListRoleTags", "Tags", RoleName=r["RoleName"])}), r["Arn"]) for r in roles],
        "iam:policy": [entry(p["Arn"], p["PolicyName"], tags_of(p), p["Arn"]) for p in listed("ListPolicies", "Policies", Scope="Local")],
        "iam:instance-profile": [entry(p["InstanceProfileName"], p["InstanceProfileName"], tags_of(p), p["Arn"]) for p in listed("ListInstanceProfiles", "InstanceProfiles")],
        "iam:user": [entry(u["UserName"], u["UserName"], tags_of(u), u["Arn"]) for u in listed("ListUsers", "Users")],
        "iam:oidc-provider": [entry(o["Arn"], o["Arn"], {}, o["Arn"]) for o in listed("ListOpenIDConnectProviders", "OpenIDConnectProviderList")],
    }


def rest(account, region):
    """Load balancers, Auto Scaling groups, log groups, keys, buckets."""
    def listed(service, operation, name, **parameters):
        return account.do(service, operation, region, **parameters).get(name, [])
    balancers = listed("elbv2", "DescribeLoadBalancers", "LoadBalancers")
    targets = listed("elbv2", "DescribeTargetGroups", "TargetGroups")
    arns = [b["LoadBalancerArn"] for b in balancers] + [t["TargetGroupArn"] for t in targets]
    tags = {d["ResourceArn"]: tags_of(d) for d in listed("elbv2", "DescribeTags", "TagDescriptions", ResourceArns=arns)} if arns else {}
    classic = [b["LoadBalancerName"] for b in listed("elb", "DescribeLoadBalancers", "LoadBalancerDescriptions")]
    classic_tags = {d["LoadBalancerName"]: tags_of(d) for d in listed("elb", "DescribeTags", "TagDescriptions", LoadBalancerNames=classic)} if classic else {}
    groups = listed("logs", "DescribeLogGroups", "logGroups")
    form = f"arn:aws:elasticloadbalancing:{region}:{ACCOUNT}:loadbalancer/"
    return {
        "elasticloadbalancing:loadbalancer": [entry(n, n, classic_tags.get(n, {}), form + n) for n in classic]
        + [entry(b["LoadBalancerArn"], b["LoadBalancerName"], tags.get(b["LoadBalancerArn"], {}), b["LoadBalancerArn"]) for b in balancers],
        "elasticloadbalancing:targetgroup": [entry(t["TargetGroupArn"], t["TargetGroupName"], tags.get(t["TargetGroupArn"], {}), t["TargetGroupArn"]) for t in targets],
        "autoscaling:autoScalingGroup": [entry(g["AutoScalingGroupName"], g["AutoScalingGroupName"], tags_of(g), g["AutoScalingGroupARN"])
                                         for g in listed("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups")],
        "logs:log-group": [entry(g["logGroupName"], g["logGroupName"], account.moto_do("logs", "ListTagsForResource", region, resourceArn=g["arn"].removesuffix(":*")).get("tags", {}), g["arn"]) for g in groups],
        "s3:bucket": [entry(b["Name"], b["Name"], {}, f"arn:aws:s3:::{unquote(b['Name'])}") for b in listed("s3", "ListBuckets", "Buckets")],
    }
