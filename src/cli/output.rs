use clap::Args;
use serde_json::{Map, Value};

use super::{
    cluster,
    context::{self, Opened, Session},
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::{Format, Global},
    print::print,
    screen::Screen,
};
const EXAMPLES: &str = "\
Examples:
  stackup output                         all of them
  stackup output server                  one, bare, for a script
  stackup output --output json           all of them as one document";

/// Print what others need: endpoint, URLs, names.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Output {
    /// Only this one
    name: Option<String>,
}

impl Output {
    pub(super) async fn run(
        self,
        global: &Global,
        environment: &Environment,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let session = remembered(global, environment, screen).await?;
        let outputs = outputs(&session)?;
        match (&self.name, global.output) {
            (Some(name), format) => match outputs.get(name) {
                Some(Value::String(text)) if format == Format::Text => print(text),
                Some(value) => print(&value.to_string()),
                None => {
                    let known: Vec<&str> = outputs.keys().map(String::as_str).collect();
                    return Err(CliError::new(Exit::Usage, format!("there is no output '{name}'"))
                        .hint(format!("there are: {}", known.join(", "))));
                }
            },
            (None, Format::Json) => print(&Value::Object(outputs).to_string()),
            (None, Format::Text) => {
                let lines: Vec<String> = outputs
                    .iter()
                    .map(|(name, value)| match value {
                        Value::String(text) => format!("{name} = {text}"),
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::Array(_)
                        | Value::Object(_) => {
                            format!("{name} = {value}")
                        }
                    })
                    .collect();
                print(&lines.join("\n"));
            }
        }
        Ok(Exit::Done)
    }
}

/// The stack with its state, without reading a manifest or asking anyone.
pub(super) async fn remembered(
    global: &Global,
    environment: &Environment,
    screen: &Screen,
) -> Result<Session, CliError> {
    let model = context::model(global, environment)?;
    let folder = model.folder.join(".stackup").join(&model.name);
    let cluster = cluster::part(&model)?.cluster;
    let mut session = Session::open(
        Opened {
            cluster,
            wanted: Vec::new(),
            folder,
            model,
        },
        environment,
        None,
        false,
    )
    .await?;
    session.warn(screen, false);
    Ok(session)
}

/// The cluster's outputs, with paths made absolute.
pub(super) fn outputs(session: &Session) -> Result<Map<String, Value>, CliError> {
    let Some(Value::Object(mut outputs)) = session.cluster_outputs() else {
        return Err(CliError::new(
            Exit::Failed,
            format!("nothing of {} stands yet", session.opened.model.name),
        )
        .hint("make it with 'stackup apply'"));
    };
    if let Some(Value::String(path)) = outputs.get_mut("kubeconfig") {
        *path = session.opened.folder.join(&*path).display().to_string();
    }
    outputs.insert("stack".into(), Value::String(session.opened.model.name.clone()));
    Ok(outputs)
}
