use std::collections::BTreeMap;

use super::Refreshed;
use crate::model::{Action, Address, Plan, Reason};

/// What must never be in a plan, whatever it was made from. Each text names the resource and the rule.
///
/// A plan with any of these is a mistake of the program, not of the user; nothing of it is carried out.
pub fn lint(plan: &Plan, refreshed: &Refreshed) -> Vec<String> {
    let actions: BTreeMap<&Address, Action> = plan
        .steps
        .iter()
        .map(|step| (&step.address, step.action))
        .collect();
    let mut broken = Vec::new();
    for step in &plan.steps {
        let Some(found) = refreshed.found.get(&step.address) else {
            broken.push(format!("{}: it is neither wanted nor remembered", step.address));
            continue;
        };
        let wanted = found.wanted.is_some();
        if wanted && matches!(step.action, Action::Delete | Action::Forget) {
            broken.push(format!("{}: it is wanted and would be removed", step.address));
        }
        if !wanted && matches!(step.action, Action::Create | Action::Update | Action::Replace) {
            broken.push(format!("{}: it is not wanted and would be made", step.address));
        }
        if step.action == Action::Replace && step.forces.is_empty() && step.reason != Some(Reason::Vanished) {
            broken.push(format!(
                "{}: it would be replaced and no field says why",
                step.address
            ));
        }
        if let Some(Reason::GoesWith(other)) = &step.reason
            && actions.get(other) != Some(&Action::Delete)
        {
            broken.push(format!("{}: it would go with {other}, which stays", step.address));
        }
    }
    for (address, found) in &refreshed.found {
        let needed = found.wanted.iter().flat_map(|wanted| &wanted.needs);
        for need in needed {
            if matches!(actions.get(&need.address), Some(Action::Delete | Action::Forget)) {
                broken.push(format!(
                    "{address}: it is wanted and needs {}, which would be removed",
                    need.address
                ));
            }
        }
    }
    broken
}
