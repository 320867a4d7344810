use clap::Args;
use serde_json::json;

use super::{
    cloud, context, environment::Environment, error::CliError, exit::Exit, flags::Global, print::print,
    screen::Screen,
};
use crate::{
    aws::{Clients, token},
    model::ClusterModel,
};

const EXAMPLES: &str = "\
Examples:
  stackup token --cluster demo --region eu-central-1     as the kubeconfig of stackup calls it
  stackup token                                          for the cluster of the stack file here";

/// Print a token for a cluster of EKS, as kubectl's credential plugins do.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Token {
    /// The cluster's name [default: that of the stack file]
    #[arg(long)]
    cluster: Option<String>,
    /// Its region [default: that of the stack file, or of the environment]
    #[arg(long)]
    region: Option<String>,
}

impl Token {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        _: &Screen,
    ) -> Result<Exit, CliError> {
        let (cluster, region) = if let Some(cluster) = self.cluster {
            (cluster, self.region)
        } else {
            let model = context::model(global, environment)?;
            let ClusterModel::Eks(eks) = &model.cluster else {
                return Err(CliError::new(
                    Exit::Usage,
                    format!(
                        "the cluster of {} is not one of EKS: it takes no token",
                        model.name
                    ),
                )
                .hint("stackup kubeconfig writes what its provider takes"));
            };
            (
                model.name.clone(),
                self.region.or_else(|| Some(eks.region.clone())),
            )
        };
        let token = token(&Clients::new(region), &cluster).await?;
        print(
            &json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": {
                    "token": token.text.expose(),
                    "expirationTimestamp": cloud::seconds(token.renew),
                },
            })
            .to_string(),
        );
        Ok(Exit::Done)
    }
}
