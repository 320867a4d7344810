use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};

use super::{
    context::{self, Session},
    environment::Environment,
    error::CliError,
    evidence,
    exit::Exit,
    flags::{Format, Global, duration},
    print::print,
    screen::Screen,
    tell::say,
};
use crate::{
    checks::{self, Answered, Ask, Evidence},
    engine::Cancel,
    model::{CheckLevel, CheckState, EventKind, Finding, Outcome, Verb, VerifySummary},
    output::{self, Verified, precise},
};

const EXAMPLES: &str = "\
Examples:
  stackup verify                         prove that every component works
  stackup verify --level quick           ask the API server only
  stackup verify --wait 5m               wait for what does not hold yet
  stackup verify --only targets,am.watchdog --format short
  stackup verify --format junit          for a CI server
  stackup verify --dump now.json         keep what was seen; values of Secrets are left out
  stackup verify --from-dump now.json    the same checks on that, without a cluster

Exit codes: 0 all hold (warnings allowed), 5 a check does not hold, 7 the API server cannot be reached,
9 the time to wait ran out.";

/// How long `apply` waits for what needs time: targets, rules, the Watchdog.
const AFTER_APPLY: Duration = Duration::from_mins(5);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_secs(3);

/// Prove that every component works.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// How deep [default: what the stack file says, or standard]
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Repeat what does not hold for so long, as in 90s or 5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// How the findings are written [default: table]
    #[arg(long, value_enum)]
    format: Option<FindingsFormat>,
    /// Ask only this check or area; may be given several times or with commas
    #[arg(long, value_name = "ID|AREA", value_delimiter = ',')]
    only: Vec<String>,
    /// Also write all that was seen to this file
    #[arg(long, value_name = "FILE", conflicts_with = "from_dump")]
    dump: Option<PathBuf>,
    /// Check what an earlier --dump wrote instead of a cluster
    #[arg(long, value_name = "FILE", conflicts_with = "wait")]
    from_dump: Option<PathBuf>,
    /// Print the smallest roles that this needs, and ask nothing
    #[arg(long)]
    print_rbac: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Reads of the Kubernetes API
    Quick,
    /// And HTTP to every component
    Standard,
    /// And end to end
    #[value(hide = true)]
    Deep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FindingsFormat {
    /// Every check on a line
    Table,
    /// Only what does not hold
    Short,
    /// For scripts
    Json,
    /// For CI servers
    Junit,
    /// For pull requests
    Markdown,
}

impl Verify {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let began = Instant::now();
        let format = self.format.unwrap_or(match global.output {
            Format::Json => FindingsFormat::Json,
            Format::Text => FindingsFormat::Table,
        });
        if let Some(path) = &self.from_dump {
            let evidence = read(path)?;
            let ask = self.ask(CheckLevel::Standard)?;
            let answered = checks::run(&ask, &evidence);
            return Ok(tell(&evidence, &ask, &answered, began, format, screen));
        }
        let opened = context::open(global, environment)?;
        let ask = self.ask(opened.model.verify.unwrap_or(CheckLevel::Standard))?;
        let mut session = Session::open(opened, environment, None, false).await?;
        let mut evidence = evidence::begin(&session);
        if self.print_rbac {
            print(&checks::role(
                &checks::reads(&ask, evidence.simulated),
                &evidence::namespaces(&evidence),
            ));
            return Ok(Exit::Done);
        }
        let waited = wait(
            &session,
            ask,
            self.wait.unwrap_or_default(),
            &mut evidence,
            global,
            screen,
        )
        .await?;
        if let Some(path) = &self.dump {
            write(path, &evidence)?;
        }
        session.warn(screen, false);
        let exit = tell(&evidence, &waited.ask, &waited.answered, began, format, screen);
        Ok(if exit == Exit::Check && self.wait.is_some() {
            Exit::Deadline
        } else {
            exit
        })
    }

    fn ask(&self, default: CheckLevel) -> Result<Ask, CliError> {
        let level = match self.level {
            Some(Level::Quick) => CheckLevel::Quick,
            Some(Level::Standard) => CheckLevel::Standard,
            Some(Level::Deep) => CheckLevel::Deep,
            None => default,
        };
        let ask = Ask {
            level: Some(reachable(level)?),
            only: self.only.clone(),
            before: Vec::new(),
        };
        if let [unknown, ..] = ask.unknown().as_slice() {
            let areas: BTreeSet<&str> = checks::all().map(checks::Check::area).collect();
            let areas = areas.into_iter().collect::<Vec<_>>().join(", ");
            return Err(CliError::new(Exit::Usage, format!("there is no check and no area '{unknown}'"))
                .hint(format!("the areas are {areas}; the table that 'stackup verify' prints shows the ids of what does not hold")));
        }
        Ok(ask)
    }
}

/// The level, if this build has checks of that depth.
fn reachable(level: CheckLevel) -> Result<CheckLevel, CliError> {
    match level {
        CheckLevel::Quick | CheckLevel::Standard => Ok(level),
        CheckLevel::Deep => Err(CliError::new(
            Exit::Usage,
            "level deep: this build has no checks of that depth yet",
        )
        .hint("the deepest is standard: stackup verify --level standard")),
    }
}

/// What `apply` proves at its end. What needs time gets it.
pub(super) async fn after_apply(
    session: &mut Session,
    level: CheckLevel,
    global: &Global,
    screen: &Screen,
) -> Result<Exit, CliError> {
    let began = Instant::now();
    // Where there was nothing to do, nobody listens yet.
    session.listen()?;
    let ask = Ask {
        level: Some(reachable(level)?),
        ..Ask::default()
    };
    let mut evidence = evidence::begin(session);
    say(global, screen, "verifying");
    let (verb, stack) = (Verb::Verify, evidence.stack.clone());
    session.run.events.send(EventKind::RunStarted { verb, stack });
    let waited = wait(session, ask, AFTER_APPLY, &mut evidence, global, screen).await?;
    session.warn(screen, false);
    let summary = VerifySummary::of(&findings(&waited.answered));
    let stopped = session.run.cancel.stopped();
    session.run.events.send(EventKind::RunFinished {
        verb,
        outcome: match stopped {
            Some(stop) => Outcome::Stopped(stop),
            None if summary.holds() => Outcome::Done,
            None => Outcome::Failed,
        },
        done: summary.pass + summary.warn,
        failed: summary.fail,
        skipped: summary.skip + summary.blocked,
        critical_path: Vec::new(),
    });
    if let Some(stop) = stopped {
        return Ok(Exit::Signal(stop));
    }
    if global.output == Format::Text {
        let (ask, answered) = (&waited.ask, &waited.answered);
        tell(&evidence, ask, answered, began, FindingsFormat::Short, screen);
    }
    Ok(exit(summary))
}

struct Waited {
    ask: Ask,
    answered: Vec<Answered>,
}

/// Asks, and asks again what does not hold until it does, the time is over, or a person stops it.
async fn wait(
    session: &Session,
    mut ask: Ask,
    within: Duration,
    evidence: &mut Evidence,
    global: &Global,
    screen: &Screen,
) -> Result<Waited, CliError> {
    let began = Instant::now();
    let mut cancel = session.run.cancel.clone();
    let mut told = String::new();
    let mut known: Vec<Answered> = Vec::new();
    let reads = checks::reads(&ask, evidence.simulated);
    if reads
        .iter()
        .any(|read| read.contains(':') && !read.starts_with("cluster:"))
    {
        say(
            global,
            screen,
            "asking the components through the API server's port-forward",
        );
    }
    loop {
        let reads = checks::reads(&ask, evidence.simulated);
        let again = began.elapsed() + PAUSE <= within && cancel.stopped().is_none();
        match evidence::collect(session, &reads, evidence).await {
            Ok(()) => {}
            // A server that starts again is one more thing that time may mend.
            Err(error) if error.exit == Exit::Unreachable && again => {
                pause(&mut cancel).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        let mut answered = checks::run(&ask, evidence);
        let over = began.elapsed() + PAUSE > within;
        if over && !within.is_zero() {
            checks::overdue(&mut answered);
        }
        for one in &answered {
            if !known.iter().any(|before| before.finding == one.finding) {
                session.run.events.send(EventKind::Checked {
                    finding: one.finding.clone(),
                });
            }
        }
        known.clone_from(&answered);
        let open: Vec<&Finding> = answered
            .iter()
            .filter(|one| !one.settled())
            .map(|one| &one.finding)
            .collect();
        if open.is_empty() && !ask.before.is_empty() && !over && cancel.stopped().is_none() {
            // Each held at some moment: whether all hold at this one is asked once more.
            ask.before.clear();
            continue;
        }
        if open.is_empty() || over || cancel.stopped().is_some() {
            return Ok(Waited { ask, answered });
        }
        let line = progress(&open);
        if line != told {
            say(global, screen, &format!("{line} ({})", precise(began.elapsed())));
            told = line;
        }
        ask.before.clone_from(&answered);
        pause(&mut cancel).await;
    }
}

async fn pause(cancel: &mut Cancel) {
    tokio::select! {
        () = tokio::time::sleep(PAUSE) => {}
        _ = cancel.wait() => {}
    }
}

/// What is waited for, in one line: causes first, as what is blocked by them comes with them.
fn progress(open: &[&Finding]) -> String {
    let causes: Vec<&str> = open
        .iter()
        .filter(|finding| finding.state != CheckState::Blocked)
        .map(|finding| finding.id.as_str())
        .collect();
    let shown = causes.iter().take(4).copied().collect::<Vec<_>>().join(", ");
    let more = match causes.len().saturating_sub(4) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("waiting for {} of the checks: {shown}{more}", open.len())
}

fn tell(
    evidence: &Evidence,
    ask: &Ask,
    answered: &[Answered],
    began: Instant,
    format: FindingsFormat,
    screen: &Screen,
) -> Exit {
    let findings = findings(answered);
    let verified = Verified {
        stack: &evidence.stack,
        level: ask.level.unwrap_or(CheckLevel::Quick),
        took: began.elapsed(),
        findings: &findings,
    };
    print(&match format {
        FindingsFormat::Table => output::verify_table(&verified, &screen.out),
        FindingsFormat::Short => output::verify_short(&verified, &screen.out),
        FindingsFormat::Json => output::verify_json(&verified).to_string(),
        FindingsFormat::Junit => output::verify_junit(&verified),
        FindingsFormat::Markdown => output::verify_markdown(&verified),
    });
    exit(VerifySummary::of(&findings))
}

fn findings(answered: &[Answered]) -> Vec<Finding> {
    answered.iter().map(|answered| answered.finding.clone()).collect()
}

fn exit(summary: VerifySummary) -> Exit {
    if summary.holds() { Exit::Done } else { Exit::Check }
}

fn read(path: &Path) -> Result<Evidence, CliError> {
    let failed = || CliError::new(Exit::Usage, format!("could not read the dump {}", path.display()));
    let text = std::fs::read(path).map_err(|error| failed().cause(&error))?;
    serde_json::from_slice(&text).map_err(|error| {
        failed()
            .cause(&error)
            .hint("'stackup verify --dump FILE' writes one")
    })
}

fn write(path: &Path, evidence: &Evidence) -> Result<(), CliError> {
    let failed = || {
        CliError::new(
            Exit::Failed,
            format!("could not write the dump {}", path.display()),
        )
    };
    let text = serde_json::to_vec(evidence).map_err(|error| failed().cause(&error))?;
    std::fs::write(path, text).map_err(|error| failed().cause(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dump() -> Evidence {
        serde_json::from_str(include_str!("../checks/fixtures/good.json")).unwrap()
    }

    #[test]
    fn the_json_of_a_verification_keeps_its_schema() {
        let texts = [
            "id", "title", "area", "level", "state", "observed", "expected", "source",
        ];
        let maybe = ["hint", "fix", "blocked_by"];
        let counts = ["pass", "warn", "fail", "skip", "blocked"];
        let all = |names: &[&str], schema: serde_json::Value| {
            names
                .iter()
                .map(|name| ((*name).to_owned(), schema.clone()))
                .collect::<serde_json::Map<_, _>>()
        };
        let mut check = all(&texts, json!({"type": "string"}));
        check.extend(all(&maybe, json!({"type": ["string", "null"]})));
        check.insert("level".into(), json!({"enum": ["quick", "standard", "deep"]}));
        check.insert(
            "state".into(),
            json!({"enum": ["pass", "warn", "fail", "skip", "blocked"]}),
        );
        let object = |properties: serde_json::Map<String, serde_json::Value>| {
            let required: Vec<String> = properties.keys().cloned().collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        };
        let mut document = all(&["stack", "level"], json!({"type": "string"}));
        document.insert("schema".into(), json!({"const": "stackup/verify/v1"}));
        document.insert("took_ms".into(), json!({"type": "integer"}));
        document.insert("holds".into(), json!({"type": "boolean"}));
        document.insert("summary".into(), object(all(&counts, json!({"type": "integer"}))));
        document.insert(
            "checks".into(),
            json!({"type": "array", "minItems": 100, "items": object(check)}),
        );
        let schema = jsonschema::validator_for(&object(document)).unwrap();

        let mut evidence = dump();
        // One of each state: failures with hints, what they block, and what is skipped.
        evidence.objects.remove("Pod");
        evidence.refused.insert("Secret".to_owned());
        let ask = Ask {
            level: Some(CheckLevel::Standard),
            ..Ask::default()
        };
        let findings: Vec<Finding> = checks::run(&ask, &evidence)
            .into_iter()
            .map(|one| one.finding)
            .collect();
        let summary = VerifySummary::of(&findings);
        assert!(
            summary.pass > 0 && summary.fail > 0 && summary.blocked > 0 && summary.skip > 0,
            "{summary:?}"
        );
        let took = Duration::from_secs(1);
        let verified = Verified {
            stack: "demo",
            level: CheckLevel::Standard,
            took,
            findings: &findings,
        };
        let told = output::verify_json(&verified);
        let wrong: Vec<String> = schema.iter_errors(&told).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(!schema.is_valid(&json!({"schema": "stackup/verify/v1"})));
    }

    #[test]
    fn what_is_waited_for_is_told_by_its_causes() {
        let mut evidence = dump();
        evidence.http.retain(|key, _| key != "prometheus:/-/ready");
        let ask = Ask {
            level: Some(CheckLevel::Standard),
            ..Ask::default()
        };
        let answered = checks::run(&ask, &evidence);
        let open: Vec<&Finding> = answered
            .iter()
            .filter(|one| !one.settled())
            .map(|one| &one.finding)
            .collect();
        assert!(open.len() > 20, "{}", open.len());
        assert_eq!(
            progress(&open),
            format!("waiting for {} of the checks: prom.ready", open.len())
        );
    }

    #[test]
    fn a_level_without_checks_is_refused_with_the_deepest_there_is() {
        let error = reachable(CheckLevel::Deep).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.hints.iter().any(|hint| hint.contains("standard")));
    }
}
