use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use super::{
    apply::tell_ending,
    cloud,
    context::{holder, random},
    environment::Environment,
    error::{CliError, stays},
    exit::Exit,
    flags::{Format, Global},
    print::{print, tell_error, tell_person},
    screen::Screen,
    signals,
    tell::Telling,
};
use crate::{
    aws::{self, Audited, Clients, Tagged},
    engine::{Cancel, Canceller, Executed, Run, execute, plan, refresh},
    model::{EventKind, Events, Outcome, Secret, Verb},
    output::Ending,
    resource::{Registry, Stack},
    state::{Entry, FileStore, KeyedHash, Loaded, Snapshot, Status},
};

const EXAMPLES: &str = "\
Examples:
  stackup reap --region eu-central-1             what is over its time there; nothing is changed
  stackup reap --region eu-central-1 --yes       take it down
  stackup reap --stack shop-ci-4711 --yes        one stack, whatever its time, whose state is lost";

/// Take down stacks of AWS whose lifetime is over. Needs no state: only what carries the tags of stackup is touched.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Reap {
    /// Where to look [default: the region of the environment]
    #[arg(long)]
    region: Option<String>,
    /// Only the stack of this name, and even if its time is not over
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Take them down; without it, they are only listed
    #[arg(short, long)]
    yes: bool,
}

impl Reap {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let patient = Clients::patient(self.region.clone());
        let found = aws::stacks(&patient, cloud::now().into()).await?;
        let (taken, kept): (Vec<Tagged>, Vec<Tagged>) =
            found.into_iter().partition(|stack| match &self.stack {
                Some(name) => stack.name == *name,
                None => stack.expired,
            });
        list(&taken, &kept, self.yes, global);
        if taken.is_empty() || !self.yes {
            return Ok(Exit::Done);
        }
        let pace = environment.pace()?;
        // One for all: what stops one stack stops those after it.
        let (canceller, cancel) = Canceller::new();
        signals::listen(canceller)?;
        let mut worst = Exit::Done;
        for stack in taken {
            if let Some(stop) = cancel.stopped() {
                return Ok(Exit::Signal(stop));
            }
            let name = stack.name.clone();
            let taken = self.take(stack, pace, cancel.clone(), global, screen).await;
            let exit = taken.unwrap_or_else(|error| {
                // What keeps this one must not keep the others, which cost money.
                tell_error(&error, global, screen);
                error.exit
            });
            if exit != Exit::Done && global.output == Format::Text {
                tell_person(&format!(
                    "{name} is not wholly gone; the same command goes on with it"
                ));
            }
            worst = worst.worse(exit);
        }
        Ok(worst)
    }

    /// Takes one stack down. Its state lives in a temporary folder: if it is lost, the tags still tell everything.
    async fn take(
        &self,
        stack: Tagged,
        pace: Duration,
        cancel: Cancel,
        global: &Global,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let began = Instant::now();
        let folder = tempfile::tempdir().map_err(|error| {
            CliError::new(Exit::Failed, "could not make a temporary folder").cause(&error)
        })?;
        let mut store = FileStore::new(folder.path().to_owned(), &stack.name);
        store.lock(&holder("reap"))?;
        let logs = stack
            .resources
            .keys()
            .any(|address| address.as_str().starts_with("aws.log_group/"));
        let mut snapshot = Snapshot::new(&stack.name, stack.uid.clone(), random(16)?);
        snapshot.resources = stack
            .resources
            .into_iter()
            .map(|(address, remembered)| {
                (
                    address,
                    Entry {
                        remembered,
                        status: Status::Done,
                    },
                )
            })
            .collect();
        let clients = Arc::new(Clients::new(self.region.clone()));
        let (events, receiver) = Events::channel();
        let telling = Telling::begin(receiver, screen);
        let run = Run {
            stack: Arc::new(Stack {
                name: stack.name.clone(),
                uid: stack.uid.clone(),
            }),
            registry: Registry::new(aws::kinds(&clients)),
            events,
            cancel,
            hash: KeyedHash::new(Secret::new(random(64)?.into_bytes())),
            adopt: false,
            pace,
        };
        let executed = gone(run, snapshot, &mut store).await;
        // Every sender has gone with the run.
        telling.end().await;
        let executed = executed?;
        let ending = Ending {
            verb: Verb::Destroy,
            stack: &stack.name,
            report: &executed.report,
            took: began.elapsed(),
            stands: &[],
            next: &[],
        };
        tell_ending(&ending, global, screen);
        if executed.report.outcome != Outcome::Done {
            return Ok(super::apply::exit(&executed.report));
        }
        let patient = Clients::patient(self.region.clone());
        let of = Audited {
            uid: stack.uid,
            cluster: Some(stack.name.clone()),
            vpc: None,
            logs,
            since: None,
        };
        cloud::nothing_left(&patient, &stack.name, &of).await?;
        Ok(Exit::Done)
    }
}

/// Makes all of it go.
async fn gone(run: Run, snapshot: Snapshot, store: &mut FileStore) -> Result<Executed, CliError> {
    let (verb, stack) = (Verb::Destroy, run.stack.name.clone());
    run.events.send(EventKind::RunStarted { verb, stack });
    let refreshed = refresh(&run, &[], &snapshot).await?;
    let stays = stays(&run);
    let plan = plan(&run.stack.name, &refreshed, stays).map_err(|errors| CliError::unreadable(&errors))?;
    run.events.send(EventKind::Planned {
        summary: plan.summary(),
    });
    let loaded = Loaded {
        snapshot,
        unfinished: false,
        notes: Vec::new(),
    };
    Ok(execute(&run, verb, &plan, refreshed, store, loaded).await?)
}

fn list(taken: &[Tagged], kept: &[Tagged], yes: bool, global: &Global) {
    if global.output == Format::Json {
        let told = |stack: &Tagged| {
            json!({"name": stack.name, "uid": stack.uid, "expires": stack.expires, "expired": stack.expired,
                "resources": stack.resources.keys().collect::<Vec<_>>(), "others": stack.others})
        };
        let stacks = |list: &[Tagged]| list.iter().map(told).collect::<Vec<_>>();
        print(
            &json!({"schema": "stackup/reap/v1", "taken": stacks(taken), "kept": stacks(kept)}).to_string(),
        );
        return;
    }
    let line = |stack: &Tagged| {
        let time = match (&stack.expires, stack.expired) {
            (Some(at), true) => format!("its time was over at {at}"),
            (Some(at), false) => format!("it may live until {at}"),
            (None, _) => "it has no lifetime".to_owned(),
        };
        format!(
            "  {} ({}): {} resources, {time}",
            stack.name,
            stack.uid,
            stack.resources.len() + stack.others.len()
        )
    };
    if taken.is_empty() {
        print("Nothing to take.");
    } else {
        let head = if yes {
            "To be taken down:"
        } else {
            "Would be taken down (add --yes to do it):"
        };
        print(head);
        for stack in taken {
            print(&line(stack));
        }
    }
    if !kept.is_empty() {
        print("Left alone:");
        for stack in kept {
            print(&line(stack));
        }
    }
}
