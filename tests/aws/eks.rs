//! An EKS stack from its roles to its nodes, against the stand-in for AWS.

use std::{env, fs, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stackup::{
    aws,
    model::{Action, Address, Need},
    resource::{Reference, Registry, Wanted},
};
use tokio::time::timeout;

use super::{
    child::{self, Told},
    double::Double,
};

const ORDER: &str = "STACKUP_TEST_ORDER";
const UID: &str = "0123456789abcdef";
const CLUSTER: &str = "probe";

/// How long one run may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    folder: PathBuf,
    /// Nothing for a destroy.
    wanted: Option<Vec<Piece>>,
    /// The cluster that a token is wanted for.
    token: Option<String>,
}

/// A resource as a child is told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Piece {
    address: Address,
    inputs: Value,
    needs: Vec<Need>,
}

#[test]
#[ignore = "the tests start it, as a process of its own with its orders in the environment"]
fn run_of_its_own() {
    let order: Order = serde_json::from_str(&env::var(ORDER).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let clients = Arc::new(aws::Clients::new(None));
    let answer = runtime.block_on(async {
        if let Some(cluster) = &order.token {
            let token = aws::token(&clients, cluster).await.unwrap();
            let who = aws::identity(&clients).await.unwrap();
            return json!({"token": token.text.expose(), "principal": who.principal});
        }
        let registry = Registry::new(aws::kinds(&clients));
        let wanted = |piece: &Piece| {
            let kind = piece.address.as_str().split('/').next().unwrap();
            Arc::new(Wanted {
                address: piece.address.clone(),
                kind: registry.get(kind).unwrap().name(),
                component: None,
                inputs: Arc::new(piece.inputs.clone()),
                needs: piece.needs.clone(),
            })
        };
        let wanted = order
            .wanted
            .as_ref()
            .map(|pieces| pieces.iter().map(wanted).collect());
        let told = child::carry_out(UID, &order.folder, wanted).await;
        serde_json::to_value(told).unwrap()
    });
    fs::write(order.folder.join("report.json"), answer.to_string()).unwrap();
}

/// Has a child carry an order out; what it answers.
async fn ask(double: &Double, wanted: Option<Vec<Piece>>, token: Option<&str>) -> Value {
    let order = Order {
        folder: double.folder.path().to_owned(),
        wanted,
        token: token.map(str::to_owned),
    };
    let mut command = child::command("aws::eks::run_of_its_own", &double.url);
    child::sign_in(&mut command);
    let mut child = command
        .env(ORDER, serde_json::to_string(&order).unwrap())
        .spawn()
        .unwrap();
    let ended = timeout(PATIENCE, child.wait()).await;
    assert!(ended.expect("a run does not end").unwrap().success());
    let report = order.folder.join("report.json");
    let text = fs::read(&report).unwrap();
    fs::remove_file(report).unwrap();
    serde_json::from_slice(&text).unwrap()
}

async fn apply(double: &Double, wanted: Vec<Piece>) -> Told {
    serde_json::from_value(ask(double, Some(wanted), None).await).unwrap()
}

async fn destroy(double: &Double) {
    let told: Told = serde_json::from_value(ask(double, None, None).await).unwrap();
    assert!(told.done && told.left_in_state == 0, "{told:?}");
    assert_eq!(double.account().await, json!({}));
}

fn piece(address: &Address, inputs: Value, needs: &[&Address]) -> Piece {
    Piece {
        address: address.clone(),
        inputs,
        needs: needs.iter().map(|&need| Need::ready(need.clone())).collect(),
    }
}

/// Roles, the least of a network, a cluster with its logs, who may use it, what its nodes need, and two of them.
#[expect(clippy::needless_pass_by_value, reason = "it is written where it is called")]
fn stack(cluster_more: Value, group_more: Value) -> Vec<Piece> {
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
            "zone": format!("eu-central-1{zone}"), "publicAddresses": true});
        piece(&subnet(zone), inputs, &[])
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
        piece(
            &role("cluster"),
            json!({"service": "eks.amazonaws.com", "policies": ["AmazonEKSClusterPolicy"]}),
            &[],
        ),
        piece(
            &role("node"),
            json!({"service": "ec2.amazonaws.com", "policies": node}),
            &[],
        ),
        piece(
            &role("cni"),
            json!({"service": "pods.eks.amazonaws.com", "policies": ["AmazonEKS_CNI_Policy"]}),
            &[],
        ),
        piece(&vpc, json!({"cidr": "10.7.0.0/16"}), &[]),
        part("a", 1),
        part("b", 2),
        part("c", 3),
        piece(
            &logs,
            json!({"name": format!("/aws/eks/{CLUSTER}/cluster"), "retentionDays": 7}),
            &[],
        ),
        piece(&cluster, with(control_plane, &cluster_more), &[&logs]),
        piece(
            &entry,
            json!({"cluster": of(&cluster, "name"), "policies": [{"name": "AmazonEKSClusterAdminPolicy"}]}),
            &[],
        ),
        piece(
            &cni,
            json!({"cluster": of(&cluster, "name"), "name": "vpc-cni",
                "configuration": "{\"env\": {\"ENABLE_PREFIX_DELEGATION\": \"true\"}}",
                "roles": {"aws-node": of(&role("cni"), "arn")}}),
            &[],
        ),
        piece(&template, json!({"disk": 30, "instanceTags": {"team": "a"}}), &[]),
        piece(&group, with(workers, &group_more), &[&cni]),
    ]
}

fn plain() -> Vec<Piece> {
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
    let Some(double) = Double::start(0.002).await else {
        return;
    };
    // Roles become known late, and answers get lost in the crowd.
    double
        .set(json!({"iamPropagation": 500, "durations": {"accessEntry": 0}}))
        .await;
    let told = apply(&double, plain()).await;
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
    let calls = double.calls().await;
    let refused = calls
        .iter()
        .filter(|call| call["operation"] == "CreateCluster" && call["status"] == 400);
    assert!(refused.count() > 0, "the role was known at once");

    // The identity that ran it may use the cluster, with a token that is good for this one only.
    let answer = ask(&double, None, Some(CLUSTER)).await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": answer["token"]}});
    let reviewed = double
        .ask("POST", &format!("token-review/eu-central-1/{CLUSTER}"), &review)
        .await;
    assert_eq!(reviewed["status"]["authenticated"], true, "{reviewed}");
    assert_eq!(reviewed["status"]["user"]["groups"], json!(["system:masters"]));
    let other = ask(&double, None, Some("other")).await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": other["token"]}});
    let reviewed = double
        .ask("POST", &format!("token-review/eu-central-1/{CLUSTER}"), &review)
        .await;
    assert_ne!(reviewed["status"]["authenticated"], true, "{reviewed}");

    let before = double.calls().await.len();
    let told = apply(&double, plain()).await;
    assert!(told.done, "{told:?}");
    assert_eq!(changed(&told), []);
    assert_eq!(double.writes(before).await, Vec::<String>::new());

    let before = double.calls().await.len();
    let cluster = json!({"logs": ["api"], "publicCidrs": ["192.0.2.0/24"], "tags": {"team": "a"}});
    let group = json!({"max": 4, "labels": {"role": "node"}, "taints": []});
    let told = apply(&double, stack(cluster.clone(), group.clone())).await;
    assert!(told.done, "{told:?}");
    let updated = [
        ("aws.eks_cluster/main", Action::Update),
        ("aws.eks_node_group/workers", Action::Update),
    ];
    assert_eq!(changed(&told), updated);
    let writes = double.writes(before).await;
    assert_eq!(count(&writes, "eks:UpdateClusterConfig"), 2, "{writes:?}");
    assert_eq!(count(&writes, "eks:UpdateNodegroupConfig"), 1, "{writes:?}");
    let told = apply(&double, stack(cluster, group)).await;
    assert_eq!(changed(&told), [], "{told:?}");

    destroy(&double).await;
}

#[tokio::test]
async fn a_cluster_takes_the_zones_that_eks_has_room_in() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    double.set(json!({"zonesWithoutEks": ["eu-central-1c"]})).await;
    let told = apply(&double, plain()).await;
    assert!(told.done, "{told:?}");
    let told = apply(&double, plain()).await;
    assert_eq!(changed(&told), [], "{told:?}");
    destroy(&double).await;
}

#[tokio::test]
async fn nodes_that_nobody_has_room_for_fail_with_the_reason_and_are_made_anew_when_there_is_room() {
    let Some(double) = Double::start(0.002).await else {
        return;
    };
    double
        .set(json!({"typesWithoutCapacity": ["m6i.large", "m5.large"]}))
        .await;
    let told = apply(&double, plain()).await;
    assert!(!told.done && told.failed.len() == 1, "{told:?}");
    for words in [
        "aws.eks_node_group/workers",
        "AsgInstanceLaunchFailures",
        "InsufficientInstanceCapacity",
        "instanceTypes",
    ] {
        assert!(told.failed[0].contains(words), "{words}: {told:?}");
    }
    double.set(json!({"typesWithoutCapacity": []})).await;
    let told = apply(&double, plain()).await;
    assert!(told.done, "{told:?}");
    assert_eq!(changed(&told), [("aws.eks_node_group/workers", Action::Replace)]);
    destroy(&double).await;
}

#[tokio::test]
async fn a_protected_cluster_stays_until_the_stack_file_says_otherwise() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let told = apply(&double, stack(json!({"deletionProtection": true}), json!({}))).await;
    assert!(told.done, "{told:?}");
    let told: Told = serde_json::from_value(ask(&double, None, None).await).unwrap();
    assert!(
        !told.done && told.failed[0].contains("protected from deletion"),
        "{told:?}"
    );
    let told = apply(&double, plain()).await;
    assert!(told.done, "{told:?}");
    destroy(&double).await;
}

#[tokio::test]
async fn a_stack_is_made_and_taken_down_though_aws_is_busy_and_pages_are_short() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    double
        .set(json!({"throttle": 0.2, "seed": 7, "pageSize": 1}))
        .await;
    let told = apply(&double, plain()).await;
    assert!(told.done, "{told:?}");
    let told = apply(&double, plain()).await;
    assert_eq!(changed(&told), [], "{told:?}");
    destroy(&double).await;
}
