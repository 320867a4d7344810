//! AWS as it really behaves, on the whole road with the real program: late, full, busy, refusing and forgetful. Each test
//! ends with everything made once, nothing more to do, and an empty account. What holds here is not proven for AWS itself.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    double::Double,
    road::{SCALE, SMALL, sandbox},
};
use crate::support::sandbox::{Run, Sandbox};

/// Real seconds that never pass in a test, unless it puts the clock forward.
const LATER: u64 = 1_000_000;

/// A double with the small stack on the way to it.
struct Road {
    double: Double,
    sandbox: Sandbox,
}

impl Road {
    async fn start(stack: &str, settings: Value) -> Option<Self> {
        let double = Double::with_clusters(SCALE).await?;
        double.set(settings).await;
        let sandbox = sandbox(&double, stack);
        Some(Self { double, sandbox })
    }

    #[track_caller]
    fn apply(&self, code: i32) -> Run {
        self.sandbox.stackup(&["apply", "--yes"]).ends(code)
    }

    async fn advance(&self, seconds: u64) {
        self.double
            .ask("POST", "clock", &json!({"advance": seconds}))
            .await;
    }

    /// How many things of each kind the account has.
    async fn stands(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for thing in self.double.account().await {
            let kind = thing.split(' ').next().unwrap().to_owned();
            *kinds.entry(kind).or_default() += 1;
        }
        kinds
    }

    /// Everything stands once, the same command changes nothing, and the other one leaves nothing.
    async fn ends_well(&self, more: &[(&str, usize)]) {
        let mut once: BTreeMap<String, usize> = BTreeMap::new();
        for (kind, count) in STANDS.iter().chain(more) {
            *once.entry((*kind).to_owned()).or_default() += count;
        }
        assert_eq!(self.stands().await, once);
        let changing = self.double.calls(true).await.len();
        self.apply(0).says("No changes");
        assert_eq!(self.double.calls(true).await.len(), changing);
        self.leaves_nothing().await;
    }

    async fn leaves_nothing(&self) {
        self.sandbox.stackup(&["destroy", "--yes"]).ends(0);
        assert_eq!(self.double.account().await, Vec::<String>::new());
    }
}

/// What the account has of the small stack, with what EKS makes for it.
const STANDS: [(&str, usize); 18] = [
    ("autoscaling:autoScalingGroup", 1),
    ("ec2:instance", 1),
    ("ec2:internet-gateway", 1),
    ("ec2:launch-template", 2),
    ("ec2:network-interface", 3),
    ("ec2:route-table", 2),
    ("ec2:security-group", 1),
    ("ec2:subnet", 4),
    ("ec2:volume", 1),
    ("ec2:vpc", 1),
    ("ec2:vpc-endpoint", 1),
    ("eks:access-entry", 2),
    ("eks:addon", 6),
    ("eks:cluster", 1),
    ("eks:nodegroup", 1),
    ("eks:podidentityassociation", 2),
    ("iam:instance-profile", 1),
    ("iam:role", 4),
];

/// What a run told at its end, in one line: there is one place for each failure.
fn report(run: &Run) -> String {
    run.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fails unless each of these is told at the end of a run, and told once.
#[track_caller]
fn tells_once(run: &Run, texts: &[&str]) {
    let report = report(run);
    for text in texts {
        assert_eq!(report.matches(text).count(), 1, "'{text}' in {}", run.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_effect_late_is_waited_for_with_the_reason() {
    let late = json!({
        "iamPropagation": LATER, "addonDegraded": ["kube-proxy"],
        "durations": {"apiAfterActive": LATER, "accessSpread": 2 * LATER},
    });
    let Some(road) = Road::start(SMALL, late).await else {
        return;
    };
    let mut running = road.sandbox.spawn(&["apply", "--yes"]);
    running.until_it_says("could not be assumed because it does not exist");
    road.double.set(json!({"iamPropagation": 0})).await;
    running.until_it_says("aws.eks_addon/kube-proxy  it is degraded: InsufficientNumberOfReplicas");
    road.double.set(json!({"addonDegraded": []})).await;
    running.until_it_says("k8s.api/small  it does not answer yet");
    road.advance(LATER).await;
    running.until_it_says("does not know us yet: the access entry takes effect");
    road.advance(LATER).await;
    running.wait().ends(0);
    road.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_resolve_yet_is_waited_for_and_its_name_is_told() {
    let Some(mut road) = Road::start(SMALL, json!({"endpointByName": true})).await else {
        return;
    };
    let Some(sandbox) = road.sandbox.own_hosts() else {
        return;
    };
    road.sandbox = sandbox;
    let mut running = road.sandbox.spawn(&["apply", "--yes"]);
    running.until_it_says("k8s.api/small  https://cluster.double.test:");
    running.until_it_says("dns error: failed to lookup address information");
    road.sandbox
        .write("hosts", "127.0.0.1 localhost cluster.double.test\n");
    running.wait().ends(0);
    road.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_has_no_room_for_is_told_once_with_a_way_out_and_made_by_the_next_apply() {
    let full = json!({
        "zonesWithoutCapacity": ["eu-central-1a", "eu-central-1b", "eu-central-1c"],
        "addonDegraded": {"kube-proxy": "ConfigurationConflict"},
    });
    let Some(road) = Road::start(SMALL, full).await else {
        return;
    };
    let failed = road.apply(1);
    tells_once(
        &failed,
        &[
            "it is degraded: ConfigurationConflict: The add-on is unhealthy",
            "do not have sufficient t3.large capacity in the Availability Zone you requested (eu-central-1a)",
            "→ give the node group more instanceTypes, or set other zones in cluster.network.zones",
            "2 failed",
        ],
    );
    assert!(!report(&failed).contains("not tried"), "{}", failed.all());
    for (settings, reason, way_out) in [
        (
            json!({"zonesWithoutCapacity": [], "addonDegraded": [], "typesWithoutCapacity": ["t3.large", "t3a.large"]}),
            "AsgInstanceLaunchFailures: Could not launch On-Demand Instances. InsufficientInstanceCapacity",
            "→ give the node group more instanceTypes",
        ),
        (
            json!({"typesWithoutCapacity": [], "nodegroupFails": "NodeCreationFailure"}),
            "EKS could not make it: NodeCreationFailure",
            "their subnets must reach the API server",
        ),
    ] {
        road.double.set(settings).await;
        tells_once(&road.apply(1), &[reason, way_out, "1 failed"]);
    }
    road.double.set(json!({"nodegroupFails": null})).await;
    road.apply(0);
    road.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_refused_or_fails_is_told_with_the_request_and_what_does_not_need_it_is_made() {
    let denied = json!({"denied": ["eks:CreateCluster"]});
    let stack = SMALL.replace("zones: 2", "zones: 3");
    let Some(road) = Road::start(&stack, denied).await else {
        return;
    };
    // Whoever may know it beforehand is told before anything is made.
    let ahead = road.apply(6);
    assert!(ahead.stderr.contains("eks:CreateCluster"), "{}", ahead.all());
    assert_eq!(road.double.account().await, Vec::<String>::new());

    // A policy of the organization shows only when the call is made.
    let policy = "no service control policy allows the eks:CreateCluster action";
    let fault = json!({"operation": "eks:CreateCluster", "code": "AccessDeniedException", "status": 403, "message": policy});
    road.double.set(json!({"denied": [], "faults": [fault]})).await;
    let refused = road.apply(1);
    tells_once(
        &refused,
        &[
            &format!("eks:CreateCluster gave AccessDeniedException: {policy} (request "),
            "hint: allow eks:CreateCluster in a policy of the identity that runs stackup",
            "1 failed",
        ],
    );
    let stands = road.stands().await;
    let count = |kind: &str| stands.get(kind).copied();
    assert_eq!(
        (count("ec2:subnet"), count("iam:role")),
        (Some(6), Some(4)),
        "{stands:?}"
    );

    // EKS has no room in one of three zones, and makes the cluster in the others; then it fails.
    let weather = json!({"zonesWithoutEks": ["eu-central-1a"], "clusterFails": true});
    road.double.set(weather).await;
    tells_once(
        &road.apply(1),
        &[
            "EKS could not make it: InternalFailure: the settings say so",
            "1 failed",
        ],
    );
    road.double.set(json!({"clusterFails": false})).await;
    let again = road.apply(0);
    assert!(again.stdout.contains("1 replaced"), "{}", again.all());
    road.ends_well(&[("ec2:subnet", 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zones_without_room_for_a_cluster_are_left_for_those_that_the_hint_names() {
    let Some(road) = Road::start(SMALL, json!({"zonesWithoutEks": ["eu-central-1a"]})).await else {
        return;
    };
    tells_once(
        &road.apply(1),
        &[
            "UnsupportedAvailabilityZoneException: Cannot create cluster 'small' because eu-central-1a",
            "hint: set cluster.network.zones in the stack file to two or three of [eu-central-1b, eu-central-1c]",
            "(request ",
        ],
    );
    let moved = SMALL.replace("zones: 2", "zones: [eu-central-1b, eu-central-1c]");
    road.sandbox.write("stackup.yaml", moved);
    road.apply(0);
    road.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_eks_takes_and_then_does_not_make_is_a_failure_with_its_reason() {
    let before = SMALL.replace("1.34", "1.33");
    let Some(road) = Road::start(&before, json!({})).await else {
        return;
    };
    road.apply(0);
    for (stack, fails, texts) in [
        (
            SMALL.to_owned(),
            "IpNotAvailable",
            [
                "EKS could not make its VersionUpdate: IpNotAvailable: the settings say so",
                "→ free addresses in the cluster's subnets",
            ],
        ),
        (
            SMALL.replace("desired: 1", "desired: 1, disk: 33"),
            "PodEvictionFailure",
            [
                "EKS could not make its VersionUpdate: PodEvictionFailure: the settings say so",
                "→ a PodDisruptionBudget keeps pods on the old nodes",
            ],
        ),
        (
            // Two changes of a group, of which the first fails.
            SMALL.replace("desired: 1", "desired: 1, disk: 44, labels: {a: b}"),
            "AccessDenied",
            ["EKS could not make its ConfigUpdate: AccessDenied", "1 failed"],
        ),
    ] {
        road.sandbox.write("stackup.yaml", stack);
        road.double.set(json!({"updateFails": fails})).await;
        tells_once(&road.apply(1), &texts);
        road.double.set(json!({"updateFails": null})).await;
        // It differs as before, and the same command makes it.
        let again = road.apply(0);
        assert!(again.stdout.contains("1 updated"), "{}", again.all());
    }
    road.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_a_cluster_says_what_stays_behind() {
    let Some(road) = Road::start(&SMALL.replace("1.34", "1.33"), json!({})).await else {
        return;
    };
    road.apply(0);
    road.sandbox.write("stackup.yaml", SMALL);
    let raised = road.apply(0);
    let told = raised.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("only the control plane of small goes from 1.33 to 1.34: its nodes stay at 1.33"),
        "{}",
        raised.all()
    );
    road.ends_well(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_third_of_all_calls_throttled_everything_is_made_once_and_goes_again() {
    let Some(road) = Road::start(SMALL, json!({"throttle": 0.3, "seed": 7})).await else {
        return;
    };
    road.apply(0);
    road.ends_well(&[]).await;
    let told = road.double.ask("GET", "calls", &Value::Null).await;
    let calls = told.as_array().unwrap();
    let throttled = calls.iter().filter(|call| {
        let code = call["code"].as_str().unwrap_or_default();
        code.contains("Throttl") || code == "RequestLimitExceeded"
    });
    assert!(throttled.count() * 5 > calls.len(), "of {} calls", calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_create_loses_its_answer_and_shows_late_nothing_is_doubled_or_orphaned() {
    /// The first calls of each, as many as there are of it in the stack; those with two calls lose both.
    const CREATES: [(&str, usize); 18] = [
        ("ec2:AssociateRouteTable", 4),
        ("ec2:AttachInternetGateway", 1),
        ("ec2:CreateInternetGateway", 1),
        ("ec2:CreateLaunchTemplate", 1),
        ("ec2:CreateRoute", 1),
        ("ec2:CreateRouteTable", 2),
        ("ec2:CreateSubnet", 4),
        ("ec2:CreateVpc", 1),
        ("ec2:CreateVpcEndpoint", 1),
        ("ec2:ModifySubnetAttribute", 2),
        ("ec2:ModifyVpcAttribute", 2),
        ("eks:CreateAccessEntry", 1),
        ("eks:CreateAddon", 6),
        ("eks:CreateCluster", 1),
        ("eks:CreateNodegroup", 1),
        ("iam:AttachRolePolicy", 6),
        ("iam:CreateRole", 4),
        ("logs:CreateLogGroup", 1),
    ];
    let lost = CREATES
        .iter()
        .map(|(operation, times)| json!({"operation": operation, "times": times, "lose": true}));
    // The second call of those that EKS and CloudWatch take two for is refused instead, and not for good.
    let second = ["eks:AssociateAccessPolicy", "logs:PutRetentionPolicy"];
    let refused = second
        .iter()
        .map(|operation| json!({"operation": operation, "code": "ServiceUnavailable", "status": 503}));
    let faults: Vec<Value> = lost.chain(refused).collect();
    let stack = SMALL.replace("  network:", "  logs: {types: [audit]}\n  network:");
    let weather = json!({"faults": faults, "durations": {"visible": 500}});
    let Some(road) = Road::start(&stack, weather).await else {
        return;
    };
    road.apply(0);
    let settings = road.double.ask("GET", "settings", &Value::Null).await;
    let unused = settings["faults"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|fault| fault.get("times").is_none_or(|times| times != 0));
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<&Value>::new());
    road.double.set(json!({"durations": {"visible": 0}})).await;
    road.ends_well(&[("logs:log-group", 1)]).await;
}
