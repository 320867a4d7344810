use clap::Args;
use clap_complete::Shell;

use super::{exit::Exit, print::print};

const EXAMPLES: &str = "\
Examples:
  source <(stackup completion bash)
  stackup completion zsh > ~/.zfunc/_stackup";

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completion {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for a command.
pub(super) fn run(completion: &Completion, command: &mut clap::Command) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(completion.shell, command, "stackup", &mut script);
    print(&String::from_utf8_lossy(&script));
    Exit::Done
}
