use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// Stack file; may be given several times, later ones are laid over earlier ones [default: the only stack file here, or stackup.yaml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(super) file: Vec<PathBuf>,
    /// Set one value of the stack file, as in cluster.workers=3
    #[arg(long, global = true, value_name = "PATH=VALUE")]
    pub(super) set: Vec<String>,
    /// How results are written: text for people, json for scripts
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub(super) output: Format,
    /// Write what the program does in detail to standard error
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub(super) log: Option<LogLevel>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    pub(super) color: Colour,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Never ask; refuse where a question would be
    #[arg(long, global = true)]
    pub(super) non_interactive: bool,
}

impl Global {
    /// Another command for the same stack, as it is typed.
    pub(super) fn command(&self, verb: &str) -> String {
        let mut command = format!("stackup {verb}");
        let files = self.file.iter().map(|file| ("-f", file.display().to_string()));
        let values = self.set.iter().map(|value| ("--set", value.clone()));
        for (flag, value) in files.chain(values) {
            let plain = |letter: char| letter.is_alphanumeric() || "/._-=:,+@%".contains(letter);
            if value.chars().all(plain) && !value.is_empty() {
                command.extend([" ", flag, " ", &value]);
            } else {
                command.extend([" ", flag, " '", &value.replace('\'', r"'\''"), "'"]);
            }
        }
        command
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

/// How much the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    /// What went wrong.
    Error,
    /// And what may be wrong.
    Warn,
    /// And what is done.
    Info,
    /// And how.
    Debug,
    /// And every step of it.
    Trace,
}

impl LogLevel {
    /// As the log's filter writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set or `TERM` is dumb.
    Auto,
    /// Always.
    Always,
    /// Never; then nothing beyond ASCII is drawn either.
    Never,
}

/// A length of time as people write it: `90s`, `5m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let wrong = || format!("'{text}' is no duration such as 90s or 5m");
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        global: Global,
    }

    #[test]
    fn durations_are_what_people_write() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert!(duration("-5m").is_err() && duration("soon").is_err());
    }

    #[test]
    fn another_command_for_the_same_stack_can_be_typed_as_it_is_shown() {
        let command = |typed: &[&str]| {
            let typed = ["stackup"].iter().chain(typed);
            Line::parse_from(typed).global.command("destroy")
        };
        assert_eq!(command(&[]), "stackup destroy");
        let typed = [
            "-f",
            "stacks/kind.yaml",
            "-f",
            "my overlay's.yaml",
            "--set",
            "cluster.workers=3",
        ];
        assert_eq!(
            command(&typed),
            r"stackup destroy -f stacks/kind.yaml -f 'my overlay'\''s.yaml' --set cluster.workers=3"
        );
    }
}
