//! Whether an earlier stack of this name, whose state is gone, left something behind.

use std::collections::BTreeMap;

use super::super::marked::{Thing, Whose, marked};
use super::super::tags::{STACK, UID};
use super::{Ask, Findings, Problem};
use crate::resource::Boxed;

/// How many are named.
const NAMED: usize = 8;

/// Looks for what carries this stack's name with another uid.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let things = Box::pin(marked(ask.clients, Whose::All)).await?;
        Ok(judge(&things, &ask.stack.name, &ask.stack.uid))
    })
}

fn judge(things: &[Thing], name: &str, uid: &str) -> Vec<Problem> {
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for thing in things {
        if let Some(of) = thing.tags.get(UID).filter(|of| *of != uid)
            && thing.tags.get(STACK).is_some_and(|stack| stack == name)
        {
            others
                .entry(of)
                .or_default()
                .push(format!("{} {}", thing.kind, thing.id));
        }
    }
    let problem = |(uid, ids): (&str, Vec<String>)| {
        let named = ids
            .iter()
            .take(NAMED)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let more = match ids.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Problem::new(
            format!("another stack is named {name} as well"),
            format!("of an earlier run, or of someone else ({uid}), there are: {named}{more}"),
            format!(
                "look at it with 'stackup reap --stack {name}', which can remove it; or choose another name"
            ),
        )
    };
    others.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn only_things_of_this_name_with_another_uid_are_found() {
        let thing = |id: &str, stack: &str, uid: &str| Thing {
            kind: "ec2:vpc".into(),
            id: id.into(),
            tags: [
                (STACK.to_owned(), stack.to_owned()),
                (UID.to_owned(), uid.to_owned()),
            ]
            .into(),
            outputs: Value::Null,
        };
        let things = [
            thing("vpc-1", "demo", "u"),
            thing("vpc-2", "demo", "v"),
            thing("vpc-3", "other", "w"),
        ];
        let found = judge(&things, "demo", "u");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].found.ends_with("(v), there are: ec2:vpc vpc-2"),
            "{found:?}"
        );
        assert!(found[0].hint.contains("stackup reap --stack demo"));
    }
}
