"""EC2 where moto does not do what AWS documents: states by the clock, idempotency tokens, quotas, marks on interfaces."""
import uuid

from account import utcnow
from hooks import after, before, implements
from wire import Refused

# Operations with a ClientToken and the member of the result that says whether the thing still exists.
TOKENS = ("CreateNatGateway", "CreateRouteTable", "CreateLaunchTemplate", "CreateLaunchTemplateVersion", "CreateVpcEndpoint", "CreateNetworkInterface", "ModifyLaunchTemplate")
# operation: (quota, error code, list operation, its list, what of it counts)
QUOTAS = {
    "CreateVpc": ("vpc", "VpcLimitExceeded", "DescribeVpcs", "Vpcs"),
    "AllocateAddress": ("addresses", "AddressLimitExceeded", "DescribeAddresses", "Addresses"),
    "CreateInternetGateway": ("internetGateways", "InternetGatewayLimitExceeded", "DescribeInternetGateways", "InternetGateways"),
    "CreateSecurityGroup": ("securityGroups", "ResourceLimitExceeded", "DescribeSecurityGroups", "SecurityGroups"),
    "CreateNetworkInterface": ("networkInterfaces", "NetworkInterfaceLimitExceeded", "DescribeNetworkInterfaces", "NetworkInterfaces"),
}


class States:
    """What the double knows of the things of one region beside moto: states of NAT gateways and endpoints, AWS's own interfaces."""

    def __init__(self, account, region):
        self.account, self.region = account, region
        self.nat, self.endpoints = {}, {}
        # Interfaces that belong to a service: id → what it is for. Nobody but the service can delete them.
        self.managed = {}

    def interface(self, subnet, groups, description, kind="interface"):
        """Makes an interface of a service, in use; gives its id."""
        made = self.account.moto_do("ec2", "CreateNetworkInterface", self.region, SubnetId=subnet, Groups=groups, Description=description)
        identity = made["NetworkInterface"]["NetworkInterfaceId"]
        self.managed[identity] = kind
        return identity

    def drop(self, identity):
        """Deletes an interface of a service."""
        if self.managed.pop(identity, None) is not None:
            self.account.moto_do("ec2", "DeleteNetworkInterface", self.region, NetworkInterfaceId=identity)


@before("ec2", *TOKENS)
def replayed(account, call):
    """The first answer again, for a token that was used with the same parameters."""
    token = call.parameters.pop("ClientToken", None)
    if token is None:
        return None
    key = (call.region, call.name, token)
    if key not in account.tokens:
        call.token = key
        return None
    parameters, result = account.tokens[key]
    if parameters != call.parameters:
        raise Refused("IdempotentParameterMismatch", f"The client token {token} was used with other parameters before.")
    return result


@after("ec2", *TOKENS)
def remember(account, call, result):
    if getattr(call, "token", None):
        account.tokens[call.token] = (dict(call.parameters), result)


@before("ec2", "CreateTags")
def reserved(account, call):
    for tag in call.parameters["Tags"]:
        if tag["Key"].startswith("aws:"):
            raise Refused("InvalidParameterValue", f"Tag keys starting with 'aws:' are reserved for internal use: {tag['Key']}")


@before("ec2", *QUOTAS)
def within_quota(account, call):
    quota, code, operation, name = QUOTAS[call.name]
    have = len(account.moto_do("ec2", operation, call.region)[name])
    if have >= account.settings["quotas"][quota]:
        raise Refused(code, f"The maximum number of {name} has been reached: {have}.")


@before("ec2", "CreateSubnet")
def subnets_within_quota(account, call):
    have = [s for s in account.moto_do("ec2", "DescribeSubnets", call.region)["Subnets"] if s["VpcId"] == call.parameters["VpcId"]]
    if len(have) >= account.settings["quotas"]["subnetsPerVpc"]:
        raise Refused("SubnetLimitExceeded", f"The maximum number of subnets has been reached: {len(have)}.")


@before("ec2", "CreateNatGateway")
def nat_within_quota(account, call):
    subnet = account.do("ec2", "DescribeSubnets", call.region, SubnetIds=[call.parameters["SubnetId"]])["Subnets"][0]
    zones = {s["SubnetId"]: s["AvailabilityZone"] for s in account.moto_do("ec2", "DescribeSubnets", call.region)["Subnets"]}
    live = [g for g in gateways(account, call.region) if zones.get(g["SubnetId"]) == subnet["AvailabilityZone"]]
    if len(live) >= account.settings["quotas"]["natPerZone"]:
        raise Refused("NatGatewayLimitExceeded", f"The maximum number of NAT gateways has been reached in {subnet['AvailabilityZone']}.")
    address = call.parameters.get("AllocationId")
    if call.parameters.get("ConnectivityType", "public") == "public":
        if address is None:
            raise Refused("MissingParameter", "The request must contain the parameter AllocationId")
        found = account.do("ec2", "DescribeAddresses", call.region, AllocationIds=[address])["Addresses"][0]
        if found.get("AssociationId"):
            raise Refused("Resource.AlreadyAssociated", f"Elastic IP address [{address}] is already associated")


def gateways(account, region):
    """NAT gateways that are not deleted."""
    return [g for g in account.do("ec2", "DescribeNatGateways", region)["NatGateways"] if g["State"] not in ("deleted", "failed")]


@after("ec2", "CreateNatGateway")
def nat_pending(account, call, result):
    states, gateway = account.part(States, call.region), result["NatGateway"]
    identity = gateway["NatGatewayId"]
    states.nat[identity] = {"State": "pending"}
    gateway["State"] = "pending"
    for address in gateway.get("NatGatewayAddresses", []):
        states.managed[address["NetworkInterfaceId"]] = "nat_gateway"

    def available():
        attached = [g for g in account.moto_do("ec2", "DescribeInternetGateways", call.region)["InternetGateways"]
                    if any(a["VpcId"] == gateway["VpcId"] for a in g["Attachments"])]
        if states.nat.get(identity, {}).get("State") != "pending":
            return
        states.nat[identity] = {"State": "available"} if attached or gateway.get("ConnectivityType") == "private" else {
            "State": "failed", "FailureCode": "Gateway.NotAttached", "FailureMessage": f"Network {gateway['VpcId']} has no Internet gateway attached"}
    account.later("nat", available)


@after("ec2", "DescribeNatGateways")
def nat_states(account, call, result):
    known = account.part(States, call.region).nat
    for gateway in result["NatGateways"]:
        gateway |= known.get(gateway["NatGatewayId"], {})


@implements("ec2", "DeleteNatGateway")
def delete_nat_gateway(account, call):
    states, identity = account.part(States, call.region), call.parameters["NatGatewayId"]
    found = {g["NatGatewayId"]: g for g in account.do("ec2", "DescribeNatGateways", call.region)["NatGateways"]}.get(identity)
    if found is None:
        raise Refused("NatGatewayNotFound", f"NAT gateway {identity} was not found")
    if found["State"] in ("deleting", "deleted"):
        return {"NatGatewayId": identity}
    states.nat[identity] = {"State": "deleting"}

    def gone():
        account.moto_do("ec2", "DeleteNatGateway", call.region, NatGatewayId=identity)
        for address in found.get("NatGatewayAddresses", []):
            if address.get("NetworkInterfaceId"):
                free_interface(account, call.region, address["NetworkInterfaceId"])
        states.nat[identity] = {"State": "deleted", "DeleteTime": utcnow()}
    account.later("natDelete", gone)
    return {"NatGatewayId": identity}


def free_interface(account, region, identity):
    """Takes the public address off an interface and deletes it, whatever is left of either."""
    account.part(States, region).managed.pop(identity, None)
    for address in account.moto_do("ec2", "DescribeAddresses", region)["Addresses"]:
        if address.get("NetworkInterfaceId") == identity and address.get("AssociationId"):
            account.moto_do("ec2", "DisassociateAddress", region, AssociationId=address["AssociationId"])
    if any(e["NetworkInterfaceId"] == identity for e in account.moto_do("ec2", "DescribeNetworkInterfaces", region)["NetworkInterfaces"]):
        account.moto_do("ec2", "DeleteNetworkInterface", region, NetworkInterfaceId=identity)


@after("ec2", "DescribeRouteTables")
def blackholes(account, call, result):
    """A route through a NAT gateway that is gone leads nowhere."""
    gone = {identity for identity, state in account.part(States, call.region).nat.items() if state["State"] == "deleted"}
    for table in result["RouteTables"]:
        for route in table.get("Routes", []):
            if route.get("NatGatewayId") in gone:
                route["State"] = "blackhole"


@after("ec2", "CreateVpcEndpoint")
def endpoint_pending(account, call, result):
    endpoint, states = result["VpcEndpoint"], account.part(States, call.region)
    if call.parameters.get("VpcEndpointType", "Gateway") == "Interface":
        states.endpoints[endpoint["VpcEndpointId"]] = endpoint["State"] = "pending"
        account.later("endpoint", lambda: states.endpoints.pop(endpoint["VpcEndpointId"], None))


@after("ec2", "DeleteRouteTable")
def endpoint_without_table(account, call, _result):
    """An endpoint has no route in a table that is gone; moto would refuse to delete the endpoint then."""
    gone = call.parameters["RouteTableId"]
    for endpoint in account.moto_do("ec2", "DescribeVpcEndpoints", call.region)["VpcEndpoints"]:
        if gone in endpoint.get("RouteTableIds", []):
            account.moto_do("ec2", "ModifyVpcEndpoint", call.region, VpcEndpointId=endpoint["VpcEndpointId"], RemoveRouteTableIds=[gone])


@after("ec2", "DescribeVpcEndpoints")
def endpoint_states(account, call, result):
    for endpoint in result["VpcEndpoints"]:
        endpoint["State"] = account.part(States, call.region).endpoints.get(endpoint["VpcEndpointId"], endpoint["State"])


@after("ec2", "ModifyVpcEndpoint")
def endpoint_routes(account, call, result):
    """moto notes which tables a gateway endpoint is for, and leaves the routes in them as they were."""
    identity = call.parameters["VpcEndpointId"]
    endpoints = account.moto_do("ec2", "DescribeVpcEndpoints", call.region)["VpcEndpoints"]
    service = next(e["ServiceName"] for e in endpoints if e["VpcEndpointId"] == identity)
    lists = account.moto_do("ec2", "DescribeManagedPrefixLists", call.region)["PrefixLists"]
    to = {"DestinationPrefixListId": next(one["PrefixListId"] for one in lists if one["PrefixListName"] == service)}
    for table in call.parameters.get("AddRouteTableIds", []):
        account.moto_do("ec2", "CreateRoute", call.region, RouteTableId=table, GatewayId=identity, **to)
    for table in call.parameters.get("RemoveRouteTableIds", []):
        account.moto_do("ec2", "DeleteRoute", call.region, RouteTableId=table, **to)


@after("ec2", "DescribeNetworkInterfaces")
def managed_interfaces(account, call, result):
    managed = account.part(States, call.region).managed
    for interface in result["NetworkInterfaces"]:
        kind = managed.get(interface["NetworkInterfaceId"])
        if kind is not None:
            attachment = {"AttachmentId": "ela-attach-" + interface["NetworkInterfaceId"][4:], "Status": "attached", "DeleteOnTermination": False,
                          "InstanceOwnerId": "amazon-aws", "DeviceIndex": 1}
            interface |= {"RequesterManaged": True, "Status": "in-use", "InterfaceType": kind, "Attachment": attachment}


@implements("ec2", "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress")
def authorize(account, call):
    """moto tells of one new rule only, however many there are."""
    group = call.parameters["GroupId"]

    def rules():
        have = account.moto_do("ec2", "DescribeSecurityGroupRules", call.region, Filters=[{"Name": "group-id", "Values": [group]}])
        return {rule["SecurityGroupRuleId"]: rule for rule in have["SecurityGroupRules"]}
    old = rules()
    result = account.moto_do("ec2", call.name, call.region, **call.parameters)
    return {**result, "SecurityGroupRules": [rule for key, rule in rules().items() if key not in old]}


# ---- Eventual consistency: what was just made is not told of until it is `visible`.

CREATED = {"CreateVpc": ("Vpc", "VpcId"), "CreateSubnet": ("Subnet", "SubnetId"), "CreateInternetGateway": ("InternetGateway", "InternetGatewayId"),
           "CreateRouteTable": ("RouteTable", "RouteTableId"), "CreateNatGateway": ("NatGateway", "NatGatewayId"),
           "CreateSecurityGroup": (None, "GroupId"), "AllocateAddress": (None, "AllocationId")}
SHOWN = {"DescribeVpcs": ("Vpcs", "VpcId", "VpcIds", "InvalidVpcID.NotFound"), "DescribeSubnets": ("Subnets", "SubnetId", "SubnetIds", "InvalidSubnetID.NotFound"),
         "DescribeInternetGateways": ("InternetGateways", "InternetGatewayId", "InternetGatewayIds", "InvalidInternetGatewayID.NotFound"),
         "DescribeRouteTables": ("RouteTables", "RouteTableId", "RouteTableIds", "InvalidRouteTableID.NotFound"),
         "DescribeNatGateways": ("NatGateways", "NatGatewayId", "NatGatewayIds", "NatGatewayNotFound"),
         "DescribeSecurityGroups": ("SecurityGroups", "GroupId", "GroupIds", "InvalidGroup.NotFound"),
         "DescribeAddresses": ("Addresses", "AllocationId", "AllocationIds", "InvalidAllocationID.NotFound")}


@after("ec2", *CREATED)
def born(account, call, result):
    wrapper, key = CREATED[call.name]
    identity = (result[wrapper] if wrapper else result)[key]
    if account.seconds("visible"):
        account.born[identity] = utcnow()
        account.later("visible", lambda: account.born.pop(identity, None))


def hide(account, call, result):
    """The result without what is not visible yet; asked for by id, that does not exist."""
    if call.name not in SHOWN or not account.born:
        return result
    name, key, asked, code = SHOWN[call.name]
    for identity in call.parameters.get(asked, []):
        if identity in account.born:
            raise Refused(code, f"The ID '{identity}' does not exist")
    return {**result, name: [item for item in result[name] if item[key] not in account.born]}


def unique():
    return uuid.uuid4().hex[:17]
