use serde_json::json;

use super::{
    environment::Environment,
    error::CliError,
    exit::Exit,
    flags::{Format, Global},
    print::print,
    screen::Screen,
};
use crate::{
    local::{Local, Need},
    output::{self, Row, Section, Symbol},
};

/// Says what is installed and reachable here.
pub(super) async fn run(
    global: &Global,
    environment: &Environment,
    screen: &Screen,
) -> Result<Exit, CliError> {
    let local = Local::new(std::path::PathBuf::from("."), environment.programs());
    let needs: Vec<Need> = local.doctor().await;
    match global.output {
        Format::Json => {
            let needs: Vec<_> = needs
                .iter()
                .map(
                    |need| json!({"for": need.of, "name": need.name, "found": need.found, "hint": need.hint}),
                )
                .collect();
            print(&json!({"schema": "stackup/doctor/v1", "needs": needs}).to_string());
        }
        Format::Text => {
            let mut sections: Vec<Section> = Vec::new();
            let mut providers: Vec<&str> = needs.iter().map(|need| need.of).collect();
            providers.dedup();
            for provider in providers {
                let rows = needs
                    .iter()
                    .filter(|need| need.of == provider)
                    .map(|need| match (&need.found, &need.hint) {
                        (Some(found), _) => Row::new(&need.name, found).symbol(Symbol::Done),
                        (None, hint) => Row::new(&need.name, "missing")
                            .symbol(Symbol::Failed)
                            .hint(hint.clone().unwrap_or_default()),
                    })
                    .collect();
                sections.push(Section::rows(Some(provider), rows));
            }
            print(&output::sections_text(&sections, &screen.out));
        }
    }
    // One road that is open is enough to work.
    let mut providers: Vec<&str> = needs.iter().map(|need| need.of).collect();
    providers.dedup();
    let open = providers.iter().any(|provider| {
        needs
            .iter()
            .filter(|need| need.of == *provider)
            .all(|need| need.found.is_some())
    });
    Ok(if open { Exit::Done } else { Exit::Failed })
}
