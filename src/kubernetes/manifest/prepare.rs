use std::path::PathBuf;

use serde_json::Value;

use super::{
    component::{self, Definition},
    files::{self, Text},
    images, load,
    object::{Object, Source},
    options,
    patch::{Patch, Patched},
    yaml::Place,
};
use crate::model::{ComponentModel, Mistake, StackModel};

/// A component's objects after all that the component and the stack file change about them.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) definition: Definition,
    pub(super) objects: Vec<Object>,
    /// What patches deleted: whoever names it means nothing, and that is no mistake.
    pub(super) deleted: Vec<Object>,
    /// The namespace of objects that name none.
    pub(super) namespace: Option<String>,
    /// Where the component's own word is written, for mistakes.
    pub(super) source: Source,
}

/// Loads a component and changes it: for the provider, by options, by the user's patches, then its images.
pub(super) fn prepare(
    model: &StackModel,
    component: &ComponentModel,
    mistakes: &mut Vec<Mistake>,
) -> Option<Prepared> {
    let files = match files::read(&component.source) {
        Ok(files) => files,
        Err(told) => {
            mistakes.extend(told);
            return None;
        }
    };
    let before = mistakes.len();
    let definition = component::definition(files.definition.as_ref(), mistakes);
    let objects: Vec<_> = files
        .manifests
        .iter()
        .flat_map(|text| load::load(text, mistakes))
        .collect();
    let in_component = source(
        files.definition.as_ref().map(|text: &Text| text.file.clone()),
        model,
    );
    let in_stack = source(None, model);
    let mut tell = |source: &Source, message: String, hint: Option<String>| {
        mistakes.push(source.mistake(format!("component '{}': {message}", component.name), hint));
    };

    // Values and patches are checked even if the objects are not all there.
    let by_options = options::patches(&definition, &component.values).unwrap_or_else(|faults| {
        faults
            .into_iter()
            .for_each(|(message, hint)| tell(&in_stack, message, hint));
        Vec::new()
    });
    let mut by_user = Vec::new();
    for (index, value) in component.patches.iter().enumerate() {
        match user_patch(value) {
            Ok(patch) => by_user.push(patch),
            Err(fault) => tell(&in_stack, format!("patches: number {} {fault}", index + 1), None),
        }
    }
    let mut patched = Patched {
        namespace: component
            .namespace
            .clone()
            .or_else(|| definition.namespace.clone()),
        deleted: Vec::new(),
        objects,
    };
    let named: Vec<String> = patched
        .objects
        .iter()
        .flat_map(|object| images::of(&object.value))
        .collect();
    if mistakes.len() > before {
        return None;
    }

    let mut tell = |source: &Source, message: String, hint: Option<String>| {
        mistakes.push(source.mistake(format!("component '{}': {message}", component.name), hint));
    };
    let profile = definition.profiles.get(model.cluster.provider());
    let by_profile = profile.map_or(&[][..], |profile| &profile.patches);
    for patch in by_profile.iter().chain(&by_options) {
        patched
            .apply(patch, true)
            .into_iter()
            .for_each(|fault| tell(&in_component, fault, None));
    }
    for patch in &by_user {
        patched.apply(patch, false).into_iter().for_each(|fault| {
            let hint = "a target's kind, name and namespace must each be equal to the object's";
            tell(&in_stack, fault, Some(hint.to_owned()));
        });
    }
    let kept: Vec<String> = patched
        .objects
        .iter()
        .flat_map(|object| images::of(&object.value))
        .collect();
    for key in component.images.keys() {
        if !images::concerns(key, &named) && !images::concerns(key, &kept) {
            let mut known = kept.clone();
            known.sort();
            known.dedup();
            let hint = format!("it names: {}", known.join(", "));
            tell(&in_stack, format!("images: nothing uses '{key}'"), Some(hint));
        }
    }
    for object in &mut patched.objects {
        images::rewrite(&mut object.value, &component.images);
        for (key, value) in &component.labels {
            object.set_label(key, value);
        }
        object.set_label("stackup/stack", &model.name);
    }
    let Patched {
        objects,
        deleted,
        namespace,
    } = patched;
    Some(Prepared {
        definition,
        objects,
        deleted,
        namespace,
        source: in_component,
    })
}

fn user_patch(value: &Value) -> Result<Patch, String> {
    // The error names fields, and of values at most that of the field 'op'.
    let patch: Patch =
        serde_json::from_value(value.clone()).map_err(|error| format!("is not a patch: {error}"))?;
    match patch.fault() {
        Some(fault) => Err(fault.to_owned()),
        None if patch.has_condition() => Err("has 'when', which only an option's patch can have".to_owned()),
        None => Ok(patch),
    }
}

/// The file that a mistake is told of when no place in it is known.
fn source(file: Option<PathBuf>, model: &StackModel) -> Source {
    Source {
        file: file.unwrap_or_else(|| model.folder.clone()),
        place: Place::default(),
    }
}
