use std::time::Duration;

use serde::Deserialize;

use crate::resource::{Cause, ResourceError};

/// Why a call to an API server gave nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CallError {
    /// The server answered that it will not.
    #[error("{}", .0.message)]
    Refused(Box<Refusal>),
    /// No connection came about.
    #[error("nobody answers at {server}: {message}")]
    NoAnswer { server: String, message: String },
    /// A connection was there and broke, or the server took too long.
    #[error("the API server's answer did not arrive: {0}")]
    Broken(String),
    /// The kubeconfig cannot be used, or its credentials cannot be had.
    #[error("{0}")]
    Access(String),
    /// Whoever makes the tokens for this cluster made none.
    #[error("{0}")]
    Token(Box<ResourceError>),
    /// The answer is not what the protocol says.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
    /// No server knows this type (yet).
    #[error("the cluster serves no {kind} in {api_version}")]
    NoSuchType { api_version: String, kind: String },
}

/// What the server said when it refused: the `Status` object of Kubernetes, with two headers.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) message: String,
    pub(super) causes: Vec<StatusCause>,
    pub(super) retry_after: Option<Duration>,
    pub(super) audit_id: Option<String>,
    pub(super) credentials: Credentials,
}

/// By what we were known to a server that refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Credentials {
    #[default]
    Kubeconfig,
    Token,
    /// Of several servers behind one address, some may not know yet, or not know for a moment, who we are.
    TokenAcceptedBefore,
}

/// One of the reasons of a refusal, with the field that it is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StatusCause {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) field: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    message: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Vec<StatusCause>,
    retry_after_seconds: u64,
}

/// Words in the message of a failed call by which it is known to be worth trying again.
const PASSING: [&str; 8] = [
    "failed calling webhook",
    "failed calling admission webhook",
    "conversion webhook for",
    "etcdserver:",
    "the object has been modified",
    "error looking up service account",
    "not yet ready to handle request",
    "is being terminated",
];

impl Refusal {
    pub(super) fn read(code: u16, body: &[u8], retry_after: Option<u64>, audit_id: Option<String>) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let message = if status.message.is_empty() {
            let text = String::from_utf8_lossy(body);
            let text: String = text.trim().chars().take(300).collect();
            format!("HTTP {code}{}{text}", if text.is_empty() { "" } else { ": " })
        } else {
            status.message
        };
        let seconds = retry_after
            .or((status.details.retry_after_seconds > 0).then_some(status.details.retry_after_seconds));
        Self {
            code,
            message,
            causes: status.details.causes,
            retry_after: seconds.map(Duration::from_secs),
            audit_id,
            credentials: Credentials::default(),
        }
    }

    /// The fields that other managers own, if that is why the server refused.
    pub(super) fn field_conflicts(&self) -> impl Iterator<Item = &StatusCause> {
        self.causes
            .iter()
            .filter(|cause| cause.reason == "FieldManagerConflict")
    }

    fn cause(&self) -> Cause {
        let passing = PASSING.iter().any(|words| self.message.contains(words));
        match self.code {
            401 if self.credentials == Credentials::TokenAcceptedBefore => Cause::Transient,
            401 => Cause::Unreachable,
            409 if self.field_conflicts().next().is_some() => Cause::Refused,
            409 if passing || self.message.contains("quota") => Cause::Transient,
            409 => Cause::Outdated,
            429 => Cause::Throttled,
            408 | 500 | 502..=504 => Cause::Transient,
            403 if passing => Cause::Transient,
            _ => Cause::Permanent,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self.code {
            401 if self.credentials != Credentials::Kubeconfig => {
                "the cluster does not know this identity: it must be the one that made the stack, or be listed under 'access' in the stack file"
            }
            401 => {
                "the cluster does not accept the credentials of the kubeconfig: renew them (kubectl get nodes must work)"
            }
            403 => "the credentials lack a right: 'kubectl auth can-i --list' shows which there are",
            409 if self.cause() == Cause::Outdated => "it changed meanwhile: run the same command again",
            413 => "the object is larger than the API server takes",
            500 if self.message.contains("webhook") => {
                "an admission webhook does not answer: see whether the Service behind it has ready pods"
            }
            _ => return None,
        })
    }
}

impl CallError {
    /// Whether the server says that there is nothing of this name.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == 404)
    }

    /// What the server said, if it answered.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::NoAnswer { .. }
            | Self::Broken(_)
            | Self::Access(_)
            | Self::Token(_)
            | Self::Unreadable(_)
            | Self::NoSuchType { .. } => None,
        }
    }
}

impl From<CallError> for ResourceError {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Refused(refusal) => {
                let mut error = Self::new(refusal.cause(), message);
                error.hint = refusal.hint().map(str::to_owned);
                error.request_id = refusal.audit_id;
                error.retry_after = refusal.retry_after;
                error
            }
            CallError::NoAnswer { .. } => Self::new(Cause::Unreachable, message)
                .hint("see whether the cluster runs, and whether its kubeconfig is the present one"),
            CallError::Broken(_) => Self::new(Cause::Transient, message),
            CallError::Access(_) => Self::new(Cause::Unreachable, message)
                .hint("see whether 'kubectl --kubeconfig FILE --context NAME get nodes' works"),
            CallError::Token(error) => *error,
            CallError::Unreadable(_) => Self::permanent(message),
            // Behind a load balancer one API server may know a new type a moment before another does.
            CallError::NoSuchType { .. } => Self::new(Cause::Transient, message)
                .hint("see whether the CustomResourceDefinition of this type is part of the stack"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(code: u16, body: &serde_json::Value) -> ResourceError {
        let refusal = Refusal::read(code, body.to_string().as_bytes(), None, None);
        CallError::Refused(Box::new(refusal)).into()
    }

    #[test]
    fn each_answer_has_the_cause_that_the_engine_acts_on() {
        let webhook = "Internal error occurred: failed calling webhook \"x\": no endpoints available";
        let terminating = "unable to create new content in namespace shop because it is being terminated";
        for (code, message, cause) in [
            (401, "Unauthorized", Cause::Unreachable),
            (403, "pods is forbidden: User \"x\" cannot list", Cause::Permanent),
            (403, terminating, Cause::Transient),
            (
                409,
                "the object has been modified; please apply your changes",
                Cause::Transient,
            ),
            (409, "Precondition failed: UID in precondition", Cause::Outdated),
            (422, "Deployment.apps \"a\" is invalid", Cause::Permanent),
            (429, "too many requests", Cause::Throttled),
            (500, webhook, Cause::Transient),
            (500, "etcdserver: leader changed", Cause::Transient),
            (
                503,
                "the server is currently unable to handle the request",
                Cause::Transient,
            ),
            (504, "timeout", Cause::Transient),
        ] {
            assert_eq!(
                error(code, &json!({"message": message})).cause,
                cause,
                "{code} {message}"
            );
        }
    }

    #[test]
    fn an_identity_that_the_cluster_does_not_know_is_told_where_to_list_it() {
        let refused = |credentials| {
            let mut refusal = Refusal::read(401, b"{}", None, None);
            refusal.credentials = credentials;
            ResourceError::from(CallError::Refused(Box::new(refusal)))
        };
        let unknown = refused(Credentials::Token);
        assert_eq!(unknown.cause, Cause::Unreachable);
        assert!(unknown.hint.unwrap().contains("'access' in the stack file"));
        assert_eq!(refused(Credentials::TokenAcceptedBefore).cause, Cause::Transient);
        assert!(
            refused(Credentials::Kubeconfig)
                .hint
                .unwrap()
                .contains("kubeconfig")
        );
    }

    #[test]
    fn a_conflict_of_field_managers_is_refused_and_never_tried_again() {
        let body = json!({"message": "Apply failed with 1 conflict", "reason": "Conflict", "details": {"causes":
            [{"reason": "FieldManagerConflict", "message": "conflict with \"helm\"", "field": ".spec.replicas"}]}});
        assert_eq!(error(409, &body).cause, Cause::Refused);
    }

    #[test]
    fn the_server_says_how_long_to_wait() {
        let body = br#"{"message": "slow down", "details": {"retryAfterSeconds": 7}}"#;
        let from_body = Refusal::read(429, body, None, None);
        assert_eq!(from_body.retry_after, Some(Duration::from_secs(7)));
        let from_header = Refusal::read(429, body, Some(2), None);
        assert_eq!(from_header.retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_answer_that_is_no_status_is_quoted_in_part() {
        let refusal = Refusal::read(502, b"<html>bad gateway</html>", None, None);
        assert_eq!(refusal.message, "HTTP 502: <html>bad gateway</html>");
    }
}
