//! Who runs this program at AWS, and the tokens by which that identity shows itself to an EKS cluster.

use std::{borrow::Cow, time::Duration};

use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use aws_sdk_iam::error::ProvideErrorMetadata as _;
use aws_sdk_sts::{
    config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _},
    operation::get_caller_identity::GetCallerIdentityOutput,
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use aws_types::service_config::ServiceConfigKey;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};

use super::{Clients, error::read};
use crate::{
    model::Secret,
    resource::{Cause, ResourceError},
};

/// How EKS knows its tokens.
const PREFIX: &str = "k8s-aws-v1.";
/// The header that ties a token to one cluster.
const CLUSTER: &str = "x-k8s-aws-id";
/// How long the request in a token may be sent, as the AWS command line has it.
const SENDABLE: Duration = Duration::from_mins(1);
/// How long EKS takes a token after it was signed, and when it is renewed.
const VALID: SignedDuration = SignedDuration::from_mins(15);
const FRESH: SignedDuration = SignedDuration::from_mins(14);

/// What a cluster of EKS takes as proof of who calls.
#[derive(Debug, Clone)]
pub struct Token {
    /// The bearer token.
    pub text: Secret<String>,
    /// When another one should be made.
    pub renew: Timestamp,
    /// When no cluster takes it any more.
    pub expires: Timestamp,
}

/// How the names of the roles of IAM Identity Center begin. All of them have a path.
const OF_SSO: &str = "AWSReservedSSO_";

/// Who runs this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account, twelve digits.
    pub account: String,
    /// The ARN as STS tells it: of a session, where a role is assumed.
    pub arn: String,
    /// The ARN that access entries are made for: of the role or user behind the session.
    pub principal: String,
    /// Whether that is only what the session's name says, since nobody may ask: it is wrong if the role has a path.
    pub guessed: bool,
}

/// A token for the cluster of this name: a signed request to STS that only EKS sends, so nothing is called here.
///
/// # Errors
///
/// [`Cause::Unreachable`] if there are no credentials or no region.
pub async fn token(clients: &Clients, cluster: &str) -> Result<Token, ResourceError> {
    let configuration = clients.configuration().await?;
    let region = clients.region().await?;
    let provider = configuration
        .credentials_provider()
        .ok_or_else(|| unsigned(&"no provider of credentials"))?;
    let credentials = provider
        .provide_credentials()
        .await
        .map_err(|error| unsigned(&error))?;
    let url = endpoint(clients, &region).await?;
    let now = now();
    let text = signed(&credentials, &url, &region, cluster, now).map_err(|error| unsigned(&error))?;
    Ok(Token {
        text: Secret::new(text),
        renew: now + FRESH,
        expires: now + VALID,
    })
}

/// Asks AWS which account this program is signed in to.
///
/// # Errors
///
/// As any call of AWS: without credentials [`Cause::Unreachable`].
pub async fn account(clients: &Clients) -> Result<String, ResourceError> {
    Ok(caller(clients).await?.account.unwrap_or_default())
}

async fn caller(clients: &Clients) -> Result<GetCallerIdentityOutput, ResourceError> {
    let call = clients.sts().await?.get_caller_identity();
    read("sts:GetCallerIdentity", call.send().await)
}

/// Asks AWS who runs this program.
///
/// # Errors
///
/// As any call of AWS: without credentials [`Cause::Unreachable`]. [`Cause::Refused`] if the role of a session is not
/// known and cannot be guessed.
pub async fn identity(clients: &Clients) -> Result<Identity, ResourceError> {
    let caller = caller(clients).await?;
    let arn = caller.arn.unwrap_or_default();
    let (principal, guessed) = match assumed(&arn) {
        Some((role, from_its_name)) => {
            // The ARN of a session lacks the path that its role may have, as those of SSO do.
            let sent = clients.iam().await?.get_role().role_name(role).send().await;
            let denied = matches!(&sent, Err(error) if error.code() == Some("AccessDenied"));
            match read("iam:GetRole", sent) {
                Err(error) if denied && role.starts_with(OF_SSO) => {
                    let message =
                        format!("the ARN of {role}, which has a path, cannot be asked for: {error}");
                    return Err(ResourceError::new(Cause::Refused, message).hint(ALLOW));
                }
                Err(_) if denied => (from_its_name, true),
                told => (told?.role.map_or(from_its_name, |role| role.arn), false),
            }
        }
        None => (arn.clone(), false),
    };
    Ok(Identity {
        account: caller.account.unwrap_or_default(),
        arn,
        principal,
        guessed,
    })
}

/// What to do where the ARN of a session's role is not known.
pub(super) const ALLOW: &str = "allow iam:GetRole in a policy of the identity that runs stackup: a session does not \
    tell the path of its role";

/// The name of the role that a session is of, and its ARN if it has no path.
fn assumed(arn: &str) -> Option<(&str, String)> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &[_, partition, "sts", _, account, resource] = parts.as_slice() else {
        return None;
    };
    let (role, _session) = resource.strip_prefix("assumed-role/")?.split_once('/')?;
    Some((role, format!("arn:{partition}:iam::{account}:role/{role}")))
}

/// Where STS is for this region, or where the user says that it is.
async fn endpoint(clients: &Clients, region: &str) -> Result<String, ResourceError> {
    let configuration = clients.configuration().await?;
    let key = ServiceConfigKey::builder()
        .service_id("STS")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let own = key
        .ok()
        .and_then(|key| configuration.service_config()?.load_config(key));
    if let Some(url) = own.or_else(|| configuration.endpoint_url().map(str::to_owned)) {
        return Ok(url);
    }
    let failed = |error: &dyn std::fmt::Display| {
        ResourceError::permanent(format!(
            "where STS is for region '{region}' cannot be found out: {error}"
        ))
        .hint("see that the region's name is right")
    };
    let params = Params::builder()
        .region(region)
        .build()
        .map_err(|error| failed(&error))?;
    let endpoint = DefaultResolver::new()
        .resolve_endpoint(&params)
        .await
        .map_err(|error| failed(&error))?;
    Ok(endpoint.url().to_owned())
}

type Unsigned = Box<dyn std::error::Error + Send + Sync>;

/// The token for a moment: the address of a signed request, without padding.
fn signed(
    credentials: &Credentials,
    url: &str,
    region: &str,
    cluster: &str,
    now: Timestamp,
) -> Result<String, Unsigned> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(SENDABLE);
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("sts")
        .time(now.into())
        .settings(settings)
        .build()?;
    let url = format!(
        "{}/?Action=GetCallerIdentity&Version=2011-06-15",
        url.trim_end_matches('/')
    );
    let headers = std::iter::once((CLUSTER, cluster));
    let request = SignableRequest::new("GET", Cow::from(&url), headers, SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(request, &params.into())?.into_parts();
    let mut request = http::Request::get(&url).body(())?;
    instructions.apply_to_request_http1x(&mut request);
    Ok(format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(request.uri().to_string())
    ))
}

fn unsigned(error: &dyn std::fmt::Display) -> ResourceError {
    ResourceError::new(
        Cause::Unreachable,
        format!("a token for the cluster could not be signed: {error}"),
    )
    .hint("sign in to AWS: see that 'aws sts get-caller-identity' works")
}

#[expect(
    clippy::disallowed_methods,
    reason = "signatures carry the time of day; what is made from it takes it as a value"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn made(cluster: &str) -> (String, BTreeMap<String, String>) {
        let credentials = Credentials::new("AKID", "SECRET", Some("SESSION/+=".to_owned()), None, "test");
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let token = signed(
            &credentials,
            "https://sts.eu-central-1.amazonaws.com",
            "eu-central-1",
            cluster,
            now,
        );
        let token = token.unwrap();
        assert!(!token.contains('='), "{token}");
        let url = URL_SAFE_NO_PAD
            .decode(token.strip_prefix(PREFIX).unwrap())
            .unwrap();
        let url = String::from_utf8(url).unwrap();
        let (place, query) = url.split_once('?').unwrap();
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        };
        (place.to_owned(), query.split('&').map(pair).collect())
    }

    #[test]
    fn a_token_is_a_signed_question_who_calls_for_one_cluster_and_one_minute() {
        let (place, query) = made("demo");
        assert_eq!(place, "https://sts.eu-central-1.amazonaws.com/");
        for (key, value) in [
            ("Action", "GetCallerIdentity"),
            ("Version", "2011-06-15"),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            (
                "X-Amz-Credential",
                "AKID%2F20260102%2Feu-central-1%2Fsts%2Faws4_request",
            ),
            ("X-Amz-Date", "20260102T030405Z"),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "host%3Bx-k8s-aws-id"),
            ("X-Amz-Security-Token", "SESSION%2F%2B%3D"),
        ] {
            assert_eq!(query[key], value, "{key}");
        }
        assert_eq!(query["X-Amz-Signature"].len(), 64);
        assert_ne!(made("other").1["X-Amz-Signature"], query["X-Amz-Signature"]);
    }

    #[test]
    fn a_session_is_of_a_role_and_a_user_is_of_itself() {
        let session = "arn:aws-cn:sts::123456789012:assumed-role/ci/run/7";
        assert_eq!(
            assumed(session),
            Some(("ci", "arn:aws-cn:iam::123456789012:role/ci".to_owned()))
        );
        assert_eq!(assumed("arn:aws:iam::123456789012:user/me"), None);
        assert_eq!(assumed("arn:aws:sts::123456789012:federated-user/me"), None);
    }
}
