use std::path::PathBuf;

use clap::Args;

use super::{
    environment::Environment, error::CliError, exit::Exit, flags::Global, print::tell_person, screen::Screen,
};
use crate::stack;

const EXAMPLES: &str = "\
Examples:
  stackup init                           a kind cluster, in ./stackup.yaml
  stackup init --provider kwok demo      a rehearsal: a real control plane, simulated nodes, no Docker";

/// Write a stack file with comments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The stack's name
    #[arg(default_value = "demo")]
    name: String,
    /// Where it runs: kind (containers on this machine), kwok (a rehearsal with simulated nodes), eks (AWS),
    /// existing
    #[arg(long, default_value = "kind")]
    provider: String,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn run(self, global: &Global, _: &Environment, _: &Screen) -> Result<Exit, CliError> {
        let path = global
            .file
            .first()
            .cloned()
            .unwrap_or_else(|| PathBuf::from("stackup.yaml"));
        let text = stack::template(&self.provider, &self.name)
            .map_err(|mistake| CliError::mistakes(std::slice::from_ref(&mistake)))?;
        if path.exists() && !self.force {
            return Err(
                CliError::new(Exit::Refused, format!("{} is there already", path.display()))
                    .hint("name another file with -f, or write over it with --force"),
            );
        }
        let failed = |path: &std::path::Path, error: &std::io::Error| {
            CliError::new(Exit::Failed, format!("could not write {}", path.display())).cause(error)
        };
        std::fs::write(&path, text).map_err(|error| failed(&path, &error))?;
        let folder = path.parent().unwrap_or(std::path::Path::new("")).to_owned();
        let schema = folder.join(stack::SCHEMA_FILE);
        if let Some(parent) = schema.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
            let ignore = parent.join(".gitignore");
            std::fs::write(&ignore, "*\n").map_err(|error| failed(&ignore, &error))?;
        }
        std::fs::write(&schema, stack::schema_text()).map_err(|error| failed(&schema, &error))?;
        if !global.quiet {
            tell_person(&format!(
                "wrote {}; see what it would make with 'stackup diff'",
                path.display()
            ));
        }
        Ok(Exit::Done)
    }
}
