//! What is left after a cluster, found and removed; what is found by tags alone; what is seen before the first write.
//! Against the AWS double: what holds here is not proven for AWS itself.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use serde_json::{Value, json};
use stackup::{
    model::{Address, ZonesModel},
    resource::Reference,
};

use super::{
    double::{Double, REGION},
    errand::{Errand, Looked, Told, Want, run},
};

const UID: &str = "0123456789abcdef";
/// Real durations are hundreds of seconds.
const SCALE: f64 = 0.002;

fn field(kind: &str, name: &str, field: &str) -> Value {
    Reference::field(&Address::new(kind, name), field)
}

/// A stack with a cluster in a network of its own; with nodes and a NAT gateway, or as small as can be.
fn stack(name: &str, expires: &str, whole: bool) -> Vec<Want> {
    let tags = json!({"stackup:expires": expires});
    let vpc = || field("aws.vpc", "main", "id");
    let subnet = |name: &str| field("aws.subnet", name, "id");
    let want = |kind: &str, name: &str, mut inputs: Value, needs: &[(&str, &str)]| {
        inputs["tags"] = tags.clone();
        let needs = needs
            .iter()
            .map(|(kind, name)| Address::new(kind, name))
            .collect();
        Want(kind.to_owned(), name.to_owned(), inputs, needs)
    };
    let public = |name: &str, cidr: &str| {
        let mut subnet = want(
            "aws.subnet",
            name,
            json!({"vpcId": vpc(), "cidr": cidr, "zone": format!("{REGION}{name}"), "publicAddresses": true}),
            &[],
        );
        subnet.2["tags"]["kubernetes.io/role/elb"] = "1".into();
        subnet
    };
    let subnets = json!([subnet("a"), subnet("b")]);
    let mut wanted = vec![
        want("aws.vpc", "main", json!({"cidr": "10.7.0.0/16"}), &[]),
        want("aws.internet_gateway", "main", json!({"vpcId": vpc()}), &[]),
        public("a", "10.7.0.0/24"),
        public("b", "10.7.1.0/24"),
        want(
            "aws.iam_role",
            "cluster",
            json!({"service": "eks.amazonaws.com", "policies": ["AmazonEKSClusterPolicy"]}),
            &[],
        ),
        want(
            "aws.leftovers",
            "main",
            json!({"cluster": name, "vpcId": vpc(), "subnetIds": subnets}),
            &[("aws.internet_gateway", "main")],
        ),
        want(
            "aws.eks_cluster",
            "main",
            json!({"name": name, "roleArn": field("aws.iam_role", "cluster", "arn"), "publicAccess": true,
                "subnets": [{"id": subnet("a"), "zone": format!("{REGION}a")}, {"id": subnet("b"), "zone": format!("{REGION}b")}]}),
            &[("aws.leftovers", "main")],
        ),
    ];
    if whole {
        let cluster = || field("aws.eks_cluster", "main", "name");
        let policies = [
            "AmazonEKSWorkerNodePolicy",
            "AmazonEC2ContainerRegistryPullOnly",
            "AmazonEKS_CNI_Policy",
        ];
        let route =
            json!([{"destination": "0.0.0.0/0", "gatewayId": field("aws.internet_gateway", "main", "id")}]);
        wanted.extend([
            want("aws.log_group", "main", json!({"name": format!("/aws/eks/{name}/cluster"), "retentionDays": 1}), &[]),
            want("aws.route_table", "public", json!({"vpcId": vpc(), "routes": route, "subnetIds": subnets}), &[]),
            want("aws.address", "a", json!({}), &[]),
            want(
                "aws.nat_gateway",
                "a",
                json!({"subnetId": subnet("a"), "allocationId": field("aws.address", "a", "id")}),
                &[("aws.internet_gateway", "main")],
            ),
            want("aws.iam_role", "nodes", json!({"service": "ec2.amazonaws.com", "policies": policies}), &[]),
            want("aws.launch_template", "nodes", json!({"disk": 20, "instanceTags": {}}), &[]),
            want("aws.eks_addon", "vpc-cni", json!({"cluster": cluster(), "name": "vpc-cni"}), &[]),
            want("aws.eks_access_entry", "me", json!({"cluster": cluster(), "policies": [{"name": "AmazonEKSClusterAdminPolicy"}]}), &[]),
            want(
                "aws.eks_node_group",
                "workers",
                json!({"cluster": cluster(), "name": "workers", "roleArn": field("aws.iam_role", "nodes", "arn"),
                    "subnetIds": subnets, "instanceTypes": ["t3.medium"], "capacity": "on-demand", "min": 1, "desired": 1, "max": 2,
                    "launchTemplate": {"id": field("aws.launch_template", "nodes", "id"), "version": field("aws.launch_template", "nodes", "version")}}),
                &[("aws.eks_addon", "vpc-cni"), ("aws.route_table", "public")],
            ),
        ]);
    }
    wanted
}

async fn engine(double: &Double, stack: &str, uid: &str, before: Option<&Told>, wanted: Vec<Want>) -> Told {
    let remembered = before.map(|told| told.remembered.clone()).unwrap_or_default();
    let errand = Errand::Run {
        stack: stack.into(),
        uid: uid.into(),
        remembered,
        wanted,
    };
    serde_json::from_value(run(double, &errand, Some("test")).await).unwrap()
}

async fn audit(double: &Double, vpc: &str) -> Vec<(String, String, String)> {
    let errand = Errand::Audit {
        uid: UID.into(),
        cluster: Some("demo".into()),
        vpc: Some(vpc.into()),
    };
    let left = run(double, &errand, Some("test")).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let left = left.as_array().unwrap().iter();
    left.map(|one| {
        assert_eq!(one[3], REGION);
        (text(&one[0]), text(&one[1]), text(&one[2]))
    })
    .collect()
}

fn id(told: &Told, address: &str) -> String {
    told.remembered[&Address::parse(address).unwrap()]
        .id
        .clone()
        .unwrap()
}

fn planted(thing: &Value) -> String {
    thing["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_a_cluster_left_is_swept_what_is_not_ours_is_named_and_left_and_then_the_audit_is_empty() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let made = engine(
        &double,
        "demo",
        UID,
        None,
        stack("demo", "2999-01-01T00:00:00Z", false),
    )
    .await;
    assert!(made.done, "{made:?}");
    let again = engine(
        &double,
        "demo",
        UID,
        Some(&made),
        stack("demo", "2999-01-01T00:00:00Z", false),
    )
    .await;
    assert!(again.done && again.remembered == made.remembered, "{again:?}");
    let (vpc, subnet) = (id(&made, "aws.vpc/main"), id(&made, "aws.subnet/a"));

    let marked = json!({"kubernetes.io/cluster/demo": "owned"});
    double
        .plant(json!({"what": "load-balancer", "cluster": "demo"}))
        .await;
    double
        .plant(json!({"what": "eni", "subnet": subnet, "cluster": "demo"}))
        .await;
    let one = planted(
        &double
            .plant(json!({"what": "security-group", "vpc": vpc, "tags": marked}))
            .await,
    );
    double
        .plant(json!({"what": "security-group", "vpc": vpc, "tags": marked, "uses": one}))
        .await;
    double
        .plant(json!({"what": "volume", "cluster": "demo", "zone": format!("{REGION}a")}))
        .await;
    let group = planted(
        &double
            .plant(json!({"what": "security-group", "vpc": vpc, "name": "theirs"}))
            .await,
    );
    let card = planted(
        &double
            .plant(json!({"what": "eni", "subnet": subnet, "tags": {}, "description": "theirs"}))
            .await,
    );
    let volume = double
        .ec2
        .create_volume()
        .availability_zone(format!("{REGION}a"))
        .size(1);
    let tag = Tag::builder()
        .key("kubernetes.io/cluster/other")
        .value("owned")
        .build();
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::Volume)
        .tags(tag)
        .build();
    let volume = volume
        .tag_specifications(tags)
        .send()
        .await
        .unwrap()
        .volume_id
        .unwrap();

    // As long as the cluster stands, nothing of its controllers is a leftover.
    let only = Address::parse("aws.leftovers/main").unwrap();
    let alone = Told {
        remembered: BTreeMap::from([(only.clone(), made.remembered[&only].clone())]),
        ..made.clone()
    };
    let before = double.account().await;
    let refused = engine(&double, "demo", UID, Some(&alone), Vec::new()).await;
    assert!(
        refused.failed[&only].contains("the cluster demo still stands"),
        "{refused:?}"
    );
    assert_eq!(double.account().await, before);

    let gone = engine(&double, "demo", UID, Some(&made), Vec::new()).await;
    assert!(!gone.done && !gone.failed.contains_key(&only), "{gone:?}");
    let told = format!("{:?}", gone.failed);
    assert!(
        told.contains(&card) && !gone.remembered.contains_key(&only),
        "{told}"
    );
    let left = double.account().await;
    let kinds = [
        "elb:",
        "elbv2:",
        "eks:",
        "ec2:network-interface",
        "ec2:security-group",
        "ec2:volume",
    ];
    let of = |left: &[String]| -> Vec<String> {
        let some = left
            .iter()
            .filter(|one| kinds.iter().any(|kind| one.starts_with(kind)));
        some.cloned().collect()
    };
    let strangers = [
        format!("ec2:network-interface {card}"),
        format!("ec2:security-group {group}"),
        format!("ec2:volume {volume}"),
    ];
    let mut found = of(&left);
    found.sort();
    assert_eq!(found, strangers);

    double.set(json!({"pageSize": 1, "throttle": 0.2})).await;
    let audited = audit(&double, &vpc).await;
    let why = |id: &str| {
        audited
            .iter()
            .find(|one| one.1 == id)
            .map(|one| one.2.as_str())
            .unwrap_or_default()
    };
    assert!(why(&vpc).contains("the mark of aws.vpc/main"), "{audited:?}");
    assert!(
        why(&group).contains("in the way") && why(&card).contains("in the way"),
        "{audited:?}"
    );
    assert_eq!(why(&volume), "");

    double.set(json!({"pageSize": null, "throttle": 0.0})).await;
    double
        .ec2
        .delete_network_interface()
        .network_interface_id(&card)
        .send()
        .await
        .unwrap();
    double
        .ec2
        .delete_security_group()
        .group_id(&group)
        .send()
        .await
        .unwrap();
    let gone = engine(&double, "demo", UID, Some(&gone), Vec::new()).await;
    assert!(gone.done && gone.remembered.is_empty(), "{gone:?}");
    assert_eq!(audit(&double, &vpc).await, Vec::new());
    assert_eq!(double.account().await, [format!("ec2:volume {volume}")]);
}

#[tokio::test]
async fn a_cluster_that_was_deleted_by_hand_leaves_nothing_either() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let made = engine(
        &double,
        "demo",
        UID,
        None,
        stack("demo", "2999-01-01T00:00:00Z", false),
    )
    .await;
    assert!(made.done, "{made:?}");
    double
        .plant(json!({"what": "load-balancer", "cluster": "demo"}))
        .await;
    double
        .plant(json!({"what": "volume", "cluster": "demo", "zone": format!("{REGION}a")}))
        .await;
    double
        .plant(json!({"what": "cluster-deleted", "cluster": "demo"}))
        .await;
    let gone = engine(&double, "demo", UID, Some(&made), Vec::new()).await;
    assert!(gone.done, "{gone:?}");
    assert_eq!(audit(&double, &id(&made, "aws.vpc/main")).await, Vec::new());
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_expired_stack_is_found_by_its_tags_alone_and_taken_down_without_its_state() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let other = vec![stack("other", "2999-01-01T00:00:00Z", false).remove(0)];
    let other = engine(&double, "other", "fedcba9876543210", None, other).await;
    let made = engine(
        &double,
        "demo",
        UID,
        None,
        stack("demo", "2020-01-01T00:00:00Z", true),
    )
    .await;
    assert!(made.done && other.done, "{made:?} {other:?}");
    double
        .plant(json!({"what": "load-balancer", "cluster": "demo"}))
        .await;
    double
        .plant(json!({"what": "volume", "cluster": "demo", "zone": format!("{REGION}a")}))
        .await;

    let found = run(&double, &Errand::Stacks, Some("test")).await;
    let found = found.as_array().unwrap();
    let told = found
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["expired"].as_bool().unwrap()));
    assert_eq!(told.collect::<Vec<_>>(), [("demo", true), ("other", false)]);
    let resources: BTreeMap<Address, _> = serde_json::from_value(found[0]["resources"].clone()).unwrap();
    let mut addresses: Vec<&Address> = resources
        .keys()
        .filter(|address| !address.as_str().starts_with("aws.leftovers"))
        .collect();
    addresses.sort();
    let known: Vec<&Address> = made
        .remembered
        .keys()
        .filter(|address| !address.as_str().starts_with("aws.leftovers"))
        .collect();
    assert_eq!(addresses, known);

    let reaped = Told {
        planned: Vec::new(),
        details: BTreeMap::new(),
        done: false,
        failed: BTreeMap::new(),
        remembered: resources,
    };
    let gone = engine(&double, "demo", UID, Some(&reaped), Vec::new()).await;
    assert!(gone.done && gone.remembered.is_empty(), "{:?}", gone.failed);
    assert_eq!(
        double.account().await,
        [format!("ec2:vpc {}", id(&other, "aws.vpc/main"))]
    );
}

fn good() -> Looked {
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
        vec![stack("demo", "2999-01-01T00:00:00Z", false).remove(0)],
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
