use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    context::{self, Session, holder, random},
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::{Format, Global},
    output::remembered,
    print::print,
    screen::Screen,
    store::{make_bucket, store},
};
use crate::{model::Address, state::StateError};

const EXAMPLES: &str = "\
Examples:
  stackup state list                     one address a line
  stackup state show k8s/Namespace/monitoring
  stackup state init                     make the bucket of state.s3, or say what it lacks
  stackup state unlock                   who holds the lock, if someone does";

/// Look at what stackup remembers, and set up where it does.
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
    /// Make the bucket that the stack file names: private, versioned, encrypted, with TLS only
    Init {
        /// Also set what a bucket that is there lacks
        #[arg(long)]
        mend: bool,
    },
    /// Say who holds the lock; remove one in a bucket whose holder gives no sign of life any more
    Unlock,
}

impl State {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        match self.verb {
            StateVerb::Init { mend } => return init(global, environment, mend).await,
            StateVerb::Unlock => return unlock(global, environment).await,
            StateVerb::List => list(&remembered(global, environment, screen).await?, global),
            StateVerb::Show { address } => show(&remembered(global, environment, screen).await?, &address)?,
        }
        Ok(Exit::Done)
    }
}

fn list(session: &Session, global: &Global) {
    let addresses = session.loaded.snapshot.resources.keys();
    print(&match global.output {
        Format::Json => json!(addresses.collect::<Vec<_>>()).to_string(),
        Format::Text => addresses.map(Address::as_str).collect::<Vec<_>>().join("\n"),
    });
}

fn show(session: &Session, address: &str) -> Result<(), CliError> {
    let entry = Address::parse(address)
        .ok()
        .and_then(|address| session.loaded.snapshot.resources.get(&address))
        .ok_or_else(|| {
            CliError::new(Exit::Usage, format!("nothing is remembered of '{address}'"))
                .hint("see what is with 'stackup state list'")
        })?;
    print(&format!("{:#}", json!(entry)));
    Ok(())
}

async fn init(global: &Global, environment: &Environment, mend: bool) -> Result<Exit, CliError> {
    let model = context::model(global, environment)?;
    let Some(bucket) = &model.state else {
        return Err(CliError::new(
            Exit::Usage,
            "the stack file names no bucket, and the folder .stackup needs no setting up",
        )
        .hint("name one as in state: {s3: {bucket: my-bucket}}"));
    };
    print(&make_bucket(bucket, mend).await?);
    Ok(Exit::Done)
}

/// Neither manifests nor the state are read: what is wrong there must not keep a lock standing.
async fn unlock(global: &Global, environment: &Environment) -> Result<Exit, CliError> {
    let model = context::model(global, environment)?;
    let folder = model.folder.join(".stackup").join(&model.name);
    let mut store = store(&model, &folder, random(32)?).await?;
    match store.unlock(&holder("state unlock")).await {
        Ok(None) => print("Nobody holds the lock."),
        Ok(Some(gone)) => print(&format!(
            "Removed the lock of {gone}: it gave no sign of life for longer than its lease."
        )),
        Err(StateError::Locked(holder)) => {
            return Err(
                CliError::new(Exit::Locked, format!("the lock is held by {holder}, which is alive"))
                    .hint("wait until it has ended, or end that process; the lock goes with it, in a bucket after a minute"),
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}
