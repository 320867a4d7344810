use std::time::Duration;

use aws_sdk_cloudwatchlogs::{
    operation::create_log_group::builders::CreateLogGroupInputBuilder, types::LogGroup as Description,
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{call::taken, name::names};
use crate::{
    aws::{
        Clients,
        difference::{field, force, vanished},
        error::{after_made, deleted, is_gone, is_taken, read, written},
        tags::{self, Mark, Tags},
    },
    resource::{Cause, Change, Intent, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed},
};

/// Where the logs of a control plane go.
pub(in crate::aws) struct LogGroup;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    name: String,
    retention_days: i32,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    name: String,
    /// Without a value, logs stay for ever.
    retention_days: Option<i32>,
    arn: String,
    tags: Tags,
}

impl Resource for LogGroup {
    const KIND: &'static str = "aws.log_group";
    const DOCUMENTATION: &'static str = "A log group of CloudWatch, made before the cluster that would make it without \
        an end, and deleted after it.\n\
        name: its name, /aws/eks/NAME/cluster for the logs of a control plane; another one makes it anew.\n\
        retentionDays: how long logs stay, one of the numbers that CloudWatch takes; changed in place.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 2,
        expected: Some(Duration::from_secs(1)),
        removal: Some(Duration::from_secs(1)),
        deadline: Duration::from_mins(2),
        settles: Duration::ZERO,
        paced: true,
        pins: false,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        force(&mut change, "name", json!(outputs.name), json!(inputs.name));
        let (old, new) = (outputs.retention_days, inputs.retention_days);
        field(&mut change, "retentionDays", json!(old), json!(new));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        join_all(targets.iter().map(|typed| look(clients, typed.target))).await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let call = request(inputs, &Mark::of(target)?);
        match call.send_with(clients.logs().await?).await {
            Err(error) if is_taken(&error) => {
                taken("logs:CreateLogGroup", &error, look(clients, target).await?)?;
            }
            sent => {
                written("logs:CreateLogGroup", sent)?;
            }
        }
        after_made(retain(clients, inputs).await)?;
        Ok(None)
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target).await?.filter(|seen| seen.foreign.is_none()) else {
            return Err(vanished(target));
        };
        retain(clients, inputs).await?;
        if inputs.tags.is_empty() {
            return Ok(());
        }
        let call = clients
            .logs()
            .await?
            .tag_resource()
            .resource_arn(seen.outputs.arn);
        let sent = call
            .set_tags(Some(inputs.tags.clone().into_iter().collect()))
            .send()
            .await;
        written("logs:TagResource", sent).map(drop)
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target).await?.filter(|seen| seen.foreign.is_none()) else {
            return Ok(());
        };
        let call = clients
            .logs()
            .await?
            .delete_log_group()
            .log_group_name(seen.outputs.name);
        deleted(
            "logs:DeleteLogGroup",
            "ResourceNotFoundException",
            call.send().await,
        )
    }
}

async fn look(clients: &Clients, target: &Target) -> Result<Option<Seen<Outputs>>, ResourceError> {
    for [name] in names(target, ["name"]) {
        let logs = clients.logs().await?;
        let call = logs.describe_log_groups().log_group_name_prefix(&name);
        let sent: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        let groups = read("logs:DescribeLogGroups", sent)?;
        let Some(group) = groups
            .into_iter()
            .find(|group| group.log_group_name() == Some(&name))
        else {
            continue;
        };
        let arn = arn(&group);
        let tags = match logs.list_tags_for_resource().resource_arn(&arn).send().await {
            Err(error) if is_gone(&error) => continue,
            sent => read("logs:ListTagsForResource", sent)?.tags,
        };
        let tags: Tags = tags.unwrap_or_default().into_iter().collect();
        return Ok(Some(Seen {
            id: Some(arn.clone()),
            foreign: Mark::of(target)?.foreign(&arn, &tags),
            readiness: Readiness::Ready,
            outputs: Outputs {
                name,
                retention_days: group.retention_in_days,
                arn,
                tags,
            },
        }));
    }
    Ok(None)
}

/// The ARN as tags are asked for with: of the group itself, not of all streams in it.
fn arn(group: &Description) -> String {
    let arn = group.log_group_arn().or(group.arn()).unwrap_or_default();
    arn.trim_end_matches(":*").to_owned()
}

fn request(inputs: &Inputs, mark: &Mark) -> CreateLogGroupInputBuilder {
    CreateLogGroupInputBuilder::default()
        .log_group_name(&inputs.name)
        .set_tags(Some(mark.map(&inputs.tags)))
}

async fn retain(clients: &Clients, inputs: &Inputs) -> Result<(), ResourceError> {
    let call = clients.logs().await?.put_retention_policy();
    let call = call
        .log_group_name(&inputs.name)
        .retention_in_days(inputs.retention_days);
    let sent = call.send().await;
    // A group that was made a moment ago is not yet known everywhere.
    let early = sent.as_ref().is_err_and(is_gone);
    match written("logs:PutRetentionPolicy", sent) {
        Err(error) if early => Err(ResourceError {
            cause: Cause::Transient,
            ..error
        }),
        sent => sent.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::name::tests::target, *};

    const NAME: &str = "/aws/eks/demo/cluster";

    fn inputs(name: &str, retention_days: i32) -> Inputs {
        Inputs {
            name: name.to_owned(),
            retention_days,
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_log_group_is_asked_for_with_our_mark() {
        let mark = Mark::of(&target("aws.log_group/main", None, None)).unwrap();
        let request = request(&inputs(NAME, 7), &mark).build().unwrap();
        assert_eq!(request.log_group_name(), Some(NAME));
        assert_eq!(request.tags().unwrap()["stackup:address"], "aws.log_group/main");
    }

    #[test]
    fn how_long_logs_stay_is_changed_in_place_and_the_name_is_not() {
        let outputs = Outputs {
            name: NAME.to_owned(),
            retention_days: None,
            arn: String::new(),
            tags: Tags::new(),
        };
        let change = LogGroup::diff(&inputs(NAME, 7), &outputs);
        assert_eq!(
            (change.fields[0].path.as_str(), change.forces.len()),
            ("retentionDays", 0)
        );
        assert_eq!(LogGroup::diff(&inputs("/other", 7), &outputs).forces, ["name"]);
        let kept = Outputs {
            retention_days: Some(7),
            ..outputs
        };
        assert_eq!(LogGroup::diff(&inputs(NAME, 7), &kept), Change::default());
    }

    #[test]
    fn the_arn_is_that_of_the_group_itself() {
        let old = Description::builder()
            .arn("arn:aws:logs:r:1:log-group:/a:*")
            .build();
        assert_eq!(arn(&old), "arn:aws:logs:r:1:log-group:/a");
        let new = Description::builder().arn("x:*").log_group_arn("arn:new").build();
        assert_eq!(arn(&new), "arn:new");
    }
}
