use std::{path::PathBuf, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::{apply, completion, destroy, diff, init, kubeconfig, output, state, status, verify};
#[cfg(feature = "aws")]
use super::{reap, token};

const EXAMPLES: &str = "\
Examples:
  stackup init                       write a stack file here, with comments
  stackup diff                       what would happen
  stackup apply                      make it so, wait until it works, prove it
  stackup verify                     prove it again
  stackup destroy                    take it all down, and say what is left

Environment:
  STACKUP_POLL_INTERVAL   how often a cloud is asked how far it is [default: 5s]
  STACKUP_CONTROL_PLANE   the folder of the programs for provider kwok [default: those in PATH]
  AWS_*                   as the AWS CLI reads them: profile, region, endpoint
  NO_COLOR, COLUMNS       how text is written

Exit codes: 0 done, 1 failed or partly done, 2 usage or invalid stack, 3 locked, 4 changes pending,
5 a check failed, 6 refused, 7 not reachable, 8 state damaged, 9 deadline, 129/130/143 signals.";

/// From one stack file to a working, monitored Kubernetes cluster, proven, and wholly gone afterwards.
#[derive(Debug, Parser)]
#[command(name = "stackup", version, about, after_help = EXAMPLES, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) verb: Verbs,
}

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

/// What stackup can do.
#[derive(Debug, Subcommand)]
pub(super) enum Verbs {
    /// Write a stack file with comments
    Init(init::Init),
    /// Check the stack file and its manifests, and say every mistake with its place
    Validate,
    /// Show what apply would do, and why
    #[command(visible_alias = "plan")]
    Diff(diff::Diff),
    /// Make what the stack file says, wait until it works, and verify it
    Apply(apply::Apply),
    /// Prove that every component works
    Verify(verify::Verify),
    /// Show what stands, whether it is healthy, and what has drifted
    Status(status::Status),
    /// Print what others need: endpoint, URLs, names
    Output(output::Output),
    /// Take everything of the stack down
    Destroy(destroy::Destroy),
    /// Take down stacks of AWS whose lifetime is over, by their tags alone
    #[cfg(feature = "aws")]
    Reap(reap::Reap),
    /// Print or write the kubeconfig of the stack's cluster
    Kubeconfig(kubeconfig::Kubeconfig),
    /// Print a token for a cluster of EKS, as kubectl's credential plugins do
    #[cfg(feature = "aws")]
    Token(token::Token),
    /// Look at and mend what stackup remembers
    State(state::State),
    /// Say what is installed and reachable here, and what to do about what is not
    Doctor,
    /// Print the JSON schema of the stack file
    Schema,
    /// Print the completion script for a shell
    Completion(completion::Completion),
    /// Print the version and what this build can do
    Version,
}

/// The command, for completion scripts and for the tests that compare it with the documentation.
pub fn command() -> clap::Command {
    Arguments::command()
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
    use super::*;

    #[test]
    fn durations_are_what_people_write() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert!(duration("-5m").is_err() && duration("soon").is_err());
    }

    #[test]
    fn another_command_for_the_same_stack_can_be_typed_as_it_is_shown() {
        let command = |typed: &[&str]| {
            let typed = ["stackup", "apply"].iter().chain(typed);
            Arguments::parse_from(typed).global.command("destroy")
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
