"""What the double does, member by member: a call of anything else is refused by name, never answered as if it had worked."""
from wire import get_service_model, not_implemented

# operation: members that are honoured. Members of pages, DryRun and filters (below) come on top where the operation has them.
TABLE = {
    "ec2": """
AllocateAddress Domain TagSpecifications
AssociateRouteTable RouteTableId SubnetId
AttachInternetGateway InternetGatewayId VpcId
AuthorizeSecurityGroupEgress GroupId IpPermissions TagSpecifications
AuthorizeSecurityGroupIngress GroupId IpPermissions TagSpecifications
CreateInternetGateway TagSpecifications
CreateLaunchTemplate LaunchTemplateName LaunchTemplateData VersionDescription TagSpecifications ClientToken
CreateLaunchTemplateVersion LaunchTemplateId LaunchTemplateName LaunchTemplateData VersionDescription ClientToken
CreateNatGateway SubnetId AllocationId ConnectivityType TagSpecifications ClientToken
CreateNetworkInterface SubnetId Description Groups TagSpecifications ClientToken
CreateRoute RouteTableId DestinationCidrBlock GatewayId NatGatewayId
CreateRouteTable VpcId TagSpecifications ClientToken
CreateSecurityGroup GroupName Description VpcId TagSpecifications
CreateSubnet VpcId CidrBlock AvailabilityZone AvailabilityZoneId TagSpecifications
CreateTags Resources Tags
CreateVolume AvailabilityZone Size VolumeType Encrypted TagSpecifications
CreateVpc CidrBlock InstanceTenancy TagSpecifications
CreateVpcEndpoint VpcId ServiceName VpcEndpointType RouteTableIds SubnetIds SecurityGroupIds PrivateDnsEnabled PolicyDocument TagSpecifications ClientToken
DeleteInternetGateway InternetGatewayId
DeleteLaunchTemplate LaunchTemplateId LaunchTemplateName
DeleteNatGateway NatGatewayId
DeleteNetworkInterface NetworkInterfaceId
DeleteRoute RouteTableId DestinationCidrBlock
DeleteRouteTable RouteTableId
DeleteSecurityGroup GroupId
DeleteSubnet SubnetId
DeleteTags Resources Tags
DeleteVolume VolumeId
DeleteVpc VpcId
DeleteVpcEndpoints VpcEndpointIds
DescribeAccountAttributes AttributeNames
DescribeAddresses AllocationIds PublicIps
DescribeAvailabilityZones ZoneNames ZoneIds AllAvailabilityZones
DescribeInstanceTypeOfferings LocationType
DescribeInstanceTypes InstanceTypes
DescribeInstances InstanceIds
DescribeInternetGateways InternetGatewayIds
DescribeLaunchTemplateVersions LaunchTemplateId LaunchTemplateName Versions
DescribeLaunchTemplates LaunchTemplateIds LaunchTemplateNames
DescribeNatGateways NatGatewayIds
DescribeNetworkAcls NetworkAclIds
DescribeNetworkInterfaces NetworkInterfaceIds
DescribeRegions RegionNames AllRegions
DescribeRouteTables RouteTableIds
DescribeSecurityGroupRules SecurityGroupRuleIds
DescribeSecurityGroups GroupIds GroupNames
DescribeSubnets SubnetIds
DescribeTags
DescribeVolumes VolumeIds
DescribeVpcAttribute VpcId Attribute
DescribeVpcEndpoints VpcEndpointIds
DescribeVpcs VpcIds
DetachInternetGateway InternetGatewayId VpcId
DisassociateAddress AssociationId
DisassociateRouteTable AssociationId
ModifyLaunchTemplate LaunchTemplateId LaunchTemplateName DefaultVersion ClientToken
ModifySubnetAttribute SubnetId MapPublicIpOnLaunch
ModifyVpcAttribute VpcId EnableDnsSupport EnableDnsHostnames
ModifyVpcEndpoint VpcEndpointId AddRouteTableIds RemoveRouteTableIds
ReleaseAddress AllocationId
ReplaceRoute RouteTableId DestinationCidrBlock GatewayId NatGatewayId
ReplaceRouteTableAssociation AssociationId RouteTableId
RevokeSecurityGroupEgress GroupId IpPermissions SecurityGroupRuleIds
RevokeSecurityGroupIngress GroupId IpPermissions SecurityGroupRuleIds
TerminateInstances InstanceIds
""",
    "eks": """
AssociateAccessPolicy clusterName principalArn policyArn accessScope
CreateAccessEntry clusterName principalArn kubernetesGroups tags clientRequestToken username type
CreateAddon clusterName addonName addonVersion resolveConflicts clientRequestToken tags configurationValues podIdentityAssociations serviceAccountRoleArn
CreateCluster name version roleArn resourcesVpcConfig kubernetesNetworkConfig logging clientRequestToken tags encryptionConfig accessConfig bootstrapSelfManagedAddons upgradePolicy zonalShiftConfig computeConfig storageConfig deletionProtection controlPlaneScalingConfig
CreateNodegroup clusterName nodegroupName scalingConfig diskSize subnets instanceTypes amiType nodeRole labels taints tags clientRequestToken launchTemplate updateConfig nodeRepairConfig capacityType version releaseVersion
CreatePodIdentityAssociation clusterName namespace serviceAccount roleArn clientRequestToken tags
DeleteAccessEntry clusterName principalArn
DeleteAddon clusterName addonName preserve
DeleteCluster name
DeleteNodegroup clusterName nodegroupName
DeletePodIdentityAssociation clusterName associationId
DescribeAccessEntry clusterName principalArn
DescribeAddon clusterName addonName
DescribeAddonConfiguration addonName addonVersion
DescribeAddonVersions kubernetesVersion addonName
DescribeCluster name
DescribeClusterVersions defaultOnly includeAll clusterVersions versionStatus status
DescribeNodegroup clusterName nodegroupName
DescribePodIdentityAssociation clusterName associationId
DescribeUpdate name updateId nodegroupName addonName
DisassociateAccessPolicy clusterName principalArn policyArn
ListAccessEntries clusterName associatedPolicyArn
ListAccessPolicies
ListAddons clusterName
ListAssociatedAccessPolicies clusterName principalArn
ListClusters include
ListNodegroups clusterName
ListPodIdentityAssociations clusterName namespace serviceAccount
ListTagsForResource resourceArn
ListUpdates name nodegroupName addonName
TagResource resourceArn tags
UntagResource resourceArn tagKeys
UpdateAccessEntry clusterName principalArn kubernetesGroups clientRequestToken username
UpdateAddon clusterName addonName addonVersion resolveConflicts clientRequestToken configurationValues podIdentityAssociations serviceAccountRoleArn
UpdateClusterConfig name resourcesVpcConfig logging clientRequestToken accessConfig upgradePolicy zonalShiftConfig deletionProtection controlPlaneScalingConfig
UpdateClusterVersion name version clientRequestToken
UpdateNodegroupConfig clusterName nodegroupName labels taints scalingConfig updateConfig nodeRepairConfig clientRequestToken
UpdateNodegroupVersion clusterName nodegroupName version releaseVersion launchTemplate force clientRequestToken
UpdatePodIdentityAssociation clusterName associationId roleArn clientRequestToken
""",
    "iam": """
AddRoleToInstanceProfile InstanceProfileName RoleName
AttachRolePolicy RoleName PolicyArn
AttachUserPolicy UserName PolicyArn
CreateAccessKey UserName
CreateInstanceProfile InstanceProfileName Path Tags
CreateOpenIDConnectProvider Url ClientIDList ThumbprintList Tags
CreatePolicy PolicyName Path PolicyDocument Description Tags
CreateRole Path RoleName AssumeRolePolicyDocument Description MaxSessionDuration PermissionsBoundary Tags
CreateServiceLinkedRole AWSServiceName Description CustomSuffix
CreateUser UserName Path Tags
DeleteAccessKey UserName AccessKeyId
DeleteInstanceProfile InstanceProfileName
DeleteOpenIDConnectProvider OpenIDConnectProviderArn
DeletePolicy PolicyArn
DeleteRole RoleName
DeleteRolePolicy RoleName PolicyName
DeleteUser UserName
DetachRolePolicy RoleName PolicyArn
DetachUserPolicy UserName PolicyArn
GetInstanceProfile InstanceProfileName
GetOpenIDConnectProvider OpenIDConnectProviderArn
GetPolicy PolicyArn
GetPolicyVersion PolicyArn VersionId
GetRole RoleName
GetRolePolicy RoleName PolicyName
GetUser UserName
ListAttachedRolePolicies RoleName PathPrefix
ListInstanceProfiles PathPrefix
ListInstanceProfilesForRole RoleName
ListOpenIDConnectProviders
ListPolicies Scope OnlyAttached PathPrefix
ListRolePolicies RoleName
ListRoleTags RoleName
ListRoles PathPrefix
ListUsers PathPrefix
PutRolePolicy RoleName PolicyName PolicyDocument
RemoveRoleFromInstanceProfile InstanceProfileName RoleName
SimulatePrincipalPolicy PolicySourceArn ActionNames ResourceArns ContextEntries
TagRole RoleName Tags
UntagRole RoleName TagKeys
UpdateAssumeRolePolicy RoleName PolicyDocument
UpdateRole RoleName Description MaxSessionDuration
""",
    "sts": """
AssumeRole RoleArn RoleSessionName DurationSeconds ExternalId
GetCallerIdentity
""",
    "elb": """
CreateLoadBalancer LoadBalancerName Listeners Subnets SecurityGroups Scheme Tags
DeleteLoadBalancer LoadBalancerName
DescribeLoadBalancers LoadBalancerNames
DescribeTags LoadBalancerNames
""",
    "elbv2": """
CreateLoadBalancer Name Subnets SecurityGroups Scheme Tags Type IpAddressType
CreateTargetGroup Name Protocol Port VpcId TargetType Tags
DeleteListener ListenerArn
DeleteLoadBalancer LoadBalancerArn
DeleteTargetGroup TargetGroupArn
DescribeListeners LoadBalancerArn ListenerArns
DescribeLoadBalancers LoadBalancerArns Names
DescribeTags ResourceArns
DescribeTargetGroups LoadBalancerArn TargetGroupArns Names
""",
    "autoscaling": """
DeleteAutoScalingGroup AutoScalingGroupName ForceDelete
DescribeAutoScalingGroups AutoScalingGroupNames
DescribeScalingActivities AutoScalingGroupName
""",
    "logs": """
CreateLogGroup logGroupName tags kmsKeyId
DeleteLogGroup logGroupName
DescribeLogGroups logGroupNamePrefix
ListTagsForResource resourceArn
PutRetentionPolicy logGroupName retentionInDays
TagResource resourceArn tags
UntagResource resourceArn tagKeys
""",
    "service-quotas": """
GetServiceQuota ServiceCode QuotaCode
ListServiceQuotas ServiceCode
""",
    "resourcegroupstaggingapi": """
GetResources TagFilters ResourceTypeFilters ResourceARNList
""",
    "kms": """
CreateKey Description Tags
DescribeKey KeyId
ScheduleKeyDeletion KeyId PendingWindowInDays
""",
    # Members of S3 go to moto as they are: it is known to honour conditional writes, versions and checksums.
    "s3": """
CreateBucket
DeleteBucket
DeleteObject
DeleteObjects
GetBucketLocation
GetBucketTagging
GetBucketVersioning
GetObject
HeadBucket
HeadObject
ListBuckets
ListObjectVersions
ListObjectsV2
PutBucketEncryption
PutBucketTagging
PutBucketVersioning
PutObject
PutPublicAccessBlock
""",
}
TABLE = {service: {words[0]: set(words[1:]) for words in map(str.split, text.strip().splitlines())} for service, text in TABLE.items()}

# operation: (list in the result, {filter: where its value stands}); `tag:KEY` and `tag-key` come on top.
FILTERS = {
    "DescribeAddresses": ("Addresses", {"allocation-id": "AllocationId", "association-id": "AssociationId", "domain": "Domain", "instance-id": "InstanceId", "network-interface-id": "NetworkInterfaceId", "public-ip": "PublicIp"}),
    "DescribeAvailabilityZones": ("AvailabilityZones", {"opt-in-status": "OptInStatus", "region-name": "RegionName", "state": "State", "zone-id": "ZoneId", "zone-name": "ZoneName", "zone-type": "ZoneType"}),
    "DescribeInstanceTypeOfferings": ("InstanceTypeOfferings", {"instance-type": "InstanceType", "location": "Location"}),
    "DescribeInstanceTypes": ("InstanceTypes", {"current-generation": "CurrentGeneration", "instance-type": "InstanceType", "processor-info.supported-architecture": "ProcessorInfo.SupportedArchitectures", "vcpu-info.default-vcpus": "VCpuInfo.DefaultVCpus"}),
    "DescribeInstances": ("Reservations", {"availability-zone": "Placement.AvailabilityZone", "iam-instance-profile.arn": "IamInstanceProfile.Arn", "instance-id": "InstanceId", "instance-state-name": "State.Name", "instance-type": "InstanceType", "instance.group-id": "SecurityGroups[].GroupId", "private-dns-name": "PrivateDnsName", "subnet-id": "SubnetId", "vpc-id": "VpcId"}),
    "DescribeInternetGateways": ("InternetGateways", {"attachment.state": "Attachments[].State", "attachment.vpc-id": "Attachments[].VpcId", "internet-gateway-id": "InternetGatewayId"}),
    "DescribeLaunchTemplates": ("LaunchTemplates", {"launch-template-name": "LaunchTemplateName"}),
    "DescribeNatGateways": ("NatGateways", {"nat-gateway-id": "NatGatewayId", "state": "State", "subnet-id": "SubnetId", "vpc-id": "VpcId"}),
    "DescribeNetworkAcls": ("NetworkAcls", {"default": "IsDefault", "network-acl-id": "NetworkAclId", "vpc-id": "VpcId"}),
    "DescribeNetworkInterfaces": ("NetworkInterfaces", {"attachment.instance-id": "Attachment.InstanceId", "attachment.status": "Attachment.Status", "availability-zone": "AvailabilityZone", "description": "Description", "group-id": "Groups[].GroupId", "interface-type": "InterfaceType", "network-interface-id": "NetworkInterfaceId", "requester-managed": "RequesterManaged", "status": "Status", "subnet-id": "SubnetId", "vpc-id": "VpcId"}),
    "DescribeRouteTables": ("RouteTables", {"association.main": "Associations[].Main", "association.route-table-association-id": "Associations[].RouteTableAssociationId", "association.subnet-id": "Associations[].SubnetId", "route-table-id": "RouteTableId", "route.destination-cidr-block": "Routes[].DestinationCidrBlock", "route.gateway-id": "Routes[].GatewayId", "route.nat-gateway-id": "Routes[].NatGatewayId", "route.state": "Routes[].State", "vpc-id": "VpcId"}),
    "DescribeSecurityGroupRules": ("SecurityGroupRules", {"group-id": "GroupId", "security-group-rule-id": "SecurityGroupRuleId"}),
    "DescribeSecurityGroups": ("SecurityGroups", {"description": "Description", "group-id": "GroupId", "group-name": "GroupName", "ip-permission.group-id": "IpPermissions[].UserIdGroupPairs[].GroupId", "vpc-id": "VpcId"}),
    "DescribeSubnets": ("Subnets", {"availability-zone": "AvailabilityZone", "availability-zone-id": "AvailabilityZoneId", "cidr-block": "CidrBlock", "default-for-az": "DefaultForAz", "map-public-ip-on-launch": "MapPublicIpOnLaunch", "state": "State", "subnet-id": "SubnetId", "vpc-id": "VpcId"}),
    "DescribeTags": ("Tags", {"key": "Key", "resource-id": "ResourceId", "resource-type": "ResourceType", "value": "Value"}),
    "DescribeVolumes": ("Volumes", {"attachment.instance-id": "Attachments[].InstanceId", "attachment.status": "Attachments[].State", "availability-zone": "AvailabilityZone", "encrypted": "Encrypted", "size": "Size", "status": "State", "volume-id": "VolumeId", "volume-type": "VolumeType"}),
    "DescribeVpcEndpoints": ("VpcEndpoints", {"service-name": "ServiceName", "vpc-endpoint-id": "VpcEndpointId", "vpc-endpoint-state": "State", "vpc-endpoint-type": "VpcEndpointType", "vpc-id": "VpcId"}),
    "DescribeVpcs": ("Vpcs", {"cidr": "CidrBlock", "is-default": "IsDefault", "state": "State", "vpc-id": "VpcId"}),
}
# Lists so long that moto is to filter them; it is known to honour these filters.
PASSED_ON = {"DescribeInstanceTypeOfferings"}
# Operations whose items have no tags of their own.
UNTAGGED = {"DescribeAvailabilityZones", "DescribeInstanceTypeOfferings", "DescribeInstanceTypes", "DescribeTags"}


def check(call):
    """Refuses what is not in the tables."""
    honoured = TABLE.get(call.service, {}).get(call.name)
    if honoured is None:
        raise not_implemented(call, "is not an operation the double implements")
    if call.service == "s3":
        return
    allowed = honoured | {"DryRun"} | ({"Filters", "Filter"} if call.service == "ec2" and call.name in FILTERS else set()) | call.page_members
    for member in [*call.parameters, *call.extra]:
        if member not in allowed:
            raise not_implemented(call, f"has a member {member} that the double does not honour")
    for item in call.parameters.get("Filters") or call.parameters.get("Filter") or []:
        name = item.get("Name", "")
        tagged = (name.startswith("tag:") or name == "tag-key") and call.name not in UNTAGGED
        if not tagged and name not in FILTERS[call.name][1]:
            raise not_implemented(call, f"has a filter {name} that the double does not honour")


def missing():
    """Operations of the tables that the services' own models do not have: none, unless a name is misspelt."""
    return [f"{service}:{name}" for service, operations in TABLE.items() for name in operations if name not in get_service_model(service).operation_names]
