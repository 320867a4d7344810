use serde_json::Value;

use crate::model::Event;

/// The version of the event format; it grows only when a reader of the old one would misread the new one.
const VERSION: u64 = 1;

/// One event as one line of JSON, with the version of the format and a newline.
pub fn event_json(event: &Event) -> String {
    let mut line = match serde_json::to_value(event) {
        Ok(Value::Object(mut fields)) => {
            fields.insert("v".to_owned(), VERSION.into());
            Value::Object(fields).to_string()
        }
        Ok(other) => other.to_string(),
        Err(error) => {
            tracing::error!(%error, "an event could not be written as JSON");
            return String::new();
        }
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        model::{Action, Address, Component, EventKind, Outcome, Stop, Summary, Verb},
        output::verify::tests::findings,
    };

    /// One event of each kind, with every field set.
    fn samples() -> Vec<EventKind> {
        let address = || Address::new("kind.cluster", "demo");
        vec![
            EventKind::RunStarted {
                verb: Verb::Apply,
                stack: "demo".into(),
            },
            EventKind::Resumed {
                unfinished: vec![address()],
            },
            EventKind::Refreshing { resources: 1 },
            EventKind::Planned {
                summary: Summary::default(),
            },
            EventKind::StepStarted {
                address: address(),
                component: Some(Component::from("cluster")),
                action: Action::Create,
                expected_ms: Some(1),
            },
            EventKind::StepApplied {
                address: address(),
                action: Action::Create,
            },
            EventKind::StepWaiting {
                address: address(),
                why: "why".into(),
            },
            EventKind::StepRetrying {
                address: address(),
                message: "message".into(),
                in_ms: 1,
            },
            EventKind::StepFinished {
                address: address(),
                action: Action::Create,
                took_ms: 1,
            },
            EventKind::StepFailed {
                address: address(),
                action: Action::Create,
                message: "message".into(),
                hint: Some("hint".into()),
                details: vec!["detail".into()],
                took_ms: 1,
            },
            EventKind::StepSkipped {
                address: address(),
                because: address(),
            },
            EventKind::Warning {
                address: Some(address()),
                message: "message".into(),
            },
            EventKind::Stopping {
                signal: "INT".into(),
                in_flight: 1,
            },
            EventKind::Checked {
                finding: findings().remove(1),
            },
            EventKind::RunFinished {
                verb: Verb::Apply,
                outcome: Outcome::Stopped(Stop::Int),
                done: 1,
                failed: 1,
                skipped: 1,
                critical_path: vec![crate::model::Link {
                    address: address(),
                    took_ms: 1,
                }],
            },
        ]
    }

    /// The place of a kind in `samples`. A new kind does not compile until it has one.
    fn place(kind: &EventKind) -> usize {
        match kind {
            EventKind::RunStarted { .. } => 0,
            EventKind::Resumed { .. } => 1,
            EventKind::Refreshing { .. } => 2,
            EventKind::Planned { .. } => 3,
            EventKind::StepStarted { .. } => 4,
            EventKind::StepApplied { .. } => 5,
            EventKind::StepWaiting { .. } => 6,
            EventKind::StepRetrying { .. } => 7,
            EventKind::StepFinished { .. } => 8,
            EventKind::StepFailed { .. } => 9,
            EventKind::StepSkipped { .. } => 10,
            EventKind::Warning { .. } => 11,
            EventKind::Stopping { .. } => 12,
            EventKind::Checked { .. } => 13,
            EventKind::RunFinished { .. } => 14,
        }
    }

    #[test]
    fn every_event_and_every_field_is_documented() {
        let page = include_str!("../../docs/events.md");
        for (number, kind) in samples().into_iter().enumerate() {
            assert_eq!(place(&kind), number);
            let line = event_json(&Event { elapsed_ms: 1, kind });
            let event: Value = serde_json::from_str(&line).unwrap();
            let name = event["event"].as_str().unwrap();
            let section = page
                .split("\n### ")
                .find(|section| section.starts_with(&format!("`{name}`\n")));
            let section = section.unwrap_or_else(|| panic!("docs/events.md has no section on {name}"));
            for field in event.as_object().unwrap().keys() {
                let everywhere = ["v", "event", "elapsedMs"].contains(&field.as_str());
                assert!(
                    everywhere || section.contains(&format!("| `{field}` |")),
                    "{field} of {name}"
                );
            }
        }
        assert_eq!(
            page.matches("\n### `").count(),
            samples().len(),
            "docs/events.md tells of no other events"
        );
    }

    #[test]
    fn a_line_is_one_document_with_its_version() {
        let kind = EventKind::Refreshing { resources: 3 };
        let line = event_json(&Event { elapsed_ms: 7, kind });
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1);
        let document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            document,
            json!({"v": 1, "elapsedMs": 7, "event": "refreshing", "resources": 3})
        );
    }
}
