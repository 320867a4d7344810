use clap::Args;
use crate::model::CheckLevel;
use super::{arguments::Global, context::{Environment, Screen, Session}, error::CliError, exit::Exit};
/// x
#[derive(Debug, Args)]
pub(super) struct Verify {}
impl Verify {
    pub(super) async fn run(self, _: &Global, _: &Environment, _: &Screen) -> Result<Exit, CliError> { Ok(Exit::Done) }
}
pub(super) async fn after_apply(_: &mut Session, _: CheckLevel, _: &Global, _: &Screen) -> Result<Exit, CliError> { Ok(Exit::Done) }
