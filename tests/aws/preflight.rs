//! What is seen before the first write, against the AWS double.

use serde_json::{Value, json};
use stackup::model::ZonesModel;

use super::{
    double::{Double, REGION},
    errand::{Errand, Looked, run},
    road::{SMALL, sandbox},
    sweep::{NEVER, SCALE, UID, engine, id, stack},
};

pub(super) fn good() -> Looked {
    Looked {
        cidr: "10.0.0.0/16".into(),
        zones: ZonesModel::Count(2),
        types: vec!["t3.medium".into()],
        kubernetes: None,
        existing: None,
        remembered: None,
    }
}

/// Title and text of each finding.
async fn look(double: &Double, looked: Looked, key: Option<&str>) -> Vec<(String, String)> {
    let found = run(double, &Errand::Preflight(Box::new(looked)), key).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(&one[0]), text(&one[1])))
        .collect()
}

fn titles(found: &[(String, String)]) -> Vec<&str> {
    let mut titles: Vec<&str> = found.iter().map(|(title, _)| title.as_str()).collect();
    titles.sort_unstable();
    titles
}

#[tokio::test]
async fn a_stack_that_nothing_is_wrong_with_has_no_findings_and_nothing_is_written_to_know_that() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    assert_eq!(look(&double, good(), Some("test")).await, []);
    let made = engine(
        &double,
        "demo",
        UID,
        None,
        vec![stack("demo", NEVER, false).remove(0)],
    )
    .await;
    assert!(made.done);
    // What is ours already is neither a clash nor a leftover, nor needed once more.
    double.set(json!({"quotas": {"vpc": 2}})).await;
    assert_eq!(look(&double, good(), Some("test")).await, []);
    let written = double.calls(true).await;
    assert_eq!(
        written
            .iter()
            .filter(|call| *call != "ec2:ModifyVpcAttribute")
            .collect::<Vec<_>>(),
        ["ec2:CreateVpc"]
    );
}

#[tokio::test]
async fn everything_that_would_go_wrong_is_found_at_once_and_each_only_once() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let older = engine(
        &double,
        "demo",
        "fedcba9876543210",
        None,
        stack("demo", "2020-01-01T00:00:00Z", false),
    )
    .await;
    assert!(older.done, "{older:?}");
    double
        .set(json!({"quotas": {"vpc": 2, "addresses": 0, "clusters": 1, "vcpu": 1, "spotVcpu": 3}, "denied": ["ec2:DeleteVpc"]}))
        .await;
    let looked = Looked {
        cidr: "10.0.0.0/23".into(),
        zones: ZonesModel::Names(vec![format!("{REGION}a"), format!("{REGION}x")]),
        kubernetes: Some("1.20".into()),
        ..good()
    };
    let found = look(&double, looked, Some("test")).await;
    assert_eq!(
        titles(&found),
        [
            "Kubernetes 1.20 is not offered",
            "another stack is named demo as well",
            "permissions are missing",
            "the name of the EKS cluster is taken",
            "the quota of EC2-VPC Elastic IPs is too small",
            "the quota of VPCs per Region is too small",
            "the quota of vCPUs of on-demand standard instances is too small",
            "the quota of vCPUs of spot standard instances is too small",
            "the range of addresses has the wrong size",
            &format!("the zone {REGION}x cannot be used"),
        ],
        "{found:?}"
    );
    let text = |title: &str| {
        found
            .iter()
            .find(|one| one.0.contains(title))
            .map(|one| one.1.as_str())
            .unwrap()
    };
    assert_eq!(text("permissions"), "not allowed: ec2:DeleteVpc");
    assert!(text("Kubernetes").contains("1.33, 1.34, 1.35"), "{found:?}");
    assert!(
        text("named demo").contains(&id(&older, "aws.vpc/main")),
        "{found:?}"
    );
    assert_eq!(text("VPCs"), "1 more needed, 0 free: 2 of 2 are used");
    assert_eq!(text("spot"), "4 more needed, 3 free: 0 of 3 are used");
}

#[tokio::test]
async fn types_networks_and_permissions_that_cannot_be_simulated_are_told() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let types = Looked {
        types: vec!["x9.huge".into()],
        ..good()
    };
    assert_eq!(
        titles(&look(&double, types, Some("test")).await),
        ["an instance type is not offered"]
    );

    let nowhere = Looked {
        existing: Some(("vpc-0123456789abcdef0".into(), vec!["subnet-1".into()])),
        ..good()
    };
    assert_eq!(
        titles(&look(&double, nowhere, Some("test")).await),
        ["the VPC is not there"]
    );

    let vpc = double
        .ec2
        .create_vpc()
        .cidr_block("10.9.0.0/16")
        .send()
        .await
        .unwrap();
    let vpc = vpc.vpc.unwrap().vpc_id.unwrap();
    let mut subnets = Vec::new();
    for cidr in ["10.9.0.0/24", "10.9.1.0/24"] {
        let made = double.ec2.create_subnet().vpc_id(&vpc).cidr_block(cidr);
        let made = made.availability_zone(format!("{REGION}a")).send().await.unwrap();
        subnets.push(made.subnet.unwrap().subnet_id.unwrap());
    }
    let narrow = Looked {
        existing: Some((vpc, subnets)),
        ..good()
    };
    let found = look(&double, narrow, Some("test")).await;
    assert_eq!(
        titles(&found),
        ["DNS hostnames is off", "the subnets are in one zone"],
        "{found:?}"
    );

    double
        .set(json!({"denied": ["iam:SimulatePrincipalPolicy", "ec2:CreateVpc"]}))
        .await;
    let found = look(&double, good(), Some("test")).await;
    assert_eq!(
        titles(&found),
        ["permissions are missing", "permissions could not all be checked"],
        "{found:?}"
    );
    assert!(
        found.iter().any(|one| one.1 == "not allowed: ec2:CreateVpc"),
        "{found:?}"
    );
}

#[tokio::test]
async fn whoever_makes_the_cluster_may_not_be_named_under_access_as_well() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let access = "cluster:\n  access: [{principal: \"arn:aws:iam::123456789012:user/test\", policy: AmazonEKSViewPolicy}]\n";
    let stack = SMALL.replace("cluster:\n", access);
    let refused = sandbox(&double, &stack).stackup(&["apply", "--yes"]).ends(6);
    let told = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("arn:aws:iam::123456789012:user/test makes the cluster")
            && told.contains("take it out of cluster.access"),
        "{}",
        refused.all()
    );
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_role_that_is_not_there_is_told_before_a_cluster_is_made_to_let_it_in() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let access = "cluster:\n  access:\n    - {principal: \"arn:aws:iam::123456789012:role/nobdy\", policy: AmazonEKSViewPolicy}\n    - {principal: \"arn:aws:iam::210987654321:role/of-others\", policy: AmazonEKSViewPolicy}\n";
    let stack = SMALL.replace("cluster:\n", access);
    let refused = sandbox(&double, &stack).stackup(&["apply", "--yes"]).ends(6);
    let told = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("role/nobdy, and the account has no role nobdy") && !told.contains("of-others"),
        "{}",
        refused.all()
    );
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test]
async fn at_a_wrong_place_or_signed_in_as_nobody_nothing_else_is_looked_at() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let at = |account: &str, region: &str| Looked {
        remembered: Some((account.into(), region.into())),
        ..good()
    };
    assert_eq!(look(&double, at("123456789012", REGION), Some("test")).await, []);
    let found = look(&double, at("210987654321", REGION), Some("test")).await;
    assert_eq!(titles(&found), ["wrong account"], "{found:?}");
    let found = look(&double, at("123456789012", "eu-west-1"), Some("test")).await;
    assert_eq!(titles(&found), ["wrong region"], "{found:?}");

    let before = double.calls(false).await.len();
    let found = look(&double, good(), None).await;
    assert_eq!(titles(&found), ["AWS does not know who you are"], "{found:?}");
    assert_eq!(double.calls(false).await.len(), before);
    double.set(json!({"enforceCredentials": true})).await;
    let found = look(&double, good(), Some("stale")).await;
    assert_eq!(titles(&found), ["AWS does not know who you are"], "{found:?}");
    assert_eq!(double.calls(false).await.len(), before + 1);
}
