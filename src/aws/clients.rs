use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority, RetryReason},
};
use aws_smithy_types::retry::ErrorKind;
use tokio::sync::OnceCell;

use super::eks::Updates;
use crate::resource::{Cause, ResourceError};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a call is sent that nobody else repeats.
const ATTEMPTS: u32 = 8;
/// How often a call is sent that the engine repeats, as long as the service only refuses it as too many.
const THROTTLED: u32 = 6;

/// The SDK's clients of one region, made when the first call needs them.
///
/// Credentials and endpoints come from where the SDK looks for them: environment, profile, web identity, instance.
#[derive(Debug, Default)]
pub struct Clients {
    region: Option<String>,
    /// How often one call is sent.
    attempts: Option<u32>,
    /// What EKS has been asked to change.
    pub(super) updates: Updates,
    configuration: OnceCell<SdkConfig>,
    autoscaling: OnceCell<aws_sdk_autoscaling::Client>,
    ec2: OnceCell<aws_sdk_ec2::Client>,
    eks: OnceCell<aws_sdk_eks::Client>,
    elb: OnceCell<aws_sdk_elasticloadbalancing::Client>,
    elbv2: OnceCell<aws_sdk_elasticloadbalancingv2::Client>,
    iam: OnceCell<aws_sdk_iam::Client>,
    logs: OnceCell<aws_sdk_cloudwatchlogs::Client>,
    quotas: OnceCell<aws_sdk_servicequotas::Client>,
    s3: OnceCell<aws_sdk_s3::Client>,
    sts: OnceCell<aws_sdk_sts::Client>,
}

/// One accessor a service: the client is made from the one configuration, once.
macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $of:ident,)*) => {
        $($(#[$doc])*
        pub(super) async fn $name(&self) -> Result<&$of::Client, ResourceError> {
            self.$name
                .get_or_try_init(async || {
                    let configuration = $of::config::Builder::from(self.configuration().await?);
                    let configuration = match self.attempts {
                        Some(_) => configuration,
                        None => configuration.retry_classifier(OnlyThrottled),
                    };
                    Ok($of::Client::from_conf(configuration.build()))
                })
                .await
        })*
    };
}

impl Clients {
    /// Clients of `region`, or else of the region that the environment or the profile names. Calls nobody.
    pub fn new(region: Option<String>) -> Self {
        Self {
            region,
            ..Self::default()
        }
    }

    /// The same for calls that the engine does not make, and therefore does not repeat: the SDK does.
    pub fn patient(region: Option<String>) -> Self {
        Self {
            attempts: Some(ATTEMPTS),
            ..Self::new(region)
        }
    }

    clients! {
        /// Auto Scaling: why a node group gets no instances.
        autoscaling: aws_sdk_autoscaling,
        /// Networks, instances, volumes.
        ec2: aws_sdk_ec2,
        /// Clusters.
        eks: aws_sdk_eks,
        /// Classic load balancers, as Services of type `LoadBalancer` make them.
        elb: aws_sdk_elasticloadbalancing,
        /// Network and application load balancers.
        elbv2: aws_sdk_elasticloadbalancingv2,
        /// Roles.
        iam: aws_sdk_iam,
        /// Log groups.
        logs: aws_sdk_cloudwatchlogs,
        /// How much of everything an account may have.
        quotas: aws_sdk_servicequotas,
        /// Buckets.
        s3: aws_sdk_s3,
        /// Who we are.
        sts: aws_sdk_sts,
    }

    /// The region that calls go to.
    pub(super) async fn region(&self) -> Result<String, ResourceError> {
        let region = self.configuration().await?.region().map(ToString::to_string);
        region.ok_or_else(no_region)
    }

    pub(super) async fn configuration(&self) -> Result<&SdkConfig, ResourceError> {
        self.configuration.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<SdkConfig, ResourceError> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(PATIENCE)
            .build();
        // Not adaptive: its bucket slows down to one call in two seconds for as long as others keep the account throttled.
        let retry = RetryConfig::standard().with_max_attempts(self.attempts.unwrap_or(THROTTLED));
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(retry)
            .timeout_config(timeouts);
        if let Ok(name) = AppName::new(concat!("stackup-", env!("CARGO_PKG_VERSION"))) {
            loader = loader.app_name(name);
        }
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let configuration = loader.load().await;
        if configuration.region().is_none() {
            return Err(no_region());
        }
        Ok(configuration)
    }
}

/// Has the SDK repeat only what was refused as one call too many: that had no effect. What takes many calls would hardly
/// end if each such refusal began it anew. All else is the engine's to repeat; twice would be squared.
#[derive(Debug)]
struct OnlyThrottled;

impl ClassifyRetry for OnlyThrottled {
    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        RetryAction::RetryForbidden
    }

    fn classify_retry_v2(&self, context: &InterceptorContext, previous: &RetryAction) -> RetryAction {
        if let RetryAction::RetryIndicated(RetryReason::RetryableError {
            kind: ErrorKind::ThrottlingError,
            ..
        }) = previous
        {
            // Then the verdict stays.
            RetryAction::NoActionIndicated
        } else {
            self.classify_retry(context)
        }
    }

    fn name(&self) -> &'static str {
        "only throttled"
    }

    /// After all that the SDK knows by itself.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

fn no_region() -> ResourceError {
    ResourceError::new(Cause::Unreachable, "no AWS region is set").hint(
        "set cluster.region in the stack file, AWS_REGION, or a region in the profile that AWS_PROFILE names",
    )
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::interceptors::context::Input;

    use super::*;

    #[test]
    fn only_what_was_refused_as_one_call_too_many_is_sent_again_without_the_engine() {
        let context = InterceptorContext::new(Input::erase(()));
        for (verdict, then) in [
            (RetryAction::throttling_error(), RetryAction::NoActionIndicated),
            (RetryAction::transient_error(), RetryAction::RetryForbidden),
            (RetryAction::server_error(), RetryAction::RetryForbidden),
            (RetryAction::NoActionIndicated, RetryAction::RetryForbidden),
        ] {
            assert_eq!(
                OnlyThrottled.classify_retry_v2(&context, &verdict),
                then,
                "{verdict}"
            );
        }
    }
}
