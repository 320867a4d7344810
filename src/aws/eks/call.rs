//! What EKS's refusals mean: much that it refuses now, it takes a moment later.

use std::error::Error;

use aws_sdk_eks::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::{
    Clients,
    error::{Purpose, failed, is_gone},
    tags::Tags,
};
use crate::resource::{Cause, ResourceError, Seen};

/// What EKS says of a role that IAM knows and EKS does not yet, or not with its policies. Read from the retries of
/// Terraform's provider for AWS.
const ROLE_NOT_YET_KNOWN: [&str; 5] = [
    "does not exist",
    "Error in role params",
    "Role could not be assumed because the trusted entity is not correct",
    "The provided role doesn't have the Amazon EKS Managed Policies associated with it",
    "IAM role's policy must include",
];

/// What EKS says of a principal that IAM has and EKS does not know yet.
const PRINCIPAL_NOT_YET_KNOWN: &str = "principalArn is invalid: invalid principal";
/// What EKS says of an access entry that it has made a moment ago.
const ENTRY_NOT_YET_KNOWN: &str = "principalArn could not be found";

/// What a call that makes or changes something gave.
pub(super) fn written<T, E>(
    action: &str,
    sent: Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, ResourceError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    sent.map_err(|error| judged(action, Purpose::Write, &error))
}

/// What a call that removes something gave; that it is gone already is no failure.
pub(super) fn deleted<T, E>(
    action: &str,
    sent: Result<T, SdkError<E, HttpResponse>>,
) -> Result<(), ResourceError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match sent {
        Err(error) if !is_gone(&error) => Err(judged(action, Purpose::Delete, &error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The id of what a create says is there already, if it is ours: the answer of an earlier call was lost.
pub(super) fn taken<O, E>(
    action: &str,
    error: &SdkError<E, HttpResponse>,
    seen: Option<Seen<O>>,
) -> Result<Option<String>, ResourceError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let failed = failed(action, Purpose::Write, error);
    match seen {
        Some(seen) if seen.foreign.is_none() => Ok(seen.id),
        Some(seen) => Err(ResourceError {
            cause: Cause::Refused,
            message: format!("{}; {}", failed.message, seen.foreign.unwrap_or_default()),
            ..failed
        }
        .hint("give this stack another name, or delete what has the name now")),
        // It is there and does not show yet, or it is on its way out.
        None => Err(ResourceError {
            cause: Cause::Transient,
            ..failed
        }),
    }
}

/// Writes tags on a thing of EKS that is there.
pub(super) async fn tag(clients: &Clients, arn: &str, tags: &Tags) -> Result<(), ResourceError> {
    if tags.is_empty() {
        return Ok(());
    }
    let call = clients.eks().await?.tag_resource().resource_arn(arn);
    let sent = call
        .set_tags(Some(tags.clone().into_iter().collect()))
        .send()
        .await;
    written("eks:TagResource", sent).map(drop)
}

fn judged<E>(action: &str, purpose: Purpose, error: &SdkError<E, HttpResponse>) -> ResourceError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let failed = failed(action, purpose, error);
    match (error.code(), error.message()) {
        (Some("ResourceLimitExceededException"), _) => {
            failed.hint("delete what is not used, or ask for a higher quota (Service Quotas, EKS)")
        }
        (Some(code), Some(message)) if passes(purpose, code, message) => ResourceError {
            cause: Cause::Transient,
            ..failed
        },
        _ => failed,
    }
}

/// Whether a refusal passes by itself: roles become known, and each cluster takes one change at a time.
fn passes(purpose: Purpose, code: &str, message: &str) -> bool {
    let says = |text: &&str| message.contains(*text);
    match code {
        "InvalidParameterException" => {
            ROLE_NOT_YET_KNOWN.iter().any(says) || purpose == Purpose::Write && says(&PRINCIPAL_NOT_YET_KNOWN)
        }
        "ResourceNotFoundException" => purpose == Purpose::Write && says(&ENTRY_NOT_YET_KNOWN),
        "InvalidRequestException" => ["not in ACTIVE", "not ACTIVE", "in progress", "UPDATING"]
            .iter()
            .any(says),
        // What is named so already stays; what is at work on it ends.
        "ResourceInUseException" => purpose == Purpose::Delete || !says(&"already"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::{error::ErrorMetadata, operation::create_cluster::CreateClusterError};

    use super::*;
    use crate::resource::Readiness;

    fn answered(code: &str, message: &str) -> SdkError<CreateClusterError, HttpResponse> {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let answer = HttpResponse::new(400.try_into().unwrap(), "".into());
        SdkError::service_error(CreateClusterError::generic(metadata), answer)
    }

    #[test]
    fn what_is_there_already_is_what_was_asked_for_if_it_is_ours() {
        let error = answered("ResourceInUseException", "Cluster already exists with name: c");
        let seen = |foreign: Option<&str>| Seen {
            id: Some("arn".to_owned()),
            outputs: (),
            readiness: Readiness::Ready,
            foreign: foreign.map(str::to_owned),
        };
        let taken = |seen| taken("eks:CreateCluster", &error, seen);
        assert_eq!(taken(Some(seen(None))).unwrap(), Some("arn".to_owned()));
        let refused = taken(Some(seen(Some("it is of stack 'other'")))).unwrap_err();
        assert_eq!(refused.cause, Cause::Refused);
        assert!(refused.message.ends_with("it is of stack 'other'"), "{refused}");
        assert_eq!(taken(None).unwrap_err().cause, Cause::Transient);
    }

    #[test]
    fn what_passes_by_itself_is_worth_the_same_call_again_and_nothing_else_is() {
        let busy = "Cluster 'c' is not in ACTIVE status";
        for (code, message, write, delete) in [
            ("InvalidParameterException", ROLE_NOT_YET_KNOWN[2], true, true),
            (
                "InvalidParameterException",
                "Role with arn: x, does not exist",
                true,
                true,
            ),
            (
                "InvalidParameterException",
                "The specified principalArn is invalid: invalid principal.",
                true,
                false,
            ),
            ("InvalidParameterException", "Unsupported version", false, false),
            ("InvalidRequestException", busy, true, true),
            ("InvalidRequestException", "Unsupported upgrade", false, false),
            (
                "ResourceInUseException",
                "Cluster already exists with name: c",
                false,
                true,
            ),
            (
                "ResourceInUseException",
                "Cluster has nodegroups attached",
                true,
                true,
            ),
            ("ResourceLimitExceededException", "too many", false, false),
        ] {
            let cause = |again| if again { Cause::Transient } else { Cause::Permanent };
            let made = written::<(), _>("eks:CreateCluster", Err(answered(code, message)));
            assert_eq!(made.unwrap_err().cause, cause(write), "{code}: {message}");
            let gone = deleted::<(), _>("eks:DeleteCluster", Err(answered(code, message)));
            assert_eq!(gone.unwrap_err().cause, cause(delete), "{code}: {message}");
        }
        let not_found = |message| answered("ResourceNotFoundException", message);
        for (message, cause) in [
            (
                "The specified principalArn could not be found. Try again.",
                Cause::Transient,
            ),
            ("No cluster found for name: c.", Cause::Permanent),
        ] {
            let made = written::<(), _>("eks:AssociateAccessPolicy", Err(not_found(message)));
            assert_eq!(made.unwrap_err().cause, cause, "{message}");
        }
        assert!(
            deleted::<(), _>(
                "eks:DeleteCluster",
                Err(answered("ResourceNotFoundException", "no"))
            )
            .is_ok()
        );
    }
}
