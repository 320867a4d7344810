use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::Client;
use tokio::sync::OnceCell;

use crate::resource::{Cause, ResourceError};

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The SDK's clients, made when the first call needs them.
///
/// Credentials, region and endpoint come from where the SDK looks for them: environment, profile, instance.
#[derive(Debug, Default)]
pub struct Clients {
    region: Option<String>,
    ec2: OnceCell<Client>,
}

impl Clients {
    /// Clients of `region`, or else of the region that the environment or the profile names. Calls nobody.
    pub fn new(region: Option<String>) -> Self {
        Self {
            region,
            ec2: OnceCell::new(),
        }
    }

    /// The client for networks.
    pub(super) async fn ec2(&self) -> Result<&Client, ResourceError> {
        self.ec2
            .get_or_try_init(async || Ok(Client::new(&self.configuration().await?)))
            .await
    }

    async fn configuration(&self) -> Result<aws_config::SdkConfig, ResourceError> {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(PATIENCE)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            // The engine repeats calls; twice would be squared.
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let configuration = loader.load().await;
        if configuration.region().is_none() {
            let message = "no AWS region is set";
            return Err(ResourceError::new(Cause::Unreachable, message)
                .hint("set AWS_REGION, or a region in the profile that AWS_PROFILE names"));
        }
        Ok(configuration)
    }
}
