use serde_json::Value;

use super::{
    super::{
        Clients,
        tags::{Tags, UID},
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
    let all = [network, clusters, roles, logs].into_iter().flatten();
    Ok(all
        .filter(|thing| match whose {
            Whose::All => thing.tags.contains_key(UID),
            Whose::One { uid, .. } => thing.is_of(uid),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
