use std::{path::Path, time::Instant};

use clap::Args;

use super::{
    apply::{carry_out, ended, next, tell_timings},
    cloud, cluster,
    confirm::confirm,
    context::{self, Opened, Session},
    diff::{expected, planned},
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::{Format, Global},
    print::{print, tell_person},
    screen::Screen,
    tell::{nothing_at_all, nothing_there, nothing_to_do, show_plan},
};
use crate::{
    model::{ClusterModel, StackModel, Verb},
    output::{self, Style},
    state::Entry,
};

const EXAMPLES: &str = "\
Examples:
  stackup destroy                        show what goes, ask, take it down
  stackup destroy --yes                  without asking, as in CI";

/// Take everything of the stack down.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Destroy {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Tell at the end which chain of resources took the time
    #[arg(long)]
    timings: bool,
}

impl Destroy {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let began = Instant::now();
        // Manifests are not read: what stands is in the state, and a mistake in a file must not keep it standing.
        let model = context::model(global, environment)?;
        let folder = model.folder.join(".stackup").join(&model.name);
        let cluster = cluster::part(&model)?.cluster;
        if model.state.is_none() && !folder.exists() {
            nothing(&model, global);
            nothing_at_all(Verb::Destroy, &model.name, screen).await;
            return Ok(Exit::Done);
        }
        let opened = Opened {
            cluster,
            wanted: Vec::new(),
            folder,
            model,
        };
        let mut session = Session::open(opened, environment, Some(Verb::Destroy), false).await?;
        let ended = self.with(&mut session, began, global, screen).await;
        // Before the lock is given back: another run would begin in the folder that is removed.
        let tidied = match ended {
            Ok((_, true)) => tidy(&session.opened.folder),
            _ => Ok(()),
        };
        session.close().await;
        let (exit, _) = ended?;
        tidied.map(|()| exit)
    }

    /// How it ended, and whether nothing is left to remember.
    async fn with(
        self,
        session: &mut Session,
        began: Instant,
        global: &Global,
        screen: &Screen,
    ) -> Result<(Exit, bool), CliError> {
        session.begin(global, screen);
        let name = session.opened.model.name.clone();
        if !session.known {
            let remote = session.opened.model.state.is_some();
            if remote {
                // Nothing but the key that this run made is there.
                session.store.clear().await?;
            }
            nothing(&session.opened.model, global);
            nothing_there(&session.run.events, Verb::Destroy);
            return Ok((Exit::Done, remote));
        }
        unprotected(session)?;
        cloud::at_its_place(
            &session.cloud,
            &session.opened.model,
            &mut session.loaded.snapshot,
        )
        .await?;
        let audited = cloud::audited(&session.opened.model, &session.loaded.snapshot);
        let asks = screen.asks && !self.yes;
        let (plan, refreshed) = planned(session, screen, asks).await?;
        let mut exit = Exit::Done;
        if plan.steps.is_empty() {
            if global.output == Format::Text && !global.quiet {
                print(&format!(
                    "Nothing to destroy: nothing of {name} is in its state any more."
                ));
            }
            nothing_to_do(&session.run.events, Verb::Destroy, 0);
        } else {
            let expected = expected(&session.run, &plan, &refreshed);
            let text = |style: &Style| output::plan_text(&plan, style, false, expected);
            show_plan(text, asks, global, screen);
            confirm(screen, &format!("Destroy all of {name}?"), self.yes)?;
            let executed = carry_out(session, Verb::Destroy, &plan, refreshed, screen).await?;
            let next = next(Verb::Destroy, &executed.report, global);
            exit = ended(session, Verb::Destroy, &executed, began, &next, global, screen)?;
            if self.timings {
                tell_timings(&executed.report, global, screen);
            }
        }
        let gone = exit == Exit::Done && session.loaded.snapshot.resources.is_empty();
        if gone {
            // What is left keeps the state: the same command looks again.
            cloud::audit(&session.opened.model, audited).await?;
            session.store.clear().await?;
        }
        Ok((exit, gone))
    }
}

/// Refuses, before anything goes, what EKS would refuse once the nodes are gone.
fn unprotected(session: &Session) -> Result<(), CliError> {
    let resources = &session.loaded.snapshot.resources;
    let protected = |entry: &Entry| {
        let protection = entry.remembered.outputs.get("deletionProtection");
        entry.remembered.kind == "aws.eks_cluster" && protection == Some(&serde_json::Value::Bool(true))
    };
    if !resources.values().any(protected) {
        return Ok(());
    }
    let name = &session.opened.model.name;
    Err(CliError::new(
        Exit::Refused,
        format!("the cluster of {name} is protected from deletion; nothing was changed"),
    )
    .hint("set cluster.deletionProtection: false in the stack file, run 'stackup apply', then destroy"))
}

fn nothing(model: &StackModel, global: &Global) {
    let name = &model.name;
    if global.output == Format::Text && !global.quiet {
        print(&format!("Nothing to destroy: no state of {name} is here."));
        if matches!(model.cluster, ClusterModel::Eks(_)) {
            tell_person(&format!(
                "If its state was lost: 'stackup reap --stack {name}' finds it by its tags."
            ));
        }
    }
}

/// Nothing is left of the stack: its folder goes as well, and the one around it if it holds no other.
fn tidy(folder: &Path) -> Result<(), CliError> {
    std::fs::remove_dir_all(folder).map_err(|error| {
        CliError::new(Exit::Failed, format!("could not remove {}", folder.display())).cause(&error)
    })?;
    if let Some(parent) = folder.parent() {
        let only_ignore = std::fs::read_dir(parent)
            .is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == ".gitignore"));
        if only_ignore {
            // Another stackup may put something there this very moment; then the folder rightly stays.
            drop(std::fs::remove_file(parent.join(".gitignore")).and_then(|()| std::fs::remove_dir(parent)));
        }
    }
    Ok(())
}
