//! The whole road to EKS and back with the real program, against the AWS double with a real API server behind its
//! clusters. What holds here is not proven for AWS itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    double::Double,
    hop::{Fault, Hop},
    kubectl::kubectl,
};
use crate::support::{
    sandbox::{Running, Sandbox},
    tier,
};

/// Real durations are hundreds of seconds.
pub(super) const SCALE: f64 = 0.002;

/// One node group, no NAT gateway, nothing on it.
pub(super) const SMALL: &str = "name: small\ncluster:\n  provider: eks\n  region: eu-central-1\n  kubernetes: \"1.34\"\n  network: {zones: 2, nat: none}\n  nodeGroups:\n    - {name: workers, desired: 1}\nverify: off\n";

pub(super) fn sandbox(double: &Double, stack: &str) -> Sandbox {
    let mut sandbox = Sandbox::new();
    for (name, value) in double.environment() {
        sandbox = sandbox.env(name, value);
    }
    sandbox.write("stackup.yaml", stack);
    sandbox
}

/// The stack file that people start from, with the components that are inside the program.
fn whole() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/stacks/eks.yaml")).unwrap();
    text.replace("../manifests/", "builtin:")
        .replace("verify: standard", "verify: quick")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_makes_everything_and_another_leaves_an_empty_account() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, &whole());
    let diff = sandbox.stackup(&["diff", "--output", "json"]).ends(0);
    let plan: Value = serde_json::from_str(&diff.stdout).unwrap();
    assert_eq!(plan["summary"]["create"], 138, "{}", diff.stdout);
    assert_eq!(
        double.calls(true).await,
        Vec::<String>::new(),
        "a diff changes nothing"
    );

    let apply = sandbox.stackup(&["apply", "--yes", "--timings"]).ends(0);
    assert!(
        apply.stdout.contains("aws.eks_cluster/demo-eks"),
        "{}",
        apply.all()
    );
    let made = double.calls(true).await.len();
    let filters = vec![
        (
            r"\b(vpc|subnet|igw|rtb|nat|eipalloc|lt|sg|vpce)-[0-9a-f]{8,}\b",
            "$1-ID",
        ),
        (r"\b[0-9a-f]{64}\b", "TOKEN"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "TOKEN"),
        (r"\b[0-9a-f]{16}\b", "UID"),
        (r"demo-eks-[0-9a-f]{8}-", "demo-eks-UID-"),
    ];
    let mut requests = double.requests().await;
    insta::with_settings!({filters => filters}, {
        // What is told apart by ids alone comes in any order.
        requests.dedup();
        insta::assert_snapshot!("requests", requests.join("\n"));
    });

    let before = double.calls(false).await.len();
    let again = sandbox.stackup(&["apply", "--yes", "--no-verify"]).ends(0);
    assert!(again.stdout.contains("No changes"), "{}", again.all());
    assert_eq!(
        double.calls(true).await.len(),
        made,
        "a second apply writes nothing"
    );
    let reads = double.calls(false).await.len() - before;
    assert!(reads <= 40, "{reads} calls for nothing to do");

    sandbox.stackup(&["status"]).ends(0);
    let server = sandbox.stackup(&["output", "server"]).ends(0);
    assert!(
        server.stdout.starts_with("https://127.0.0.1:"),
        "{}",
        server.stdout
    );
    let nodes = kubectl(&double, &sandbox, &["get", "nodes", "-o", "json"]);
    let nodes: Value = serde_json::from_str(&nodes).unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 3);
    let token = sandbox.stackup(&["token"]).ends(0);
    let token: Value = serde_json::from_str(&token.stdout).unwrap();
    assert!(
        token["status"]["token"]
            .as_str()
            .unwrap()
            .starts_with("k8s-aws-v1.")
    );

    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
    assert!(!sandbox.path(".stackup").exists());
    super::policy::allows(&double.calls(false).await);
}

/// Kills the program before or after its nth changing call; whether it came so far.
async fn killed(double: &Double, sandbox: &Sandbox, arguments: &[&str], n: usize, after: bool) -> bool {
    let fault = if after {
        Fault::KillAfter
    } else {
        Fault::KillBefore
    };
    let count = AtomicUsize::new(0);
    let address = double.url.strip_prefix("http://").unwrap().parse().unwrap();
    let chosen = move |_, call: &str| changes(call) && count.fetch_add(1, Ordering::SeqCst) == n;
    let hop = Hop::start(address, fault, chosen).await.verbatim();
    let mut command = sandbox.command(arguments);
    command.env("AWS_ENDPOINT_URL", hop.url());
    let running = Running::start(command);
    let id = running.id();
    let mut ended = tokio::task::spawn_blocking(move || running.wait());
    tokio::select! {
        () = hop.kill() => {
            kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), Signal::KILL).unwrap();
            assert_eq!(ended.await.unwrap().signal, Some(9));
            true
        }
        run = &mut ended => {
            run.unwrap().ends(0);
            false
        }
    }
}

/// Whether a call changes something, by its name on the wire: `CreateVpc`, or the method and path where it has none.
fn changes(call: &str) -> bool {
    let reads = ["Describe", "Get", "List", "Simulate", "GET "];
    !reads.iter().any(|read| call.starts_with(read))
}

/// How many of the points are tried: all with the long enumerations.
fn step() -> usize {
    if tier::required("faults") { 1 } else { 9 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_before_any_changing_call_is_taken_up_and_nothing_is_doubled_or_left() {
    survives(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_after_any_changing_call_is_taken_up_and_nothing_is_doubled_or_left() {
    survives(true).await;
}

/// Shown where a test fails.
#[expect(clippy::print_stdout, reason = "the test harness keeps it")]
fn tell(what: &str) {
    println!("{what}");
}

/// Kills apply, and destroy, before or after each of their changing calls.
async fn survives(after: bool) {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let creates = |calls: &[String]| {
        let counts = |call: &&String| {
            call.contains(":Create") && !call.ends_with("CreateRoute") && !call.ends_with("CreateTags")
        };
        calls.iter().filter(counts).count()
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    let applied = double.calls(true).await;
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    let destroyed = double.calls(true).await.len() - applied.len();
    assert!(
        applied.len() > 25 && destroyed > 15,
        "{} and {destroyed}",
        applied.len()
    );
    for n in (usize::from(after)..applied.len()).step_by(step()) {
        tell(&format!("apply killed at call {n}"));
        let before = double.calls(true).await.len();
        let cut = killed(&double, &sandbox, &["apply", "--yes"], n, after).await;
        let again = sandbox.stackup(&["apply", "--yes"]).ends(0);
        assert!(
            !cut || n == 0 || again.all().contains("resuming"),
            "{}",
            again.all()
        );
        let made = creates(&double.calls(true).await[before..]);
        assert_eq!(made, creates(&applied));
        let idle = double.calls(true).await.len();
        sandbox.stackup(&["apply", "--yes"]).ends(0);
        assert_eq!(double.calls(true).await.len(), idle);
        sandbox.stackup(&["destroy", "--yes"]).ends(0);
        assert_eq!(double.account().await, Vec::<String>::new());
    }
    for n in (usize::from(after)..destroyed).step_by(step()) {
        tell(&format!("destroy killed at call {n}"));
        sandbox.stackup(&["apply", "--yes"]).ends(0);
        killed(&double, &sandbox, &["destroy", "--yes"], n, after).await;
        sandbox.stackup(&["destroy", "--yes"]).ends(0);
        assert_eq!(double.account().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_state_in_a_bucket_one_machine_goes_on_where_another_was_killed_and_a_third_takes_all_down()
{
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let stack = format!("{SMALL}state: {{s3: {{bucket: state-of-small}}}}\n");
    let first = sandbox(&double, &stack);
    // Not with 'stackup state init': moto ignores the condition of the bucket's policy, and lets nobody in.
    super::state::bucket(&double.url, "state-of-small").await;
    let kept = double.account().await;
    assert!(killed(&double, &first, &["apply", "--yes"], 30, true).await);
    assert!(double.account().await.len() > kept.len() + 5);

    let address = double.url.strip_prefix("http://").unwrap().parse().unwrap();
    // For the second machine the lease of the first has run out.
    let hop = Hop::plain(address).await.ahead(120).verbatim();
    let url = hop.url();
    let second = sandbox(&double, &stack).env("AWS_ENDPOINT_URL", &url);
    let resumed = second.stackup(&["apply", "--yes"]).ends(0);
    assert!(resumed.all().contains("resuming"), "{}", resumed.all());
    let vpcs = double.calls(true).await;
    assert_eq!(vpcs.iter().filter(|call| *call == "ec2:CreateVpc").count(), 1);

    let third = sandbox(&double, &stack);
    let nothing = third.stackup(&["diff", "--exit-code"]).ends(0);
    assert!(nothing.stdout.contains("No changes"), "{}", nothing.all());
    third.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_disk_is_a_new_version_that_the_same_apply_rolls_out() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    let first = double.calls(true).await.len();
    sandbox.write(
        "stackup.yaml",
        SMALL.replace("desired: 1", "desired: 1, disk: 45"),
    );
    sandbox
        .stackup(&["diff"])
        .ends(0)
        .says("follows aws.launch_template/workers, once that is changed");
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    let calls = double.calls(true).await;
    let changed: Vec<&str> = calls.iter().skip(first).map(String::as_str).collect();
    assert_eq!(
        changed,
        [
            "ec2:CreateLaunchTemplateVersion",
            "ec2:ModifyLaunchTemplate",
            "eks:UpdateNodegroupVersion"
        ]
    );
    sandbox.stackup(&["diff", "--exit-code"]).ends(0);
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_someone_else_made_in_our_network_is_named_and_left_alone() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    let vpc = sandbox.stackup(&["output", "vpcId"]).ends(0).stdout;
    let foreign = double
        .plant(json!({"what": "subnet", "vpc": vpc.trim(), "cidr": "10.0.255.0/24"}))
        .await;
    let refused = sandbox.stackup(&["destroy", "--yes"]).ends(1);
    let id = foreign["id"].as_str().unwrap_or_default();
    assert!(
        !id.is_empty() && refused.all().contains(id),
        "{foreign}: {}",
        refused.all()
    );
    double.ec2.delete_subnet().subnet_id(id).send().await.unwrap();
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_deleted_by_hand_keeps_nothing_from_going() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, &whole());
    sandbox.stackup(&["apply", "--yes", "--no-verify"]).ends(0);
    double
        .plant(json!({"what": "cluster-deleted", "cluster": "demo-eks"}))
        .await;
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_cluster_is_refused_before_anything_goes_and_a_stack_without_state_names_reap() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = sandbox(&double, SMALL);
    let nothing = sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert!(
        nothing.all().contains("stackup reap --stack small"),
        "{}",
        nothing.all()
    );
    sandbox
        .stackup(&["apply", "--yes", "--set", "cluster.deletionProtection=true"])
        .ends(0);
    let before = double.calls(true).await.len();
    let refused = sandbox.stackup(&["destroy", "--yes"]).ends(6);
    assert!(
        refused.stderr.contains("protected from deletion"),
        "{}",
        refused.all()
    );
    assert_eq!(double.calls(true).await.len(), before);
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    // Nor is it forgotten by naming another provider, under which nothing of it would be found.
    let (eks, before) = (sandbox.read("stackup.yaml"), double.calls(true).await.len());
    sandbox.write("stackup.yaml", "name: small\ncluster: {provider: kwok}\n");
    for verb in [&["diff"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        sandbox
            .stackup(verb)
            .ends(6)
            .says("small stands on EKS in region eu-central-1");
    }
    assert_eq!(double.calls(true).await.len(), before);
    sandbox.write("stackup.yaml", eks);
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
}
