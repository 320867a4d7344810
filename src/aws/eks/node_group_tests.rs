use aws_sdk_eks::types::{
    AmiTypes, AutoScalingGroup, CapacityTypes, Issue, LaunchTemplateSpecification, Nodegroup,
    NodegroupHealth, NodegroupIssueCode, NodegroupResources, NodegroupScalingConfig, NodegroupStatus, Taint,
    TaintEffect,
};
use serde_json::Value;

use super::{super::name::tests::target, *};
use crate::resource::Readiness;

fn inputs(more: Value) -> Inputs {
    let mut inputs = json!({
        "cluster": "demo",
        "name": "workers",
        "roleArn": "arn:node",
        "subnetIds": ["subnet-2", "subnet-1"],
        "instanceTypes": ["m6i.large", "m5.large"],
        "capacity": "spot",
        "min": 1,
        "desired": 2,
        "max": 4,
        "labels": {"role": "worker"},
        "taints": [{"key": "dedicated", "value": "shop", "effect": "NoSchedule"}],
        "launchTemplate": {"id": "lt-1", "version": 3},
    });
    let Value::Object(more) = more else {
        panic!("not a map")
    };
    inputs.as_object_mut().unwrap().extend(more);
    serde_json::from_value(inputs).unwrap()
}

fn made(status: &str) -> Nodegroup {
    let group = AutoScalingGroup::builder().name("asg-1").build();
    let taint = Taint::builder()
        .key("dedicated")
        .value("shop")
        .effect(TaintEffect::NoSchedule)
        .build();
    Nodegroup::builder()
        .cluster_name("demo")
        .nodegroup_name("workers")
        .nodegroup_arn("arn:group")
        .node_role("arn:node")
        .subnets("subnet-1")
        .subnets("subnet-2")
        .instance_types("m6i.large")
        .instance_types("m5.large")
        .ami_type(AmiTypes::Al2023X8664Standard)
        .release_version("1.34.1-1")
        .capacity_type(CapacityTypes::Spot)
        .scaling_config(
            NodegroupScalingConfig::builder()
                .min_size(1)
                .desired_size(2)
                .max_size(4)
                .build(),
        )
        .labels("role", "worker")
        .taints(taint)
        .launch_template(
            LaunchTemplateSpecification::builder()
                .id("lt-1")
                .version("3")
                .build(),
        )
        .resources(NodegroupResources::builder().auto_scaling_groups(group).build())
        .status(NodegroupStatus::from(status))
        .build()
}

#[test]
fn a_node_group_is_asked_for_whole() {
    let mark = Mark::of(&target("aws.eks_node_group/workers", None, None)).unwrap();
    let request = request(&inputs(json!({})), &mark).build().unwrap();
    assert_eq!(request.cluster_name(), Some("demo"));
    assert_eq!(request.nodegroup_name(), Some("workers"));
    assert_eq!(request.node_role(), Some("arn:node"));
    assert_eq!(request.subnets(), ["subnet-1", "subnet-2"]);
    assert_eq!(request.instance_types(), ["m6i.large", "m5.large"]);
    assert_eq!(request.ami_type(), Some(&AmiTypes::Al2023X8664Standard));
    assert_eq!(request.capacity_type(), Some(&CapacityTypes::Spot));
    let scaling = request.scaling_config().unwrap();
    assert_eq!(
        (scaling.min_size(), scaling.desired_size(), scaling.max_size()),
        (Some(1), Some(2), Some(4))
    );
    assert_eq!(request.labels().unwrap()["role"], "worker");
    assert_eq!(request.taints(), made("ACTIVE").taints());
    let template = request.launch_template().unwrap();
    assert_eq!((template.id(), template.version()), (Some("lt-1"), Some("3")));
    assert_eq!(
        request.update_config().unwrap().max_unavailable_percentage(),
        Some(33)
    );
    assert_eq!(request.node_repair_config().unwrap().enabled(), Some(true));
    // The launch template has the disk; EKS refuses it in both.
    assert_eq!(request.disk_size(), None);
    assert_eq!(
        request.tags().unwrap()["stackup:address"],
        "aws.eks_node_group/workers"
    );
}

/// The paths of the fields that differ, and of those that force a new group.
fn differs(inputs: &Inputs, live: Nodegroup) -> (Vec<String>, Vec<String>) {
    let change = NodeGroup::diff(inputs, &outputs(live));
    (
        change.fields.into_iter().map(|field| field.path).collect(),
        change.forces,
    )
}

#[test]
fn a_node_group_as_wanted_does_not_differ_however_it_is_scaled_within_its_limits() {
    assert_eq!(differs(&inputs(json!({})), made("ACTIVE")), (vec![], vec![]));
    assert_eq!(
        differs(&inputs(json!({"desired": 4})), made("ACTIVE")),
        (vec![], vec![])
    );
    assert_eq!(
        configuration(&inputs(json!({"desired": 4})), &outputs(made("ACTIVE"))),
        None
    );
    let (fields, forces) = differs(&inputs(json!({"min": 3, "desired": 3})), made("ACTIVE"));
    assert_eq!(
        (fields, forces),
        (vec!["min".to_owned(), "desired".to_owned()], vec![])
    );
}

#[test]
fn what_eks_changes_in_place_is_no_reason_for_a_new_group_and_the_rest_is() {
    for (more, path, forces) in [
        (json!({"max": 5}), "max", false),
        (json!({"labels": {}}), "labels", false),
        (json!({"taints": []}), "taints", false),
        (
            json!({"launchTemplate": {"id": "lt-1", "version": 4}}),
            "launchTemplate.version",
            false,
        ),
        (json!({"tags": {"team": "a"}}), "tags[team]", false),
        (json!({"name": "other"}), "name", true),
        (json!({"subnetIds": ["subnet-1"]}), "subnetIds", true),
        (json!({"instanceTypes": ["m5.large"]}), "instanceTypes", true),
        (json!({"capacity": "on-demand"}), "capacity", true),
        (json!({"roleArn": "arn:other"}), "roleArn", true),
        (
            json!({"launchTemplate": {"id": "lt-2", "version": 3}}),
            "launchTemplate.id",
            true,
        ),
    ] {
        let (fields, forced) = differs(&inputs(more), made("ACTIVE"));
        assert_eq!(fields, [path]);
        assert_eq!(forced, if forces { vec![path.to_owned()] } else { vec![] });
    }
    for status in ["CREATE_FAILED", "DELETE_FAILED", "DELETING"] {
        assert_eq!(differs(&inputs(json!({})), made(status)).1, ["status"]);
    }
}

#[test]
fn settings_are_changed_in_one_call_and_a_new_template_is_rolled_out_by_another() {
    let live = outputs(made("ACTIVE"));
    let wanted = inputs(json!({
        "max": 5,
        "labels": {"tier": "a"},
        "taints": [{"key": "dedicated", "value": "bank", "effect": "NoSchedule"}, {"key": "x", "effect": "NoExecute"}],
        "launchTemplate": {"id": "lt-1", "version": 4},
    }));
    let call = configuration(&wanted, &live).unwrap().build().unwrap();
    let scaling = call.scaling_config().unwrap();
    assert_eq!((scaling.desired_size(), scaling.max_size()), (Some(2), Some(5)));
    let labels = call.labels().unwrap();
    assert_eq!(labels.add_or_update_labels().unwrap()["tier"], "a");
    assert_eq!(labels.remove_labels(), ["role"]);
    let taints = call.taints().unwrap();
    assert_eq!(taints.add_or_update_taints().len(), 2);
    // It is the same taint with another value.
    assert_eq!(taints.remove_taints(), []);
    let call = rollout(&wanted, &live).unwrap().build().unwrap();
    assert_eq!(call.launch_template().unwrap().version(), Some("4"));
    let untainted = configuration(&inputs(json!({"taints": []})), &live)
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        untainted.taints().unwrap().remove_taints(),
        made("ACTIVE").taints()
    );
    assert_eq!((untainted.scaling_config(), untainted.labels()), (None, None));
    assert_eq!(rollout(&inputs(json!({})), &live), None);
}

#[test]
fn each_status_of_a_node_group_says_what_is_awaited() {
    let none = Instances::new();
    let not_yet = |text: &str| Readiness::NotYet(text.to_owned());
    let failed = |text: &str| Readiness::Failed(text.to_owned());
    for (status, wanted) in [
        ("ACTIVE", Readiness::Ready),
        ("CREATING", not_yet("creating")),
        ("UPDATING", not_yet("an update of it is under way")),
        ("DELETING", not_yet("it is being deleted")),
        ("DEGRADED", failed("it is degraded")),
        ("CREATE_FAILED", failed("EKS could not make it")),
        (
            "DELETE_FAILED",
            Readiness::Stuck("EKS could not delete it".into()),
        ),
        ("NEW_ONE", not_yet("it is NEW_ONE")),
    ] {
        assert_eq!(readiness(&made(status), &none), wanted);
    }
    let one = Instances::from([("asg-1".to_owned(), 1)]);
    assert_eq!(
        readiness(&made("CREATING"), &one),
        not_yet("creating, 1 of 2 instances")
    );
    let issue = Issue::builder()
        .code(NodegroupIssueCode::AsgInstanceLaunchFailures)
        .message("no room")
        .resource_ids("asg-1");
    let mut group = made("CREATE_FAILED");
    group.health = Some(NodegroupHealth::builder().issues(issue.build()).build());
    let told = failed("EKS could not make it: AsgInstanceLaunchFailures: no room (asg-1)");
    assert_eq!(readiness(&group, &none), told);
}
