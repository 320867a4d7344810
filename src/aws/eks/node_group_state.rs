//! What EKS and Auto Scaling tell of a node group.

use std::collections::BTreeMap;

use aws_sdk_autoscaling::types::{Activity, LifecycleState, ScalingActivityStatusCode};
use aws_sdk_eks::types::{CapacityTypes, Nodegroup, NodegroupHealth, NodegroupScalingConfig, Taint};

use super::{
    node_group::{Outputs, Template},
    update,
};
use crate::{
    aws::{Clients, error::read},
    model::{CapacityModel, TaintModel},
    resource::{Readiness, ResourceError},
};

/// How many activities of an Auto Scaling group are worth reading.
const ACTIVITIES: i32 = 20;

/// How many instances are in service, by Auto Scaling group.
pub(super) type Instances = BTreeMap<String, usize>;

/// How many instances the groups have that are being made: one call for all of them.
///
/// This only makes a message better, so that it is not known is no failure.
pub(super) async fn instances(clients: &Clients, groups: impl Iterator<Item = &Nodegroup>) -> Instances {
    let making = groups.filter(|group| status(group) == "CREATING");
    let names: Vec<String> = making.filter_map(auto_scaling_group).collect();
    if names.is_empty() {
        return Instances::new();
    }
    let Ok(client) = clients.autoscaling().await else {
        return Instances::new();
    };
    let call = client
        .describe_auto_scaling_groups()
        .set_auto_scaling_group_names(Some(names));
    let Ok(found) = call.send().await else {
        return Instances::new();
    };
    let groups = found.auto_scaling_groups().iter().filter_map(|group| {
        let instances = group.instances().iter();
        let serve =
            instances.filter(|instance| instance.lifecycle_state() == Some(&LifecycleState::InService));
        Some((group.auto_scaling_group_name()?.to_owned(), serve.count()))
    });
    groups.collect()
}

pub(super) fn readiness(group: &Nodegroup, instances: &Instances) -> Readiness {
    let told = issues(group);
    let with_issues = |text: &str| match told.as_slice() {
        [] => text.to_owned(),
        told => format!("{text}: {}", told.join("; ")),
    };
    match status(group) {
        "ACTIVE" => Readiness::Ready,
        "CREATING" => Readiness::NotYet(with_issues(&creating(group, instances))),
        "UPDATING" => Readiness::NotYet(with_issues("an update of it is under way")),
        "DELETING" => Readiness::NotYet(with_issues("it is being deleted")),
        "DEGRADED" => Readiness::Failed(with_issues("it is degraded")),
        "CREATE_FAILED" => Readiness::Failed(with_issues("EKS could not make it")),
        "DELETE_FAILED" => Readiness::Stuck(with_issues("EKS could not delete it")),
        other => Readiness::NotYet(with_issues(&format!("it is {other}"))),
    }
}

fn creating(group: &Nodegroup, instances: &Instances) -> String {
    let wanted = group
        .scaling_config()
        .and_then(NodegroupScalingConfig::desired_size);
    let serve = auto_scaling_group(group).and_then(|name| instances.get(&name).copied());
    match (serve, wanted) {
        (Some(serve), Some(wanted)) => format!("creating, {serve} of {wanted} instances"),
        _ => "creating".to_owned(),
    }
}

/// What EKS says is wrong, each with the things that it is about.
pub(super) fn issues(group: &Nodegroup) -> Vec<String> {
    let issues = group.health().map(NodegroupHealth::issues).unwrap_or_default();
    let told = issues.iter().map(|issue| {
        let code = issue.code().map_or("no code", |code| code.as_str());
        let message = issue.message().unwrap_or("no message");
        match issue.resource_ids() {
            [] => format!("{code}: {message}"),
            things => format!("{code}: {message} ({})", things.join(", ")),
        }
    });
    told.collect()
}

/// All that tells why the group has no nodes, or not those that it should have: what EKS says, of its last change too, why
/// Auto Scaling started no instance, and what may help.
pub(super) async fn closer_look(
    clients: &Clients,
    group: &Nodegroup,
    change: Result<Option<String>, ResourceError>,
) -> Vec<String> {
    let mut lines = issues(group);
    lines.extend(change.unwrap_or_else(|error| Some(error.to_string())));
    if let Some(name) = auto_scaling_group(group) {
        match activities(clients, &name).await {
            Ok(activities) => failures(&activities, &mut lines),
            Err(error) => lines.push(error.to_string()),
        }
    }
    lines.extend(advice(&lines).map(|advice| format!("→ {advice}")));
    lines
}

async fn activities(clients: &Clients, name: &str) -> Result<Vec<Activity>, ResourceError> {
    let call = clients.autoscaling().await?.describe_scaling_activities();
    let sent = call
        .auto_scaling_group_name(name)
        .max_records(ACTIVITIES)
        .send()
        .await;
    Ok(read("autoscaling:DescribeScalingActivities", sent)?
        .activities
        .unwrap_or_default())
}

/// Adds why no instance was started, the latest first, each reason once and only where EKS has not told it already.
fn failures(activities: &[Activity], lines: &mut Vec<String>) {
    let failed = activities.iter().filter(|activity| {
        matches!(
            activity.status_code(),
            Some(ScalingActivityStatusCode::Failed | ScalingActivityStatusCode::Cancelled)
        )
    });
    for activity in failed {
        let why = activity
            .status_message()
            .or(activity.description())
            .unwrap_or("no reason is told");
        if !lines.iter().any(|line| line.contains(why)) {
            lines.push(format!("Auto Scaling: {why}"));
        }
    }
}

/// What may help against the reasons told.
fn advice(reasons: &[String]) -> Option<&'static str> {
    let says = |text: &str| reasons.iter().any(|line| line.contains(text));
    if says("InsufficientInstanceCapacity") || says("sufficient") && says("capacity") {
        Some("give the node group more instanceTypes, or set other zones in cluster.network.zones")
    } else if says("VcpuLimitExceeded") || says("MaxSpotInstanceCountExceeded") {
        Some("ask for a higher quota (Service Quotas, EC2), or for fewer or smaller instances")
    } else if says("NodeCreationFailure") {
        Some(
            "its instances run and do not join: their subnets must reach the API server, and AWS through a NAT gateway, \
             public addresses or endpoints (cluster.network); 'aws ec2 get-console-output' shows what they say",
        )
    } else {
        update::advice(reasons)
    }
}

pub(super) fn outputs(group: Nodegroup) -> Outputs {
    let auto_scaling_group = auto_scaling_group(&group);
    let scaling = group.scaling_config;
    let size =
        |of: fn(&NodegroupScalingConfig) -> Option<i32>| scaling.as_ref().and_then(of).unwrap_or_default();
    let template = group.launch_template.map(|template| Template {
        id: template.id.unwrap_or_default(),
        version: template
            .version
            .and_then(|version| version.parse().ok())
            .unwrap_or_default(),
    });
    let ami = group.ami_type.map(|ami| match &group.release_version {
        Some(release) => format!("{} {release}", ami.as_str()),
        None => ami.as_str().to_owned(),
    });
    Outputs {
        cluster: group.cluster_name.unwrap_or_default(),
        name: group.nodegroup_name.unwrap_or_default(),
        role_arn: group.node_role.unwrap_or_default(),
        subnet_ids: group.subnets.into_iter().flatten().collect(),
        instance_types: group.instance_types.unwrap_or_default(),
        capacity: group.capacity_type.as_ref().and_then(capacity),
        min: size(|scaling| scaling.min_size),
        desired: size(|scaling| scaling.desired_size),
        max: size(|scaling| scaling.max_size),
        labels: group.labels.into_iter().flatten().collect(),
        taints: group.taints.into_iter().flatten().filter_map(taint).collect(),
        launch_template: template.unwrap_or_default(),
        arn: group.nodegroup_arn.unwrap_or_default(),
        status: group
            .status
            .map_or_else(String::new, |status| status.as_str().to_owned()),
        auto_scaling_group,
        kubernetes: group.version,
        ami,
        tags: group.tags.into_iter().flatten().collect(),
    }
}

fn status(group: &Nodegroup) -> &str {
    group.status().map_or("UNKNOWN", |status| status.as_str())
}

fn auto_scaling_group(group: &Nodegroup) -> Option<String> {
    group
        .resources()?
        .auto_scaling_groups()
        .first()?
        .name()
        .map(str::to_owned)
}

fn capacity(live: &CapacityTypes) -> Option<CapacityModel> {
    match live.as_str() {
        "ON_DEMAND" => Some(CapacityModel::OnDemand),
        "SPOT" => Some(CapacityModel::Spot),
        _ => None,
    }
}

fn taint(live: Taint) -> Option<TaintModel> {
    let effect = live.effect?;
    let effect = match effect.as_str() {
        "NO_SCHEDULE" => "NoSchedule",
        "NO_EXECUTE" => "NoExecute",
        "PREFER_NO_SCHEDULE" => "PreferNoSchedule",
        other => other,
    };
    Some(TaintModel {
        key: live.key?,
        value: live.value,
        effect: effect.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(code: ScalingActivityStatusCode, message: &str) -> Activity {
        Activity::builder()
            .status_code(code)
            .status_message(message)
            .build()
    }

    #[test]
    fn what_failed_is_told_once_with_what_may_help() {
        let full = "Could not launch Spot Instances. InsufficientInstanceCapacity in eu-central-1a";
        let told = |activities: &[Activity], known: &[&str]| {
            let mut lines = known.iter().map(|&line| line.to_owned()).collect();
            failures(activities, &mut lines);
            lines
        };
        let failed = [
            activity(ScalingActivityStatusCode::Failed, full),
            activity(ScalingActivityStatusCode::Failed, full),
            activity(ScalingActivityStatusCode::Successful, "fine"),
        ];
        let lines = told(&failed, &[]);
        assert_eq!(lines, [format!("Auto Scaling: {full}")]);
        assert!(advice(&lines).unwrap().contains("instanceTypes"));
        let issue = format!("AsgInstanceLaunchFailures: {full} (asg-1)");
        assert_eq!(told(&failed, &[&issue]), [issue]);
        for (reason, word) in [
            ("VcpuLimitExceeded", "quota"),
            ("NodeCreationFailure: x", "NAT gateway"),
        ] {
            assert!(advice(&[reason.to_owned()]).unwrap().contains(word), "{reason}");
        }
        assert_eq!(advice(&["fine".to_owned()]), None);
    }
}
