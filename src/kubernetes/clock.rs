#![expect(
    clippy::disallowed_methods,
    reason = "certificates and the conditions of pods carry the time of day; what is judged by it takes it as a value"
)]

use jiff::Timestamp;

/// The time of day.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
