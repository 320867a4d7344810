use serde::Serialize;

use super::Address;

/// When one step of a run came to what, in milliseconds since the run's first step could start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    /// Which resource.
    pub address: Address,
    /// When all its needs were met.
    pub ready_ms: u64,
    /// When work on it began.
    pub started_ms: u64,
    /// When its write had happened, if it came so far.
    pub applied_ms: Option<u64>,
    /// When it was as wanted, or had failed.
    pub ended_ms: u64,
    /// Which need was met last; `None` if it needed nothing.
    pub after: Option<Address>,
}

/// One link of the chain of steps that nothing could be shortened without: it kept the next one waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Which resource.
    pub address: Address,
    /// How long it kept the next one waiting; for the last one, until it ended.
    pub took_ms: u64,
}
