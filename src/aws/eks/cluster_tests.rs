use aws_sdk_eks::types::{
    Certificate, ClusterIssue, ClusterIssueCode, ClusterStatus, LogType, VpcConfigResponse,
};
use serde_json::Value;

use super::{super::name::tests::target, *};

const ARN: &str = "arn:aws:eks:eu-central-1:123456789012:cluster/demo";

fn inputs(more: Value) -> Inputs {
    let mut inputs = json!({
        "name": "demo",
        "roleArn": "arn:aws:iam::123456789012:role/cluster",
        "subnets": [{"id": "subnet-1", "zone": "a"}, {"id": "subnet-2", "zone": "b"}, {"id": "subnet-3", "zone": "c"}],
        "publicAccess": true,
        "publicCidrs": ["192.0.2.0/24"],
    });
    let Value::Object(more) = more else {
        panic!("not a map")
    };
    inputs.as_object_mut().unwrap().extend(more);
    serde_json::from_value(inputs).unwrap()
}

fn made(status: &str) -> Description {
    let network = VpcConfigResponse::builder()
        .vpc_id("vpc-1")
        .cluster_security_group_id("sg-1")
        .subnet_ids("subnet-1")
        .subnet_ids("subnet-2")
        .endpoint_public_access(true)
        .endpoint_private_access(true)
        .public_access_cidrs("192.0.2.0/24");
    let off = LogSetup::builder().types(LogType::Api).enabled(false).build();
    Description::builder()
        .name("demo")
        .arn(ARN)
        .version("1.34")
        .role_arn("arn:aws:iam::123456789012:role/cluster")
        .endpoint("https://demo.eks")
        .certificate_authority(Certificate::builder().data("UEVN").build())
        .resources_vpc_config(network.build())
        .logging(Logging::builder().cluster_logging(off).build())
        .status(ClusterStatus::from(status))
        .build()
}

#[test]
fn a_cluster_is_asked_for_with_all_that_would_have_to_be_changed_later() {
    let target = target("aws.eks_cluster/main", None, None);
    let inputs = inputs(json!({"kubernetes": "1.34", "logs": ["audit", "api"], "deletionProtection": true}));
    let places: Vec<&Place> = inputs.subnets.iter().collect();
    let request = request(&inputs, &places, &Mark::of(&target).unwrap())
        .build()
        .unwrap();
    assert_eq!(request.name(), Some("demo"));
    assert_eq!(request.version(), Some("1.34"));
    assert_eq!(request.role_arn(), Some("arn:aws:iam::123456789012:role/cluster"));
    let network = request.resources_vpc_config().unwrap();
    assert_eq!(network.subnet_ids(), ["subnet-1", "subnet-2", "subnet-3"]);
    assert_eq!(network.security_group_ids(), Vec::<String>::new());
    assert_eq!(network.endpoint_public_access(), Some(true));
    assert_eq!(network.endpoint_private_access(), Some(true));
    assert_eq!(network.public_access_cidrs(), ["192.0.2.0/24"]);
    let access = request.access_config().unwrap();
    assert_eq!(access.authentication_mode(), Some(&AuthenticationMode::Api));
    assert_eq!(access.bootstrap_cluster_creator_admin_permissions(), Some(false));
    assert_eq!(request.bootstrap_self_managed_addons(), Some(false));
    assert_eq!(
        request.upgrade_policy().unwrap().support_type(),
        Some(&SupportType::Standard)
    );
    assert_eq!(request.deletion_protection(), Some(true));
    let logs = request.logging().unwrap().cluster_logging();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].types(), [LogType::Api, LogType::Audit]);
    assert_eq!(logs[0].enabled(), Some(true));
    let tags = request.tags().unwrap();
    assert_eq!(tags["stackup:uid"], "0123456789abcdef");
    assert_eq!(tags["stackup:address"], "aws.eks_cluster/main");
}

#[test]
fn a_private_cluster_is_asked_for_without_ranges_and_without_logs() {
    let target = target("aws.eks_cluster/main", None, None);
    let inputs = inputs(json!({"publicAccess": false}));
    let request = request(&inputs, &[], &Mark::of(&target).unwrap())
        .build()
        .unwrap();
    assert_eq!(request.version(), None);
    assert_eq!(request.logging(), None);
    let network = request.resources_vpc_config().unwrap();
    assert_eq!(network.endpoint_public_access(), Some(false));
    assert_eq!(network.public_access_cidrs(), Vec::<String>::new());
}

#[test]
fn where_eks_has_no_room_in_one_zone_the_others_are_taken_if_two_are_left() {
    let places = inputs(json!({})).subnets;
    let zones = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let ids: Vec<_> = in_zones(&places, &zones(&["c", "a", "x"]))
        .unwrap()
        .into_iter()
        .map(|place| &place.id)
        .collect();
    assert_eq!(ids, ["subnet-1", "subnet-3"]);
    assert!(in_zones(&places, &zones(&["c", "x"])).is_none());
}

#[test]
fn each_status_of_a_cluster_says_what_is_awaited() {
    for (status, text) in [
        ("CREATING", "EKS is making the control plane"),
        ("PENDING", "EKS is making the control plane"),
        ("UPDATING", "an update of it is under way"),
        ("DELETING", "it is being deleted"),
        ("NEW_ONE", "it is NEW_ONE"),
    ] {
        assert_eq!(readiness(&made(status)), Readiness::NotYet(text.to_owned()));
    }
    assert_eq!(readiness(&made("ACTIVE")), Readiness::Ready);
    let mut unreachable = made("ACTIVE");
    unreachable.endpoint = None;
    assert_eq!(
        readiness(&unreachable),
        Readiness::NotYet("its API server has no address yet".to_owned())
    );
    let mut failed = made("FAILED");
    assert_eq!(
        readiness(&failed),
        Readiness::Failed("EKS could not make it: no reason is told".to_owned())
    );
    let issue = ClusterIssue::builder()
        .code(ClusterIssueCode::InsufficientFreeAddresses)
        .message("full")
        .build();
    failed.health = Some(ClusterHealth::builder().issues(issue).build());
    let told = Readiness::Failed("EKS could not make it: InsufficientFreeAddresses: full".to_owned());
    assert_eq!(readiness(&failed), told);
}

#[test]
fn a_cluster_tells_what_it_takes_to_reach_it() {
    let outputs = serde_json::to_value(outputs(made("ACTIVE"))).unwrap();
    for (field, value) in [
        ("name", json!("demo")),
        ("context", json!("demo")),
        ("region", json!("eu-central-1")),
        ("server", json!("https://demo.eks")),
        ("certificateAuthority", json!("UEVN")),
        ("kubernetes", json!("1.34")),
        ("vpcId", json!("vpc-1")),
        ("securityGroupId", json!("sg-1")),
        ("profile", json!("eks")),
        ("ephemeral", json!(true)),
        ("simulated", json!(false)),
        ("workers", Value::Null),
        ("logs", json!([])),
    ] {
        assert_eq!(outputs[field], value, "{field}");
    }
}

/// The paths of the fields that differ, and of those that force a new cluster.
fn differs(inputs: &Inputs, live: Description) -> (Vec<String>, Vec<String>) {
    let change = Cluster::diff(inputs, &outputs(live));
    (
        change.fields.into_iter().map(|field| field.path).collect(),
        change.forces,
    )
}

#[test]
fn a_cluster_as_wanted_does_not_differ_even_where_eks_refused_a_subnet() {
    assert_eq!(differs(&inputs(json!({})), made("ACTIVE")), (vec![], vec![]));
    assert_eq!(
        differs(&inputs(json!({"kubernetes": "1.34"})), made("UPDATING")),
        (vec![], vec![])
    );
}

#[test]
fn what_eks_changes_in_place_is_no_reason_for_a_new_cluster_and_the_rest_is() {
    for (more, path, forces) in [
        (json!({"kubernetes": "1.35"}), "kubernetes", false),
        (json!({"publicAccess": false}), "publicAccess", false),
        (json!({"publicCidrs": ["198.51.100.0/24"]}), "publicCidrs", false),
        (json!({"logs": ["audit"]}), "logs", false),
        (json!({"deletionProtection": true}), "deletionProtection", false),
        (json!({"tags": {"team": "a"}}), "tags[team]", false),
        (json!({"name": "other"}), "name", true),
        (json!({"roleArn": "arn:other"}), "roleArn", true),
        (
            json!({"subnets": [{"id": "subnet-1"}, {"id": "subnet-9"}]}),
            "subnets",
            true,
        ),
    ] {
        let (fields, forced) = differs(&inputs(more), made("ACTIVE"));
        assert_eq!(fields, [path]);
        assert_eq!(forced, if forces { vec![path.to_owned()] } else { vec![] });
    }
    for status in ["FAILED", "DELETING"] {
        assert_eq!(differs(&inputs(json!({})), made(status)).1, ["status"]);
    }
}

#[test]
fn each_kind_of_change_is_a_call_of_its_own() {
    let inputs = inputs(
        json!({"publicAccess": false, "logs": ["audit"], "deletionProtection": true, "kubernetes": "1.35"}),
    );
    let mut live = outputs(made("ACTIVE"));
    live.logs = BTreeSet::from(["api".to_owned()]);
    let steps = plan(&inputs, &live);
    let [
        Step::Configure(access, _),
        Step::Configure(logs, _),
        Step::Configure(protection, _),
        Step::Version(..),
    ] = steps.as_slice()
    else {
        panic!("{steps:?}");
    };
    let access = access.as_ref().clone().build().unwrap();
    assert_eq!(
        access.resources_vpc_config().unwrap().endpoint_public_access(),
        Some(false)
    );
    assert_eq!(access.logging(), None);
    let logs = logs.as_ref().clone().build().unwrap();
    let setups: Vec<_> = logs
        .logging()
        .unwrap()
        .cluster_logging()
        .iter()
        .map(|s| (s.types().to_vec(), s.enabled()))
        .collect();
    assert_eq!(
        setups,
        [
            (vec![LogType::Audit], Some(true)),
            (vec![LogType::Api], Some(false))
        ]
    );
    assert_eq!(
        protection.as_ref().clone().build().unwrap().deletion_protection(),
        Some(true)
    );
}
