"""The double's own tests, with a client that is not ours: the AWS CLI. Without programs, so without API servers.

    python check.py [part of a case's name]

One line a case, then `N passed, N failed`; the exit code is 1 when one failed.
"""
import base64
import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from awscli.clidriver import create_clidriver

HERE, REGION, ACCOUNT = Path(__file__).resolve().parent, "eu-central-1", "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/"
MANAGED = "arn:aws:iam::aws:policy/"
CASES = []


def case(function):
    CASES.append(function)
    return function


def same(found, wanted, what=""):
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


class Double:
    """A double of its own for each case, and the AWS CLI that talks to it."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        environment = {key: value for key, value in os.environ.items() if key != "STACKUP_CONTROL_PLANE"}
        self.process = subprocess.Popen([sys.executable, HERE / "double.py", "--folder", self.folder.name, "--scale", "1", "--until-stdin-closes"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.url = json.loads(self.process.stdout.readline())["url"]

    def end(self):
        self.process.stdin.close()
        same(self.process.wait(20), 0, "exit code of the double")
        self.folder.cleanup()

    def run(self, *words, region=REGION, key="test", secret="test", attempts=1):
        """(exit code, what it says: JSON on success, text on failure) of one AWS CLI command."""
        os.environ.update({
            "HOME": self.folder.name, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": str(attempts), "AWS_PAGER": ""})
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = create_clidriver().main([*map(str, words)])
        said = (errors if code else out).getvalue().strip()
        return code, json.loads(said) if not code and said[:1] in ("{", "[", '"') else said

    def aws(self, *words, **options):
        """Result of a command that is to succeed."""
        code, said = self.run(*words, **options)
        assert code == 0, f"aws {' '.join(map(str, words))}: {said}"
        return said

    def refused(self, code, *words, **options):
        """What a command says that is to be refused with an error code."""
        status, said = self.run(*words, **options)
        assert status and f"({code})" in said, f"aws {' '.join(map(str, words))}: not {code} but {said}"
        return said

    def http(self, method, path, body=None, headers=None):
        """(status, JSON or text) of a plain request."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, headers or {})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text[:1] in "{[" else text

    def set(self, **settings):
        same(self.http("POST", "/_double/settings", settings)[0], 200, "settings")

    def account(self):
        return self.http("GET", "/_double/account")[1]

    def advance(self, seconds):
        same(self.http("POST", "/_double/clock", {"advance": seconds})[0], 200, "clock")

    def until(self, ask, wanted, seconds=2000):
        """Puts the clock forward until the answer is the one wanted."""
        for _ in range(0, seconds, 60):
            if (found := ask()) == wanted:
                return
            self.advance(60)
        raise AssertionError(f"still {found!r} instead of {wanted!r} after {seconds} s")

    # What several cases need.

    def role(self, name, service, *policies):
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": ["sts:AssumeRole", "sts:TagSession"]}]}
        self.aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", json.dumps(trust))
        for policy in policies:
            self.aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", MANAGED + policy)

    def network(self):
        """A VPC with a subnet in each of two zones: (vpc, [subnets])."""
        vpc = self.aws("ec2", "create-vpc", "--cidr-block", "10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [self.aws("ec2", "create-subnet", "--vpc-id", vpc, "--cidr-block", f"10.0.{n}.0/24", "--availability-zone", REGION + zone,
                            "--tag-specifications", "ResourceType=subnet,Tags=[{Key=kubernetes.io/role/elb,Value=1}]")["Subnet"]["SubnetId"] for n, zone in enumerate("ab")]
        return vpc, subnets

    def create(self, name, subnets, *more):
        return ("eks", "create-cluster", "--name", name, "--role-arn", ROLE + "cluster", "--resources-vpc-config", "subnetIds=" + ",".join(subnets),
                "--access-config", "authenticationMode=API,bootstrapClusterCreatorAdminPermissions=false", "--no-bootstrap-self-managed-addons", *more)

    def cluster(self, name="shop"):
        """A cluster that is ACTIVE: (vpc, [subnets])."""
        vpc, subnets = self.network()
        self.role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
        self.aws(*self.create(name, subnets))
        self.until(lambda: self.status(name), "ACTIVE")
        return vpc, subnets

    def status(self, name="shop"):
        code, said = self.run("eks", "describe-cluster", "--name", name)
        return said["cluster"]["status"] if code == 0 else "gone" if "(ResourceNotFoundException)" in said else said

    def group(self, name="nodes"):
        code, said = self.run("eks", "describe-nodegroup", "--cluster-name", "shop", "--nodegroup-name", name)
        return said["nodegroup"]["status"] if code == 0 else "gone" if "(ResourceNotFoundException)" in said else said

    def nodes(self, subnets, *more, desired=2):
        return ("eks", "create-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes", "--subnets", *subnets, "--node-role", ROLE + "node",
                "--instance-types", "m7i.large", "m7a.large", "--scaling-config", f"minSize=1,maxSize=4,desiredSize={desired}", *more)

    def node_role(self):
        self.role("node", "ec2.amazonaws.com", "AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")


@case
def the_whole_life_of_a_cluster_begins_and_ends_with_an_empty_account(d):
    same(d.account(), {}, "account at the start")
    vpc, subnets = d.network()
    gateway = d.aws("ec2", "create-internet-gateway")["InternetGateway"]["InternetGatewayId"]
    d.aws("ec2", "attach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
    address = d.aws("ec2", "allocate-address", "--domain", "vpc")["AllocationId"]
    nat = d.aws("ec2", "create-nat-gateway", "--subnet-id", subnets[0], "--allocation-id", address, "--client-token", "one",
                "--tag-specifications", "ResourceType=natgateway,Tags=[{Key=stack,Value=s}]")["NatGateway"]
    same(nat["State"], "pending")
    again = d.aws("ec2", "create-nat-gateway", "--subnet-id", subnets[0], "--allocation-id", address, "--client-token", "one",
                  "--tag-specifications", "ResourceType=natgateway,Tags=[{Key=stack,Value=s}]")["NatGateway"]
    same(again["NatGatewayId"], nat["NatGatewayId"], "the same client token")
    nat = nat["NatGatewayId"]
    d.until(lambda: [g["State"] for g in d.aws("ec2", "describe-nat-gateways", "--filter", "Name=tag:stack,Values=s")["NatGateways"]], ["available"])
    table = d.aws("ec2", "create-route-table", "--vpc-id", vpc)["RouteTable"]["RouteTableId"]
    d.aws("ec2", "create-route", "--route-table-id", table, "--destination-cidr-block", "0.0.0.0/0", "--nat-gateway-id", nat)
    link = d.aws("ec2", "associate-route-table", "--route-table-id", table, "--subnet-id", subnets[1])["AssociationId"]
    d.role("cluster", "eks.amazonaws.com", "AmazonEKSClusterPolicy")
    d.node_role()
    d.role("cni", "pods.eks.amazonaws.com", "AmazonEKS_CNI_Policy")
    same(d.aws(*d.create("shop", subnets, "--tags", "stack=s"))["cluster"]["status"], "CREATING")
    d.refused("InvalidRequestException", *d.nodes(subnets))
    d.until(d.status, "ACTIVE")
    cluster = d.aws("eks", "describe-cluster", "--name", "shop")["cluster"]
    assert base64.b64decode(cluster["certificateAuthority"]["data"]).startswith(b"-----BEGIN CERTIFICATE-----\n")
    same((cluster["tags"], cluster["accessConfig"], cluster["resourcesVpcConfig"]["vpcId"]), ({"stack": "s"}, {"authenticationMode": "API"}, vpc))
    principal = f"arn:aws:iam::{ACCOUNT}:user/test"
    d.aws("eks", "create-access-entry", "--cluster-name", "shop", "--principal-arn", principal)
    d.refused("ResourceInUseException", "eks", "create-access-entry", "--cluster-name", "shop", "--principal-arn", principal)
    d.refused("InvalidParameterException", "eks", "create-access-entry", "--cluster-name", "shop", "--principal-arn", ROLE + "nobody")
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    d.aws("eks", "associate-access-policy", "--cluster-name", "shop", "--principal-arn", principal, "--policy-arn", policy, "--access-scope", "type=cluster")
    held = d.aws("eks", "list-associated-access-policies", "--cluster-name", "shop", "--principal-arn", principal)
    same([p["policyArn"] for p in held["associatedAccessPolicies"]], [policy])
    d.aws("eks", "create-addon", "--cluster-name", "shop", "--addon-name", "vpc-cni", "--pod-identity-associations", f"serviceAccount=aws-node,roleArn={ROLE}cni")
    same([a["serviceAccount"] for a in d.aws("eks", "list-pod-identity-associations", "--cluster-name", "shop")["associations"]], ["aws-node"])
    d.aws("eks", "create-addon", "--cluster-name", "shop", "--addon-name", "coredns")
    d.until(lambda: d.aws("eks", "describe-addon", "--cluster-name", "shop", "--addon-name", "coredns")["addon"]["status"], "DEGRADED")
    same(d.aws(*d.nodes(subnets, "--labels", "team=a", "--tags", "stack=s"))["nodegroup"]["status"], "CREATING")
    d.until(d.group, "ACTIVE")
    instances = [i for r in d.aws("ec2", "describe-instances", "--filters", "Name=tag:eks:cluster-name,Values=shop", "Name=instance-state-name,Values=running")["Reservations"] for i in r["Instances"]]
    same(sorted(i["SubnetId"] for i in instances), sorted(subnets), "subnets of the instances")
    same(d.aws("eks", "describe-addon", "--cluster-name", "shop", "--addon-name", "coredns")["addon"]["status"], "ACTIVE")
    same(sorted(d.aws("eks", "list-access-entries", "--cluster-name", "shop")["accessEntries"]), sorted([principal, ROLE + "node"]))
    # Everything that still holds on to something cannot go.
    d.refused("ResourceInUseException", "eks", "delete-cluster", "--name", "shop")
    d.refused("DependencyViolation", "ec2", "delete-subnet", "--subnet-id", subnets[1])
    d.refused("DependencyViolation", "ec2", "detach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
    d.refused("DependencyViolation", "ec2", "delete-route-table", "--route-table-id", table)
    d.refused("DependencyViolation", "ec2", "delete-vpc", "--vpc-id", vpc)
    d.refused("InvalidIPAddress.InUse", "ec2", "release-address", "--allocation-id", address)
    d.refused("DeleteConflict", "iam", "delete-role", "--role-name", "node")
    group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
    d.refused("DependencyViolation", "ec2", "delete-security-group", "--group-id", group)
    same(d.aws("eks", "delete-nodegroup", "--cluster-name", "shop", "--nodegroup-name", "nodes")["nodegroup"]["status"], "DELETING")
    d.until(d.group, "gone")
    d.aws("ec2", "delete-nat-gateway", "--nat-gateway-id", nat)
    d.until(lambda: d.aws("ec2", "describe-nat-gateways", "--nat-gateway-ids", nat)["NatGateways"][0]["State"], "deleted")
    routes = d.aws("ec2", "describe-route-tables", "--route-table-ids", table)["RouteTables"][0]["Routes"]
    same([r["State"] for r in routes if r.get("NatGatewayId") == nat], ["blackhole"])
    same(d.aws("eks", "delete-cluster", "--name", "shop")["cluster"]["status"], "DELETING")
    d.until(d.status, "gone")
    d.aws("ec2", "disassociate-route-table", "--association-id", link)
    d.aws("ec2", "delete-route-table", "--route-table-id", table)
    d.aws("ec2", "release-address", "--allocation-id", address)
    d.aws("ec2", "detach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
    d.aws("ec2", "delete-internet-gateway", "--internet-gateway-id", gateway)
    for subnet in subnets:
        d.aws("ec2", "delete-subnet", "--subnet-id", subnet)
    d.aws("ec2", "delete-vpc", "--vpc-id", vpc)
    for name, policies in (("cluster", ["AmazonEKSClusterPolicy"]), ("cni", ["AmazonEKS_CNI_Policy"]), ("node", ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])):
        for one in policies:
            d.aws("iam", "detach-role-policy", "--role-name", name, "--policy-arn", MANAGED + one)
        d.aws("iam", "delete-role", "--role-name", name)
    same(d.account(), {}, "account at the end")


@case
def what_the_double_does_not_do_is_refused_by_name(d):
    assert "eks:ListInsights" in d.refused("NotImplementedByDouble", "eks", "list-insights", "--cluster-name", "x")
    assert "ec2:DescribeSpotPriceHistory" in d.refused("NotImplementedByDouble", "ec2", "describe-spot-price-history")
    assert "iam:ListGroups" in d.refused("NotImplementedByDouble", "iam", "list-groups")
    said = d.refused("NotImplementedByDouble", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16", "--amazon-provided-ipv6-cidr-block")
    assert "AmazonProvidedIpv6CidrBlock" in said, said
    said = d.refused("NotImplementedByDouble", "ec2", "describe-subnets", "--filters", "Name=ipv6-native,Values=true")
    assert "ipv6-native" in said, said
    signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/eks/aws4_request, SignedHeaders=host, Signature=0", "Content-Type": "application/json"}
    status, body = d.http("POST", "/clusters", {"name": "x", "roleArn": "r", "resourcesVpcConfig": {"subnetIds": [], "fromTheFuture": 1}}, signed)
    same((status, body["__type"]), (501, "NotImplementedByDouble"))
    assert "resourcesVpcConfig.fromTheFuture" in body["message"], body
    signed["Authorization"] = signed["Authorization"].replace("/eks/", "/ec2/")
    signed["Content-Type"] = "application/x-www-form-urlencoded"
    status, body = d.http("POST", "/", "Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0%2F16&TagSpecification.1.FromTheFuture=1", signed)
    assert status == 501 and "TagSpecification.1.FromTheFuture" in body, body
    same(d.account(), {}, "account after all that")
    same(d.http("POST", "/_double/settings", {"nonsense": 1})[0], 501)


@case
def pages_of_one_are_complete(d):
    names = {f"group-{n}" for n in range(4)}
    vpc = d.aws("ec2", "create-vpc", "--cidr-block", "10.0.0.0/16")["Vpc"]["VpcId"]
    for name in names:
        d.aws("ec2", "create-security-group", "--group-name", name, "--description", "d", "--vpc-id", vpc)
        d.role(name, "eks.amazonaws.com")
    d.set(pageSize=1)
    found = d.aws("ec2", "describe-security-groups", "--filters", f"Name=vpc-id,Values={vpc}")["SecurityGroups"]
    same({g["GroupName"] for g in found}, names | {"default"})
    assert names <= {r["RoleName"] for r in d.aws("iam", "list-roles")["Roles"]}
    versions = d.aws("eks", "describe-cluster-versions")["clusterVersions"]
    same([v["clusterVersion"] for v in versions], ["1.35", "1.34", "1.33"])
    same([v["clusterVersion"] for v in versions if v["defaultVersion"]], ["1.34"])
    assert len(d.aws("eks", "list-access-policies")["accessPolicies"]) > 5
    calls = [c for c in d.http("GET", "/_double/calls")[1] if c["operation"] == "DescribeSecurityGroups"]
    same(len(calls), 5, "calls for five groups")
    page = d.aws("eks", "list-access-policies", "--no-paginate")
    assert page["nextToken"] and len(page["accessPolicies"]) == 1, page
    d.refused("InvalidParameterException", "eks", "list-access-policies", "--no-paginate", "--next-token", "nonsense")


@case
def throttled_calls_are_retried_by_the_client(d):
    d.set(throttle=1.0)
    d.refused("RequestLimitExceeded", "ec2", "describe-vpcs")
    d.refused("ThrottlingException", "eks", "list-clusters")
    d.refused("Throttling", "iam", "list-roles")
    d.refused("ThrottlingException", "logs", "describe-log-groups")
    d.set(throttle=0.4, seed=3)
    for words in (("ec2", "describe-vpcs"), ("eks", "list-clusters"), ("iam", "list-roles"), ("autoscaling", "describe-auto-scaling-groups")):
        d.aws(*words, attempts=12)
    calls = d.http("GET", "/_double/calls")[1][4:]
    assert any(c["code"] for c in calls), "nothing was throttled"


@case
def a_token_opens_the_cluster_it_was_made_for_and_no_other(d):
    _, subnets = d.cluster()
    d.aws(*d.create("other", subnets))
    d.until(lambda: d.status("other"), "ACTIVE")

    def review(token, cluster="shop"):
        status, body = d.http("POST", f"/_double/token-review/{REGION}/{cluster}",
                              {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}, {"Content-Type": "application/json"})
        same((status, body["kind"]), (200, "TokenReview"))
        return body["status"]

    def token(**options):
        return d.aws("eks", "get-token", "--cluster-name", "shop", **options)["status"]["token"]

    assert "no access entry" in review(token())["error"]
    principal = f"arn:aws:iam::{ACCOUNT}:user/test"
    for name in ("shop", "other"):
        d.aws("eks", "create-access-entry", "--cluster-name", name, "--principal-arn", principal, "--kubernetes-groups", "team-a")
    same(review(token())["user"]["groups"], ["team-a"])
    d.aws("eks", "associate-access-policy", "--cluster-name", "shop", "--principal-arn", principal, "--access-scope", "type=cluster",
          "--policy-arn", "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy")
    good = review(token())
    same((good["authenticated"], good["user"]["username"], good["user"]["groups"]), (True, principal, ["team-a", "system:masters"]))
    for bad, cluster, why in ((token(secret="wrong"), "shop", "signature"), (token(), "other", "signature"), (token(key="AKIANOBODY0000000000"), "shop", "key"),
                              ("k8s-aws-v2.x", "shop", "begin"), (token(), "third", "no cluster")):
        found = review(bad, cluster)
        assert found["authenticated"] is False and why in found["error"], (found, why)
    text = token()[len("k8s-aws-v1."):]
    address = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().replace("%3Bx-k8s-aws-id", "")
    found = review("k8s-aws-v1." + base64.urlsafe_b64encode(address.encode()).decode().rstrip("="))
    assert found["authenticated"] is False and "x-k8s-aws-id" in found["error"], found
    d.aws("eks", "delete-access-entry", "--cluster-name", "shop", "--principal-arn", principal)
    same(review(token())["authenticated"], False)


def tried(number):
    """None, or why the case failed; in a process of its own, because the CLI takes its settings from the environment."""
    double = Double()
    try:
        CASES[number](double)
        return None
    except Exception as error:  # every kind of failure is reported, and the others run on
        return f"{type(error).__name__}: {error}"
    finally:
        double.end()


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in CASES if wanted in one.__name__]

    failed = 0
    with ProcessPoolExecutor(2) as pool:
        for function, why in zip(chosen, pool.map(tried, [CASES.index(one) for one in chosen])):
            print(f"{'FAILED' if why else 'ok':6} {function.__name__.replace('_', ' ')}{': ' + why if why else ''}", flush=True)
            failed += why is not None
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.modules["check"] = sys.modules["__main__"]
    import check_rules  # noqa: F401  (its cases join this list)
    sys.exit(main())
