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
