//! What destroy leaves when it is made hard for it: nothing, or what is left by name and with why. The whole road with the
//! real program against the AWS double: what holds here is not proven for AWS itself.

use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::{
    double::Double,
    kubectl::{kubectl, theirs},
    road::{SCALE, SMALL, sandbox},
};
use crate::support::sandbox::{Run, Running, processes_of};

const NOTHING: [String; 0] = [];

/// How often this was called and answered, and how often it was refused.
async fn sent(double: &Double, operation: &str) -> (usize, usize) {
    let calls = double.ask("GET", "calls", &Value::Null).await;
    let calls = calls.as_array().unwrap().iter();
    let of: Vec<_> = calls.filter(|call| call["operation"] == operation).collect();
    let refused = of
        .iter()
        .filter(|call| call["status"].as_u64().unwrap_or(500) >= 300);
    (of.len(), refused.count())
}

/// What is in the account of this kind and is tagged so.
async fn tagged(double: &Double, kind: &str, tag: &str) -> Vec<String> {
    let account = double.ask("GET", "account", &Value::Null).await;
    let things = account[kind].as_array().cloned().unwrap_or_default();
    let of = things.iter().filter(|thing| !thing["tags"][tag].is_null());
    of.map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
}

/// Ends the cluster's API server: nobody answers at its address any more.
fn silence(double: &Double) {
    let mut ended = 0;
    for pid in processes_of(double.folder.path()) {
        let program = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
        let program = std::fs::read_to_string(program).unwrap_or_default();
        if program.split('\0').next().unwrap().ends_with("/kube-apiserver") {
            kill_process(pid, Signal::KILL).unwrap();
            ended += 1;
        }
    }
    assert_eq!(ended, 1);
}

/// Where in a run's lines this is told.
#[track_caller]
fn at(run: &Run, text: &str) -> usize {
    let all = run.all();
    all.find(text)
        .unwrap_or_else(|| panic!("never said '{text}':\n{all}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_put_into_the_cluster_goes_first_and_what_carries_our_mark_is_told_until_it_is_gone() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    theirs(&double, &sandbox);
    let claims = tagged(&double, "ec2:volume", "kubernetes.io/created-for/pvc/name").await;
    assert_eq!(claims.len(), 1);
    let balancers = "elasticloadbalancing:loadbalancer";
    assert_eq!(
        tagged(&double, balancers, "kubernetes.io/service-name")
            .await
            .len(),
        1
    );
    // Someone copied our tags to an address that no state knows of.
    let mut tags = TagSpecification::builder().resource_type(ResourceType::ElasticIp);
    let vpc = &double.ask("GET", "account", &Value::Null).await["ec2:vpc"][0];
    for key in ["stackup:stack", "stackup:uid"] {
        tags = tags.tags(
            Tag::builder()
                .key(key)
                .value(vpc["tags"][key].as_str().unwrap())
                .build(),
        );
    }
    let address = double
        .ec2
        .allocate_address()
        .tag_specifications(tags.build())
        .send()
        .await
        .unwrap();
    let address = address.allocation_id().unwrap();

    // As long as the budget is there the node would hold for longer than any test may take.
    double.set(json!({"durations": {"podEviction": 1_000_000}})).await;
    let destroyed = sandbox.stackup(&["destroy", "--yes"]).ends(1);
    assert!(
        at(&destroyed, "deleted   k8s.outside/small")
            < at(&destroyed, "deleting  aws.eks_node_group/workers"),
        "{}",
        destroyed.all()
    );
    assert!(
        at(&destroyed, "deleted   k8s.outside/small") < at(&destroyed, "deleted   aws.eks_cluster/small"),
        "the right to ask, which goes with the cluster, goes before the last question: {}",
        destroyed.all()
    );
    let told =
        format!("ec2:elastic-ip {address} in eu-central-1: it carries the mark of this stack (cost unknown)");
    let destroyed = destroyed.says("1 thing of small is left").says(&told);
    assert!(
        destroyed.stderr.contains("stackup destroy"),
        "{}",
        destroyed.all()
    );
    assert_eq!(double.account().await, [format!("ec2:elastic-ip {address}")]);
    // Their controllers cleaned up behind them, and not the sweep.
    for operation in ["DeleteVolume", "DeleteLoadBalancer"] {
        assert_eq!(sent(&double, operation).await, (0, 0), "{operation}");
    }
    let again = sandbox.stackup(&["destroy", "--yes"]).ends(1).says(&told);
    assert!(!again.stdout.contains("No changes"), "{}", again.all());
    again.says("Nothing to destroy");

    double
        .ec2
        .release_address()
        .allocation_id(address)
        .send()
        .await
        .unwrap();
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, NOTHING);
    assert!(!sandbox.path(".stackup").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_the_rest_goes_and_what_may_not_be_removed_is_named_until_it_may() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    theirs(&double, &sandbox);
    let claims = tagged(&double, "ec2:volume", "kubernetes.io/created-for/pvc/name").await;
    let [volume] = claims.as_slice() else {
        panic!("{claims:?}")
    };
    silence(&double);
    double.set(json!({"denied": ["ec2:DeleteVolume"]})).await;
    let destroyed = sandbox
        .stackup_with(&[("COLUMNS", "1000")], &["destroy", "--yes"])
        .ends(1);
    let destroyed = destroyed
        .says("k8s.outside/small could not be asked (nobody answers at https://127.0.0.1:")
        .says("counts as gone when this is deleted; what it leaves outside is looked for afterwards")
        .says("ec2:DeleteVolume gave UnauthorizedOperation")
        .says(&format!("ec2:volume {volume} (1 GiB in eu-central-1"))
        .says("of claim theirs/data-db-0)")
        .says("allow ec2:DeleteVolume in a policy of the identity that runs stackup");
    assert!(
        destroyed.stdout.contains("Next: stackup destroy"),
        "{}",
        destroyed.all()
    );
    // All else that the cluster left is gone, and the gateway was not tried before.
    let left = double.account().await;
    let left: Vec<_> = left
        .iter()
        .filter(|one| !one.starts_with("ec2:subnet "))
        .collect();
    assert!(
        left.len() == 3 && left.contains(&&format!("ec2:volume {volume}")),
        "{left:?}"
    );
    assert!(left.iter().any(|one| one.starts_with("ec2:vpc ")), "{left:?}");
    assert!(
        left.iter().any(|one| one.starts_with("ec2:internet-gateway ")),
        "{left:?}"
    );
    assert_eq!(sent(&double, "DetachInternetGateway").await, (0, 0));

    double.set(json!({"denied": []})).await;
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, NOTHING);
    assert_eq!(sent(&double, "DetachInternetGateway").await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_half_made_or_failed_goes_by_one_destroy() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    double.set(json!({"durations": {"cluster": 2500}})).await;
    let apply = sandbox.spawn(&["apply", "--yes"]);
    until_a_cluster_is_made(&double, &apply).await;
    apply.signal(Signal::KILL);
    assert_eq!(apply.wait().signal, Some(9));
    assert_eq!(sent(&double, "CreateNodegroup").await, (0, 0));
    let destroyed = sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert!(
        destroyed.all().contains("resuming: an earlier run did not end"),
        "{}",
        destroyed.all()
    );
    assert_eq!(double.account().await, NOTHING);

    double
        .set(json!({"durations": {"cluster": 540}, "clusterFails": true}))
        .await;
    let failed = sandbox.stackup(&["apply", "--yes"]).ends(1);
    assert!(failed.all().contains("InternalFailure"), "{}", failed.all());
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_group_that_eks_cannot_delete_is_told_at_once_and_goes_by_the_next_destroy() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    // One that could not be made is waited for all the same.
    double.set(json!({"nodegroupFails": "NodeCreationFailure"})).await;
    sandbox.stackup(&["apply", "--yes"]).ends(1);
    let fails = json!({"nodegroupFails": null, "nodegroupDeleteFails": "Ec2SecurityGroupDeletionFailure"});
    double.set(fails).await;
    let began = Instant::now();
    let stuck = sandbox.stackup(&["destroy", "--yes"]).ends(1);
    assert!(
        stuck
            .all()
            .contains("EKS could not delete it: Ec2SecurityGroupDeletionFailure: the settings say so"),
        "{}",
        stuck.all()
    );
    assert!(began.elapsed() < Duration::from_mins(2), "{}", stuck.all());
    double.set(json!({"nodegroupDeleteFails": null})).await;
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, NOTHING);
    assert_eq!(sent(&double, "DeleteNodegroup").await, (2, 0));
}

/// A claim of a class that keeps its volume, and a pod that uses it.
const RETAINED: &str = "\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: kept}
provisioner: ebs.csi.aws.com
reclaimPolicy: Retain
volumeBindingMode: Immediate
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept, namespace: default}
spec: {storageClassName: kept, accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_kubernetes_was_told_to_keep_outlasts_the_cluster_and_is_named_until_it_is_dealt_with()
{
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    sandbox.write("kept.yaml", RETAINED);
    let of = |arguments: &[&str]| kubectl(&double, &sandbox, arguments);
    of(&["apply", "-f", "kept.yaml"]);
    of(&[
        "wait",
        "pvc/kept",
        "--for=jsonpath={.status.phase}=Bound",
        "--timeout=90s",
    ]);
    // The claim is gone before the destroy: only the volume tells of it.
    of(&["delete", "pvc/kept", "--wait=true"]);
    let volumes = tagged(&double, "ec2:volume", "kubernetes.io/created-for/pvc/name").await;
    let [volume] = volumes.as_slice() else {
        panic!("{volumes:?}")
    };
    // Killed when the cluster is gone, and taken up: the volume carries the word itself.
    double.set(json!({"durations": {"clusterDelete": 2500}})).await;
    let mut destroy = sandbox.spawn(&["destroy", "--yes"]);
    destroy.until_it_says("deleting  aws.eks_cluster/small");
    destroy.signal(Signal::KILL);
    assert_eq!(destroy.wait().signal, Some(9));
    let told = format!("ec2:volume {volume} in eu-central-1: it was told to stay (2 GiB in eu-central-1");
    for _ in 0..2 {
        let left = sandbox.stackup(&["destroy", "--yes"]).ends(1);
        assert_eq!(double.account().await, [format!("ec2:volume {volume}")]);
        left.says(&told)
            .says("its PersistentVolume had the reclaimPolicy Retain")
            .says("take away its tag kubernetes.io/cluster/small");
    }
    let tag = Tag::builder().key("kubernetes.io/cluster/small").build();
    let untag = double.ec2.delete_tags().resources(volume).tags(tag);
    untag.send().await.unwrap();
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, [format!("ec2:volume {volume}")]);
}

/// Waits until EKS has begun to make a cluster.
async fn until_a_cluster_is_made(double: &Double, apply: &Running) {
    let over = Instant::now() + Duration::from_mins(1);
    while sent(double, "CreateCluster").await.0 == 0 {
        assert!(Instant::now() < over, "no cluster: {}", apply.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_whose_state_is_lost_is_reaped_with_all_that_people_put_into_it_step_by_step() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    theirs(&double, &sandbox);
    let nodes = kubectl(&double, &sandbox, &["get", "nodes", "-o", "name"]);
    assert_eq!(nodes.lines().count(), 1);
    std::fs::remove_dir_all(sandbox.path(".stackup")).unwrap();
    // Longer than it takes to come to the next step.
    double
        .set(json!({"durations": {"nodegroupDelete": 1500, "clusterDelete": 1500}}))
        .await;
    let reaped = sandbox.stackup(&["reap", "--stack", "small", "--yes"]).ends(0);
    assert_eq!(double.account().await, NOTHING, "{}", reaped.all());
    // Each step waits until the one before is over, and is not refused before that.
    for operation in [
        "DeleteNodegroup",
        "DeleteCluster",
        "DetachInternetGateway",
        "DeleteVpc",
    ] {
        assert_eq!(
            sent(&double, operation).await,
            (1, 0),
            "{operation}: {}",
            reaped.all()
        );
    }
    sandbox
        .stackup(&["reap", "--stack", "small", "--yes"])
        .ends(0)
        .says("Nothing to take");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_cannot_be_taken_wholly_keeps_no_other_from_being_taken() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    // The first has something whose place in it nobody knows, the second only what reap takes.
    let mut ids = Vec::new();
    for (stack, address) in [("a-ci-1", None), ("b-ci-2", Some("aws.address/nat"))] {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let mut tags = vec![
            tag("stackup:stack", stack),
            tag("stackup:uid", &format!("uid-of-{stack}")),
            tag("stackup:expires", "2020-01-01T00:00:00Z"),
        ];
        tags.extend(address.map(|address| tag("stackup:address", address)));
        let tags = TagSpecification::builder()
            .resource_type(ResourceType::ElasticIp)
            .set_tags(Some(tags));
        let made = double.ec2.allocate_address().tag_specifications(tags.build());
        let made = made.send().await.unwrap();
        ids.push(made.allocation_id().unwrap().to_owned());
    }
    let run = sandbox.stackup(&["reap", "--region", "eu-central-1", "--yes", "--quiet"]);
    let run = run
        .ends(1)
        .says("1 thing of a-ci-1 is left")
        .says("a-ci-1 is not wholly gone");
    assert!(!run.all().contains("b-ci-2 is not"), "{}", run.all());
    assert_eq!(double.account().await, [format!("ec2:elastic-ip {}", ids[0])]);
    // What would be taken is the result, for who wants quiet as well.
    sandbox
        .stackup(&["reap", "--region", "eu-central-1", "--quiet"])
        .ends(0)
        .says("a-ci-1");
}
