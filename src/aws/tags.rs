use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};
use serde::Deserialize;

use crate::resource::{ResourceError, Target};

const STACK: &str = "stackup:stack";
const UID: &str = "stackup:uid";
const ADDRESS: &str = "stackup:address";

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

    /// The tags for the call that makes the thing.
    pub(super) fn specification(&self, kind: ResourceType) -> TagSpecification {
        let tags = [
            (STACK, &self.stack),
            (UID, &self.uid),
            (ADDRESS, &self.address),
            ("Name", &self.address),
        ];
        let tags = tags.map(|(key, value)| Tag::builder().key(key).value(value).build());
        TagSpecification::builder()
            .resource_type(kind)
            .set_tags(Some(tags.into()))
            .build()
    }

    /// Whether these tags carry this mark.
    pub(super) fn is_on(&self, tags: &[Tag]) -> bool {
        value(tags, UID) == Some(&self.uid) && value(tags, ADDRESS) == Some(&self.address)
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

/// Whose a thing is that does not carry the mark that was looked for.
pub(super) fn owner(tags: &[Tag]) -> String {
    match (value(tags, STACK), value(tags, UID), value(tags, ADDRESS)) {
        (Some(stack), Some(uid), Some(address)) => {
            format!("it carries the mark of {address} of stack '{stack}' ({uid})")
        }
        _ => "it carries no mark of stackup; someone has removed or changed its tags".to_owned(),
    }
}

fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key))?.value()
}
