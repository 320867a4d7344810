"""More cases of check.py: what goes wrong on AWS, and goes wrong here in the same way."""
import json
import time
from concurrent.futures import ThreadPoolExecutor

from check import ACCOUNT, REGION, ROLE, case, same


@case
def a_new_role_is_not_there_at_once(d):
    _, subnets = d.network()
    d.set(iamPropagation=300)
    d.role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
    assert "does not exist" in d.refused("InvalidParameterException", *d.create("shop", subnets))
    d.until(lambda: d.run(*d.create("shop", subnets))[0], 0)
    d.role("bare", "eks.amazonaws.com")
    d.role("foreign", "ec2.amazonaws.com", "AmazonEKSClusterPolicy")
    d.set(iamPropagation=0)
    for name, text in (("bare", "doesn't have the Amazon EKS Managed Policies associated with it"), ("foreign", "trusted entity is not correct"), ("none", "does not exist")):
        words = [w.replace(ROLE + "cluster", ROLE + name) for w in d.create("two", subnets)]
        assert text in d.refused("InvalidParameterException", *words), name


@case
def what_is_denied_is_denied_everywhere_and_told_beforehand(d):
    d.set(denied=["ec2:CreateVpc", "eks:ListClusters", "iam:ListRoles", "logs:DescribeLogGroups"])
    d.refused("UnauthorizedOperation", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16")
    d.refused("UnauthorizedOperation", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--dry-run")
    d.refused("DryRunOperation", "ec2", "create-internet-gateway", "--dry-run")
    d.refused("AccessDeniedException", "eks", "list-clusters")
    d.refused("AccessDenied", "iam", "list-roles")
    d.refused("AccessDeniedException", "logs", "describe-log-groups")
    told = d.aws("iam", "simulate-principal-policy", "--policy-source-arn", f"arn:aws:iam::{ACCOUNT}:user/test", "--action-names", "ec2:CreateVpc", "ec2:CreateSubnet")
    same([r["EvalDecision"] for r in told["EvaluationResults"]], ["explicitDeny", "allowed"])
    same(d.account(), {})


@case
def quotas_are_told_and_kept(d):
    quota = d.aws("service-quotas", "get-service-quota", "--service-code", "vpc", "--quota-code", "L-F678F1CE")["Quota"]
    same(quota["Value"], 5.0)
    for number in range(4):
        d.aws("ec2", "create-vpc", "--cidr-block", f"10.{number}.0.0/16")
    d.refused("VpcLimitExceeded", "ec2", "create-vpc", "--cidr-block", "10.9.0.0/16")
    d.set(quotas={"addresses": 0})
    d.refused("AddressLimitExceeded", "ec2", "allocate-address")


@case
def zones_and_types_without_room_say_so(d):
    d.set(zonesWithoutEks=[REGION + "b"])
    _, subnets = d.network()
    d.role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
    d.node_role()
    said = d.refused("UnsupportedAvailabilityZoneException", *d.create("shop", subnets))
    assert f"choose from these availability zones: {REGION}a, {REGION}c" in said, said
    d.set(zonesWithoutEks=[], typesWithoutCapacity=["m7i.large", "m7a.large"])
    d.aws(*d.create("shop", subnets))
    d.until(d.status, "ACTIVE")
    d.aws("eks", "create-addon", "--cluster-name", "shop", "--addon-name", "vpc-cni")
    d.aws(*d.nodes(subnets))
    d.until(d.group, "CREATE_FAILED")
    group = d.aws("eks", "describe-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")["nodegroup"]
    same([i["code"] for i in group["health"]["issues"]], ["AsgInstanceLaunchFailures"])
    told = d.aws("autoscaling", "describe-scaling-activities", "--auto-scaling-group-name", group["resources"]["autoScalingGroups"][0]["name"])["Activities"]
    assert told[0]["StatusCode"] == "Failed" and "InsufficientInstanceCapacity" in told[0]["StatusMessage"], told
    d.aws("eks", "delete-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")
    d.until(d.group, "gone")
    d.set(typesWithoutCapacity=["m7i.large"], zonesWithoutCapacity=[REGION + "a"])
    d.aws(*d.nodes(subnets))
    d.until(d.group, "ACTIVE")
    running = [i for r in d.aws("ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running")["Reservations"] for i in r["Instances"]]
    same({(i["InstanceType"], i["Placement"]["AvailabilityZone"]) for i in running}, {("m7a.large", REGION + "b")})


@case
def nodes_without_a_network_fail_late(d):
    _, subnets = d.cluster()
    d.node_role()
    d.set(durations={"joinFailure": 300})
    d.aws(*d.nodes(subnets))
    d.until(d.group, "CREATE_FAILED")
    issue = d.aws("eks", "describe-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")["nodegroup"]["health"]["issues"][0]
    same(issue["code"], "NodeCreationFailure")


@case
def an_update_shuts_out_node_groups_deletion_and_other_updates(d):
    _, subnets = d.cluster()
    d.node_role()
    d.set(durations={"clusterUpdate": 600})
    config = ("eks", "update-cluster-config", "--name", "shop")
    update = d.aws(*config, "--resources-vpc-config", "endpointPrivateAccess=true")["update"]
    same((update["status"], update["type"]), ("InProgress", "EndpointAccessUpdate"))
    same(d.status(), "UPDATING")
    d.refused("InvalidRequestException", *d.nodes(subnets))
    d.refused("ResourceInUseException", "eks", "delete-cluster", "--name", "shop")
    d.refused("ResourceInUseException", *config, "--deletion-protection")
    d.until(lambda: d.aws("eks", "describe-update", "--name", "shop", "--update-id", update["id"])["update"]["status"], "Successful")
    network = d.aws("eks", "describe-cluster", "--name", "shop")["cluster"]["resourcesVpcConfig"]
    same((network["endpointPrivateAccess"], network["endpointPublicAccess"], network["subnetIds"]), (True, True, subnets))
    d.refused("InvalidParameterException", *config, "--resources-vpc-config", "endpointPrivateAccess=true")
    d.aws(*config, "--deletion-protection")
    d.until(d.status, "ACTIVE")
    d.refused("InvalidRequestException", "eks", "delete-cluster", "--name", "shop")
    d.aws(*config, "--no-deletion-protection")
    d.until(d.status, "ACTIVE")
    d.refused("InvalidParameterException", "eks", "update-cluster-version", "--name", "shop", "--kubernetes-version", "1.33")
    d.aws("eks", "update-cluster-version", "--name", "shop", "--kubernetes-version", "1.35")
    d.until(d.status, "ACTIVE")
    d.aws("eks", "delete-cluster", "--name", "shop")
    d.until(d.status, "gone")


@case
def an_update_that_fails_leaves_all_as_it_was_and_only_it_says_so(d):
    d.cluster()
    d.set(updateFails="IpNotAvailable")
    update = d.aws("eks", "update-cluster-version", "--name", "shop", "--kubernetes-version", "1.35")["update"]
    d.until(d.status, "ACTIVE")
    said = d.aws("eks", "describe-update", "--name", "shop", "--update-id", update["id"])["update"]
    same((said["status"], [e["errorCode"] for e in said["errors"]]), ("Failed", ["IpNotAvailable"]))
    same(d.aws("eks", "describe-cluster", "--name", "shop")["cluster"]["version"], "1.34")


@case
def a_node_group_whose_deletion_fails_says_why_and_can_be_deleted_again(d):
    _, subnets = d.cluster()
    d.node_role()
    d.aws("eks", "create-addon", "--cluster-name", "shop", "--addon-name", "vpc-cni")
    d.aws(*d.nodes(subnets))
    d.until(d.group, "ACTIVE")
    d.set(nodegroupDeleteFails="Ec2SecurityGroupDeletionFailure")
    delete = ("eks", "delete-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")
    d.aws(*delete)
    d.until(d.group, "DELETE_FAILED")
    issues = d.aws("eks", "describe-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")["nodegroup"]["health"]["issues"]
    same([one["code"] for one in issues], ["Ec2SecurityGroupDeletionFailure"])
    d.set(nodegroupDeleteFails=None)
    d.aws(*delete)
    d.until(d.group, "gone")


@case
def a_token_makes_one_thing_however_often_it_is_used(d):
    _, subnets = d.network()
    d.role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
    d.set(faults=[{"operation": "eks:CreateCluster", "lose": True}])
    words = d.create("shop", subnets, "--client-request-token", "token-1")
    same(d.aws(*words, attempts=3)["cluster"]["status"], "CREATING")
    same([c["status"] for c in d.http("GET", "/_double/calls")[1] if c["operation"] == "CreateCluster"], [None, 200])
    d.refused("ResourceInUseException", *d.create("shop", subnets, "--client-request-token", "token-2"))
    d.refused("InvalidParameterException", *d.create("shop", subnets, "--client-request-token", "token-1", "--tags", "a=b"))
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/eks/aws4_request, SignedHeaders=host, Signature=0", "Content-Type": "application/json"}
    wish = {"name": "race", "roleArn": ROLE + "cluster", "resourcesVpcConfig": {"subnetIds": subnets}}
    with ThreadPoolExecutor(16) as many:
        codes = list(many.map(lambda n: d.http("POST", "/clusters", {**wish, "clientRequestToken": f"r{n}"}, signed)[0], range(16)))
    same((codes.count(200), codes.count(409)), (1, 15), "creations of one name at once")


@case
def subnets_and_versions_of_a_cluster_are_judged(d):
    _, subnets = d.network()
    d.role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
    said = d.refused("InvalidParameterException", *d.create("shop", subnets[:1]))
    assert "two different AZs" in said, said
    said = d.refused("InvalidParameterException", *d.create("shop", [subnets[0], "subnet-00000000"]))
    assert "subnet-00000000" in said, said
    said = d.refused("InvalidParameterException", *d.create("shop", subnets, "--kubernetes-version", "1.12"))
    assert "1.12" in said, said
    same(list(d.account().get("eks:cluster", [])), [])


@case
def planted_leftovers_hold_the_vpc_and_can_be_found(d):
    vpc, subnets = d.cluster()

    def plant(what, **more):
        status, said = d.http("POST", "/_double/plant", {"what": what, "region": REGION, **more})
        same(status, 200, said)
        return said

    balancer = plant("load-balancer", cluster="shop", namespace="shop", name="frontend-external")
    interface = plant("eni", subnet=subnets[0], cluster="shop")["id"]
    volume = plant("volume", cluster="shop", name="data-0", zone=REGION + "a")["id"]
    stranger = plant("subnet", vpc=vpc, cidr="10.0.9.0/24")["id"]
    plant("cluster-deleted", cluster="shop")
    same(d.status(), "gone")
    tags = d.aws("elb", "describe-tags", "--load-balancer-names", balancer["name"])["TagDescriptions"][0]["Tags"]
    assert f".{REGION}." in balancer["dns"], balancer
    same({t["Key"]: t["Value"] for t in tags}, {"kubernetes.io/cluster/shop": "owned", "kubernetes.io/service-name": "shop/frontend-external"})
    found = d.aws("ec2", "describe-network-interfaces", "--filters", "Name=tag:cluster.k8s.amazonaws.com/name,Values=shop")["NetworkInterfaces"]
    same([(i["NetworkInterfaceId"], i["Status"]) for i in found], [(interface, "available")])
    held = d.aws("ec2", "describe-network-interfaces", "--filters", f"Name=description,Values=ELB {balancer['name']}")["NetworkInterfaces"]
    same({(i["Status"], i["RequesterManaged"]) for i in held}, {("in-use", True)})
    d.refused("OperationNotPermitted", "ec2", "delete-network-interface", "--network-interface-id", held[0]["NetworkInterfaceId"])
    d.refused("DependencyViolation", "ec2", "delete-subnet", "--subnet-id", subnets[0])
    user = plant("security-group", vpc=vpc, name="mine", tags={"kubernetes.io/cluster/shop": "owned"})["id"]
    balancers = next(g["id"] for g in d.account()["ec2:security-group"] if g["name"].startswith("k8s-elb-"))
    d.aws("ec2", "delete-network-interface", "--network-interface-id", interface)
    d.aws("elb", "delete-load-balancer", "--load-balancer-name", balancer["name"])
    d.until(lambda: d.aws("ec2", "describe-network-interfaces", "--filters", f"Name=vpc-id,Values={vpc}")["NetworkInterfaces"], [])
    permission = json.dumps([{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": balancers}]}])
    same(len(d.aws("ec2", "authorize-security-group-ingress", "--group-id", user, "--ip-permissions", permission)["SecurityGroupRules"]), 1)
    d.refused("DependencyViolation", "ec2", "delete-security-group", "--group-id", balancers)
    d.aws("ec2", "delete-security-group", "--group-id", user)
    d.aws("ec2", "delete-security-group", "--group-id", balancers)
    d.aws("ec2", "delete-volume", "--volume-id", volume)
    for subnet in [*subnets, stranger]:
        d.aws("ec2", "delete-subnet", "--subnet-id", subnet)
    d.aws("ec2", "delete-vpc", "--vpc-id", vpc)
    same(sorted(d.account()), ["iam:role"])


@case
def a_wrong_secret_is_refused_where_credentials_are_enforced(d):
    d.set(enforceCredentials=True)
    d.aws("sts", "get-caller-identity")
    d.aws("ec2", "describe-vpcs", "--filters", "Name=tag:a b/c,Values=ü*")
    d.aws("eks", "list-clusters", "--max-items", 3)
    d.refused("SignatureDoesNotMatch", "sts", "get-caller-identity", secret="wrong")
    d.refused("AuthFailure", "ec2", "describe-vpcs", secret="wrong")
    d.refused("InvalidSignatureException", "eks", "list-clusters", secret="wrong")
    d.refused("UnrecognizedClientException", "eks", "list-clusters", key="AKIANOBODY0000000000")
    d.aws("iam", "create-user", "--user-name", "second")
    key = d.aws("iam", "create-access-key", "--user-name", "second")["AccessKey"]
    who = d.aws("sts", "get-caller-identity", key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    same(who["Arn"], f"arn:aws:iam::{ACCOUNT}:user/second")


@case
def regions_are_apart_and_a_reset_empties_all(d):
    d.cluster()
    same(d.aws("eks", "list-clusters", region="us-west-2")["clusters"], [])
    same(d.aws("eks", "list-clusters")["clusters"], ["shop"])
    same(d.http("POST", "/_double/reset")[0], 200)
    same((d.account(), d.http("GET", "/_double/calls")[1]), ({}, []))


@case
def what_is_new_is_not_visible_at_once(d):
    d.set(durations={"visible": 300})
    vpc = d.aws("ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--tag-specifications", "ResourceType=vpc,Tags=[{Key=stack,Value=s}]")["Vpc"]["VpcId"]
    find = ("ec2", "describe-vpcs", "--filters", "Name=tag:stack,Values=s")
    same(d.aws(*find)["Vpcs"], [])
    d.refused("InvalidVpcID.NotFound", "ec2", "describe-vpcs", "--vpc-ids", vpc)
    d.until(lambda: [v["VpcId"] for v in d.aws(*find)["Vpcs"]], [vpc])


@case
def a_node_group_grows_shrinks_and_takes_the_launch_templates_tags(d):
    _, subnets = d.cluster()
    d.node_role()
    d.aws("eks", "create-addon", "--cluster-name", "shop", "--addon-name", "vpc-cni")
    data = {"MetadataOptions": {"HttpTokens": "required"}, "TagSpecifications": [{"ResourceType": kind, "Tags": [{"Key": "stack", "Value": "s"}]} for kind in ("instance", "volume", "network-interface")]}
    template = d.aws("ec2", "create-launch-template", "--launch-template-name", "t", "--launch-template-data", json.dumps(data))["LaunchTemplate"]["LaunchTemplateId"]
    d.refused("InvalidParameterException", *d.nodes(subnets, "--launch-template", f"id={template},version=1", "--disk-size", 30))
    d.aws(*d.nodes(subnets, "--launch-template", f"id={template},version=1"))
    d.until(d.group, "ACTIVE")

    def tagged():
        items = d.account()
        return [sum(i["tags"].get("stack") == "s" for i in items.get(kind, [])) for kind in ("ec2:instance", "ec2:volume", "ec2:network-interface")]

    same(tagged(), [2, 2, 2])
    for size in (4, 1):
        d.aws("eks", "update-nodegroup-config", "--cluster-name", "shop", "--nodegroup-name", "nodes", "--scaling-config", f"minSize=1,maxSize=4,desiredSize={size}")
        d.until(d.group, "ACTIVE")
        same(tagged(), [size] * 3, f"after scaling to {size}")
    d.aws("eks", "tag-resource", "--resource-arn", d.aws("eks", "describe-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")["nodegroup"]["nodegroupArn"], "--tags", "a=b")
    same(d.account()["eks:nodegroup"][0]["tags"], {"a": "b"})


@case
def a_bucket_has_one_winner_for_each_conditional_write(d):
    d.aws("s3api", "create-bucket", "--bucket", "state", "--create-bucket-configuration", f"LocationConstraint={REGION}")
    d.aws("s3api", "put-object", "--bucket", "state", "--key", "k", "--if-none-match", "*")
    d.refused("PreconditionFailed", "s3api", "put-object", "--bucket", "state", "--key", "k", "--if-none-match", "*")
    d.refused("NotImplementedByDouble", "s3api", "get-bucket-acl", "--bucket", "state")
    same([b["name"] for b in d.account()["s3:bucket"]], ["state"])
    d.aws("s3api", "delete-object", "--bucket", "state", "--key", "k")
    d.aws("s3api", "delete-bucket", "--bucket", "state")
    same(d.account(), {})


@case
def an_endpoint_that_answers_late_delays_the_caller(d):
    d.set(faults=[{"operation": "ec2:DescribeVpcs", "delay": 1.5}, {"operation": "*", "code": "InternalError", "status": 500, "times": 1}])
    began = time.monotonic()
    d.aws("ec2", "describe-vpcs")
    assert time.monotonic() - began >= 1.5
    d.refused("InternalError", "ec2", "describe-subnets")
    d.aws("ec2", "describe-subnets")
