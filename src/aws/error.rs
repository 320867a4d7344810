use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use crate::resource::{Cause, ResourceError};

/// What a call gave, in the words of the engine.
pub(super) type Answer<T = ()> = Result<T, ResourceError>;

/// What a call was for: the same code means another thing to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
    Delete,
}

/// Whether a service that has one word for all its things says that what was named is not there: IAM, and EKS and
/// `CloudWatch` Logs.
pub(super) fn is_gone<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error.code(), Some("NoSuchEntity" | "ResourceNotFoundException"))
}

/// Whether AWS says that something of this name is there already.
pub(super) fn is_taken<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    error.code().is_some_and(|code| {
        code.ends_with(".Duplicate")
            || code.ends_with(".AlreadyExists")
            || code.ends_with(".AlreadyExistsException")
            || matches!(
                code,
                "ResourceInUseException" | "EntityAlreadyExists" | "ResourceAlreadyExistsException"
            )
    })
}

/// Whether AWS refuses a removal because something else still uses the thing.
pub(super) fn is_in_use<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error.code(), Some("DependencyViolation" | "DeleteConflict"))
}

/// What a call that looks gave. `action` is the call as IAM names it: `ec2:DescribeVpcs`.
pub(super) fn read<T, E>(action: &str, sent: Result<T, SdkError<E, HttpResponse>>) -> Result<T, ResourceError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    sent.map_err(|error| failed(action, Purpose::Read, &error))
}

/// What a call that makes or changes something gave.
pub(super) fn written<T, E>(
    action: &str,
    sent: Result<T, SdkError<E, HttpResponse>>,
) -> Result<T, ResourceError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    sent.map_err(|error| failed(action, Purpose::Write, &error))
}

/// What a call that removes something gave; that it is gone already is no failure.
///
/// `gone` is the code for that very thing. A call may name others as well, and that one of those is missing says nothing
/// of it.
pub(super) fn deleted<T, E>(
    action: &str,
    gone: &str,
    sent: Result<T, SdkError<E, HttpResponse>>,
) -> Result<(), ResourceError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match sent {
        Err(error) if error.code() != Some(gone) => Err(failed(action, Purpose::Delete, &error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A further call of a create whose first has made the thing. Where the engine would create again, it must look first:
/// it finds the thing by its mark, and an update does the rest.
pub(super) fn after_made<T>(result: Result<T, ResourceError>) -> Result<T, ResourceError> {
    result.map_err(|error| match error.cause {
        Cause::Transient | Cause::Throttled => ResourceError {
            cause: Cause::Lost,
            ..error
        },
        Cause::Lost | Cause::Unreachable | Cause::Refused | Cause::Outdated | Cause::Permanent => error,
    })
}

/// A failed call of AWS in the words of the engine. `action` is the call as IAM names it: `ec2:CreateVpc`.
pub(super) fn failed<E>(action: &str, purpose: Purpose, error: &SdkError<E, HttpResponse>) -> ResourceError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let mut failed = if let SdkError::ServiceError(answer) = error {
        let status = answer.raw().status().as_u16();
        // What is not AWS's own, such as a proxy's answer, has neither.
        let code = error
            .code()
            .map_or_else(|| format!("HTTP {status}"), str::to_owned);
        let message = error.message().map_or_else(|| reasons(error), str::to_owned);
        let (cause, hint) = meaning(action, purpose, &code, status);
        let failed = ResourceError::new(cause, format!("{action} gave {code}: {message}"));
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    } else if lacks_credentials(error) {
        let message = format!("{action} could not be signed: {}", reasons(error));
        ResourceError::new(Cause::Unreachable, message).hint(SIGN_IN)
    } else if matches!(error, SdkError::ConstructionFailure(_)) {
        ResourceError::permanent(format!("{action} could not be made: {}", reasons(error)))
    } else {
        // No answer came; whether the call had its effect is not known.
        ResourceError::new(Cause::Lost, format!("{action} got no answer: {}", reasons(error)))
    };
    failed.request_id = error.request_id().map(str::to_owned);
    failed
}

const SIGN_IN: &str = "sign in to AWS: set AWS_PROFILE or AWS_ACCESS_KEY_ID, and see that \
    'aws sts get-caller-identity' works";

/// Whether nothing was sent because there are no credentials. The SDK gives that the form of a lost connection.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (**error).source()).any(<dyn Error>::is::<CredentialsError>)
}

fn meaning(action: &str, purpose: Purpose, code: &str, status: u16) -> (Cause, Option<String>) {
    let permanent = |hint: &str| (Cause::Permanent, Some(hint.to_owned()));
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "EC2ThrottledException"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "SlowDown" => (Cause::Throttled, None),
        "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => (Cause::Unreachable, Some(SIGN_IN.to_owned())),
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => (
            Cause::Permanent,
            Some(format!(
                "allow {action} in a policy of the identity that runs stackup"
            )),
        ),
        // What it contains may be on its way out: interfaces of load balancers take minutes.
        "DependencyViolation" | "DeleteConflict" if purpose == Purpose::Delete => (
            Cause::Transient,
            Some(
                "something that is not of this stack still uses it: look at its network interfaces"
                    .to_owned(),
            ),
        ),
        // What uses it is on its way out.
        "ResourceInUse" | "VolumeInUse" | "InvalidNetworkInterface.InUse" if purpose == Purpose::Delete => {
            (Cause::Transient, None)
        }
        // Another change of the same thing is under way.
        "ConcurrentModification"
        | "ConcurrentModificationException"
        | "IncorrectState"
        | "OperationAborted"
        | "OperationAbortedException" => (Cause::Transient, None),
        "InvalidSubnet.Conflict" | "InvalidSubnet.Range" | "InvalidVpc.Range" => {
            permanent("choose another range of addresses in the stack file")
        }
        // A thing that was just made is not yet known everywhere; one that was just removed still shows in lists.
        code if (code.ends_with(".NotFound") || matches!(code, "NoSuchEntity" | "NatGatewayNotFound"))
            && purpose != Purpose::Read =>
        {
            (Cause::Transient, None)
        }
        code if code.ends_with("LimitExceeded") || code == "LimitExceededException" => {
            permanent("delete what is not used, or ask for a higher quota (Service Quotas)")
        }
        // It may have happened before AWS failed.
        "InternalError"
        | "InternalFailure"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | "ServerException"
        | "ServiceFailure" => (Cause::Lost, None),
        "ServiceUnavailable" | "ServiceUnavailableException" | "Unavailable" => (Cause::Transient, None),
        _ if status >= 500 => (Cause::Lost, None),
        _ => (Cause::Permanent, None),
    }
}

/// An error with everything that is behind it, in one line.
fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for error in std::iter::successors(Some(error), |error| (**error).source()) {
        let reason = error.to_string();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons.join(": ")
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::{error::ErrorMetadata, operation::create_vpc::CreateVpcError};

    use super::*;

    fn answered(code: &str, status: u16) -> SdkError<CreateVpcError, HttpResponse> {
        let metadata = ErrorMetadata::builder().code(code).message("words").build();
        let mut answer = HttpResponse::new(status.try_into().unwrap(), "".into());
        answer.headers_mut().insert("x-amzn-requestid", "id-1");
        SdkError::service_error(CreateVpcError::generic(metadata), answer)
    }

    #[test]
    fn each_code_says_what_the_engine_should_do() {
        for (code, status, purpose, cause) in [
            ("RequestLimitExceeded", 503, Purpose::Write, Cause::Throttled),
            ("InternalError", 500, Purpose::Read, Cause::Lost),
            ("NobodyKnowsThisOne", 503, Purpose::Read, Cause::Lost),
            ("NobodyKnowsThisOne", 400, Purpose::Read, Cause::Permanent),
            ("ExpiredToken", 400, Purpose::Read, Cause::Unreachable),
            ("AuthFailure", 401, Purpose::Write, Cause::Unreachable),
            ("DependencyViolation", 400, Purpose::Delete, Cause::Transient),
            ("DependencyViolation", 400, Purpose::Write, Cause::Permanent),
            ("InvalidVpcID.NotFound", 400, Purpose::Write, Cause::Transient),
            ("InvalidVpcID.NotFound", 400, Purpose::Delete, Cause::Transient),
            ("InvalidVpcID.NotFound", 400, Purpose::Read, Cause::Permanent),
            ("VpcLimitExceeded", 400, Purpose::Write, Cause::Permanent),
            ("NatGatewayLimitExceeded", 400, Purpose::Write, Cause::Permanent),
            ("DeleteConflict", 409, Purpose::Delete, Cause::Transient),
            ("ResourceInUse", 400, Purpose::Delete, Cause::Transient),
            ("ResourceInUse", 400, Purpose::Write, Cause::Permanent),
            ("VolumeInUse", 400, Purpose::Delete, Cause::Transient),
            (
                "InvalidNetworkInterface.InUse",
                400,
                Purpose::Delete,
                Cause::Transient,
            ),
            ("RequestTimeout", 400, Purpose::Write, Cause::Lost),
            ("RequestTimeoutException", 400, Purpose::Read, Cause::Lost),
            ("OperationAborted", 409, Purpose::Write, Cause::Transient),
            (
                "OperationAbortedException",
                400,
                Purpose::Delete,
                Cause::Transient,
            ),
            ("ConcurrentModification", 409, Purpose::Write, Cause::Transient),
            ("NoSuchEntity", 404, Purpose::Write, Cause::Transient),
            ("NoSuchEntity", 404, Purpose::Read, Cause::Permanent),
            ("UnauthorizedOperation", 403, Purpose::Write, Cause::Permanent),
        ] {
            let failed = failed("ec2:CreateVpc", purpose, &answered(code, status));
            assert_eq!(failed.cause, cause, "{code} {status} {purpose:?}");
            assert_eq!(
                failed.to_string(),
                format!("ec2:CreateVpc gave {code}: words (request id-1)")
            );
        }
    }

    #[test]
    fn an_answer_that_is_not_of_aws_is_told_by_its_status() {
        let answer = HttpResponse::new(403.try_into().unwrap(), "".into());
        let unknown = CreateVpcError::unhandled("not in the words of AWS");
        let failed = failed(
            "ec2:CreateVpc",
            Purpose::Write,
            &SdkError::service_error(unknown, answer),
        );
        assert_eq!(failed.cause, Cause::Permanent);
        assert!(
            failed.message.starts_with("ec2:CreateVpc gave HTTP 403: "),
            "{failed}"
        );
        assert!(failed.message.contains("not in the words of AWS"), "{failed}");
    }

    #[test]
    fn a_create_that_got_half_way_is_looked_for_before_it_is_called_again() {
        for (cause, then) in [
            (Cause::Transient, Cause::Lost),
            (Cause::Throttled, Cause::Lost),
            (Cause::Permanent, Cause::Permanent),
            (Cause::Unreachable, Cause::Unreachable),
        ] {
            let failed = after_made::<()>(Err(ResourceError::new(cause, "words"))).unwrap_err();
            assert_eq!(failed.cause, then, "{cause:?}");
        }
    }

    #[test]
    fn what_is_gone_already_counts_as_deleted_and_another_thing_that_is_gone_does_not() {
        let detach = |code: &str| {
            let sent = Err(answered(code, 400));
            deleted::<(), _>("ec2:DetachInternetGateway", "Gateway.NotAttached", sent)
        };
        assert!(detach("Gateway.NotAttached").is_ok());
        // Each is looked at once more before the call is made again.
        for other in [
            "InvalidVpcID.NotFound",
            "InvalidInternetGatewayID.NotFound",
            "DependencyViolation",
        ] {
            assert_eq!(detach(other).unwrap_err().cause, Cause::Transient, "{other}");
        }
    }

    #[test]
    fn a_lost_answer_may_have_had_its_effect_and_a_call_without_credentials_had_none() {
        type Failed = SdkError<CreateVpcError, HttpResponse>;
        let lost = Failed::timeout_error("too slow");
        assert_eq!(failed("ec2:CreateVpc", Purpose::Write, &lost).cause, Cause::Lost);
        let unsigned = Failed::construction_failure(CredentialsError::not_loaded("nobody is signed in"));
        let unsigned = failed("ec2:CreateVpc", Purpose::Write, &unsigned);
        assert_eq!(unsigned.cause, Cause::Unreachable);
        assert!(unsigned.message.contains("nobody is signed in"), "{unsigned}");
        let unmade = failed(
            "CreateVpc",
            Purpose::Write,
            &Failed::construction_failure("no range"),
        );
        assert_eq!(unmade.cause, Cause::Permanent);
    }
}
