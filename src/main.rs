//! `stackup`: from one stack file to a working, monitored Kubernetes cluster, and back to nothing.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(stackup::cli::run(
        std::env::args_os(),
        std::env::vars_os().collect(),
    ))
}
