use serde_json::json;

use super::{
    context,
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::{Format, Global},
    print::print,
    screen::Screen,
};

/// Checks the stack file and its manifests; every mistake at once.
pub(super) fn run(global: &Global, environment: &Environment, _: &Screen) -> Result<Exit, CliError> {
    let opened = context::open(global, environment)?;
    let components = opened.model.components.len();
    match global.output {
        Format::Json => print(
            &json!({"stack": opened.model.name, "components": components, "resources": opened.wanted.len()})
                .to_string(),
        ),
        Format::Text => print(&format!(
            "{} is valid: {} on {}, {} resources",
            opened.model.name,
            if components == 1 {
                "1 component".to_owned()
            } else {
                format!("{components} components")
            },
            opened.model.cluster.provider(),
            opened.wanted.len()
        )),
    }
    Ok(Exit::Done)
}
