//! An EKS stack from its roles to its nodes, against the stand-in for AWS.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stackup::{
    model::{Action, Address},
    resource::Reference,
};

use super::{
    child::{Order, Told, Want},
    double::{Double, REGION},
    errand::{self, Errand},
};

const CLUSTER: &str = "probe";
/// Real durations are hundreds of seconds.
const SCALE: f64 = 0.002;

/// A stack that is applied again and again.
struct Probe<'a> {
    double: &'a Double,
}

impl<'a> Probe<'a> {
    fn new(double: &'a Double) -> Self {
        Self { double }
    }

    /// Brings the stack to what is wanted: nothing is wanted of one that is taken down.
    async fn apply(&self, wanted: Vec<Want>) -> Told {
        let order = Order {
            stack: "probe".to_owned(),
            uid: "0123456789abcdef".to_owned(),
            folder: self.double.folder.path().to_owned(),
            remembered: BTreeMap::new(),
            wanted,
        };
        let told = errand::run(self.double, &Errand::Run(order), Some("test")).await;
        serde_json::from_value(told).unwrap()
    }

    async fn destroy(self) {
        let told = self.apply(Vec::new()).await;
        assert!(told.done && told.remembered.is_empty(), "{told:?}");
        assert_eq!(self.double.account().await, Vec::<String>::new());
    }
}

/// What the cluster says of a token that was made for `cluster`.
async fn review(double: &Double, cluster: &str) -> Value {
    let answer = errand::run(double, &Errand::Token(cluster.to_owned()), Some("test")).await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": answer["token"]}});
    let path = format!("token-review/{REGION}/{CLUSTER}");
    double.ask("POST", &path, &review).await["status"].clone()
}

fn want(address: &Address, inputs: Value, needs: &[&Address]) -> Want {
    let (kind, name) = address.as_str().split_once('/').unwrap();
    let needs = needs.iter().map(|&need| need.clone()).collect();
    Want(kind.to_owned(), name.to_owned(), inputs, needs)
}

/// Roles, the least of a network, a cluster with its logs, who may use it, what its nodes need, and two of them.
#[expect(clippy::needless_pass_by_value, reason = "it is written where it is called")]
#[expect(clippy::too_many_lines, reason = "it is one list")]
fn stack(cluster_more: Value, group_more: Value) -> Vec<Want> {
    let role = |name: &str| Address::new("aws.iam_role", name);
    let subnet = |zone: &str| Address::new("aws.subnet", zone);
    let [vpc, logs, cluster, entry, cni, template, group] = [
        ("aws.vpc", "main"),
        ("aws.log_group", "cluster"),
        ("aws.eks_cluster", "main"),
        ("aws.eks_access_entry", "me"),
        ("aws.eks_addon", "vpc-cni"),
        ("aws.launch_template", "workers"),
        ("aws.eks_node_group", "workers"),
    ]
    .map(|(kind, name)| Address::new(kind, name));
    let of = Reference::field;
    let part = |zone: &str, third: u8| {
        let inputs = json!({"vpcId": of(&vpc, "id"), "cidr": format!("10.7.{third}.0/24"),
            "zone": format!("{REGION}{zone}"), "publicAddresses": true});
        want(&subnet(zone), inputs, &[])
    };
    let node = json!(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"]);
    let place = |zone: &str| json!({"id": of(&subnet(zone), "id"), "zone": of(&subnet(zone), "zone")});
    let with = |mut inputs: Value, more: &Value| {
        inputs
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        inputs
    };
    let control_plane = json!({
        "name": CLUSTER,
        "roleArn": of(&role("cluster"), "arn"),
        "subnets": [place("a"), place("b"), place("c")],
        "publicAccess": true,
        "publicCidrs": ["0.0.0.0/0"],
        "logs": ["audit"],
    });
    let workers = json!({
        "cluster": of(&cluster, "name"),
        "name": "workers",
        "roleArn": of(&role("node"), "arn"),
        "subnetIds": [of(&subnet("a"), "id"), of(&subnet("b"), "id")],
        "instanceTypes": ["m6i.large", "m5.large"],
        "capacity": "on-demand",
        "min": 1,
        "desired": 2,
        "max": 3,
        "labels": {"role": "worker"},
        "taints": [{"key": "dedicated", "value": "shop", "effect": "NoSchedule"}],
        "launchTemplate": {"id": of(&template, "id"), "version": of(&template, "version")},
    });
    vec![
        want(
            &role("cluster"),
            json!({"service": "eks.amazonaws.com", "policies": ["AmazonEKSClusterPolicy"]}),
            &[],
        ),
        want(
            &role("node"),
            json!({"service": "ec2.amazonaws.com", "policies": node}),
            &[],
        ),
        want(
            &role("cni"),
            json!({"service": "pods.eks.amazonaws.com", "policies": ["AmazonEKS_CNI_Policy"]}),
            &[],
        ),
        want(&vpc, json!({"cidr": "10.7.0.0/16"}), &[]),
        part("a", 1),
        part("b", 2),
        part("c", 3),
        want(
            &logs,
            json!({"name": format!("/aws/eks/{CLUSTER}/cluster"), "retentionDays": 7}),
            &[],
        ),
        want(&cluster, with(control_plane, &cluster_more), &[&logs]),
        want(
            &entry,
            json!({"cluster": of(&cluster, "name"), "policies": [{"name": "AmazonEKSClusterAdminPolicy"}]}),
            &[],
        ),
        want(
            &cni,
            json!({"cluster": of(&cluster, "name"), "name": "vpc-cni",
                "configuration": "{\"env\": {\"ENABLE_PREFIX_DELEGATION\": \"true\"}}",
                "roles": {"aws-node": of(&role("cni"), "arn")}}),
            &[],
        ),
        want(&template, json!({"disk": 30, "instanceTags": {"team": "a"}}), &[]),
        want(&group, with(workers, &group_more), &[&cni]),
    ]
}

fn plain() -> Vec<Want> {
    stack(json!({}), json!({}))
}

fn count(writes: &[String], name: &str) -> usize {
    writes.iter().filter(|write| *write == name).count()
}

/// What is not planned to stay as it is.
fn changed(told: &Told) -> Vec<(&str, Action)> {
    let changed = told
        .planned
        .iter()
        .filter(|(_, action)| *action != Action::Unchanged);
    changed
        .map(|(address, action)| (address.as_str(), *action))
        .collect()
}

#[tokio::test]
async fn a_cluster_with_nodes_is_made_left_alone_changed_in_place_and_taken_down() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let probe = Probe::new(&double);
    // Roles become known late.
    double.set(json!({"iamPropagation": 1000})).await;
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    assert_eq!(changed(&told).len(), 13, "{told:?}");
    assert!(told.planned.iter().all(|(_, action)| *action == Action::Create));
    let writes = double.writes(0).await;
    for (call, times) in [
        ("eks:CreateCluster", 1),
        ("eks:UpdateClusterConfig", 0),
        ("eks:CreateAccessEntry", 1),
        ("eks:AssociateAccessPolicy", 1),
        ("eks:CreateAddon", 1),
        ("ec2:CreateLaunchTemplate", 1),
        ("eks:CreateNodegroup", 1),
        ("logs:CreateLogGroup", 1),
        ("logs:PutRetentionPolicy", 1),
    ] {
        assert_eq!(count(&writes, call), times, "{call}: {writes:?}");
    }
    let sent = double.calls(true).await;
    assert!(
        count(&sent, "eks:CreateCluster") > 1,
        "the role was known at once"
    );

    // The identity that ran it may use the cluster, with a token that is good for this one only.
    let reviewed = review(&double, CLUSTER).await;
    assert_eq!(reviewed["authenticated"], true, "{reviewed}");
    assert_eq!(reviewed["user"]["groups"], json!(["system:masters"]));
    let reviewed = review(&double, "other").await;
    assert_ne!(reviewed["authenticated"], true, "{reviewed}");

    let before = double.calls(false).await.len();
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    assert_eq!(changed(&told), []);
    assert_eq!(double.writes(before).await, Vec::<String>::new());

    let before = double.calls(false).await.len();
    let cluster = json!({"logs": ["api"], "publicCidrs": ["192.0.2.0/24"], "tags": {"team": "a"}});
    let group = json!({"max": 4, "labels": {"role": "node"}, "taints": []});
    let told = probe.apply(stack(cluster.clone(), group.clone())).await;
    assert!(told.done, "{told:?}");
    let updated = [
        ("aws.eks_cluster/main", Action::Update),
        ("aws.eks_node_group/workers", Action::Update),
    ];
    assert_eq!(changed(&told), updated);
    let writes = double.writes(before).await;
    assert_eq!(count(&writes, "eks:UpdateClusterConfig"), 2, "{writes:?}");
    assert_eq!(count(&writes, "eks:UpdateNodegroupConfig"), 1, "{writes:?}");
    let told = probe.apply(stack(cluster, group)).await;
    assert_eq!(changed(&told), [], "{told:?}");

    probe.destroy().await;
}

#[tokio::test]
async fn a_cluster_takes_the_zones_that_eks_has_room_in() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let probe = Probe::new(&double);
    double.set(json!({"zonesWithoutEks": ["eu-central-1c"]})).await;
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    let told = probe.apply(plain()).await;
    assert_eq!(changed(&told), [], "{told:?}");
    probe.destroy().await;
}

#[tokio::test]
async fn nodes_that_nobody_has_room_for_fail_with_the_reason_and_are_made_anew_when_there_is_room() {
    let Some(double) = Double::start(SCALE).await else {
        return;
    };
    let probe = Probe::new(&double);
    double
        .set(json!({"typesWithoutCapacity": ["m6i.large", "m5.large"]}))
        .await;
    let told = probe.apply(plain()).await;
    assert!(!told.done && told.failed.len() == 1, "{told:?}");
    let group = Address::new("aws.eks_node_group", "workers");
    for words in ["AsgInstanceLaunchFailures", "InsufficientInstanceCapacity"] {
        assert!(told.failed[&group].contains(words), "{words}: {told:?}");
    }
    let details = told.details[&group].join("\n");
    assert!(
        details.contains("give the node group more instanceTypes"),
        "{told:?}"
    );
    double.set(json!({"typesWithoutCapacity": []})).await;
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    assert_eq!(changed(&told), [("aws.eks_node_group/workers", Action::Replace)]);
    probe.destroy().await;
}

#[tokio::test]
async fn a_protected_cluster_stays_until_the_stack_file_says_otherwise() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let probe = Probe::new(&double);
    let told = probe
        .apply(stack(json!({"deletionProtection": true}), json!({})))
        .await;
    assert!(told.done, "{told:?}");
    let told = probe.apply(Vec::new()).await;
    let cluster = Address::new("aws.eks_cluster", "main");
    assert!(
        !told.done && told.failed[&cluster].contains("protected from deletion"),
        "{told:?}"
    );
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    probe.destroy().await;
}

#[tokio::test]
async fn a_stack_is_made_and_taken_down_though_aws_is_busy_and_pages_are_short() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let probe = Probe::new(&double);
    double
        .set(json!({"throttle": 0.1, "seed": 7, "pageSize": 1}))
        .await;
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    let told = probe.apply(plain()).await;
    assert_eq!(changed(&told), [], "{told:?}");
    probe.destroy().await;
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_sent_again_and_makes_nothing_twice() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let probe = Probe::new(&double);
    let creates = [
        "eks:CreateCluster",
        "eks:CreateAccessEntry",
        "eks:AssociateAccessPolicy",
        "eks:CreateAddon",
        "eks:CreateNodegroup",
        "ec2:CreateLaunchTemplate",
        "logs:CreateLogGroup",
        "logs:PutRetentionPolicy",
    ];
    // That AWS failed after it did it is the same to us as no answer, and needs no patience.
    let lost = creates.map(|call| json!({"operation": call, "times": 1, "after": true, "code": "InternalFailure", "status": 500}));
    double.set(json!({"faults": lost})).await;
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    let sent = double.calls(true).await;
    for call in creates {
        assert!(count(&sent, call) > 1, "{call} was not lost: {sent:?}");
    }
    let told = probe.apply(plain()).await;
    assert_eq!(changed(&told), [], "{told:?}");
    probe.destroy().await;
}

#[tokio::test]
async fn what_was_made_a_moment_ago_and_is_not_known_everywhere_yet_is_asked_for_again() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let probe = Probe::new(&double);
    let early = [
        (
            "eks:CreateAccessEntry",
            "InvalidParameterException",
            "The specified principalArn is invalid: invalid principal.",
        ),
        (
            "eks:AssociateAccessPolicy",
            "ResourceNotFoundException",
            "The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.",
        ),
        (
            "logs:PutRetentionPolicy",
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ),
    ];
    let faults = early.map(|(call, code, message)| {
        json!({"operation": call, "times": 2, "code": code, "status": 404, "message": message})
    });
    double.set(json!({"faults": faults})).await;
    let told = probe.apply(plain()).await;
    assert!(told.done, "{told:?}");
    let told = probe.apply(plain()).await;
    assert_eq!(changed(&told), [], "{told:?}");
    probe.destroy().await;
}

#[tokio::test]
async fn the_role_of_a_session_is_asked_for_again_and_guessed_only_where_nobody_may_ask() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let role = |name: &str, path: &str| json!({"what": "session", "role": name, "path": path});
    let plain = double.plant(role("ci", "/")).await;
    let sso = "AWSReservedSSO_Admin_0123456789abcdef";
    let single = double.plant(role(sso, "/aws-reserved/sso.amazonaws.com/")).await;
    let asked = async |session: &Value| {
        let key = session["key"].as_str().unwrap();
        let errand = Errand::Token(CLUSTER.to_owned());
        let told = errand::run(&double, &errand, Some(key)).await;
        told["principal"].as_str().map(str::to_owned)
    };
    let ci = Some("arn:aws:iam::123456789012:role/ci".to_owned());
    let person = Some(format!(
        "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/{sso}"
    ));
    assert_eq!(asked(&single).await, person);
    let fault = json!({"operation": "iam:GetRole", "times": 3, "code": "ServiceFailure", "status": 500});
    double.set(json!({"faults": [fault]})).await;
    assert_eq!(asked(&single).await, person);

    double.set(json!({"faults": [], "denied": ["iam:GetRole"]})).await;
    assert_eq!(asked(&plain).await, ci);
    let errand = Errand::Token(CLUSTER.to_owned());
    let told = errand::run(&double, &errand, single["key"].as_str()).await;
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("iam:GetRole") && error.contains(sso), "{error}");
}
