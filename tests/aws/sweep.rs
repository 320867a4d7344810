//! What is left after a cluster, found and removed; what is found by tags alone; what is seen before the first write.
//! Against the AWS double: what holds here is not proven for AWS itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackup::{model::Address, resource::Reference};

use super::{
    child::{Order, Told, Want},
    double::{Double, REGION},
    errand::{Errand, run},
};

pub(super) const UID: &str = "0123456789abcdef";
/// When a stack expires that does not.
pub(super) const NEVER: &str = "2999-01-01T00:00:00Z";
/// Real durations are hundreds of seconds.
pub(super) const SCALE: f64 = 0.002;

fn field(kind: &str, name: &str, field: &str) -> Value {
    Reference::field(&Address::new(kind, name), field)
}

fn vpc() -> Value {
    field("aws.vpc", "main", "id")
}

fn subnet(name: &str) -> Value {
    field("aws.subnet", name, "id")
}

fn subnets() -> Value {
    json!([subnet("a"), subnet("b")])
}

fn want(expires: &str, kind: &str, name: &str, mut inputs: Value, needs: &[(&str, &str)]) -> Want {
    inputs["tags"] = json!({"stackup:expires": expires});
    let needs = needs.iter().map(|(kind, name)| Address::new(kind, name));
    Want(kind.to_owned(), name.to_owned(), inputs, needs.collect())
}

/// A stack with a cluster in a network of its own; with nodes and a NAT gateway, or as small as can be.
pub(super) fn stack(name: &str, expires: &str, whole: bool) -> Vec<Want> {
    let want = |kind: &str, name: &str, inputs: Value, needs: &[(&str, &str)]| {
        want(expires, kind, name, inputs, needs)
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
            json!({"cluster": name, "vpcId": vpc(), "subnetIds": subnets()}),
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
        wanted.extend(nodes(name, expires));
    }
    wanted
}

/// Nodes of such a cluster, and what they need.
fn nodes(name: &str, expires: &str) -> Vec<Want> {
    let want = |kind: &str, name: &str, inputs: Value, needs: &[(&str, &str)]| {
        want(expires, kind, name, inputs, needs)
    };
    let cluster = || field("aws.eks_cluster", "main", "name");
    let policies = [
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEKS_CNI_Policy",
    ];
    let route =
        json!([{"destination": "0.0.0.0/0", "gatewayId": field("aws.internet_gateway", "main", "id")}]);
    vec![
        want(
            "aws.log_group",
            "main",
            json!({"name": format!("/aws/eks/{name}/cluster"), "retentionDays": 1}),
            &[],
        ),
        want(
            "aws.route_table",
            "public",
            json!({"vpcId": vpc(), "routes": route, "subnetIds": subnets()}),
            &[],
        ),
        want("aws.address", "a", json!({}), &[]),
        want(
            "aws.nat_gateway",
            "a",
            json!({"subnetId": subnet("a"), "allocationId": field("aws.address", "a", "id")}),
            &[("aws.internet_gateway", "main")],
        ),
        want(
            "aws.iam_role",
            "nodes",
            json!({"service": "ec2.amazonaws.com", "policies": policies}),
            &[],
        ),
        want(
            "aws.launch_template",
            "nodes",
            json!({"disk": 20, "instanceTags": {}}),
            &[],
        ),
        want(
            "aws.eks_addon",
            "vpc-cni",
            json!({"cluster": cluster(), "name": "vpc-cni"}),
            &[],
        ),
        want(
            "aws.eks_access_entry",
            "me",
            json!({"cluster": cluster(), "policies": [{"name": "AmazonEKSClusterAdminPolicy"}]}),
            &[],
        ),
        want(
            "aws.eks_node_group",
            "workers",
            json!({"cluster": cluster(), "name": "workers", "roleArn": field("aws.iam_role", "nodes", "arn"),
                    "subnetIds": subnets(), "instanceTypes": ["t3.medium"], "capacity": "on-demand", "min": 1, "desired": 1, "max": 2,
                    "launchTemplate": {"id": field("aws.launch_template", "nodes", "id"), "version": field("aws.launch_template", "nodes", "version")}}),
            &[("aws.eks_addon", "vpc-cni"), ("aws.route_table", "public")],
        ),
    ]
}

pub(super) async fn engine(
    double: &Double,
    stack: &str,
    uid: &str,
    before: Option<&Told>,
    wanted: Vec<Want>,
) -> Told {
    let remembered = before.map(|told| told.remembered.clone()).unwrap_or_default();
    // What is remembered is what the test says, whatever the run before has written.
    let folder = tempfile::tempdir_in(double.folder.path()).unwrap();
    let errand = Errand::Run(Order {
        stack: stack.into(),
        uid: uid.into(),
        folder: folder.path().to_owned(),
        remembered,
        wanted,
    });
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

pub(super) fn id(told: &Told, address: &str) -> String {
    told.remembered[&Address::parse(address).unwrap()]
        .id
        .clone()
        .unwrap()
}

fn planted(thing: &Value) -> String {
    thing["id"].as_str().unwrap().to_owned()
}

/// What is in the account and is not ours.
struct Strangers {
    group: String,
    card: String,
    volume: String,
}

/// Leaves what controllers leave, and something of someone else beside each of it.
async fn plant(double: &Double, vpc: &str, subnet: &str) -> Strangers {
    let marked = json!({"kubernetes.io/cluster/demo": "owned"});
    let zone = format!("{REGION}a");
    let one = double
        .plant(json!({"what": "security-group", "vpc": vpc, "tags": marked}))
        .await;
    for what in [
        json!({"what": "load-balancer", "cluster": "demo"}),
        json!({"what": "eni", "subnet": subnet, "cluster": "demo"}),
        json!({"what": "security-group", "vpc": vpc, "tags": marked, "uses": one["id"]}),
        json!({"what": "volume", "cluster": "demo", "zone": zone}),
    ] {
        double.plant(what).await;
    }
    let group = json!({"what": "security-group", "vpc": vpc, "name": "theirs"});
    let card = json!({"what": "eni", "subnet": subnet, "tags": {}, "description": "theirs"});
    let volume = json!({"what": "volume", "cluster": "other", "zone": zone});
    Strangers {
        group: planted(&double.plant(group).await),
        card: planted(&double.plant(card).await),
        volume: planted(&double.plant(volume).await),
    }
}

/// The small stack `demo`, made.
async fn made(double: &Double) -> Told {
    let made = engine(double, "demo", UID, None, stack("demo", NEVER, false)).await;
    assert!(made.done, "{made:?}");
    made
}

#[tokio::test]
async fn as_long_as_a_cluster_stands_nothing_of_its_controllers_is_a_leftover() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let made = made(&double).await;
    let again = engine(&double, "demo", UID, Some(&made), stack("demo", NEVER, false)).await;
    assert!(again.done && again.remembered == made.remembered, "{again:?}");
    plant(&double, &id(&made, "aws.vpc/main"), &id(&made, "aws.subnet/a")).await;
    let only = Address::parse("aws.leftovers/main").unwrap();
    let mut alone = made;
    for (kind, name) in [("aws.eks_cluster", "main"), ("aws.iam_role", "cluster")] {
        alone.remembered.remove(&Address::new(kind, name));
    }
    let before = double.account().await;
    let refused = engine(&double, "demo", UID, Some(&alone), Vec::new()).await;
    assert!(
        refused.failed[&only].contains("the cluster demo still stands"),
        "{refused:?}"
    );
    assert_eq!(double.account().await, before);
}

#[tokio::test]
async fn what_a_cluster_left_is_swept_what_is_not_ours_is_named_and_left_and_then_the_audit_is_empty() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let made = made(&double).await;
    let vpc = id(&made, "aws.vpc/main");
    let theirs = plant(&double, &vpc, &id(&made, "aws.subnet/a")).await;

    let gone = engine(&double, "demo", UID, Some(&made), Vec::new()).await;
    let refusal = &gone.failed[&Address::new("aws.leftovers", "main")];
    for id in [&theirs.group, &theirs.card] {
        assert!(refusal.contains(id), "{:?}", gone.failed);
    }
    assert_eq!(gone.failed.len(), 1, "{:?}", gone.failed);
    let network = ["ec2:vpc", "ec2:subnet", "ec2:internet-gateway"];
    let mut left = double.account().await;
    left.retain(|one| !network.iter().any(|kind| one.starts_with(kind)));
    left.sort();
    let stranger = |kind: &str, id: &str| format!("ec2:{kind} {id}");
    let volume = stranger("volume", &theirs.volume);
    let strangers = [
        stranger("network-interface", &theirs.card),
        stranger("security-group", &theirs.group),
        volume.clone(),
    ];
    assert_eq!(left, strangers);

    double.set(json!({"pageSize": 1, "throttle": 0.2})).await;
    let audited = audit(&double, &vpc).await;
    let why = |id: &str| {
        let found = audited.iter().find(|one| one.1 == id);
        found.map(|one| one.2.as_str()).unwrap_or_default()
    };
    assert!(why(&vpc).contains("the mark of aws.vpc/main"), "{audited:?}");
    for id in [&theirs.group, &theirs.card] {
        assert!(why(id).contains("in the way"), "{audited:?}");
    }
    assert_eq!(why(&theirs.volume), "");

    double.set(json!({"pageSize": null, "throttle": 0.0})).await;
    let card = double
        .ec2
        .delete_network_interface()
        .network_interface_id(&theirs.card);
    card.send().await.unwrap();
    let group = double.ec2.delete_security_group().group_id(&theirs.group);
    group.send().await.unwrap();
    let gone = engine(&double, "demo", UID, Some(&gone), Vec::new()).await;
    assert!(gone.done && gone.remembered.is_empty(), "{gone:?}");
    assert_eq!(audit(&double, &vpc).await, Vec::new());
    assert_eq!(double.account().await, [volume]);
}

#[tokio::test]
async fn a_cluster_that_was_deleted_by_hand_leaves_nothing_either() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let made = made(&double).await;
    for what in [
        json!({"what": "load-balancer", "cluster": "demo"}),
        json!({"what": "volume", "cluster": "demo", "zone": format!("{REGION}a")}),
        json!({"what": "cluster-deleted", "cluster": "demo"}),
    ] {
        double.plant(what).await;
    }
    let gone = engine(&double, "demo", UID, Some(&made), Vec::new()).await;
    assert!(gone.done, "{gone:?}");
    assert_eq!(audit(&double, &id(&made, "aws.vpc/main")).await, Vec::new());
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_refused_or_gone_for_a_moment_while_it_is_swept_is_looked_at_again() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let made = made(&double).await;
    for what in [
        json!({"what": "load-balancer", "cluster": "demo"}),
        json!({"what": "volume", "cluster": "demo", "zone": format!("{REGION}a")}),
        json!({"what": "cluster-deleted", "cluster": "demo"}),
    ] {
        double.plant(what).await;
    }
    let fault = |operation: &str, code: &str| json!({"operation": operation, "code": code, "times": 2});
    let faults = [
        fault("elb:DescribeTags", "LoadBalancerNotFound"),
        fault("ec2:DeleteVolume", "VolumeInUse"),
        fault("elb:DeleteLoadBalancer", "RequestTimeout"),
    ];
    double.set(json!({"faults": faults})).await;
    let gone = engine(&double, "demo", UID, Some(&made), Vec::new()).await;
    assert!(gone.done, "{gone:?}");
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_volume_that_was_there_before_the_cluster_is_left_alone() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let mut told = made(&double).await;
    let volume = json!({"what": "volume", "cluster": "demo", "zone": format!("{REGION}a")});
    let volume = planted(&double.plant(volume).await);
    // As if the cluster had been made only now.
    let leftovers = Address::new("aws.leftovers", "main");
    let outputs = &mut told.remembered.get_mut(&leftovers).unwrap().outputs;
    let since = outputs["since"].as_i64().unwrap();
    outputs["since"] = json!(since + 3600);
    let gone = engine(&double, "demo", UID, Some(&told), Vec::new()).await;
    assert!(gone.done, "{gone:?}");
    assert_eq!(double.account().await, [format!("ec2:volume {volume}")]);
}

#[tokio::test]
async fn an_expired_stack_is_found_by_its_tags_alone_and_taken_down_without_its_state() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let other = vec![stack("other", NEVER, false).remove(0)];
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
        remembered: resources,
        ..Told::default()
    };
    let gone = engine(&double, "demo", UID, Some(&reaped), Vec::new()).await;
    assert!(gone.done && gone.remembered.is_empty(), "{:?}", gone.failed);
    assert_eq!(
        double.account().await,
        [format!("ec2:vpc {}", id(&other, "aws.vpc/main"))]
    );
}
