use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use tokio::sync::OnceCell;

use crate::resource::{Cause, ResourceError};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a call is sent that nobody else repeats.
const ATTEMPTS: u32 = 8;

/// The SDK's clients of one region, made when the first call needs them.
///
/// Credentials and endpoints come from where the SDK looks for them: environment, profile, web identity, instance.
#[derive(Debug, Default)]
pub struct Clients {
    region: Option<String>,
    /// How often one call is sent.
    attempts: Option<u32>,
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
                .get_or_try_init(async || Ok($of::Client::new(self.configuration().await?)))
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
        // Once a service throttles, its token bucket holds further calls back, and fills faster while none is refused.
        // The engine repeats calls; twice would be squared.
        let retry = RetryConfig::adaptive().with_max_attempts(self.attempts.unwrap_or(1));
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

fn no_region() -> ResourceError {
    ResourceError::new(Cause::Unreachable, "no AWS region is set").hint(
        "set cluster.region in the stack file, AWS_REGION, or a region in the profile that AWS_PROFILE names",
    )
}
