use serde_json::json;

use super::{
    exit::Exit,
    flags::{Format, Global},
    print::print,
    screen::Screen,
};

/// Prints the version and what this build can do.
pub(super) fn run(global: &Global, _: &Screen) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    let mut features = Vec::new();
    if cfg!(feature = "kubernetes") {
        features.push("kubernetes");
    }
    if cfg!(feature = "aws") {
        features.push("aws");
    }
    match global.output {
        Format::Json => print(&json!({"version": version, "features": features}).to_string()),
        Format::Text if features.is_empty() => print(&format!("stackup {version}")),
        Format::Text => print(&format!("stackup {version} ({})", features.join(", "))),
    }
    Exit::Done
}
