use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    Style, Tone,
    names::listing,
    style::{about, ahead, plural},
    text::{put, width},
    values::{change_lines, value_text},
};
use crate::model::{Action, Address, Component, Conflict, FieldChange, Plan, Reason, Step, Summary};

/// The actions in the order in which a plan shows them: what needs most care stands nearest to the totals.
const ORDER: [Action; 6] = [
    Action::Create,
    Action::Update,
    Action::Forget,
    Action::Delete,
    Action::Replace,
    Action::Conflict,
];

/// The plan for a person: by component, what happens to which resource and why, then one line of totals.
/// `full` folds nothing; `expected` is how long an apply would take.
pub fn plan_text(plan: &Plan, style: &Style, full: bool, expected: Option<Duration>) -> String {
    let summary = plan.summary();
    if !summary.pending() {
        return "No changes: everything stands as the stack file says.\n".to_owned();
    }
    let mut out = String::new();
    for (component, steps) in by_component(plan) {
        let name = component.map_or(plan.stack.as_str(), |component| component);
        let counts = counts(&steps);
        let heading = style.paint(Tone::Strong, &style.clean(name));
        put(&mut out, &format!("{heading}{}{counts}", style.dot()));
        component_text(&mut out, style, &steps, full, goes_down(&summary));
        put(&mut out, "");
    }
    for note in notes(plan, &summary) {
        for line in style.wrap(&note, style.width) {
            put(&mut out, &style.paint(Tone::Quiet, &line));
        }
    }
    put(&mut out, &totals(style, &summary));
    if let Some(expected) = expected {
        put(&mut out, &format!("This takes about {}.", about(expected)));
    }
    out
}

/// The plan for a script: totals, and every step that is not `unchanged`.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "schema": "stackup/plan/v1",
        "stack": plan.stack,
        "summary": plan.summary(),
        "changes": plan.changes().collect::<Vec<_>>(),
    })
}

/// The steps that change something, by component; what belongs to none comes first.
pub(super) fn by_component(plan: &Plan) -> BTreeMap<Option<&Component>, Vec<&Step>> {
    let mut components: BTreeMap<Option<&Component>, Vec<&Step>> = BTreeMap::new();
    for step in plan.changes() {
        components.entry(step.component.as_ref()).or_default().push(step);
    }
    components
}

/// `3 to create, 1 to update`.
pub(super) fn counts(steps: &[&Step]) -> String {
    let count = |action| steps.iter().filter(|step| step.action == action).count();
    let counted = ORDER.into_iter().map(|action| (action, count(action)));
    let parts: Vec<String> = counted
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| ahead(action, count))
        .collect();
    parts.join(", ")
}

/// Whether the plan only takes things away; then each need not say that it is not wanted.
pub(super) fn goes_down(summary: &Summary) -> bool {
    summary.create + summary.update + summary.replace + summary.conflict + summary.unchanged == 0
}

/// The steps of one component.
pub(super) fn component_text(out: &mut String, style: &Style, steps: &[&Step], full: bool, down: bool) {
    for action in ORDER {
        let mut plain: BTreeMap<Option<String>, Vec<&Address>> = BTreeMap::new();
        let mut detailed = Vec::new();
        for step in steps.iter().filter(|step| step.action == action) {
            if has_details(step, full) {
                detailed.push(*step);
            } else {
                plain
                    .entry(words(style, step, down))
                    .or_default()
                    .push(&step.address);
            }
        }
        let lead = format!("  {} ", style.action(action));
        for (reason, addresses) in plain {
            if let Some(reason) = reason {
                put(out, &style.paint(Tone::Quiet, &format!("    ({reason})")));
            }
            // What is taken away is named in full: nobody should have to guess what goes.
            listing(out, style, &lead, addresses, full || action != Action::Create);
        }
        for step in detailed {
            step_text(out, style, &lead, step, full, down);
        }
    }
}

fn has_details(step: &Step, full: bool) -> bool {
    let fields = !step.fields.is_empty() && (full || step.action != Action::Create);
    fields || !step.forces.is_empty() || !step.conflicts.is_empty()
}

fn step_text(out: &mut String, style: &Style, lead: &str, step: &Step, full: bool, down: bool) {
    let mut why: Vec<String> = words(style, step, down).into_iter().collect();
    if !step.forces.is_empty() {
        let forces: Vec<String> = step.forces.iter().map(|path| style.one_line(path)).collect();
        let verb = if forces.len() == 1 {
            "cannot be changed"
        } else {
            "cannot be changed in place"
        };
        why.push(format!("{} {verb}", forces.join(", ")));
    }
    let address = style.paint(Tone::Strong, step.address.as_str());
    let why = why.join("; ");
    if why.is_empty() {
        put(out, &format!("{lead}{address}"));
    } else if width(lead) + width(&address) + width(&why) + 4 <= style.width {
        put(out, &format!("{lead}{address}  ({why})"));
    } else {
        put(out, &format!("{lead}{address}"));
        for line in style.wrap(&format!("({why})"), style.width.saturating_sub(6)) {
            put(out, &format!("      {line}"));
        }
    }
    let paths = step
        .fields
        .iter()
        .map(|field| &field.path)
        .chain(step.conflicts.iter().map(|c| &c.path));
    let column = paths
        .map(|path| width(path))
        .filter(|width| *width <= style.width * 2 / 5)
        .max()
        .unwrap_or(0);
    for field in &step.fields {
        field_text(out, style, step, field, column, full);
    }
    for conflict in &step.conflicts {
        conflict_text(out, style, conflict, column);
    }
}

fn field_text(out: &mut String, style: &Style, step: &Step, field: &FieldChange, column: usize, full: bool) {
    let mut remarks = Vec::new();
    if let Some(owner) = &field.owner {
        remarks.push(format!("set by {}", style.one_line(owner)));
    }
    if step.forces.contains(&field.path) {
        remarks.push("forces the replace".to_owned());
    }
    let remark = if remarks.is_empty() {
        String::new()
    } else {
        style.paint(Tone::Change, &format!("  ({})", remarks.join(", ")))
    };
    let path = style.one_line(&field.path);
    let beside = style.width.saturating_sub(6 + column + 2);
    let room = beside.saturating_sub(width(&remark));
    let lines = change_lines(style, &field.old, &field.new, room, full);
    match lines.as_slice() {
        [only] if width(&path) <= column && width(only) <= room => {
            put(
                out,
                &format!("      {}  {only}{remark}", super::text::pad(&path, column)),
            );
        }
        _ => {
            put(out, &format!("      {path}{remark}"));
            let room = style.width.saturating_sub(8);
            for line in change_lines(style, &field.old, &field.new, room, full) {
                put(out, &format!("        {line}"));
            }
        }
    }
}

fn conflict_text(out: &mut String, style: &Style, conflict: &Conflict, column: usize) {
    let path = style.one_line(&conflict.path);
    let owner = style.one_line(&conflict.manager);
    let (theirs, ours) = (
        value_text(style, &conflict.theirs),
        value_text(style, &conflict.ours),
    );
    let line = format!("{theirs} is owned by {owner}; the stack says {ours}");
    if width(&path) <= column && 8 + column + width(&line) <= style.width {
        put(out, &format!("      {}  {line}", super::text::pad(&path, column)));
    } else {
        put(out, &format!("      {path}"));
        let room = style.width.saturating_sub(8);
        put(
            out,
            &format!(
                "        {}",
                style.fit(&format!("{theirs}  owned by {owner}"), room)
            ),
        );
        put(
            out,
            &format!("        {}", style.fit(&format!("{ours}  in the stack"), room)),
        );
    }
}

/// Why a step is there, where its sign does not say it. What holds for many steps is said once, in the notes.
fn words(style: &Style, step: &Step, down: bool) -> Option<String> {
    match step.reason.as_ref()? {
        Reason::New | Reason::KnownAfter(_) | Reason::GoesWith(_) => None,
        Reason::Vanished => Some("it was there after the last run and is gone".to_owned()),
        Reason::Unfinished => Some("a run began it and did not finish".to_owned()),
        Reason::Failed => Some("a former attempt failed".to_owned()),
        Reason::NotWanted if down => None,
        Reason::NotWanted => Some("no longer in the stack".to_owned()),
        Reason::NotOurs(owner) => Some(format!("not ours: {}", style.one_line(owner))),
        Reason::Adopted => Some("it stands already, without a mark of ours, and is adopted".to_owned()),
    }
}

/// What holds for many steps at once.
fn notes(plan: &Plan, summary: &Summary) -> Vec<String> {
    let mut later: BTreeMap<&Address, usize> = BTreeMap::new();
    let mut along: BTreeMap<&Address, usize> = BTreeMap::new();
    for step in plan.changes() {
        match &step.reason {
            Some(Reason::KnownAfter(address)) => *later.entry(address).or_default() += 1,
            Some(Reason::GoesWith(address)) => *along.entry(address).or_default() += 1,
            Some(
                Reason::New
                | Reason::Vanished
                | Reason::Unfinished
                | Reason::Failed
                | Reason::NotWanted
                | Reason::NotOurs(_)
                | Reason::Adopted,
            )
            | None => {}
        }
    }
    let mut notes = Vec::new();
    for (address, count) in later {
        let are = if count == 1 { "is" } else { "are" };
        let count = plural(count, "resource");
        notes.push(format!(
            "{count} {are} planned without asking a server, since {address} is not there yet."
        ));
    }
    for (address, count) in along {
        let go = if count == 1 { "goes" } else { "go" };
        notes.push(format!(
            "{} {go} along with {address}.",
            plural(count, "resource")
        ));
    }
    if summary.conflict > 0 {
        notes.push(
            "What is in conflict is never written: take the field out of the stack, or let its owner give it up."
                .to_owned(),
        );
    }
    notes
}

/// `Plan: 3 to create, 1 to update; 12 stay as they are.`
pub(super) fn totals(style: &Style, summary: &Summary) -> String {
    let count = |action| match action {
        Action::Create => summary.create,
        Action::Update => summary.update,
        Action::Replace => summary.replace,
        Action::Delete => summary.delete,
        Action::Forget => summary.forget,
        Action::Conflict => summary.conflict,
        Action::Unchanged => summary.unchanged,
    };
    let parts: Vec<String> = ORDER
        .into_iter()
        .filter(|action| count(*action) > 0)
        .map(|action| style.paint(super::style::action_tone(action), &ahead(action, count(action))))
        .collect();
    let rest = match summary.unchanged {
        0 => String::new(),
        1 => "; 1 stays as it is".to_owned(),
        many => format!("; {many} stay as they are"),
    };
    format!(
        "{}: {}{rest}.",
        style.paint(Tone::Strong, "Plan"),
        parts.join(", ")
    )
}
