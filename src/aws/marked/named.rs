//! Roles and log groups: their services list them by name and without tags.

use futures::future::try_join_all;
use serde_json::json;

use super::{
    super::{
        Clients,
        error::{is_gone, read},
    },
    Thing, Whose,
};
use crate::resource::ResourceError;

/// Roles. IAM lists them without tags, so only those whose name may be ours are asked about.
pub(super) async fn roles(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
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
        Whose::All => part.len() == UID_LETTERS && part.bytes().all(|byte| byte.is_ascii_hexdigit()),
        Whose::One { uid, .. } => part == uid.chars().take(UID_LETTERS).collect::<String>(),
    };
    name.split('-').skip(1).any(is_uid)
}

/// Log groups of clusters, by their names.
pub(super) async fn logs(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
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
    use super::*;

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
            ("my-services-role", false, false),
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
