//! Everything in an account and region that carries a mark of ours, whatever made it: found by tags alone.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{InstanceStateName, NatGatewayState};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{
    Clients,
    error::{is_gone, read},
    tags::{self, ADDRESS, EXPIRES, STACK, Tags, UID},
};
use crate::resource::ResourceError;

/// One thing with a mark.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing {
    /// Service and type, as AWS calls them: `ec2:vpc`.
    pub(super) kind: String,
    /// Its id, name or ARN.
    pub(super) id: String,
    pub(super) tags: Tags,
    /// What its kind needs beside the id to find it again, with the names of that kind's outputs.
    pub(super) outputs: Value,
}

impl Thing {
    /// Whether it is of the stack with this uid.
    pub(super) fn is_of(&self, uid: &str) -> bool {
        self.tags.get(UID).is_some_and(|of| of == uid)
    }
}

/// Which stacks are looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    /// All of them.
    All,
    /// The one with this uid, whose cluster has this name.
    One { uid: &'a str, cluster: Option<&'a str> },
}

/// Lists them, in all services at once.
pub(super) async fn marked(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let (ec2, eks, roles, logs) = futures::try_join!(
        Box::pin(ec2(clients, whose)),
        Box::pin(eks(clients, whose)),
        Box::pin(roles(clients, whose)),
        Box::pin(logs(clients, whose))
    )?;
    let all = [ec2, eks, roles, logs].into_iter().flatten();
    Ok(all
        .filter(|thing| match whose {
            Whose::All => thing.tags.contains_key(UID),
            Whose::One { uid, .. } => thing.is_of(uid),
        })
        .collect())
}

/// All types of EC2 at once, by their tags. What is dead and still listed for a while is left out.
async fn ec2(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let (tagged, dead) = futures::try_join!(Box::pin(tagged(clients)), Box::pin(dead(clients, whose)))?;
    Ok(things(tagged)
        .into_iter()
        .filter(|thing| !dead.contains(&thing.id))
        .collect())
}

async fn tagged(clients: &Clients) -> Result<Vec<aws_sdk_ec2::types::TagDescription>, ResourceError> {
    let keys = [STACK, UID, ADDRESS, EXPIRES].map(str::to_owned).to_vec();
    let call = clients
        .ec2()
        .await?
        .describe_tags()
        .filters(tags::filter("key", keys));
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    read("ec2:DescribeTags", listed)
}

/// The tags of all things, thing by thing.
fn things(tagged: Vec<aws_sdk_ec2::types::TagDescription>) -> Vec<Thing> {
    let mut by_id: BTreeMap<(String, String), Tags> = BTreeMap::new();
    for tag in tagged {
        let kind = tag.resource_type.map(|kind| format!("ec2:{kind}"));
        if let (Some(kind), Some(id), Some(key)) = (kind, tag.resource_id, tag.key) {
            let tags = by_id.entry((kind, id)).or_default();
            tags.insert(key, tag.value.unwrap_or_default());
        }
    }
    let thing = |((kind, id), tags): ((String, String), Tags)| Thing {
        outputs: json!({"id": id}),
        kind,
        id,
        tags,
    };
    by_id.into_iter().map(thing).collect()
}

/// Ids of gateways and instances that have ended and are still told of.
async fn dead(clients: &Clients, whose: Whose<'_>) -> Result<BTreeSet<String>, ResourceError> {
    let filter = match whose {
        Whose::All => tags::filter("tag-key", vec![UID.to_owned()]),
        Whose::One { uid, .. } => tags::filter(&format!("tag:{UID}"), vec![uid.to_owned()]),
    };
    let ec2 = clients.ec2().await?;
    let gateways = async {
        let call = ec2.describe_nat_gateways().filter(filter.clone());
        let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        read("ec2:DescribeNatGateways", listed)
    };
    let instances = async {
        let call = ec2.describe_instances().filters(filter.clone());
        let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        read("ec2:DescribeInstances", listed)
    };
    let (gateways, reservations) = futures::try_join!(gateways, instances)?;
    let gateways = gateways
        .into_iter()
        .filter(|one| one.state() == Some(&NatGatewayState::Deleted))
        .filter_map(|one| one.nat_gateway_id);
    let instances = reservations
        .into_iter()
        .flat_map(|one| one.instances.into_iter().flatten());
    let instances = instances
        .filter(|one| one.state().and_then(|state| state.name()) == Some(&InstanceStateName::Terminated))
        .filter_map(|one| one.instance_id);
    Ok(gateways.chain(instances).collect())
}

/// Clusters, and of those that are marked everything in them.
async fn eks(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let names = match whose {
        Whose::One { cluster, .. } => cluster.map(str::to_owned).into_iter().collect(),
        Whose::All => clusters(clients).await?,
    };
    let all = names.into_iter().map(|name| cluster(clients, name));
    Ok(try_join_all(all).await?.into_iter().flatten().collect())
}

/// The names of all clusters of the region.
pub(super) async fn clusters(clients: &Clients) -> Result<Vec<String>, ResourceError> {
    let call = clients.eks().await?.list_clusters();
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    read("eks:ListClusters", listed)
}

async fn cluster(clients: &Clients, name: String) -> Result<Vec<Thing>, ResourceError> {
    let described = match clients.eks().await?.describe_cluster().name(&name).send().await {
        Err(error) if is_gone(&error) => None,
        sent => read("eks:DescribeCluster", sent)?.cluster,
    };
    let Some(cluster) = described else {
        return Ok(Vec::new());
    };
    let tags: Tags = cluster.tags.into_iter().flatten().collect();
    let vpc = cluster.resources_vpc_config.and_then(|config| config.vpc_id);
    let itself = Thing {
        kind: "eks:cluster".to_owned(),
        outputs: json!({"name": name, "vpcId": vpc}),
        id: name.clone(),
        tags,
    };
    if !itself.tags.contains_key(UID) {
        return Ok(vec![itself]);
    }
    let (groups, addons, entries) = futures::try_join!(
        node_groups(clients, &name),
        addons(clients, &name),
        entries(clients, &name)
    )?;
    Ok([vec![itself], groups, addons, entries].concat())
}

/// A thing in a cluster.
fn inside(
    kind: &str,
    cluster: &str,
    field: &str,
    name: String,
    tags: Option<impl IntoIterator<Item = (String, String)>>,
) -> Thing {
    Thing {
        kind: kind.to_owned(),
        outputs: json!({"cluster": cluster, field: name}),
        id: name,
        tags: tags.into_iter().flatten().collect(),
    }
}

async fn node_groups(clients: &Clients, cluster: &str) -> Result<Vec<Thing>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.list_nodegroups().cluster_name(cluster);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let names = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => read("eks:ListNodegroups", listed)?,
    };
    let describe = |name: String| async {
        let call = eks
            .describe_nodegroup()
            .cluster_name(cluster)
            .nodegroup_name(&name);
        match call.send().await {
            Err(error) if is_gone(&error) => Ok::<_, ResourceError>(None),
            sent => Ok(read("eks:DescribeNodegroup", sent)?
                .nodegroup
                .map(|one| inside("eks:nodegroup", cluster, "name", name, one.tags))),
        }
    };
    Ok(try_join_all(names.into_iter().map(describe))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

async fn addons(clients: &Clients, cluster: &str) -> Result<Vec<Thing>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.list_addons().cluster_name(cluster);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let names = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => read("eks:ListAddons", listed)?,
    };
    let describe = |name: String| async {
        let call = eks.describe_addon().cluster_name(cluster).addon_name(&name);
        match call.send().await {
            Err(error) if is_gone(&error) => Ok::<_, ResourceError>(None),
            sent => Ok(read("eks:DescribeAddon", sent)?
                .addon
                .map(|one| inside("eks:addon", cluster, "name", name, one.tags))),
        }
    };
    Ok(try_join_all(names.into_iter().map(describe))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

async fn entries(clients: &Clients, cluster: &str) -> Result<Vec<Thing>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.list_access_entries().cluster_name(cluster);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let principals = match listed {
        Err(error) if is_gone(&error) => Vec::new(),
        listed => read("eks:ListAccessEntries", listed)?,
    };
    let describe = |principal: String| async {
        let call = eks
            .describe_access_entry()
            .cluster_name(cluster)
            .principal_arn(&principal);
        match call.send().await {
            Err(error) if is_gone(&error) => Ok::<_, ResourceError>(None),
            sent => Ok(read("eks:DescribeAccessEntry", sent)?
                .access_entry
                .map(|one| inside("eks:access-entry", cluster, "principal", principal, one.tags))),
        }
    };
    Ok(try_join_all(principals.into_iter().map(describe))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// Roles. IAM lists them without tags, so only those whose name may be ours are asked about.
async fn roles(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let iam = clients.iam().await?;
    let listed: Result<Vec<_>, _> = iam.list_roles().into_paginator().items().send().collect().await;
    let listed = read("iam:ListRoles", listed)?;
    let names = listed.into_iter().map(|role| role.role_name);
    let names = names.filter(|name| may_be_ours(name, whose));
    let ask = |name: String| async {
        let call = iam.list_role_tags().role_name(&name);
        let told: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        let tags = match told {
            Err(error) if is_gone(&error) => return Ok(None),
            told => read("iam:ListRoleTags", told)?,
        };
        Ok::<_, ResourceError>(Some(Thing {
            kind: "iam:role".to_owned(),
            outputs: json!({"name": name}),
            id: name,
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        }))
    };
    Ok(try_join_all(names.map(ask))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

/// How many letters of its uid the name of a stack's role has.
const UID_LETTERS: usize = 8;

/// Whether a role has a name as those of a stack have: `demo-0a1b2c3d-cluster`.
fn may_be_ours(name: &str, whose: Whose<'_>) -> bool {
    let is_uid = |part: &str| match whose {
        Whose::All => part.len() == UID_LETTERS && part.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        Whose::One { uid, .. } => part == uid.chars().take(UID_LETTERS).collect::<String>(),
    };
    name.split('-').skip(1).any(is_uid)
}

/// Log groups of clusters, by their names.
async fn logs(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let prefix = match whose {
        Whose::One { cluster: None, .. } => return Ok(Vec::new()),
        Whose::One {
            cluster: Some(cluster),
            ..
        } => format!("/aws/eks/{cluster}/cluster"),
        Whose::All => "/aws/eks/".to_owned(),
    };
    let logs = clients.logs().await?;
    let call = logs.describe_log_groups().log_group_name_prefix(prefix);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let listed = read("logs:DescribeLogGroups", listed)?;
    let named = listed
        .into_iter()
        .filter_map(|group| Some((group.log_group_name?, group.arn?)));
    let ask = |(name, arn): (String, String)| async move {
        let arn = arn.strip_suffix(":*").unwrap_or(&arn);
        let tags = match logs.list_tags_for_resource().resource_arn(arn).send().await {
            Err(error) if is_gone(&error) => return Ok::<_, ResourceError>(None),
            sent => read("logs:ListTagsForResource", sent)?.tags,
        };
        Ok(Some(Thing {
            kind: "logs:log-group".to_owned(),
            outputs: json!({"name": name}),
            id: name,
            tags: tags.into_iter().flatten().collect(),
        }))
    };
    Ok(try_join_all(named.map(ask))
        .await?
        .into_iter()
        .flatten()
        .collect())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{ResourceType, TagDescription};

    use super::*;

    #[test]
    fn tags_are_gathered_thing_by_thing() {
        let tag = |kind: ResourceType, id: &str, key: &str, value: &str| {
            TagDescription::builder()
                .resource_type(kind)
                .resource_id(id)
                .key(key)
                .value(value)
                .build()
        };
        let things = things(vec![
            tag(ResourceType::Vpc, "vpc-1", UID, "u"),
            tag(ResourceType::Subnet, "subnet-1", UID, "v"),
            tag(ResourceType::Vpc, "vpc-1", ADDRESS, "aws.vpc/main"),
        ]);
        let told: Vec<_> = things
            .iter()
            .map(|one| (one.kind.as_str(), one.id.as_str(), one.tags.len()))
            .collect();
        assert_eq!(told, [("ec2:subnet", "subnet-1", 1), ("ec2:vpc", "vpc-1", 2)]);
        assert!(things[1].is_of("u") && !things[1].is_of("v"));
    }

    #[test]
    fn only_roles_with_a_name_of_ours_are_asked_about() {
        let one = Whose::One {
            uid: "0a1b2c3d4e5f",
            cluster: None,
        };
        for (name, all, this) in [
            ("demo-0a1b2c3d-cluster", true, true),
            ("my-long-name-0a1b2c3d-nodes", true, true),
            ("other-99999999-nodes", true, false),
            ("AWSServiceRoleForAmazonEKS", false, false),
            ("0a1b2c3d", false, false),
        ] {
            assert_eq!(
                (may_be_ours(name, Whose::All), may_be_ours(name, one)),
                (all, this),
                "{name}"
            );
        }
    }
}
