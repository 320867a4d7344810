use std::collections::{BTreeMap, HashMap};

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use serde::Deserialize;
use serde_json::json;

use super::{
    Clients,
    error::{Purpose, failed},
};
use crate::{
    model::{FieldChange, Shown},
    resource::{Change, ResourceError, Target},
};

pub(super) const STACK: &str = "stackup:stack";
pub(super) const UID: &str = "stackup:uid";
pub(super) const ADDRESS: &str = "stackup:address";
/// Where the stack of a thing stands that is of no region itself: a role.
pub(super) const REGION: &str = "stackup:region";
/// When a stack with a lifetime may be taken by `stackup reap`: RFC 3339, UTC.
pub(super) const EXPIRES: &str = "stackup:expires";

/// On a volume that Kubernetes was told to keep: the uid of the stack whose cluster was told so.
pub(super) const KEPT: &str = "stackup:kept";

/// Tags by key, whatever service they are of.
pub(super) type Tags = BTreeMap<String, String>;

/// Our mark on one thing: written by the call that makes it, and all that finds it if that call's answer is lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) struct Mark {
    stack: String,
    uid: String,
    address: String,
}

impl Mark {
    /// The mark of a target, from what the state remembers or the stack file wants.
    pub(super) fn of(target: &Target) -> Result<Self, ResourceError> {
        Self::deserialize(&target.identity).map_err(|error| {
            ResourceError::permanent(format!(
                "what should find {} cannot be read: {error}",
                target.address
            ))
        })
    }

    /// All tags of a thing that is made: a name for people, unless the stack file gives one, what else the stack file
    /// adds, and the mark.
    pub(super) fn tags(&self, more: &Tags) -> Tags {
        let own = |(key, value): (&str, &String)| (key.to_owned(), value.clone());
        let mark = [(STACK, &self.stack), (UID, &self.uid), (ADDRESS, &self.address)];
        let name = std::iter::once(own(("Name", &self.address)));
        name.chain(more.clone()).chain(mark.map(own)).collect()
    }

    /// The same for services that take a map.
    pub(super) fn map(&self, more: &Tags) -> HashMap<String, String> {
        self.tags(more).into_iter().collect()
    }

    /// Tags of what AWS makes on behalf of the thing: whose it is, without saying that it is the thing itself.
    pub(super) fn of_stack(&self, more: &Tags) -> Tags {
        let mark = [(STACK, &self.stack), (UID, &self.uid)];
        let mark = mark.map(|(key, value)| (key.to_owned(), value.clone()));
        more.clone().into_iter().chain(mark).collect()
    }

    /// The same for the EC2 call that makes the thing.
    pub(super) fn specification(&self, kind: ResourceType, more: &Tags) -> TagSpecification {
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(ec2(&self.tags(more))))
            .build()
    }

    /// Whether these tags carry this mark.
    pub(super) fn is_on(&self, tags: &Tags) -> bool {
        tags.get(UID) == Some(&self.uid) && tags.get(ADDRESS) == Some(&self.address)
    }

    /// Whether these tags are of something of the same stack.
    pub(super) fn is_of_stack(&self, tags: &Tags) -> bool {
        tags.get(UID) == Some(&self.uid)
    }

    /// Whose the thing is that has these tags, in words, if it is not ours.
    pub(super) fn foreign(&self, id: &str, tags: &Tags) -> Option<String> {
        (!self.is_on(tags)).then(|| format!("{id}: {}", owner(tags)))
    }
}

/// What a list call must filter by to find things with any of these marks. It may find others as well.
pub(super) fn filters(marks: &[Mark]) -> Vec<Filter> {
    let values = |field: fn(&Mark) -> &String| {
        let mut values: Vec<String> = marks.iter().map(|mark| field(mark).clone()).collect();
        values.sort();
        values.dedup();
        values
    };
    vec![
        filter(&format!("tag:{UID}"), values(|mark| &mark.uid)),
        filter(&format!("tag:{ADDRESS}"), values(|mark| &mark.address)),
    ]
}

/// One filter of a list call.
pub(super) fn filter(name: &str, values: Vec<String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// Tags as EC2 takes them.
pub(super) fn ec2(tags: &Tags) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter().map(tag).collect()
}

/// Tags as EC2 gives them.
pub(super) fn read(tags: Option<Vec<Tag>>) -> Tags {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    tags.into_iter().flatten().filter_map(pair).collect()
}

/// Notes which of the wanted tags stand otherwise. Tags that nobody wants here are someone else's.
pub(super) fn differ(change: &mut Change, wanted: &Tags, live: &Tags) {
    for (key, new) in wanted {
        let old = live.get(key);
        if old != Some(new) {
            change.fields.push(FieldChange {
                path: format!("tags[{key}]"),
                old: old.map_or(Shown::Absent, |old| Shown::Value(json!(old))),
                new: Shown::Value(json!(new)),
                owner: None,
            });
        }
    }
}

/// Writes tags on a thing of EC2 that is there.
pub(super) async fn write(clients: &Clients, id: &str, tags: &Tags) -> Result<(), ResourceError> {
    if tags.is_empty() {
        return Ok(());
    }
    let call = clients.ec2().await?.create_tags().resources(id);
    let sent = call.set_tags(Some(ec2(tags))).send().await;
    sent.map(drop)
        .map_err(|error| failed("ec2:CreateTags", Purpose::Write, &error))
}

/// Writes those of the wanted tags that stand otherwise on a thing of EC2.
pub(super) async fn align(
    clients: &Clients,
    id: &str,
    wanted: &Tags,
    live: &Tags,
) -> Result<(), ResourceError> {
    write(clients, id, &missing(wanted, live)).await
}

/// Those of the wanted tags that stand otherwise.
pub(super) fn missing(wanted: &Tags, live: &Tags) -> Tags {
    let differs = |(key, value): &(&String, &String)| live.get(*key) != Some(*value);
    let missing = wanted.iter().filter(differs);
    missing.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whose a thing is that does not carry the mark that was looked for.
fn owner(tags: &Tags) -> String {
    match (tags.get(STACK), tags.get(UID), tags.get(ADDRESS)) {
        (Some(stack), Some(uid), Some(address)) => {
            let region = tags.get(REGION).map(|region| format!(" in {region}"));
            let region = region.unwrap_or_default();
            format!("it carries the mark of {address} of stack '{stack}'{region} ({uid})")
        }
        _ => "it carries no mark of stackup; someone has removed or changed its tags, or made it otherwise"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_stack_file_stands_for_ours_and_nothing_stands_for_the_mark() {
        let mark = Mark {
            stack: "demo".to_owned(),
            uid: "u".to_owned(),
            address: "aws.vpc/main".to_owned(),
        };
        assert_eq!(mark.tags(&Tags::new())["Name"], "aws.vpc/main");
        let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let wanted: Tags = [("Name", "shop"), (UID, "x")].map(pair).into();
        let tags = mark.tags(&wanted);
        assert_eq!((tags["Name"].as_str(), tags[UID].as_str()), ("shop", "u"));
    }
}
