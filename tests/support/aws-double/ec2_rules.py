"""Deletions that EC2 refuses while something still depends on the thing; moto lets many of them happen."""
from ec2 import States, gateways
from hooks import before
from wire import Refused


def depends(message):
    return Refused("DependencyViolation", message)


def listed(account, call, operation, name, **parameters):
    return account.do("ec2", operation, call.region, **parameters).get(name, [])


def interfaces(account, call):
    return listed(account, call, "DescribeNetworkInterfaces", "NetworkInterfaces")


@before("ec2", "DeleteSubnet")
def subnet(account, call):
    identity = call.parameters["SubnetId"]
    held = [i for i in interfaces(account, call) if i["SubnetId"] == identity]
    nat = [g for g in gateways(account, call.region) if g["SubnetId"] == identity]
    instances = [i for r in listed(account, call, "DescribeInstances", "Reservations") for i in r["Instances"]
                 if i.get("SubnetId") == identity and i["State"]["Name"] != "terminated"]
    if held or nat or instances:
        raise depends(f"The subnet '{identity}' has dependencies and cannot be deleted.")


@before("ec2", "DetachInternetGateway")
def internet_gateway(account, call):
    vpc = call.parameters["VpcId"]
    nat = [g for g in gateways(account, call.region) if g["VpcId"] == vpc and g.get("ConnectivityType", "public") == "public"]
    public = [i for i in interfaces(account, call) if i["VpcId"] == vpc and i.get("Association", {}).get("PublicIp")]
    balancers = [i for i in interfaces(account, call) if i["VpcId"] == vpc and i.get("Description", "").startswith("ELB ")]
    if nat or public or balancers:
        raise depends(f"Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.")


@before("ec2", "DeleteSecurityGroup")
def security_group(account, call):
    identity = call.parameters["GroupId"]
    groups = listed(account, call, "DescribeSecurityGroups", "SecurityGroups")
    own = next((g for g in groups if g["GroupId"] == identity), None)
    if own and own["GroupName"] == "default":
        raise Refused("CannotDelete", f'the specified group: "{identity}" name: "default" cannot be deleted by a user')
    used = any(identity in [g["GroupId"] for g in i.get("Groups", [])] for i in interfaces(account, call))
    named = any(pair.get("GroupId") == identity for g in groups if g["GroupId"] != identity
                for rule in g.get("IpPermissions", []) + g.get("IpPermissionsEgress", []) for pair in rule.get("UserIdGroupPairs", []))
    if used or named:
        raise depends(f"resource {identity} has a dependent object")


@before("ec2", "ReleaseAddress")
def address(account, call):
    for one in listed(account, call, "DescribeAddresses", "Addresses", AllocationIds=[call.parameters["AllocationId"]]):
        if one.get("AssociationId"):
            raise Refused("InvalidIPAddress.InUse", f"Address {one['PublicIp']} is in use.")


@before("ec2", "DeleteRouteTable")
def route_table(account, call):
    identity = call.parameters["RouteTableId"]
    for table in listed(account, call, "DescribeRouteTables", "RouteTables", RouteTableIds=[identity]):
        if table.get("Associations"):
            raise depends(f"The routeTable '{identity}' has dependencies and cannot be deleted.")


@before("ec2", "AssociateRouteTable")
def associated(account, call):
    wanted = call.parameters["SubnetId"]
    for table in listed(account, call, "DescribeRouteTables", "RouteTables"):
        for one in table.get("Associations", []):
            if one.get("SubnetId") == wanted and table["RouteTableId"] != call.parameters["RouteTableId"]:
                raise Refused("Resource.AlreadyAssociated", f"the specified association for route table {call.parameters['RouteTableId']} conflicts with an existing association")


@before("ec2", "DeleteNetworkInterface")
def interface(account, call):
    identity = call.parameters["NetworkInterfaceId"]
    if identity in account.part(States, call.region).managed:
        raise Refused("OperationNotPermitted", f"You are not allowed to manage 'ela-attach' attachments of {identity}.", 403)
    for one in interfaces(account, call):
        if one["NetworkInterfaceId"] == identity and one.get("Attachment", {}).get("InstanceId"):
            raise Refused("InvalidNetworkInterface.InUse", f"Network interface '{identity}' is currently in use.")
    if any(identity == a.get("NetworkInterfaceId") for g in gateways(account, call.region) for a in g.get("NatGatewayAddresses", [])):
        raise Refused("OperationNotPermitted", f"The network interface {identity} is managed by a NAT gateway.", 403)


@before("ec2", "DeleteVolume")
def volume(account, call):
    for one in listed(account, call, "DescribeVolumes", "Volumes", VolumeIds=[call.parameters["VolumeId"]]):
        if one.get("Attachments"):
            raise Refused("VolumeInUse", f"Volume {one['VolumeId']} is currently attached to {one['Attachments'][0]['InstanceId']}")


@before("ec2", "DeleteVpc")
def vpc(account, call):
    identity = call.parameters["VpcId"]
    for operation, name in (("DescribeSubnets", "Subnets"), ("DescribeNetworkInterfaces", "NetworkInterfaces"),
                            ("DescribeSecurityGroups", "SecurityGroups"), ("DescribeVpcEndpoints", "VpcEndpoints")):
        held = [one for one in listed(account, call, operation, name) if one["VpcId"] == identity and one.get("GroupName") != "default"
                and one.get("State") != "deleted"]
        if held:
            raise depends(f"The vpc '{identity}' has dependencies and cannot be deleted.")
    tables = [t for t in listed(account, call, "DescribeRouteTables", "RouteTables")
              if t["VpcId"] == identity and not any(a.get("Main") for a in t.get("Associations", []))]
    attached = [g for g in listed(account, call, "DescribeInternetGateways", "InternetGateways")
                if any(a["VpcId"] == identity for a in g.get("Attachments", []))]
    if tables or attached or any(g["VpcId"] == identity for g in gateways(account, call.region)):
        raise depends(f"The vpc '{identity}' has dependencies and cannot be deleted.")
