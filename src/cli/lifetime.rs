//! The moment at which a stack with a lifetime may be taken, on everything that carries tags.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    resource::Wanted,
    state::{Life, Snapshot},
};

/// The tag's key: what `stackup reap` judges by.
const EXPIRES: &str = "stackup:expires";

/// Writes the stack's end into the wanted tags. It was set by the first apply; another lifetime in the stack file counts
/// from now, so that a stack in use can be given more time.
pub(super) fn stamp(lifetime: Option<Duration>, wanted: &mut [Arc<Wanted>], snapshot: &mut Snapshot) {
    let Some(lifetime) = lifetime else {
        snapshot.life = None;
        return;
    };
    let seconds = lifetime.as_secs();
    if snapshot.life.as_ref().is_none_or(|life| life.seconds != seconds) {
        snapshot.life = Some(Life {
            seconds,
            expires: end(now(), seconds),
        });
    }
    let Some(life) = &snapshot.life else { return };
    for wanted in wanted {
        let mut inputs = Value::clone(&wanted.inputs);
        let Some(tags) = inputs.get_mut("tags").and_then(Value::as_object_mut) else {
            continue;
        };
        if wanted.kind.starts_with("aws.") {
            tags.insert(EXPIRES.to_owned(), json!(life.expires));
            Arc::make_mut(wanted).inputs = Arc::new(inputs);
        }
    }
}

/// RFC 3339, to the second. A lifetime is at most a century, so the sum is a date.
fn end(from: Timestamp, seconds: u64) -> String {
    let life = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let end = from.checked_add(life).unwrap_or(Timestamp::MAX);
    end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[expect(clippy::disallowed_methods, reason = "a lifetime begins at the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_ends_at_a_moment() {
        let from: Timestamp = "2026-11-24T23:00:00.7Z".parse().unwrap();
        assert_eq!(end(from, 4 * 3600), "2026-11-25T03:00:00Z");
    }
}
