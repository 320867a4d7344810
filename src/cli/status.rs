use clap::Args;
use serde_json::json;

use super::{
    cloud,
    context::{self, Session},
    diff::planned,
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::{Format, Global},
    print::print,
    screen::Screen,
};
use crate::{
    engine::Seen,
    model::{Action, Address, Plan},
    output::{self, Row, Section, Symbol, Table},
    resource::{Observed, Readiness},
};

const EXAMPLES: &str = "\
Examples:
  stackup status                         one screen: what stands, healthy or not, drifted or not
  stackup status --output json           the same as data

Exit codes: 0 all as it should be, 4 something has drifted, 5 something is not healthy.";

/// Show what stands, whether it is healthy, and what has drifted.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {}

#[derive(Default)]
struct Part {
    total: usize,
    ready: usize,
    not_ready: Vec<(String, String)>,
    drifted: Vec<(String, Action)>,
}

impl Status {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let Self {} = self;
        let opened = context::open(global, environment)?;
        let mut session = Session::open(opened, environment, None, false).await?;
        cloud::at_its_place(
            &session.cloud,
            &session.opened.model,
            &mut session.loaded.snapshot,
        )
        .await?;
        let (plan, refreshed) = planned(&mut session, screen, false).await?;
        let mut parts: std::collections::BTreeMap<String, Part> = std::collections::BTreeMap::new();
        for step in &plan.steps {
            let part = parts
                .entry(step.component.as_deref().unwrap_or("cluster").to_owned())
                .or_default();
            part.total += 1;
            if step.action != Action::Unchanged {
                part.drifted.push((step.address.to_string(), step.action));
            }
            match refreshed.found.get(&step.address).map(|found| &found.seen) {
                Some(Seen::Known(Observed::Live(live))) => match &live.readiness {
                    Readiness::Ready => part.ready += 1,
                    Readiness::NotYet(why) | Readiness::Failed(why) | Readiness::Stuck(why) => {
                        part.not_ready.push((step.address.to_string(), why.clone()));
                    }
                },
                Some(Seen::Known(Observed::Absent) | Seen::After(_) | Seen::GoesWith(_) | Seen::Error(_))
                | None => {}
            }
        }
        let stands = stands(&session);
        match global.output {
            Format::Json => print(&document(&session, &plan, &parts, &stands).to_string()),
            Format::Text => print(&page(&session, &parts, &stands, screen)),
        }
        let unhealthy = parts.values().any(|part| !part.not_ready.is_empty());
        let drifted = plan.summary().pending();
        Ok(if unhealthy && session.known {
            Exit::Check
        } else if drifted {
            Exit::Pending
        } else {
            Exit::Done
        })
    }
}

type Parts = std::collections::BTreeMap<String, Part>;

fn page(session: &Session, parts: &Parts, stands: &[(String, String)], screen: &Screen) -> String {
    let mut rows = vec![Row::new("stack", &session.opened.model.name)];
    rows.extend(stands.iter().map(|(label, value)| Row::new(label, value)));
    if let Some(lifetime) = session.opened.model.lifetime {
        let life = session.loaded.snapshot.life.as_ref();
        let until = life.map(|life| format!(", until {}", life.expires));
        rows.push(Row::new(
            "lifetime",
            output::coarse(lifetime) + &until.unwrap_or_default(),
        ));
    }
    let stands: Vec<&Address> = session.loaded.snapshot.resources.keys().collect();
    let cost = cloud::cost(&stands);
    rows.push(Row::new(
        "cost",
        cost.as_deref().unwrap_or("nothing beyond this machine"),
    ));
    let mut table = Table {
        head: vec!["component".into(), "ready".into(), "drift".into()],
        rows: Vec::new(),
    };
    let mut trouble = Vec::new();
    for (name, part) in parts {
        let symbol = if part.not_ready.is_empty() && part.drifted.is_empty() {
            Symbol::Done
        } else {
            Symbol::Warning
        };
        let drift = if part.drifted.is_empty() {
            "none".to_owned()
        } else {
            part.drifted.len().to_string()
        };
        table.rows.push((
            Some(symbol),
            vec![name.clone(), format!("{}/{}", part.ready, part.total), drift],
        ));
        let not_ready = part
            .not_ready
            .iter()
            .map(|(address, why)| Row::new(address, why).symbol(Symbol::Waiting));
        let drifted = part.drifted.iter().map(|(address, action)| {
            Row::new(address, format!("{action:?}").to_lowercase()).symbol(Symbol::Warning)
        });
        trouble.extend(not_ready.chain(drifted));
    }
    let mut sections = vec![
        Section::rows(None, rows),
        Section::table(Some("Components"), table),
    ];
    let more = trouble.len().saturating_sub(20);
    trouble.truncate(20);
    if !trouble.is_empty() {
        if more > 0 {
            trouble.push(Row::new("and more", format!("{more}, see stackup diff")));
        }
        sections.push(Section::rows(Some("Not as it should be"), trouble));
    }
    output::sections_text(&sections, &screen.out)
}

fn document(session: &Session, plan: &Plan, parts: &Parts, stands: &[(String, String)]) -> serde_json::Value {
    let parts: serde_json::Map<String, serde_json::Value> = parts
        .iter()
        .map(|(name, part)| {
            let not_ready: Vec<_> = part
                .not_ready
                .iter()
                .map(|(address, why)| json!({"address": address, "why": why}))
                .collect();
            let drifted: Vec<_> = part
                .drifted
                .iter()
                .map(|(address, action)| json!({"address": address, "action": action}))
                .collect();
            (
                name.clone(),
                json!({"total": part.total, "ready": part.ready, "notReady": not_ready, "drifted": drifted}),
            )
        })
        .collect();
    let stands: serde_json::Map<String, serde_json::Value> = stands
        .iter()
        .map(|(label, value)| (label.clone(), json!(value)))
        .collect();
    json!({"schema": "stackup/status/v1", "stack": session.opened.model.name, "stands": stands, "components": parts, "summary": plan.summary()})
}

/// What stands and where it is found, for a person.
pub(super) fn stands(session: &Session) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let Some(outputs) = session.cluster_outputs() else {
        lines.push(("cluster".to_owned(), "not there yet".to_owned()));
        return lines;
    };
    let text = |name: &str| {
        outputs
            .get(name)
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned)
    };
    let workers = outputs.get("workers").and_then(serde_json::Value::as_u64);
    let version = text("kubernetes")
        .map(|version| format!(" {version}"))
        .unwrap_or_default();
    let nodes = workers
        .map(|workers| format!(", {workers} workers"))
        .unwrap_or_default();
    lines.push((
        "cluster".to_owned(),
        format!("{}{version}{nodes}", session.opened.cluster),
    ));
    if outputs.get("simulated") == Some(&serde_json::Value::Bool(true)) {
        lines.push((
            "nodes".to_owned(),
            "simulated: no container runs, pods only say that they do".to_owned(),
        ));
    }
    if let Some(server) = text("server") {
        lines.push(("API server".to_owned(), server));
    }
    if let Some(path) = text("kubeconfig") {
        lines.push((
            "kubeconfig".to_owned(),
            session.opened.folder.join(path).display().to_string(),
        ));
    }
    lines
}
