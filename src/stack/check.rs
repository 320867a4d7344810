use std::{path::Path, time::Duration};

use serde_json::Value;

use crate::model::{CheckLevel, StackModel};

use super::{
    cluster::cluster,
    component::components,
    reader::Reader,
    state::state,
    tree::{Content, Entry, Node, Place},
};

/// The longest name of a stack: it becomes part of names of containers, networks and tags, which have limits.
pub(super) const LONGEST_NAME: usize = 40;

const LEVELS: [&str; 3] = ["off", "quick", "standard"];

/// Reads a whole stack file. Nothing comes back if a part is missing; why is among the reader's mistakes.
pub(super) fn stack(reader: &mut Reader, root: &Node, folder: &Path) -> Option<StackModel> {
    let mut fields = reader.fields(root, "", &Place::whole(&root.place.source))?;
    let name = reader
        .required(&mut fields, "name", "any short name, as in name: demo")
        .and_then(|node| reader.label(node, "name", LONGEST_NAME));
    let lifetime = fields.get("lifetime").and_then(|node| lifetime(reader, node));
    let cluster = reader
        .required(
            &mut fields,
            "cluster",
            "as in cluster: {provider: kind, workers: 2}",
        )
        .and_then(|node| cluster(reader, node, fields.place_of("cluster")));
    let items = reader.list(&mut fields, "components");
    let components = components(reader, items);
    let verify = fields
        .get("verify")
        .map_or(Some(CheckLevel::Standard), |node| verify(reader, node));
    if let Some(Content::Map(tags)) = fields.entry("tags").map(|entry| &entry.node.content) {
        for entry in tags {
            tag(reader, entry);
        }
    }
    let tags = reader.texts(&mut fields, "tags");
    let state = match (fields.get("state"), &name) {
        (Some(node), Some(name)) => state(reader, node, name, fields.place_of("state")),
        (_, _) => None,
    };
    reader.finish(&fields, &[]);
    Some(StackModel {
        name: name?,
        folder: folder.to_owned(),
        lifetime,
        cluster: cluster?,
        components,
        verify,
        tags,
        state,
    })
}

/// Refuses what says whose a thing is: the tags of AWS itself and our own.
fn tag(reader: &mut Reader, entry: &Entry) {
    let key = entry.key.to_ascii_lowercase();
    for (prefix, whose) in [("aws:", "AWS"), ("stackup:", "stackup")] {
        if key.starts_with(prefix) {
            reader.wrong(
                &entry.place,
                format!("tags.{}: what begins with {prefix} is {whose}'s own", entry.key),
                "choose another key, as in tags: {team: shop}",
            );
        }
    }
}

/// How deep `apply` verifies; YAML reads the word `off` as false.
fn verify(reader: &mut Reader, node: &Node) -> Option<CheckLevel> {
    match &node.content {
        Content::Plain(Value::Bool(false), _) => None,
        Content::Text(text, _) if text == "off" => None,
        Content::Text(text, _) if text == "quick" => Some(CheckLevel::Quick),
        Content::Text(text, _) if text == "standard" => Some(CheckLevel::Standard),
        Content::Text(text, _) if text == "deep" => {
            reader.wrong(
                &node.place,
                "verify deep: this build has no checks of that depth yet",
                "the deepest is standard",
            );
            None
        }
        Content::Text(..) | Content::Plain(..) | Content::List(_) | Content::Map(_) => {
            reader.unknown_word(node, "verify", &LEVELS);
            None
        }
    }
}

/// How long a stack may live: `8h`, `30m`, `2d`, `1d12h`.
fn lifetime(reader: &mut Reader, node: &Node) -> Option<Duration> {
    let duration = match &node.content {
        Content::Text(text, _) => duration(text),
        Content::Plain(..) | Content::List(_) | Content::Map(_) => None,
    };
    let duration = duration.filter(|duration| !duration.is_zero());
    if duration.is_none() {
        reader.wrong(
            &node.place,
            format!("lifetime must be a duration, not {}", node.shown()),
            "days, hours and minutes, as in 8h, 30m or 1d12h",
        );
    }
    duration
}

fn duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut largest = u64::MAX;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let seconds = match after.chars().next()? {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            _ => return None,
        };
        // Each unit once, the larger first: 1d12h, not 12h1d.
        if seconds >= largest {
            return None;
        }
        largest = seconds;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(seconds)?)?;
        rest = after.get(1..)?;
    }
    // A century is no lifetime, and dates beyond it are no dates.
    (total <= 100 * 366 * 86_400).then(|| Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn a_duration_is_units_in_falling_order() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("8h"), Some(28_800));
        assert_eq!(seconds("30m"), Some(1_800));
        assert_eq!(seconds("2d"), Some(172_800));
        assert_eq!(seconds("1d12h30m"), Some(131_400));
        for text in [
            "8",
            "h",
            "12h1d",
            "1h1h",
            "8s",
            "8 h",
            "-8h",
            "1.5h",
            "99999999999999999999d",
            "999999d",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
