/// Why a call failed, in the words that the engine acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Worth the same call again: a lost connection, a server that starts, a webhook that is not up yet.
    Transient,
    /// No answer came, or none that says: the call may have had its effect. Worth the same call again, where a second
    /// effect is harmless or the first has been looked for.
    Lost,
    /// Worth the same call again, later and slower.
    Throttled,
    /// Nobody answers there at all, or our credentials are not accepted.
    Unreachable,
    /// It is not ours, or a field is someone else's: nothing was written.
    Refused,
    /// What was sent is out of date: it must be read again before anything is sent.
    Outdated,
    /// Will fail again until a person changes something.
    Permanent,
}

/// A failed call: what happened, to what, why, and what the user could do about it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}{}", .request_id.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default())]
pub struct ResourceError {
    /// What the engine does about it.
    pub cause: Cause,
    /// A fragment that fits "could not …: {message}". Never holds a secret.
    pub message: String,
    /// What to do next: a command, or a place to look.
    pub hint: Option<String>,
    /// The id under which the other side knows this call.
    pub request_id: Option<String>,
    /// How long the other side asks us to wait before the next call.
    pub retry_after: Option<std::time::Duration>,
}

impl ResourceError {
    /// A failure without hint or request id.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            hint: None,
            request_id: None,
            retry_after: None,
        }
    }

    /// A failure that only a person can mend.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Cause::Permanent, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the same call may succeed later.
    pub fn again(&self) -> bool {
        matches!(self.cause, Cause::Transient | Cause::Lost | Cause::Throttled)
    }
}
