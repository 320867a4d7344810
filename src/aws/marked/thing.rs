use serde_json::Value;

use super::{
    super::{
        Clients,
        tags::{REGION, Tags, UID},
    },
    ec2, eks, named,
};
use crate::resource::ResourceError;

/// One thing with a mark.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::aws) struct Thing {
    /// Service and type, as AWS calls them: `ec2:vpc`.
    pub(in crate::aws) kind: String,
    /// Its id, name or ARN.
    pub(in crate::aws) id: String,
    pub(in crate::aws) tags: Tags,
    /// What its kind needs beside the id to find it again, with the names of that kind's outputs.
    pub(in crate::aws) outputs: Value,
}

impl Thing {
    /// Whether it is of the stack with this uid.
    pub(in crate::aws) fn is_of(&self, uid: &str) -> bool {
        self.tags.get(UID).is_some_and(|of| of == uid)
    }
}

/// Which stacks are looked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::aws) enum Whose<'a> {
    /// All of them.
    All,
    /// The one with this uid, whose cluster has this name.
    One { uid: &'a str, cluster: Option<&'a str> },
}

/// Lists them, in all services at once.
pub(in crate::aws) async fn marked(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let (network, clusters, roles, logs) = futures::try_join!(
        Box::pin(ec2::list(clients, whose)),
        Box::pin(eks::list(clients, whose)),
        Box::pin(named::roles(clients, whose)),
        Box::pin(named::logs(clients, whose))
    )?;
    let regional = [network, clusters, logs].concat();
    Ok(match whose {
        Whose::All => with_roles_of(&clients.region().await?, regional, roles),
        Whose::One { uid, .. } => {
            let all = regional.into_iter().chain(roles);
            all.filter(|thing| thing.is_of(uid)).collect()
        }
    })
}

/// What is marked in a region, with those roles of the account that are of a stack there: they say so, or, made before
/// roles did, are of one that has more than roles there.
fn with_roles_of(region: &str, mut things: Vec<Thing>, roles: Vec<Thing>) -> Vec<Thing> {
    things.retain(|thing| thing.tags.contains_key(UID));
    let is_here = |role: &Thing| match (role.tags.get(UID), role.tags.get(REGION)) {
        (Some(_), Some(of)) => of == region,
        (Some(uid), None) => things.iter().any(|thing| thing.is_of(uid)),
        (None, _) => false,
    };
    let here: Vec<Thing> = roles.into_iter().filter(is_here).collect();
    things.extend(here);
    things
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_of_the_region_that_it_names_and_one_that_names_none_of_where_the_rest_of_its_stack_is() {
        let thing = |id: &str, tags: &[(&str, &str)]| Thing {
            kind: "any".into(),
            id: id.into(),
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            outputs: Value::Null,
        };
        let things = vec![thing("vpc", &[(UID, "old")]), thing("stranger", &[])];
        let roles = vec![
            thing("here", &[(UID, "u"), (REGION, "eu-central-1")]),
            thing("elsewhere", &[(UID, "v"), (REGION, "us-east-1")]),
            thing("old", &[(UID, "old")]),
            thing("old-elsewhere", &[(UID, "w")]),
            thing("unmarked", &[(REGION, "eu-central-1")]),
        ];
        let found = with_roles_of("eu-central-1", things, roles);
        let ids: Vec<&str> = found.iter().map(|thing| thing.id.as_str()).collect();
        assert_eq!(ids, ["vpc", "here", "old"]);
    }

    #[test]
    fn a_thing_is_of_the_stack_whose_uid_it_carries() {
        let thing = |tags: &[(&str, &str)]| Thing {
            kind: "ec2:vpc".into(),
            id: "vpc-1".into(),
            tags: tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            outputs: Value::Null,
        };
        assert!(thing(&[(UID, "u")]).is_of("u"));
        assert!(!thing(&[(UID, "v")]).is_of("u") && !thing(&[]).is_of("u"));
    }
}
