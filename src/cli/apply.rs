use std::time::Instant;

use clap::Args;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    arguments::{Format, Global},
    cloud,
    confirm::confirm,
    context::{self, Environment, Screen, Session},
    diff::{expected, planned, with_cost},
    error::{CliError, exit_of},
    exit::Exit,
    run::{print, tell_person},
    signals, status, verify,
};
use crate::{
    engine::{Executed, Refreshed, critical_path, execute},
    model::{Action, Event, EventKind, Events, Outcome, Plan, Report, Verb},
    output::{self, Ending},
    resource::{Observed, Readiness},
    state::StateError,
};

const EXAMPLES: &str = "\
Examples:
  stackup apply                          show the plan, ask, do it, verify
  stackup apply --yes                    without asking, as in CI
  stackup apply --yes --output json      one JSON document an event (docs/events.md)
  stackup apply --no-verify              without proof at the end";

/// Make what the stack file says, wait until it works, and verify it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Apply {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Do not verify at the end
    #[arg(long)]
    no_verify: bool,
    /// Take over live things without any mark
    #[arg(long)]
    adopt: bool,
    /// Show long values of the plan whole
    #[arg(long)]
    full: bool,
    /// Tell at the end which chain of resources took the time
    #[arg(long)]
    timings: bool,
}

impl Apply {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let began = Instant::now();
        let opened = context::open(global, environment)?;
        let mut session = Session::open(opened, environment, Some("apply"), self.adopt).await?;
        let ended = self.with(&mut session, began, global, screen).await;
        session.close().await;
        ended
    }

    async fn with(
        self,
        session: &mut Session,
        began: Instant,
        global: &Global,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let level = session.opened.model.verify.filter(|_| !self.no_verify);
        tell_resumed(session, global);
        cloud::at_its_place(session).await?;
        let wanted = session.opened.wanted.clone();
        let (plan, refreshed) = planned(session, &wanted).await?;
        let nothing = !plan.summary().pending() && standing(&plan, &refreshed) && !session.loaded.unfinished;
        if global.output == Format::Text && !global.quiet {
            let expected = expected(&session.run, &plan, &refreshed);
            print(&with_cost(
                &plan,
                &screen.out,
                output::plan_text(&plan, &screen.out, self.full, expected),
            ));
        }
        let mut exit = Exit::Done;
        if !nothing {
            for warning in cloud::look_ahead(session, &plan).await? {
                let lines = screen.err.wrap(&format!("warning: {warning}"), screen.err.width);
                say(global, &lines.join("\n"));
            }
            if plan.summary().pending() {
                confirm(screen, &format!("Apply this to {}?", plan.stack), self.yes)?;
            }
            let executed = carry_out(session, Verb::Apply, &plan, refreshed, screen).await?;
            exit = ended(session, Verb::Apply, &executed, began, global, screen)?;
            if self.timings {
                tell_timings(&executed.report, global, screen);
            }
        }
        if exit == Exit::Done
            && let Some(level) = level
        {
            exit = verify::after_apply(session, level, global, screen).await?;
        }
        Ok(exit)
    }
}

/// Whether everything that is wanted also works already.
fn standing(plan: &Plan, refreshed: &Refreshed) -> bool {
    plan.steps.iter().filter(|step| step.action == Action::Unchanged).all(|step| {
        refreshed.found.get(&step.address).is_some_and(|found| {
            matches!(&found.seen, crate::engine::Seen::Known(Observed::Live(live)) if live.readiness == Readiness::Ready)
        })
    })
}

/// Tells which chain of resources made a run as long as it was.
pub(super) fn tell_timings(report: &Report, global: &Global, screen: &Screen) {
    if global.output == Format::Text && !global.quiet {
        print(&output::timings_text(
            &critical_path(&report.timings),
            &screen.out,
        ));
    }
}

/// Writes a line for a person who watches a run.
pub(super) fn say(global: &Global, text: &str) {
    if global.output == Format::Text && !global.quiet {
        tell_person(text);
    }
}

/// Tells that this run takes up one that did not end.
pub(super) fn tell_resumed(session: &Session, global: &Global) {
    if session.loaded.unfinished {
        let unfinished = session.unfinished();
        let begun = output::plural(unfinished.len(), "resource");
        say(
            global,
            &format!("resuming: an earlier run did not end; {begun} had begun"),
        );
        session.run.events.send(EventKind::Resumed { unfinished });
    }
}

/// Runs a plan and tells what happens meanwhile.
pub(super) async fn carry_out(
    session: &mut Session,
    verb: Verb,
    plan: &Plan,
    refreshed: Refreshed,
    screen: &Screen,
) -> Result<Executed, CliError> {
    if let Some(canceller) = session.canceller.take() {
        signals::listen(canceller)?;
    }
    let telling = session
        .events
        .take()
        .map(|receiver| tell_while(&session.run.events, verb, plan, receiver, screen));
    let loaded = session.loaded.clone();
    let executed = execute(
        &session.run,
        verb,
        plan,
        refreshed,
        session.store.as_mut(),
        loaded,
    )
    .await;
    session.fall_silent();
    if let Some(telling) = telling {
        telling.end().await;
    }
    Ok(executed?)
}

/// Who tells a run's events, until they end.
pub(super) struct Telling(tokio::task::JoinHandle<()>);

impl Telling {
    /// The run is over; a teller that is stuck on a dead terminal must not hold the exit up.
    pub(super) async fn end(self) {
        drop(tokio::time::timeout(std::time::Duration::from_secs(2), self.0).await);
    }
}

/// Begins to tell what happens in a run.
pub(super) fn tell_while(
    events: &Events,
    verb: Verb,
    plan: &Plan,
    receiver: UnboundedReceiver<Event>,
    screen: &Screen,
) -> Telling {
    events.send(EventKind::RunStarted {
        verb,
        stack: plan.stack.clone(),
    });
    events.send(EventKind::Planned {
        summary: plan.summary(),
    });
    let (view, style) = (screen.view, screen.err);
    // Text goes beside the data, events are the data.
    let out: Box<dyn std::io::Write + Send> = match view {
        output::View::Json => Box::new(std::io::stdout()),
        output::View::Terminal | output::View::Lines | output::View::Quiet => Box::new(std::io::stderr()),
    };
    Telling(tokio::spawn(output::show(receiver, view, style, out)))
}

/// Tells how a run ended and what that means for the exit code.
pub(super) fn ended(
    session: &mut Session,
    verb: Verb,
    executed: &Executed,
    began: Instant,
    global: &Global,
    screen: &Screen,
) -> Result<Exit, CliError> {
    session.loaded.snapshot = executed.snapshot.clone();
    session.loaded.unfinished = false;
    let report = &executed.report;
    if let Some(error) = &executed.lost {
        return Err(lost(error, verb));
    }
    if global.output == Format::Text && !global.quiet {
        let stands = if verb == Verb::Apply {
            status::stands(session)
        } else {
            Vec::new()
        };
        let next = next(verb, report);
        let ending = Ending {
            verb,
            stack: &session.opened.model.name,
            report,
            took: began.elapsed(),
            stands: &stands,
            next: &next,
        };
        print(&output::report_text(&ending, &screen.out));
    }
    Ok(exit(report))
}

/// The state could not be written any more, so that the run ended.
fn lost(error: &StateError, verb: Verb) -> CliError {
    let again = format!("run 'stackup {}' again: it goes on from here", name(verb));
    let after = "nothing further was begun, and what was begun is in the state before it";
    match error {
        StateError::Fenced { .. } => CliError::new(Exit::Locked, format!("{error}: {after}")).hint(format!(
            "when the other one has ended (see 'stackup state unlock'), {again}"
        )),
        StateError::Remote { source, .. } => {
            CliError::new(exit_of(source), format!("could not {error}: {after}"))
                .source_of(error)
                .hint(format!("when the store answers, {again}"))
        }
        StateError::Damaged { .. }
        | StateError::Newer { .. }
        | StateError::UnknownFeature { .. }
        | StateError::OtherStack { .. }
        | StateError::Locked(_)
        | StateError::Io { .. } => CliError::new(Exit::Failed, format!("could not {error}: {after}"))
            .source_of(error)
            .hint(format!("make room there, then {again}")),
    }
}

fn name(verb: Verb) -> &'static str {
    match verb {
        Verb::Apply => "apply",
        Verb::Destroy => "destroy",
        Verb::Diff => "diff",
        Verb::Verify => "verify",
    }
}

fn next(verb: Verb, report: &Report) -> Vec<String> {
    let next: &[&str] = match (verb, report.outcome) {
        (_, Outcome::Stopped(_)) => return vec![format!("stackup {}", name(verb))],
        (Verb::Apply, Outcome::Done) => &["stackup verify", "stackup status", "stackup destroy"],
        (Verb::Apply, _) => &["stackup status", "stackup apply"],
        (Verb::Destroy, Outcome::Done) | (Verb::Diff | Verb::Verify, _) => &[],
        (Verb::Destroy, _) => &["stackup destroy"],
    };
    next.iter().map(|command| (*command).to_owned()).collect()
}

pub(super) fn exit(report: &Report) -> Exit {
    match report.outcome {
        Outcome::Stopped(stop) => Exit::Signal(stop),
        Outcome::Done => Exit::Done,
        Outcome::Refused => Exit::Refused,
        Outcome::Deadline => Exit::Deadline,
        Outcome::Failed if report.failed.values().all(|failure| failure.unreachable) => Exit::Unreachable,
        Outcome::Failed | Outcome::StateLost => Exit::Failed,
    }
}
