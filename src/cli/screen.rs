use std::io::IsTerminal as _;

use super::{
    environment::Environment,
    flags::{Colour, Format, Global, LogLevel},
};
use crate::output::{Style, View};

/// How text is written here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// For standard output.
    pub(super) out: Style,
    /// For standard error.
    pub(super) err: Style,
    /// How events are told.
    pub(super) view: View,
    /// Whether a question can be asked.
    pub(super) asks: bool,
}

impl Screen {
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let plain = global.color == Colour::Never || dumb;
        let columns = environment
            .get("COLUMNS")
            .and_then(|columns| columns.to_str()?.parse().ok());
        let style = |terminal: bool| Style {
            colour: match global.color {
                Colour::Always => true,
                Colour::Never => false,
                Colour::Auto => terminal && !dumb && environment.get("NO_COLOR").is_none(),
            },
            unicode: !plain,
            width: columns
                .or_else(|| terminal.then(|| usize::from(console::Term::stderr().size().1)))
                .unwrap_or(120)
                .max(40),
        };
        let view = match global.output {
            Format::Json => View::Json,
            Format::Text if global.quiet => View::Quiet,
            Format::Text if err && !plain => View::Terminal,
            Format::Text => View::Lines,
        };
        Self {
            out: style(out),
            err: style(err),
            view,
            asks: std::io::stdin().is_terminal() && err && !global.non_interactive,
        }
    }

    /// Turns on the detailed log.
    pub(super) fn log(self, level: Option<LogLevel>) {
        let Some(level) = level else { return };
        let filter =
            tracing_subscriber::EnvFilter::new(format!("warn,kube_client=off,stackup={}", level.name()));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(self.err.colour)
            .with_writer(std::io::stderr);
        // A second log cannot be turned on; there is none before this one.
        drop(log.try_init());
    }
}
