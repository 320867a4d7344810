//! Whether the names that the stack will use are someone else's.

use super::super::{
    error::{is_gone, read},
    tags::{STACK, UID},
};
use super::{Ask, Findings, Problem};
use crate::resource::Boxed;

/// Looks for a cluster and for roles with the names of this stack's that do not carry its mark.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let (cluster, roles) = futures::try_join!(Box::pin(cluster(ask)), Box::pin(roles(ask)))?;
        Ok([cluster, roles].concat())
    })
}

async fn cluster(ask: &Ask<'_>) -> Findings {
    let name = &ask.stack.name;
    let call = ask.clients.eks().await?.describe_cluster().name(name);
    let cluster = match call.send().await {
        Err(error) if is_gone(&error) => None,
        sent => read("eks:DescribeCluster", sent)?.cluster,
    };
    let tags = cluster.map(|cluster| cluster.tags.unwrap_or_default());
    let tag = |key: &str| tags.as_ref().and_then(|tags| tags.get(key)).map(String::as_str);
    let found = tags
        .is_some()
        .then(|| judge("EKS cluster", name, tag(STACK), tag(UID), &ask.stack.uid));
    Ok(found.flatten().into_iter().collect())
}

async fn roles(ask: &Ask<'_>) -> Findings {
    let iam = ask.clients.iam().await?;
    let uid: String = ask.stack.uid.chars().take(8).collect();
    let prefix = format!("{}-{uid}-", ask.stack.name);
    let listed: Result<Vec<_>, _> = iam.list_roles().into_paginator().items().send().collect().await;
    let listed = read("iam:ListRoles", listed)?;
    let mut found = Vec::new();
    for name in listed
        .into_iter()
        .map(|role| role.role_name)
        .filter(|name| name.starts_with(&prefix))
    {
        let call = iam.list_role_tags().role_name(&name);
        let told: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        let tags = match told {
            Err(error) if is_gone(&error) => continue,
            told => read("iam:ListRoleTags", told)?,
        };
        let tag = |key: &str| {
            tags.iter()
                .find(|tag| tag.key == key)
                .map(|tag| tag.value.as_str())
        };
        found.extend(judge("IAM role", &name, tag(STACK), tag(UID), &ask.stack.uid));
    }
    Ok(found)
}

fn judge(what: &str, name: &str, stack: Option<&str>, uid: Option<&str>, ours: &str) -> Option<Problem> {
    let owner = match (stack, uid) {
        (_, Some(uid)) if uid == ours => return None,
        (Some(stack), Some(uid)) => format!("it carries the mark of stack '{stack}' ({uid})"),
        _ => "it carries no mark of stackup".to_owned(),
    };
    Some(Problem::new(
        format!("the name of the {what} is taken"),
        format!("there is a {what} named {name} already: {owner}"),
        "give the stack another name, or delete what has it",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_unless_it_carries_our_mark() {
        let found = |stack, uid| judge("EKS cluster", "demo", stack, uid, "u").map(|problem| problem.found);
        assert_eq!(found(Some("demo"), Some("u")), None);
        assert!(found(Some("demo"), Some("v")).unwrap().contains("(v)"));
        assert!(found(None, None).unwrap().contains("no mark"));
    }
}
