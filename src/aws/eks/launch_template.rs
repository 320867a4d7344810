use std::{collections::BTreeSet, time::Duration};

use aws_sdk_ec2::{
    error::ProvideErrorMetadata as _,
    operation::create_launch_template::builders::CreateLaunchTemplateInputBuilder,
    types::{
        LaunchTemplate as Description, LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDevice,
        LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
        LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateTagSpecificationRequest,
        RequestLaunchTemplateData, ResourceType, ResponseLaunchTemplateData, VolumeType,
    },
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::taken;
use crate::{
    aws::{
        Clients,
        difference::{field, vanished},
        error::{deleted, is_taken, read, written},
        tags::{self, Mark, Tags},
    },
    resource::{Change, Intent, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed},
};

/// The root volume of the node images of Amazon Linux.
const ROOT: &str = "/dev/xvda";
/// Pods in the network of their own are one hop further from the metadata service than their node.
const HOPS: i32 = 2;
/// What AWS says of a template that is not there.
const GONE: &str = "InvalidLaunchTemplateId.NotFound";
/// How many values AWS takes in one filter.
const VALUES: usize = 200;

/// How the instances of a node group are made.
pub(in crate::aws) struct LaunchTemplate;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    /// GiB of the root volume.
    disk: i32,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    instance_tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    name: String,
    /// The version that is in force.
    version: i64,
    disk: Option<i32>,
    encrypted: bool,
    /// Whether the metadata service asks for a token: `required`.
    metadata_tokens: Option<String>,
    instance_tags: Tags,
    tags: Tags,
}

impl Resource for LaunchTemplate {
    const KIND: &'static str = "aws.launch_template";
    const DOCUMENTATION: &'static str = "How the instances of a node group are made: an encrypted root volume, metadata \
        for those only who ask with a token, and tags that say whose they are.\n\
        disk: the size of the root volume in GiB.\n\
        instanceTags: more tags for instances, their volumes and their network interfaces.\n\
        Each becomes a new version when it changes, which the node group then rolls out.\n\
        tags: more tags for the template itself; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 4,
        expected: Some(Duration::from_secs(2)),
        removal: Some(Duration::from_secs(2)),
        deadline: Duration::from_mins(5),
        settles: Duration::ZERO,
        paced: true,
        pins: false,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        field(&mut change, "disk", json!(outputs.disk), json!(inputs.disk));
        field(&mut change, "encrypted", json!(outputs.encrypted), json!(true));
        field(
            &mut change,
            "metadataTokens",
            json!(outputs.metadata_tokens),
            json!("required"),
        );
        field(
            &mut change,
            "instanceTags",
            json!(outputs.instance_tags),
            json!(inputs.instance_tags),
        );
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    /// All but its own tags is part of a version.
    fn moves(change: &Change) -> &'static [&'static str] {
        let version = change.fields.iter().any(|field| !field.path.starts_with("tags"));
        if version { &["version"] } else { &[] }
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        let names: BTreeSet<String> = targets.iter().map(|typed| name(typed.target)).collect();
        let names: Vec<String> = names.into_iter().collect();
        let mut templates = Vec::new();
        for some in names.chunks(VALUES) {
            match list(clients, some).await {
                Ok(found) => templates.extend(found),
                Err(error) => return targets.iter().map(|_| Err(error.clone())).collect(),
            }
        }
        let looks = targets.iter().map(|typed| {
            let target = typed.target;
            let name = name(target);
            let found = templates
                .iter()
                .find(|template| template.launch_template_name() == Some(&name));
            let found = found.cloned();
            async move {
                match found {
                    Some(template) => seen(clients, target, template).await,
                    None => Ok(None),
                }
            }
        });
        join_all(looks).await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let call = request(&name(target), inputs, &Mark::of(target)?);
        match call.send_with(clients.ec2().await?).await {
            Err(error) if is_taken(&error) => {
                taken("ec2:CreateLaunchTemplate", &error, look(clients, target).await?)
            }
            sent => {
                let made = written("ec2:CreateLaunchTemplate", sent)?.launch_template;
                Ok(made.and_then(|template| template.launch_template_id))
            }
        }
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let Some(live) = ours(clients, target).await? else {
            return Err(vanished(target));
        };
        tags::write(clients, &live.id, &inputs.tags).await?;
        let wanted = Inputs {
            tags: Tags::new(),
            ..inputs.clone()
        };
        if Self::diff(&wanted, &live) == Change::default() {
            return Ok(());
        }
        let ec2 = clients.ec2().await?;
        let call = ec2.create_launch_template_version().launch_template_id(&live.id);
        let sent = call
            .launch_template_data(data(inputs, &Mark::of(target)?))
            .send()
            .await;
        let made = written("ec2:CreateLaunchTemplateVersion", sent)?.launch_template_version;
        let number = made
            .and_then(|version| version.version_number)
            .unwrap_or(live.version + 1);
        let call = ec2.modify_launch_template().launch_template_id(&live.id);
        let sent = call.default_version(number.to_string()).send().await;
        written("ec2:ModifyLaunchTemplate", sent).map(drop)
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(live) = ours(clients, target).await? else {
            return Ok(());
        };
        let call = clients
            .ec2()
            .await?
            .delete_launch_template()
            .launch_template_id(live.id);
        deleted("ec2:DeleteLaunchTemplate", GONE, call.send().await)
    }
}

/// Its name, which is unique in the account, so that no second one can be made.
fn name(target: &Target) -> String {
    let uid: String = target.stack.uid.chars().take(8).collect();
    let name = format!("{}-{uid}-{}", target.stack.name, target.address.name());
    name.chars().take(128).collect()
}

async fn list(clients: &Clients, names: &[String]) -> Result<Vec<Description>, ResourceError> {
    let filter = tags::filter("launch-template-name", names.to_vec());
    let call = clients.ec2().await?.describe_launch_templates().filters(filter);
    let sent: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    read("ec2:DescribeLaunchTemplates", sent)
}

async fn look(clients: &Clients, target: &Target) -> Result<Option<Seen<Outputs>>, ResourceError> {
    let typed = Typed { target, inputs: None };
    let seen = LaunchTemplate::observe(clients, &[typed])
        .await
        .into_iter()
        .next();
    Ok(seen.transpose()?.flatten())
}

async fn ours(clients: &Clients, target: &Target) -> Result<Option<Outputs>, ResourceError> {
    let seen = look(clients, target).await?;
    Ok(seen
        .filter(|seen| seen.foreign.is_none())
        .map(|seen| seen.outputs))
}

async fn seen(
    clients: &Clients,
    target: &Target,
    template: Description,
) -> Result<Option<Seen<Outputs>>, ResourceError> {
    let id = template.launch_template_id.clone().unwrap_or_default();
    let call = clients.ec2().await?.describe_launch_template_versions();
    let call = call.launch_template_id(&id).versions("$Default");
    let versions = match call.send().await {
        Err(error) if error.code() == Some(GONE) => return Ok(None),
        sent => read("ec2:DescribeLaunchTemplateVersions", sent)?.launch_template_versions,
    };
    let data = versions
        .into_iter()
        .flatten()
        .next()
        .and_then(|version| version.launch_template_data);
    let outputs = outputs(
        id.clone(),
        template,
        &data.unwrap_or_else(|| ResponseLaunchTemplateData::builder().build()),
    );
    Ok(Some(Seen {
        foreign: Mark::of(target)?.foreign(&id, &outputs.tags),
        id: Some(id),
        readiness: Readiness::Ready,
        outputs,
    }))
}

fn request(name: &str, inputs: &Inputs, mark: &Mark) -> CreateLaunchTemplateInputBuilder {
    CreateLaunchTemplateInputBuilder::default()
        .launch_template_name(name)
        .launch_template_data(data(inputs, mark))
        .tag_specifications(mark.specification(ResourceType::LaunchTemplate, &inputs.tags))
}

fn data(inputs: &Inputs, mark: &Mark) -> RequestLaunchTemplateData {
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_type(VolumeType::Gp3)
        .volume_size(inputs.disk)
        .encrypted(true)
        .delete_on_termination(true);
    let root = LaunchTemplateBlockDeviceMappingRequest::builder()
        .device_name(ROOT)
        .ebs(volume.build());
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(HOPS);
    let tags = tags::ec2(&mark.of_stack(&inputs.instance_tags));
    let kinds = [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ];
    let tags = kinds.map(|kind| {
        let specification = LaunchTemplateTagSpecificationRequest::builder().resource_type(kind);
        specification.set_tags(Some(tags.clone())).build()
    });
    RequestLaunchTemplateData::builder()
        .block_device_mappings(root.build())
        .metadata_options(metadata.build())
        .set_tag_specifications(Some(tags.to_vec()))
        .build()
}

fn outputs(id: String, template: Description, data: &ResponseLaunchTemplateData) -> Outputs {
    let root = data
        .block_device_mappings()
        .iter()
        .find(|device| device.device_name() == Some(ROOT));
    let volume = root.and_then(|device| device.ebs());
    let tokens = data
        .metadata_options()
        .and_then(|metadata| metadata.http_tokens());
    let specification = data.tag_specifications().iter();
    let instance = specification
        .filter(|tags| tags.resource_type() == Some(&ResourceType::Instance))
        .find_map(|tags| tags.tags.clone());
    let mut instance_tags = tags::read(instance);
    instance_tags.retain(|key, _| key != tags::STACK && key != tags::UID);
    Outputs {
        id,
        name: template.launch_template_name.unwrap_or_default(),
        version: template.default_version_number.unwrap_or_default(),
        disk: volume.and_then(LaunchTemplateEbsBlockDevice::volume_size),
        encrypted: volume
            .and_then(LaunchTemplateEbsBlockDevice::encrypted)
            .unwrap_or_default(),
        metadata_tokens: tokens.map(|tokens| tokens.as_str().to_owned()),
        instance_tags,
        tags: tags::read(template.tags),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        LaunchTemplateBlockDeviceMapping, LaunchTemplateInstanceMetadataOptions,
        LaunchTemplateTagSpecification, Tag,
    };

    use super::{super::name::tests::target, *};

    fn inputs(disk: i32, tags: &[(&str, &str)]) -> Inputs {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Inputs {
            disk,
            tags: Tags::new(),
            instance_tags: tags.iter().map(pair).collect(),
        }
    }

    #[test]
    fn instances_get_an_encrypted_volume_metadata_by_token_and_tags_that_say_whose_they_are() {
        let target = target("aws.launch_template/workers", None, None);
        let mark = Mark::of(&target).unwrap();
        let request = request(&name(&target), &inputs(50, &[("team", "a")]), &mark)
            .build()
            .unwrap();
        assert_eq!(request.launch_template_name(), Some("demo-01234567-workers"));
        let own = &request.tag_specifications()[0];
        assert_eq!(own.resource_type(), Some(&ResourceType::LaunchTemplate));
        let data = request.launch_template_data().unwrap();
        let [root] = data.block_device_mappings() else {
            panic!("not one volume")
        };
        assert_eq!(root.device_name(), Some("/dev/xvda"));
        let volume = root.ebs().unwrap();
        assert_eq!(volume.volume_size(), Some(50));
        assert_eq!(volume.volume_type(), Some(&VolumeType::Gp3));
        assert_eq!(
            (volume.encrypted(), volume.delete_on_termination()),
            (Some(true), Some(true))
        );
        let metadata = data.metadata_options().unwrap();
        assert_eq!(
            metadata.http_tokens(),
            Some(&LaunchTemplateHttpTokensState::Required)
        );
        assert_eq!(metadata.http_put_response_hop_limit(), Some(2));
        let kinds: Vec<_> = data
            .tag_specifications()
            .iter()
            .map(|tags| tags.resource_type().unwrap().as_str())
            .collect();
        assert_eq!(kinds, ["instance", "volume", "network-interface"]);
        for tags in data.tag_specifications() {
            let tags = tags::read(tags.tags.clone());
            let keys: Vec<_> = tags.keys().map(String::as_str).collect();
            assert_eq!(keys, ["stackup:stack", "stackup:uid", "team"]);
        }
        assert_eq!(data.image_id(), None);
        assert_eq!(data.security_group_ids(), Vec::<String>::new());
    }

    #[test]
    fn what_was_asked_for_does_not_differ_and_what_someone_loosened_does() {
        let volume = LaunchTemplateEbsBlockDevice::builder()
            .volume_size(50)
            .encrypted(true)
            .build();
        let root = LaunchTemplateBlockDeviceMapping::builder()
            .device_name(ROOT)
            .ebs(volume)
            .build();
        let metadata = |tokens| {
            LaunchTemplateInstanceMetadataOptions::builder()
                .http_tokens(tokens)
                .build()
        };
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        let tags = LaunchTemplateTagSpecification::builder()
            .resource_type(ResourceType::Instance)
            .set_tags(Some(vec![
                tag("stackup:uid", "u"),
                tag("stackup:stack", "demo"),
                tag("team", "a"),
            ]))
            .build();
        let data = ResponseLaunchTemplateData::builder()
            .block_device_mappings(root)
            .tag_specifications(tags);
        let template = Description::builder()
            .launch_template_name("n")
            .default_version_number(3)
            .build();
        let safe = data
            .clone()
            .metadata_options(metadata(LaunchTemplateHttpTokensState::Required))
            .build();
        let live = outputs("lt-1".to_owned(), template.clone(), &safe);
        assert_eq!(live.version, 3);
        assert_eq!(
            LaunchTemplate::diff(&inputs(50, &[("team", "a")]), &live),
            Change::default()
        );
        let paths = |inputs, live: &Outputs| -> Vec<String> {
            let fields = LaunchTemplate::diff(&inputs, live).fields;
            fields.into_iter().map(|field| field.path).collect()
        };
        assert_eq!(paths(inputs(80, &[]), &live), ["disk", "instanceTags"]);
        let loose = data
            .metadata_options(metadata(LaunchTemplateHttpTokensState::Optional))
            .build();
        let loose = outputs("lt-1".to_owned(), template, &loose);
        assert_eq!(paths(inputs(50, &[("team", "a")]), &loose), ["metadataTokens"]);
    }
}
