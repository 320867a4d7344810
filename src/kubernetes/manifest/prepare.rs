use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::{
    component::{self, Definition},
    files, images, load,
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
    let objects = load::load_all(&files.manifests, mistakes);
    let file = files
        .definition
        .map_or_else(|| model.folder.clone(), |text| text.file);
    let mut told = Told {
        component,
        of_component: source(file),
        of_stack: source(model.folder.clone()),
        mistakes,
    };
    // Values and patches are checked even if the objects are not all there.
    let (by_options, by_user) = requested(&definition, &mut told);
    if told.mistakes.len() > before {
        return None;
    }

    let mut patched = Patched {
        namespace: component
            .namespace
            .clone()
            .or_else(|| definition.namespace.clone()),
        deleted: Vec::new(),
        objects,
    };
    let before = names(&patched.objects);
    let profile = definition.profiles.get(model.cluster.provider());
    let by_profile = profile.map_or(&[][..], |profile| &profile.patches);
    for patch in by_profile.iter().chain(&by_options) {
        for fault in patched.apply(patch, true) {
            told.of_component(&fault);
        }
    }
    for patch in &by_user {
        for fault in patched.apply(patch, false) {
            let hint = "a target's kind, name and namespace must each be equal to the object's";
            told.of_stack(&fault, Some(hint.to_owned()));
        }
    }
    check_images(&before, &names(&patched.objects), &mut told);
    for object in &mut patched.objects {
        images::rewrite(&mut object.value, &component.images);
        for (key, value) in &component.labels {
            object.set_label(key, value);
        }
        object.set_label("stackup/stack", &model.name);
    }
    Some(Prepared {
        objects: patched.objects,
        deleted: patched.deleted,
        namespace: patched.namespace,
        source: told.of_component,
        definition,
    })
}

/// Where mistakes about a component as a whole go.
struct Told<'a> {
    component: &'a ComponentModel,
    of_component: Source,
    of_stack: Source,
    mistakes: &'a mut Vec<Mistake>,
}

impl Told<'_> {
    /// A mistake in the component's own word.
    fn of_component(&mut self, message: &str) {
        let message = format!("component '{}': {message}", self.component.name);
        self.mistakes.push(self.of_component.mistake(message, None));
    }

    /// A mistake in what the stack file says of the component.
    fn of_stack(&mut self, message: &str, hint: Option<String>) {
        let message = format!("component '{}': {message}", self.component.name);
        self.mistakes.push(self.of_stack.mistake(message, hint));
    }
}

/// The patches that the stack file asks for, by values and outright.
fn requested(definition: &Definition, told: &mut Told<'_>) -> (Vec<Patch>, Vec<Patch>) {
    let by_options = options::patches(definition, &told.component.values).unwrap_or_else(|faults| {
        for (message, hint) in faults {
            told.of_stack(&message, hint);
        }
        Vec::new()
    });
    let mut by_user = Vec::new();
    for (index, value) in told.component.patches.iter().enumerate() {
        match user_patch(value) {
            Ok(patch) => by_user.push(patch),
            Err(fault) => told.of_stack(&format!("patches: number {} {fault}", index + 1), None),
        }
    }
    (by_options, by_user)
}

/// A key of `images:` that nothing uses is a slip; what another patch deleted still counts.
fn check_images(before: &[String], after: &[String], told: &mut Told<'_>) {
    for key in told.component.images.keys() {
        if !images::concerns(key, before) && !images::concerns(key, after) {
            let hint = format!("it names: {}", after.join(", "));
            told.of_stack(&format!("images: nothing uses '{key}'"), Some(hint));
        }
    }
}

/// The images that objects name, each once.
fn names(objects: &[Object]) -> Vec<String> {
    let names: BTreeSet<String> = objects
        .iter()
        .flat_map(|object| images::of(&object.value))
        .collect();
    names.into_iter().collect()
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

/// A file as a whole, for mistakes whose place in it is not known.
fn source(file: PathBuf) -> Source {
    let place = Place::default();
    Source { file, place }
}
