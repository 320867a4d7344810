use std::sync::Arc;

use crate::model::Mistake;

use super::tree::{Content, Entry, Node, Place, Source, parse};

/// Maps whose keys are the user's own and may contain dots: the rest of a path is one key.
const OWN_KEYS: [&str; 4] = ["images", "labels", "tags", "values"];

/// Lays `over` over `under`: maps merge, all else is replaced. Every value keeps its place.
pub(super) fn overlay(under: &mut Node, over: Node) {
    match (&mut under.content, over.content) {
        (Content::Map(entries), Content::Map(new)) => {
            for entry in new {
                match entries.iter_mut().find(|e| e.key == entry.key) {
                    Some(old) => {
                        old.place = entry.place;
                        overlay(&mut old.node, entry.node);
                    }
                    None => entries.push(entry),
                }
            }
        }
        (content, new) => {
            *content = new;
            under.place = over.place;
        }
    }
}

/// Carries out one `--set path=value`; the value is read as YAML.
pub(super) fn set(root: &mut Node, path: &str, value: &str, source: &Arc<Source>) -> Result<(), Mistake> {
    let place = Place::whole(source);
    let value = parse(value, source).map_err(|mistake| Mistake {
        hint: Some(
            "text with special characters needs quotes that the shell leaves alone: 'path=\"text\"'"
                .to_owned(),
        ),
        ..mistake
    })?;
    let mut node = root;
    let mut rest = Some(path);
    let mut done = String::new();
    while let Some(path) = rest {
        let parent = done.rsplit('.').next().unwrap_or_default();
        let (segment, after) = match path.split_once('.') {
            Some((segment, after)) if !OWN_KEYS.contains(&parent) => (segment, Some(after)),
            _ => (path, None),
        };
        if segment.is_empty() {
            return Err(place.mistake(
                "the path has an empty part",
                Some("write it as in cluster.workers=3".to_owned()),
            ));
        }
        node = step(node, segment, &done, &place)?;
        if !done.is_empty() {
            done.push('.');
        }
        done.push_str(segment);
        rest = after;
    }
    *node = value;
    Ok(())
}

/// One step down: a key of a map, made where it is missing, or an item of a list by its number or name.
fn step<'a>(node: &'a mut Node, segment: &str, done: &str, place: &Place) -> Result<&'a mut Node, Mistake> {
    if node.is_null() {
        *node = Node::empty(place.clone());
    }
    match &mut node.content {
        Content::Map(entries) => {
            let at = entries
                .iter()
                .position(|e| e.key == segment)
                .unwrap_or(entries.len());
            if at == entries.len() {
                entries.push(Entry {
                    key: segment.to_owned(),
                    place: place.clone(),
                    node: Node::empty(place.clone()),
                });
            }
            entries.get_mut(at).map(|entry| &mut entry.node)
        }
        Content::List(items) => {
            let at = match segment.parse() {
                Ok(number) => Some(number),
                Err(_) => items.iter().position(|item| name(item) == Some(segment)),
            };
            let known = items.iter().filter_map(name).collect::<Vec<_>>().join(", ");
            let found = at.and_then(|at| items.get_mut(at));
            if found.is_none() {
                let hint = if known.is_empty() {
                    "count from 0".to_owned()
                } else {
                    format!("there are: {known}")
                };
                return Err(place.mistake(format!("{done} has no item '{segment}'"), Some(hint)));
            }
            found
        }
        Content::Plain(..) | Content::Text(..) => None,
    }
    .ok_or_else(|| {
        place.mistake(
            format!("{done} is neither a map nor a list"),
            Some("leave out what follows it".to_owned()),
        )
    })
}

/// The name of a list's item, what `name:` in it says, unless it came from the environment.
pub(super) fn name(item: &Node) -> Option<&str> {
    let Content::Map(entries) = &item.content else {
        return None;
    };
    entries
        .iter()
        .find(|e| e.key == "name")
        .and_then(|e| e.node.literal())
}
