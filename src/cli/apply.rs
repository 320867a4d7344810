use std::time::Instant;

use clap::Args;

use super::{
    cloud,
    confirm::confirm,
    context::{self, Session},
    diff::{expected, planned, with_cost},
    environment::Environment,
    error::{CliError, exit_of},
    exit::Exit,
    flags::{Format, Global},
    print::{print, tell_person},
    screen::Screen,
    status,
    tell::{nothing_to_do, show_plan},
    verify,
};
use crate::{
    engine::{Executed, Refreshed, critical_path, execute},
    model::{Action, Outcome, Plan, Report, Verb},
    output::{self, Ending, Style, View},
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
        let mut session = Session::open(opened, environment, Some(Verb::Apply), self.adopt).await?;
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
        session.begin(global, screen);
        cloud::at_its_place(
            &session.cloud,
            &session.opened.model,
            &mut session.loaded.snapshot,
        )
        .await?;
        let asks = screen.asks && !self.yes;
        let (plan, refreshed) = planned(session, screen, asks).await?;
        let pending = plan.summary().pending();
        let expected = expected(&session.run, &plan, &refreshed);
        let text =
            |style: &Style| with_cost(&plan, style, output::plan_text(&plan, style, self.full, expected));
        show_plan(text, asks && pending, global, screen);
        let mut exit = Exit::Done;
        if !pending && standing(&plan, &refreshed) && !session.loaded.unfinished {
            nothing_to_do(&session.run.events, Verb::Apply, plan.steps.len());
            session.warn(screen, false);
        } else {
            let snapshot = &session.loaded.snapshot;
            let ahead = cloud::look_ahead(&session.opened.model, &session.run.stack, snapshot, &plan).await?;
            for message in ahead {
                session.run.events.warn(message);
            }
            session.warn(screen, asks);
            if pending {
                confirm(screen, &format!("Apply this to {}?", plan.stack), self.yes)?;
            }
            let executed = carry_out(session, Verb::Apply, &plan, refreshed, screen).await?;
            let proves = level.is_some() && executed.report.outcome == Outcome::Done;
            let next = if proves {
                Vec::new()
            } else {
                next(Verb::Apply, &executed.report, global)
            };
            exit = ended(session, Verb::Apply, &executed, began, &next, global, screen)?;
            if self.timings {
                tell_timings(&executed.report, global, screen);
            }
        }
        if exit == Exit::Done
            && let Some(level) = level
        {
            exit = verify::after_apply(session, level, global, screen).await?;
            if global.output == Format::Text && !global.quiet {
                let verbs = if exit == Exit::Done {
                    ["status", "destroy"]
                } else {
                    ["verify", "status"]
                };
                print(&output::next_text(&commands(&verbs, global), &screen.out));
            }
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

/// Runs a plan and tells what happens meanwhile.
pub(super) async fn carry_out(
    session: &mut Session,
    verb: Verb,
    plan: &Plan,
    refreshed: Refreshed,
    screen: &Screen,
) -> Result<Executed, CliError> {
    session.listen()?;
    session.tell(screen);
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
    if screen.view != View::Json {
        // What comes after this is told as text of its own.
        session.catch_up().await;
    }
    Ok(executed?)
}

/// Tells how a run ended and what that means for the exit code.
pub(super) fn ended(
    session: &mut Session,
    verb: Verb,
    executed: &Executed,
    began: Instant,
    next: &[String],
    global: &Global,
    screen: &Screen,
) -> Result<Exit, CliError> {
    session.loaded.snapshot = executed.snapshot.clone();
    session.loaded.unfinished = false;
    let report = &executed.report;
    if let Some(error) = &executed.lost {
        return Err(lost(error, verb));
    }
    let stands = if verb == Verb::Apply {
        status::stands(session)
    } else {
        Vec::new()
    };
    let ending = Ending {
        verb,
        stack: &session.opened.model.name,
        report,
        took: began.elapsed(),
        stands: &stands,
        next,
    };
    tell_ending(&ending, global, screen);
    Ok(exit(report))
}

/// Tells how a run ended: to who wants quiet only what went wrong, beside the results.
pub(super) fn tell_ending(ending: &Ending<'_>, global: &Global, screen: &Screen) {
    if global.output != Format::Text {
        return;
    }
    if !global.quiet {
        print(&output::report_text(ending, &screen.out));
    } else if ending.report.outcome != Outcome::Done {
        tell_person(output::report_text(ending, &screen.err).trim_end());
    }
}

/// The state could not be written any more, so that the run ended.
fn lost(error: &StateError, verb: Verb) -> CliError {
    let again = format!("run 'stackup {}' again: it goes on from here", verb.name());
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

/// What to type after a run that ended so.
pub(super) fn next(verb: Verb, report: &Report, global: &Global) -> Vec<String> {
    let verbs: &[&str] = match (verb, report.outcome) {
        (_, Outcome::Stopped(_)) => &[verb.name()],
        (Verb::Apply, Outcome::Done) => &["verify", "status", "destroy"],
        (Verb::Apply, _) => &["status", "apply"],
        (Verb::Destroy, Outcome::Done) | (Verb::Diff | Verb::Verify, _) => &[],
        (Verb::Destroy, _) => &["destroy"],
    };
    commands(verbs, global)
}

/// Commands of this program for the same stack.
fn commands(verbs: &[&str], global: &Global) -> Vec<String> {
    verbs.iter().map(|verb| global.command(verb)).collect()
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
