use std::path::PathBuf;

use clap::Args;

use super::{
    cloud,
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::Global,
    output::{outputs, remembered},
    print::{print, tell_person},
    screen::Screen,
};
use crate::local::{self, LocalError};

const EXAMPLES: &str = "\
Examples:
  stackup kubeconfig --write k.yaml      into a file of its own, readable by you only
  stackup kubeconfig --merge             into your own kubeconfig, as one more context
  KUBECONFIG=k.yaml kubectl get nodes";

/// Print or write the kubeconfig of the stack's cluster.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Kubeconfig {
    /// Write it to this file instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "merge")]
    write: Option<PathBuf>,
    /// Add it to your own kubeconfig, which keeps its current context
    #[arg(long)]
    merge: bool,
}

impl Kubeconfig {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let session = remembered(global, environment, screen).await?;
        let outputs = outputs(&session)?;
        let text = |name: &str| {
            outputs
                .get(name)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let failed = |error: LocalError| {
            CliError::new(Exit::Failed, "could not give out the kubeconfig").cause(&error)
        };
        let config = match cloud::kubeconfig(&outputs, &program()) {
            Some(config) => local::Kubeconfig::parse(&PathBuf::new(), &config.to_string()),
            None => local::Kubeconfig::read(&PathBuf::from(text("kubeconfig")))
                .and_then(|config| config.select(&text("context")))
                .and_then(local::Kubeconfig::embed),
        }
        .map_err(failed)?;
        let to = if self.merge {
            let own = environment.kubeconfig().ok_or_else(|| {
                CliError::new(
                    Exit::Usage,
                    "it is not known where your kubeconfig is: neither KUBECONFIG nor HOME is set",
                )
            })?;
            let merged = if own.exists() {
                local::Kubeconfig::read(&own).map_err(failed)?.merge(&config)
            } else {
                config
            };
            merged.write(&own).map_err(failed)?;
            own
        } else if let Some(path) = self.write {
            config.write(&path).map_err(failed)?;
            path
        } else {
            print(&config.text().map_err(failed)?);
            return Ok(Exit::Done);
        };
        if !global.quiet {
            tell_person(&format!(
                "wrote the context {} to {}",
                text("context"),
                to.display()
            ));
        }
        Ok(Exit::Done)
    }
}

/// This program, as another one can start it.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "stackup".to_owned(), |path| path.display().to_string())
}
