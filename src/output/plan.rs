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

/// The actions in the order in which they are counted.
const TOTALS: [Action; 6] = [
    Action::Create,
    Action::Update,
    Action::Replace,
    Action::Delete,
    Action::Conflict,
    Action::Forget,
];

/// The plan for a person: by component, what happens to which resource and why, then one line of totals.
/// `full` folds nothing; `expected` is how long it would take.
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
    let counted = TOTALS.into_iter().map(|action| (action, count(action)));
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
            // What is taken away is named in full: nobody should have to guess what goes.
            listing(out, style, &lead, addresses, full || action != Action::Create);
            if let Some(reason) = reason {
                put(out, &style.paint(Tone::Quiet, &format!("      ({reason})")));
            }
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
        why.push(format!("{} cannot be changed in place", forces.join(", ")));
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
        Reason::Follows(address) => Some(format!("follows {address}, once that is changed")),
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
                | Reason::Follows(_)
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
    let not_ours = plan
        .changes()
        .filter(|step| step.action == Action::Conflict && matches!(step.reason, Some(Reason::NotOurs(_))))
        .count();
    if not_ours > 0 {
        notes.push(
            "What is not ours is never written: take it out of the stack, or take it over with --adopt if no other stack owns it."
                .to_owned(),
        );
    }
    if summary.conflict > not_ours {
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
    let parts: Vec<String> = TOTALS
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

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Shown;

    const RICH: Style = Style {
        colour: false,
        unicode: true,
        width: 120,
    };

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn step(name: &str, component: Option<&str>, action: Action, reason: Option<Reason>) -> Step {
        Step {
            address: address(name),
            kind: "k8s.object".to_owned(),
            component: component.map(Component::from),
            action,
            reason,
            fields: Vec::new(),
            forces: Vec::new(),
            conflicts: Vec::new(),
        }
    }

    fn field(path: &str, old: Shown, new: Shown, owner: Option<&str>) -> FieldChange {
        FieldChange {
            path: path.to_owned(),
            old,
            new,
            owner: owner.map(str::to_owned),
        }
    }

    /// A plan with every action and every shape of a field.
    #[expect(clippy::too_many_lines, reason = "a plan is a table")]
    pub(in super::super) fn mixed() -> Plan {
        let value = |value| Shown::Value(value);
        let shop = Some("shop");
        Plan {
            stack: "demo".to_owned(),
            steps: vec![
                step("kind.cluster/demo", None, Action::Unchanged, None),
                step("k8s/shop/Service/cart", shop, Action::Create, Some(Reason::New)),
                step("k8s/shop/Service/email", shop, Action::Create, Some(Reason::New)),
                step(
                    "k8s/shop/Deployment/ads",
                    shop,
                    Action::Create,
                    Some(Reason::Vanished),
                ),
                step(
                    "k8s/shop/ConfigMap/old",
                    shop,
                    Action::Delete,
                    Some(Reason::NotWanted),
                ),
                step(
                    "k8s/shop/ConfigMap/older",
                    shop,
                    Action::Delete,
                    Some(Reason::NotWanted),
                ),
                step(
                    "k8s/Namespace/kept",
                    shop,
                    Action::Forget,
                    Some(Reason::NotWanted),
                ),
                step(
                    "k8s/shop/Secret/theirs",
                    shop,
                    Action::Conflict,
                    Some(Reason::NotOurs("made by helm".into())),
                ),
                Step {
                    fields: vec![
                        field(
                            "spec.replicas",
                            value(json!(5)),
                            value(json!(1)),
                            Some("kubectl-edit"),
                        ),
                        field(
                            "spec.template.spec.containers[name=server].image",
                            value(json!("registry.example/shop/frontend:v0.10.5")),
                            value(json!("registry.example/shop/frontend:v0.10.6")),
                            None,
                        ),
                        field(
                            "data.token",
                            Shown::Secret("1".into()),
                            Shown::Secret("2".into()),
                            None,
                        ),
                        field("spec.paused", Shown::Absent, value(json!(true)), None),
                    ],
                    ..step("k8s/shop/Deployment/frontend", shop, Action::Update, None)
                },
                Step {
                    fields: vec![field(
                        "data[prometheus.yaml]",
                        value(json!("global:\n  interval: 30s\n  timeout: 10s\n")),
                        value(json!("global:\n  interval: 15s\n  timeout: 10s\n")),
                        None,
                    )],
                    ..step(
                        "k8s/monitoring/ConfigMap/config",
                        Some("monitoring"),
                        Action::Update,
                        None,
                    )
                },
                Step {
                    fields: vec![field(
                        "spec.selector.matchLabels",
                        value(json!({"app": "cart"})),
                        value(json!({"app": "cartservice"})),
                        None,
                    )],
                    forces: vec!["spec.selector.matchLabels".to_owned()],
                    ..step("k8s/shop/Deployment/cart", shop, Action::Replace, None)
                },
                Step {
                    conflicts: vec![Conflict {
                        path: "spec.replicas".to_owned(),
                        manager: "horizontal-pod-autoscaler".to_owned(),
                        theirs: value(json!(4)),
                        ours: value(json!(2)),
                    }],
                    ..step("k8s/shop/Deployment/checkout", shop, Action::Conflict, None)
                },
            ],
        }
    }

    fn creates() -> Plan {
        let cluster = address("kind.cluster/demo");
        let objects = (0..60).map(|number| {
            let kind = ["Deployment", "Service", "ServiceAccount"][number % 3];
            let reason = Some(Reason::KnownAfter(cluster.clone()));
            step(
                &format!("k8s/shop/{kind}/service-{number:02}"),
                Some("shop"),
                Action::Create,
                reason,
            )
        });
        Plan {
            stack: "demo".to_owned(),
            steps: std::iter::once(step("kind.cluster/demo", None, Action::Create, Some(Reason::New)))
                .chain(objects)
                .collect(),
        }
    }

    #[test]
    fn a_plan_shows_every_action_with_its_why_at_eighty_columns_of_ascii() {
        let text = plan_text(&mixed(), &Style::plain(80), false, None);
        assert!(text.is_ascii(), "{text}");
        // Counts are one line each, whatever there is to count.
        let mut lines = text.lines().filter(|line| line.starts_with(' '));
        assert!(lines.all(|line| line.len() <= 80), "{text}");
        insta::assert_snapshot!(text, @r#"
        monitoring, 1 to update
          ~   k8s/monitoring/ConfigMap/config
              data[prometheus.yaml]
                  global:
                -   interval: 30s
                +   interval: 15s
                    timeout: 10s

        shop, 3 to create, 1 to update, 1 to replace, 2 to delete, 2 conflicts, 1 to forget
          +   k8s/shop/Service/  cart, email
          +   k8s/shop/Deployment/ads
              (it was there after the last run and is gone)
          ~   k8s/shop/Deployment/frontend
              spec.replicas  5 -> 1  (set by kubectl-edit)
              spec.template.spec.containers[name=server].image
                - "registry.example/shop/frontend:v0.10.5"
                + "registry.example/shop/frontend:v0.10.6"
              data.token     (secret ...1) -> (secret ...2)
              spec.paused    (absent) -> true
          o   k8s/Namespace/kept
              (no longer in the stack)
          -   k8s/shop/ConfigMap/  old, older
              (no longer in the stack)
          -/+ k8s/shop/Deployment/cart
              (spec.selector.matchLabels cannot be changed in place)
              spec.selector.matchLabels  (forces the replace)
                {"app":"cart"} -> {"app":"cartservice"}
          !   k8s/shop/Secret/theirs
              (not ours: made by helm)
          !   k8s/shop/Deployment/checkout
              spec.replicas  4 is owned by horizontal-pod-autoscaler; the stack says 2

        What is not ours is never written: take it out of the stack, or take it over
        with --adopt if no other stack owns it.
        What is in conflict is never written: take the field out of the stack, or let
        its owner give it up.
        Plan: 3 to create, 2 to update, 1 to replace, 2 to delete, 2 conflicts, 1 to forget; 1 stays as it is.
        "#);
    }

    #[test]
    fn a_plan_uses_a_hundred_and_twenty_columns() {
        let text = plan_text(&mixed(), &RICH, false, Some(Duration::from_secs(95)));
        insta::assert_snapshot!(text, @r#"
        monitoring · 1 to update
          ~ k8s/monitoring/ConfigMap/config
              data[prometheus.yaml]
                  global:
                -   interval: 30s
                +   interval: 15s
                    timeout: 10s

        shop · 3 to create, 1 to update, 1 to replace, 2 to delete, 2 conflicts, 1 to forget
          + k8s/shop/Service/  cart, email
          + k8s/shop/Deployment/ads
              (it was there after the last run and is gone)
          ~ k8s/shop/Deployment/frontend
              spec.replicas                                     5 → 1  (set by kubectl-edit)
              spec.template.spec.containers[name=server].image
                "registry.example/shop/frontend:v0.10.5" → "registry.example/shop/frontend:v0.10.6"
              data.token                                        (secret …1) → (secret …2)
              spec.paused                                       (absent) → true
          ○ k8s/Namespace/kept
              (no longer in the stack)
          - k8s/shop/ConfigMap/  old, older
              (no longer in the stack)
          ± k8s/shop/Deployment/cart  (spec.selector.matchLabels cannot be changed in place)
              spec.selector.matchLabels  {"app":"cart"} → {"app":"cartservice"}  (forces the replace)
          ! k8s/shop/Secret/theirs
              (not ours: made by helm)
          ! k8s/shop/Deployment/checkout
              spec.replicas  4 is owned by horizontal-pod-autoscaler; the stack says 2

        What is not ours is never written: take it out of the stack, or take it over with --adopt if no other stack owns it.
        What is in conflict is never written: take the field out of the stack, or let its owner give it up.
        Plan: 3 to create, 2 to update, 1 to replace, 2 to delete, 2 conflicts, 1 to forget; 1 stays as it is.
        This takes about 2 min.
        "#);
    }

    #[test]
    fn a_plan_that_only_creates_stays_short() {
        let text = plan_text(&creates(), &Style::plain(80), false, Some(Duration::from_mins(4)));
        insta::assert_snapshot!(text, @r"
        demo, 1 to create
          +   kind.cluster/demo

        shop, 60 to create
          +   k8s/shop/Deployment/      service-00, service-03, service-06, service-09,
                                        service-12, service-15, service-18, ... 13 more
          +   k8s/shop/Service/         service-01, service-04, service-07, service-10,
                                        service-13, service-16, service-19, ... 13 more
          +   k8s/shop/ServiceAccount/  service-02, service-05, service-08, service-11,
                                        service-14, service-17, service-20, ... 13 more

        60 resources are planned without asking a server, since kind.cluster/demo is not
        there yet.
        Plan: 61 to create.
        This takes about 4 min.
        ");
        let full = plan_text(&creates(), &Style::plain(80), true, None);
        assert!(
            (0..60).all(|number| full.contains(&format!("service-{number:02}"))),
            "{full}"
        );
    }

    #[test]
    fn what_is_taken_down_is_named_in_full() {
        let mut plan = creates();
        for step in &mut plan.steps {
            step.action = Action::Delete;
            step.reason = Some(Reason::NotWanted);
        }
        let text = plan_text(&plan, &Style::plain(80), false, None);
        assert!(
            (0..60).all(|number| text.contains(&format!("service-{number:02}"))),
            "{text}"
        );
        assert!(!text.contains("no longer in the stack"), "{text}");
    }

    #[test]
    fn an_empty_plan_says_so() {
        let plan = Plan {
            stack: "demo".to_owned(),
            steps: vec![step("kind.cluster/demo", None, Action::Unchanged, None)],
        };
        assert_eq!(
            plan_text(&plan, &RICH, false, None),
            "No changes: everything stands as the stack file says.\n"
        );
    }

    #[test]
    fn the_document_for_scripts_has_totals_and_only_what_changes() {
        let document = plan_json(&mixed());
        let summary = json!({
            "create": 3, "update": 2, "replace": 1, "delete": 2, "conflict": 2, "forget": 1, "unchanged": 1
        });
        assert_eq!(document["summary"], summary);
        assert_eq!(document["changes"].as_array().unwrap().len(), 11);
        let frontend = &document["changes"][7];
        assert_eq!(frontend["address"], "k8s/shop/Deployment/frontend");
        assert_eq!(frontend["action"], "update");
        assert_eq!(frontend["fields"][0]["owner"], "kubectl-edit");
        assert_eq!(
            frontend["fields"][2]["old"],
            json!({"is": "secret", "value": "1"})
        );
    }
}
