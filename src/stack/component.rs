use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    graph::Graph,
    model::{ComponentModel, ManifestSource},
};

use super::{
    merge::name as name_of,
    reader::{Fields, Reader, suggest},
    tree::{Content, Node},
};

const BUILTIN: &str = "builtin:";

/// A component, what a message calls it, and what was written where it depends on another.
struct Read<'a> {
    model: ComponentModel,
    label: String,
    depends_on: Vec<&'a Node>,
}

/// Reads `components`: each on its own, then what they say of one another.
pub(super) fn components(reader: &mut Reader, items: &[Node]) -> Vec<ComponentModel> {
    // Names are known even of components that have mistakes, so that one mistake does not cause others.
    let names: Vec<Option<&str>> = items.iter().map(own_name).collect();
    unique(reader, items, &names);
    let read: Vec<_> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| component(reader, item, at))
        .collect();
    depends_on(reader, &read, items, &names);
    read.into_iter().map(|component| component.model).collect()
}

/// The name after environment values were put in.
fn own_name(item: &Node) -> Option<&str> {
    let Content::Map(entries) = &item.content else {
        return None;
    };
    entries
        .iter()
        .find(|e| e.key == "name")
        .and_then(|e| match &e.node.content {
            Content::Text(name, _) => Some(name.as_str()),
            Content::Plain(..) | Content::List(_) | Content::Map(_) => None,
        })
}

fn unique(reader: &mut Reader, items: &[Node], names: &[Option<&str>]) {
    for (at, (item, name)) in items.iter().zip(names).enumerate() {
        if name.is_some() && names.iter().take(at).any(|earlier| earlier == name) {
            let shown = name_of(item).map_or_else(|| at.to_string(), |name| format!("'{name}'"));
            reader.wrong(
                &item.place,
                format!("a component named {shown} is there already"),
                "give each component a name of its own",
            );
        }
    }
}

fn component<'a>(reader: &mut Reader, item: &'a Node, at: usize) -> Option<Read<'a>> {
    let label = name_of(item).map_or_else(|| at.to_string(), str::to_owned);
    let path = format!("components.{label}");
    let mut fields = reader.fields(item, &path, &item.place)?;
    let name = reader
        .required(&mut fields, "name", "any short name, as in name: monitoring")
        .and_then(|node| reader.label(node, &fields.path("name"), 63));
    let source = source(reader, &mut fields);
    let namespace = fields.get("namespace");
    let namespace = namespace.and_then(|node| reader.label(node, &fields.path("namespace"), 63));
    let labels = labels(reader, &mut fields);
    let images = reader.texts(&mut fields, "images");
    let values: BTreeMap<String, Value> = reader
        .own_keys(&mut fields, "values")
        .iter()
        .map(|entry| (entry.key.clone(), entry.node.value()))
        .collect();
    let mut patches = Vec::new();
    for (at, patch) in reader.list(&mut fields, "patches").iter().enumerate() {
        if reader
            .fields(patch, &fields.path(&format!("patches.{at}")), &patch.place)
            .is_some()
        {
            patches.push(patch.value());
        }
    }
    let mut depends_on = Vec::new();
    let mut written = Vec::new();
    for (at, node) in reader.list(&mut fields, "dependsOn").iter().enumerate() {
        if let Some(needed) = reader.text(node, &fields.path(&format!("dependsOn.{at}"))) {
            depends_on.push(needed);
            written.push(node);
        }
    }
    reader.finish(&fields, &["helm", "manifests"]);
    let model = ComponentModel {
        name: name?,
        source: source?,
        namespace,
        labels,
        depends_on,
        images,
        values,
        patches,
    };
    Some(Read {
        model,
        label,
        depends_on: written,
    })
}

fn source(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<ManifestSource> {
    if let Some(helm) = fields.entry("helm") {
        reader.wrong(
            &helm.place,
            format!("{}: charts are not supported yet", fields.path("helm")),
            "render it with `helm template ... > manifests/NAME.yaml` and name that as manifests",
        );
        return None;
    }
    let path = fields.path("manifests");
    let hint = "a folder or file of YAML, or a component inside the program: builtin:monitoring";
    let node = reader.required(fields, "manifests", hint)?;
    let text = reader.text(node, &path)?;
    if let Some(name) = text.strip_prefix(BUILTIN) {
        if name.is_empty() {
            reader.wrong(
                &node.place,
                format!("{path}: builtin: needs a name"),
                "as in builtin:monitoring",
            );
            return None;
        }
        return Some(ManifestSource::Builtin(name.to_owned()));
    }
    if text.contains("://") {
        reader.wrong(
            &node.place,
            format!("{path} is an address, and manifests are read from files only"),
            "fetch it once, keep it beside the stack file and name that file",
        );
        return None;
    }
    reader.file(node, &path, true).map(ManifestSource::Path)
}

/// Labels, as Kubernetes takes them: refused here with a line rather than by a server in the middle.
fn labels(reader: &mut Reader, fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let path = fields.path("labels");
    let mut labels = BTreeMap::new();
    for entry in reader.own_keys(fields, "labels") {
        let name = entry
            .key
            .split_once('/')
            .map_or(entry.key.as_str(), |(_, name)| name);
        if name.is_empty() || !is_label_value(name) {
            reader.wrong(
                &entry.place,
                format!("{path}: '{}' is not the key of a label", entry.key),
                "as in team or example.com/team",
            );
        }
        let own = format!("{path}.{}", entry.key);
        let Some(value) = reader.any_text(&entry.node, &own) else {
            continue;
        };
        if !is_label_value(&value) {
            reader.wrong(
                &entry.node.place,
                format!("{own} {} is not the value of a label", entry.node.shown()),
                "at most 63 letters, digits, dashes, dots and underscores, a letter or digit first and last",
            );
        }
        labels.insert(entry.key.clone(), value);
    }
    labels
}

fn is_label_value(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.chars().all(inner)
        && (text.is_empty() || (text.starts_with(outer) && text.ends_with(outer)))
}

fn depends_on(reader: &mut Reader, read: &[Read<'_>], items: &[Node], names: &[Option<&str>]) {
    let mut graph = Graph::new(read.len());
    for (at, component) in read.iter().enumerate() {
        for (needed, written) in component.model.depends_on.iter().zip(&component.depends_on) {
            if let Some(needed) = read.iter().position(|other| other.model.name == *needed) {
                graph.need(at, needed);
            } else if !names.contains(&Some(needed)) {
                let label = &component.label;
                let others: Vec<&str> = items
                    .iter()
                    .filter_map(name_of)
                    .filter(|other| other != label)
                    .collect();
                reader.wrong(
                    &written.place,
                    format!(
                        "components.{label} depends on {}, and there is no such component",
                        written.shown()
                    ),
                    suggest(written.literal().unwrap_or_default(), &others),
                );
            }
        }
    }
    let Err(cycle) = graph.order() else { return };
    let around: Vec<&Read<'_>> = cycle
        .iter()
        .chain(cycle.first())
        .filter_map(|at| read.get(*at))
        .collect();
    let labels: Vec<&str> = around.iter().map(|component| component.label.as_str()).collect();
    // The place is that of the first link: what the first component says of the second.
    let link = around.first().zip(around.get(1)).and_then(|(first, next)| {
        let at = first
            .model
            .depends_on
            .iter()
            .position(|needed| *needed == next.model.name)?;
        first.depends_on.get(at)
    });
    if let Some(link) = link {
        reader.wrong(
            &link.place,
            format!(
                "components depend on one another in a circle: {}",
                labels.join(" -> ")
            ),
            "take one of these dependsOn out",
        );
    }
}
