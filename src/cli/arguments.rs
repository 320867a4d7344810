use clap::{CommandFactory, Parser, Subcommand};

use super::{
    apply, completion, destroy, diff, flags::Global, init, kubeconfig, output, state, status, verify,
};
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
