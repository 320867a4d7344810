//! What the identity that runs stackup must be allowed to do: the one list of it, and whether it is.

use std::collections::BTreeSet;

use aws_sdk_iam::error::ProvideErrorMetadata as _;
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType};

use super::super::error::read;
use super::{Ask, Findings, Problem};
use crate::resource::{Boxed, ResourceError};

/// Every action that stackup needs to make, change, check and remove an EKS stack, as IAM names it. The policy in the
/// documentation is made from it.
pub const ACTIONS: [&str; 116] = [
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
    "ec2:AllocateAddress",
    "ec2:AssociateRouteTable",
    "ec2:AttachInternetGateway",
    "ec2:CreateInternetGateway",
    "ec2:CreateLaunchTemplate",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateNatGateway",
    "ec2:CreateRoute",
    "ec2:CreateRouteTable",
    "ec2:CreateSubnet",
    "ec2:CreateTags",
    "ec2:CreateVpc",
    "ec2:CreateVpcEndpoint",
    "ec2:DeleteInternetGateway",
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteNatGateway",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteRoute",
    "ec2:DeleteRouteTable",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSubnet",
    "ec2:DeleteVolume",
    "ec2:DeleteVpc",
    "ec2:DeleteVpcEndpoints",
    "ec2:DescribeAddresses",
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeNatGateways",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVolumes",
    "ec2:DescribeVpcAttribute",
    "ec2:DescribeVpcEndpoints",
    "ec2:DescribeVpcs",
    "ec2:DetachInternetGateway",
    "ec2:DisassociateRouteTable",
    "ec2:ModifyLaunchTemplate",
    "ec2:ModifySubnetAttribute",
    "ec2:ModifyVpcAttribute",
    "ec2:ModifyVpcEndpoint",
    "ec2:ReleaseAddress",
    "ec2:ReplaceRoute",
    "ec2:ReplaceRouteTableAssociation",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
    // EKS checks it of whoever makes a node group with a launch template.
    "ec2:RunInstances",
    "eks:AssociateAccessPolicy",
    "eks:CreateAccessEntry",
    "eks:CreateAddon",
    "eks:CreateCluster",
    "eks:CreateNodegroup",
    // EKS checks these of whoever gives an add-on a role.
    "eks:CreatePodIdentityAssociation",
    "eks:DeleteAccessEntry",
    "eks:DeleteAddon",
    "eks:DeleteCluster",
    "eks:DeleteNodegroup",
    "eks:DeletePodIdentityAssociation",
    "eks:DescribeAccessEntry",
    "eks:DescribeAddon",
    "eks:DescribeAddonConfiguration",
    "eks:DescribeAddonVersions",
    "eks:DescribeCluster",
    "eks:DescribeClusterVersions",
    "eks:DescribeNodegroup",
    "eks:DescribePodIdentityAssociation",
    "eks:DescribeUpdate",
    "eks:DisassociateAccessPolicy",
    "eks:ListAccessEntries",
    "eks:ListAddons",
    "eks:ListAssociatedAccessPolicies",
    "eks:ListClusters",
    "eks:ListNodegroups",
    "eks:TagResource",
    "eks:UpdateAddon",
    "eks:UpdateClusterConfig",
    "eks:UpdateClusterVersion",
    "eks:UpdateNodegroupConfig",
    "eks:UpdateNodegroupVersion",
    "eks:UpdatePodIdentityAssociation",
    "elasticloadbalancing:DeleteLoadBalancer",
    "elasticloadbalancing:DeleteTargetGroup",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups",
    "iam:AttachRolePolicy",
    "iam:CreateRole",
    "iam:CreateServiceLinkedRole",
    "iam:DeleteRole",
    "iam:DetachRolePolicy",
    "iam:GetRole",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListRolePolicies",
    "iam:ListRoleTags",
    "iam:ListRoles",
    "iam:PassRole",
    "iam:SimulatePrincipalPolicy",
    "iam:TagRole",
    "iam:UpdateAssumeRolePolicy",
    "logs:CreateLogGroup",
    "logs:DeleteLogGroup",
    "logs:DescribeLogGroups",
    "logs:ListTagsForResource",
    "logs:PutRetentionPolicy",
    "logs:TagResource",
    "servicequotas:GetServiceQuota",
    "sts:GetCallerIdentity",
];

/// What a state in a bucket needs on its objects.
pub const STATE_ACTIONS: [&str; 3] = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"];

/// What it needs on the bucket: to list it, and for `stackup state init` to see, make and secure it.
pub const BUCKET_ACTIONS: [&str; 10] = [
    "s3:CreateBucket",
    "s3:GetBucketPolicy",
    "s3:GetBucketPublicAccessBlock",
    "s3:GetBucketVersioning",
    "s3:GetEncryptionConfiguration",
    "s3:ListBucket",
    "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
];

/// Actions that only looking ahead needs, and sts:GetCallerIdentity, which nobody can be denied.
const SPARE: [&str; 3] = [
    "iam:SimulatePrincipalPolicy",
    "servicequotas:GetServiceQuota",
    "sts:GetCallerIdentity",
];

/// Whether everything is allowed: as IAM simulates it, or else by what EC2 says of calls that change nothing.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        // The account itself may do everything.
        if ask.caller.arn.ends_with(":root") {
            return Ok(Vec::new());
        }
        match simulated(ask).await {
            Ok(results) => {
                let (missing, doubtful) = missing(&results);
                Ok(problem(&missing).into_iter().chain(doubt(&doubtful)).collect())
            }
            Err(error) => {
                let mut found: Vec<Problem> = problem(&tried(ask).await?).into_iter().collect();
                found.push(unsure(&error));
                Ok(found)
            }
        }
    })
}

async fn simulated(ask: &Ask<'_>) -> Result<Vec<EvaluationResult>, ResourceError> {
    let iam = ask.clients.iam().await?;
    let region = ask.clients.region().await?;
    let simulate = |actions: Vec<&str>, resource: String, region: &str| {
        let call = iam
            .simulate_principal_policy()
            .policy_source_arn(&ask.caller.principal)
            .set_context_entries(Some(context(region)));
        let call = call.set_action_names(Some(actions.into_iter().map(str::to_owned).collect()));
        async move {
            let told: Result<Vec<_>, _> = call
                .resource_arns(resource)
                .into_paginator()
                .items()
                .send()
                .collect()
                .await;
            read("iam:SimulatePrincipalPolicy", told)
        }
    };
    let needed = ACTIONS.into_iter().filter(|action| !SPARE.contains(action));
    let (on_roles, others): (Vec<&str>, Vec<&str>) = needed.partition(|action| is_on_roles(action));
    let (mine, service) = (role_like(ask), linked_role_like(ask));
    let (linked, on_roles): (Vec<&str>, Vec<&str>) = on_roles
        .into_iter()
        .partition(|action| action.ends_with("ServiceLinkedRole"));
    let (on_roles, linked, others) = futures::try_join!(
        Box::pin(simulate(on_roles, mine, home_of_iam(partition(ask)))),
        Box::pin(simulate(linked, service, home_of_iam(partition(ask)))),
        Box::pin(simulate(others, "*".to_owned(), &region))
    )?;
    Ok([on_roles, linked, others].concat())
}

/// What is the same for all calls. A policy that denies everything outside of some regions denies also what comes without
/// a region.
fn context(region: &str) -> Vec<ContextEntry> {
    let entry = |key: &str, kind, value: &str| {
        ContextEntry::builder()
            .context_key_name(key)
            .context_key_type(kind)
            .context_key_values(value)
            .build()
    };
    vec![
        entry("aws:RequestedRegion", ContextKeyTypeEnum::String, region),
        entry("aws:SecureTransport", ContextKeyTypeEnum::Boolean, "true"),
    ]
}

/// The region that calls to IAM count as made to.
fn home_of_iam(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
}

/// Whether a policy may allow it for some roles only.
fn is_on_roles(action: &str) -> bool {
    action.starts_with("iam:") && action != "iam:ListRoles"
}

/// `aws`, or the name of another partition.
fn partition<'a>(ask: &'a Ask<'_>) -> &'a str {
    ask.caller.arn.split(':').nth(1).unwrap_or("aws")
}

/// A role with a name as this stack's have.
fn role_like(ask: &Ask<'_>) -> String {
    let (partition, account) = (partition(ask), &ask.caller.account);
    let uid: String = ask.stack.uid.chars().take(8).collect();
    format!(
        "arn:{partition}:iam::{account}:role/{}-{uid}-cluster",
        ask.stack.name
    )
}

fn linked_role_like(ask: &Ask<'_>) -> String {
    let (partition, account) = (partition(ask), &ask.caller.account);
    format!(
        "arn:{partition}:iam::{account}:role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS"
    )
}

/// What a simulation says is not allowed, and what it denies without knowing enough: of the organization's policies, and of
/// denials that depend on what only the call itself has. What may be allowed by such, as by its tags, is not worth a word.
fn missing(results: &[EvaluationResult]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut missing, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
    for one in results {
        let by_organization = one
            .organizations_decision_detail()
            .is_some_and(|told| !told.allowed_by_organizations());
        let unknown = !one.missing_context_values().is_empty();
        let implicit = *one.eval_decision() == PolicyEvaluationDecisionType::ImplicitDeny;
        if *one.eval_decision() == PolicyEvaluationDecisionType::Allowed {
            continue;
        }
        if by_organization || (unknown && !implicit) {
            doubtful.insert(one.eval_action_name.clone());
        } else if !unknown {
            missing.insert(one.eval_action_name.clone());
        }
    }
    (missing, doubtful)
}

/// What EC2 says is not allowed, of some calls that would make something.
async fn tried(ask: &Ask<'_>) -> Result<BTreeSet<String>, ResourceError> {
    let ec2 = ask.clients.ec2().await?;
    let vpc = async {
        let tried = ec2
            .create_vpc()
            .cidr_block("10.0.0.0/16")
            .dry_run(true)
            .send()
            .await;
        (
            "ec2:CreateVpc",
            tried.err().and_then(|error| error.code().map(str::to_owned)),
        )
    };
    let gateway = async {
        let tried = ec2.create_internet_gateway().dry_run(true).send().await;
        (
            "ec2:CreateInternetGateway",
            tried.err().and_then(|error| error.code().map(str::to_owned)),
        )
    };
    let address = async {
        let tried = ec2.allocate_address().dry_run(true).send().await;
        (
            "ec2:AllocateAddress",
            tried.err().and_then(|error| error.code().map(str::to_owned)),
        )
    };
    let (vpc, gateway, address) = futures::join!(Box::pin(vpc), Box::pin(gateway), Box::pin(address));
    let denied = [vpc, gateway, address]
        .into_iter()
        .filter(|(_, code)| code.as_deref() == Some("UnauthorizedOperation"));
    Ok(denied.map(|(action, _)| action.to_owned()).collect())
}

fn problem(missing: &BTreeSet<String>) -> Option<Problem> {
    let names: Vec<&str> = missing.iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| {
        Problem::new(
            "permissions are missing",
            format!("not allowed: {}", names.join(", ")),
            "allow them in a policy of the identity that runs stackup: docs/iam-policy.json has all",
        )
    })
}

fn doubt(doubtful: &BTreeSet<String>) -> Option<Problem> {
    let names: Vec<&str> = doubtful.iter().map(String::as_str).collect();
    (!names.is_empty()).then(|| {
        Problem::new(
            "permissions may be missing",
            format!(
                "a policy of the organization, or one whose condition the simulation cannot know, may deny: {}",
                names.join(", ")
            ),
            "if one of them is refused, ask whoever keeps that policy to allow it",
        )
        .warning()
    })
}

fn unsure(error: &ResourceError) -> Problem {
    Problem::new(
        "permissions could not all be checked",
        format!("{error}; only some calls of EC2 were tried instead"),
        "allow iam:SimulatePrincipalPolicy to know before the first write what is missing",
    )
    .warning()
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::types::OrganizationsDecisionDetail;

    use super::*;

    #[test]
    fn the_list_is_in_order_and_names_nothing_twice() {
        assert!(ACTIONS.is_sorted_by(|one, next| one < next));
        assert!(ACTIONS.iter().all(|action| action.split_once(':').is_some()));
        assert!(SPARE.iter().all(|action| ACTIONS.contains(action)));
    }

    #[test]
    fn what_a_simulation_cannot_know_is_a_warning_and_stops_nobody() {
        let organization = OrganizationsDecisionDetail::builder().allowed_by_organizations(false);
        let denied = |action: &str| {
            EvaluationResult::builder()
                .eval_action_name(action)
                .eval_decision(PolicyEvaluationDecisionType::ExplicitDeny)
        };
        let results = [
            denied("ec2:CreateVpc")
                .missing_context_values("aws:MultiFactorAuthPresent")
                .build()
                .unwrap(),
            denied("eks:CreateCluster")
                .organizations_decision_detail(organization.build())
                .build()
                .unwrap(),
        ];
        let (missing, doubtful) = missing(&results);
        assert_eq!(problem(&missing), None);
        let told = doubt(&doubtful).unwrap();
        assert!(told.warning, "{told:?}");
        assert!(
            told.found.ends_with("may deny: ec2:CreateVpc, eks:CreateCluster"),
            "{told:?}"
        );
    }

    #[test]
    fn each_call_is_simulated_in_the_region_where_it_would_be_made() {
        let region = context("eu-central-1").remove(0);
        assert_eq!(region.context_key_name(), Some("aws:RequestedRegion"));
        assert_eq!(region.context_key_values(), ["eu-central-1"]);
        assert_eq!(home_of_iam("aws"), "us-east-1");
        assert_eq!(home_of_iam("aws-cn"), "cn-north-1");
    }

    #[test]
    fn what_is_denied_is_named_and_what_depends_on_the_call_itself_is_not() {
        let result = |action: &str, decision| {
            EvaluationResult::builder()
                .eval_action_name(action)
                .eval_decision(decision)
        };
        let results = [
            result("ec2:CreateVpc", PolicyEvaluationDecisionType::Allowed)
                .build()
                .unwrap(),
            result("ec2:DeleteVpc", PolicyEvaluationDecisionType::ExplicitDeny)
                .build()
                .unwrap(),
            result("eks:CreateCluster", PolicyEvaluationDecisionType::ImplicitDeny)
                .build()
                .unwrap(),
            result("ec2:CreateTags", PolicyEvaluationDecisionType::ImplicitDeny)
                .missing_context_values("aws:RequestTag/team")
                .build()
                .unwrap(),
        ];
        let (denied, doubtful) = missing(&results);
        let found = problem(&denied).unwrap().found;
        assert_eq!(found, "not allowed: ec2:DeleteVpc, eks:CreateCluster");
        assert_eq!((problem(&doubtful), doubt(&doubtful)), (None, None));
    }
}
