use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    arguments::{Format, Global},
    context::{Environment, Screen},
    error::CliError,
    exit::Exit,
    output::remembered,
    run::print,
};
use crate::model::Address;

const EXAMPLES: &str = "\
Examples:
  stackup state list                     one address a line
  stackup state show k8s/Namespace/monitoring
  stackup state unlock                   who holds the lock, if someone does";

/// Look at what stackup remembers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct State {
    #[command(subcommand)]
    verb: StateVerb,
}

#[derive(Debug, Subcommand)]
enum StateVerb {
    /// Print one address a line
    List,
    /// Print what is remembered of one resource
    Show {
        /// Which
        address: String,
    },
    /// Say who holds the lock; it goes with its process, so there is nothing to break
    Unlock,
}

impl State {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        _: &Screen,
    ) -> Result<Exit, CliError> {
        let session = remembered(global, environment).await?;
        let resources = &session.loaded.snapshot.resources;
        match self.verb {
            StateVerb::List => match global.output {
                Format::Json => print(&json!(resources.keys().collect::<Vec<_>>()).to_string()),
                Format::Text => {
                    let lines: Vec<&str> = resources.keys().map(Address::as_str).collect();
                    print(&lines.join("\n"));
                }
            },
            StateVerb::Show { address } => {
                let entry = Address::parse(&address)
                    .ok()
                    .and_then(|address| resources.get(&address))
                    .ok_or_else(|| {
                        CliError::new(Exit::Usage, format!("nothing is remembered of '{address}'"))
                            .hint("see what is with 'stackup state list'")
                    })?;
                print(&format!("{:#}", json!(entry)));
            }
            StateVerb::Unlock => match session.store.holder()? {
                Some(holder) => {
                    return Err(CliError::new(
                        Exit::Locked,
                        format!("the lock is held by {holder}, which is alive"),
                    )
                    .hint("wait until it has ended, or end that process; the lock goes with it"));
                }
                None => print("Nobody holds the lock."),
            },
        }
        Ok(Exit::Done)
    }
}
