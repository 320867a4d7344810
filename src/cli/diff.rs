use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    cloud,
    context::{self, Session},
    environment::Environment,
    error::{CliError, stays},
    existing::at_its_cluster,
    exit::Exit,
    flags::{Format, Global},
    print::print,
    screen::Screen,
};
use crate::{
    engine::{self, Refreshed, Run, lint, plan, refresh},
    model::{EventKind, Plan},
    output::{self, Style},
};

const EXAMPLES: &str = "\
Examples:
  stackup diff                           what apply would do here
  stackup diff --exit-code               exit 4 if anything would be done
  stackup diff --format markdown         for a comment on a pull request
  stackup diff --full                    long values whole";

/// Show what apply would do, and why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Diff {
    /// Show long values whole
    #[arg(long)]
    full: bool,
    /// Exit with 4 if there are changes
    #[arg(long)]
    exit_code: bool,
    /// How the plan is written
    #[arg(long, value_enum)]
    format: Option<PlanFormat>,
    /// Also write the plan as JSON to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Count live things without any mark as ours to take over
    #[arg(long)]
    adopt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// For people.
    Text,
    /// For scripts.
    Json,
    /// For pull requests.
    Markdown,
}

impl Diff {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let opened = context::open(global, environment)?;
        let mut session = Session::open(opened, environment, None, self.adopt).await?;
        cloud::at_its_place(
            &session.cloud,
            &session.opened.model,
            &mut session.loaded.snapshot,
        )
        .await?;
        let (plan, refreshed) = planned(&mut session, screen, false).await?;
        let format = self.format.unwrap_or(match global.output {
            Format::Text => PlanFormat::Text,
            Format::Json => PlanFormat::Json,
        });
        print(&match format {
            PlanFormat::Text => {
                let expected = expected(&session.run, &plan, &refreshed);
                with_cost(
                    &plan,
                    &screen.out,
                    output::plan_text(&plan, &screen.out, self.full, expected),
                )
            }
            PlanFormat::Json => output::plan_json(&plan).to_string(),
            PlanFormat::Markdown => output::plan_markdown(&plan),
        });
        if let Some(path) = &self.out {
            std::fs::write(path, format!("{:#}\n", output::plan_json(&plan))).map_err(|error| {
                CliError::new(Exit::Failed, format!("could not write {}", path.display())).cause(&error)
            })?;
        }
        Ok(if self.exit_code && plan.summary().pending() {
            Exit::Pending
        } else {
            Exit::Done
        })
    }
}

/// How long a plan usually takes, where that is worth telling.
pub(super) fn expected(run: &Run, plan: &Plan, refreshed: &Refreshed) -> Option<Duration> {
    let total = engine::expected(plan, refreshed, &run.registry).total;
    Some(total).filter(|total| *total >= Duration::from_mins(1))
}

/// The text of a plan, with what it costs below, where it costs anything.
pub(super) fn with_cost(plan: &Plan, style: &Style, text: String) -> String {
    if let Some(cost) = cloud::cost_of(plan) {
        let cost = style.wrap(&format!("This costs {cost}."), style.width).join("\n");
        return format!("{}\n{cost}\n", text.trim_end_matches('\n'));
    }
    text
}

/// Looks at everything and compares, and tells what came up on the way.
pub(super) async fn planned(
    session: &mut Session,
    screen: &Screen,
    asks: bool,
) -> Result<(Plan, Refreshed), CliError> {
    let planned = look(session).await;
    if let Ok((plan, _)) = &planned {
        session.run.events.send(EventKind::Planned {
            summary: plan.summary(),
        });
    }
    session.warn(screen, asks);
    planned
}

async fn look(session: &mut Session) -> Result<(Plan, Refreshed), CliError> {
    let refreshed = refresh(&session.run, &session.opened.wanted, &session.loaded.snapshot).await?;
    at_its_cluster(session, &refreshed).await?;
    let run = &session.run;
    let plan =
        plan(&run.stack.name, &refreshed, stays(run)).map_err(|errors| CliError::unreadable(&errors))?;
    let broken = lint(&plan, &refreshed);
    if !broken.is_empty() {
        let mut error = CliError::new(
            Exit::Failed,
            "the plan breaks a rule of stackup itself; nothing of it is carried out",
        );
        error.causes = broken;
        return Err(error.hint("please report this with the output of 'stackup diff --output json'"));
    }
    Ok((plan, refreshed))
}
