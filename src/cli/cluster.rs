//! The cluster of a stack, from the room that makes its kind of cluster.

use super::{error::CliError, exit::Exit};
use crate::{local, model::StackModel, resource::ClusterPart};

/// What the stack's provider adds to it.
pub(super) fn part(model: &StackModel) -> Result<ClusterPart, CliError> {
    local::expand(model).or_else(|| cloud(model)).ok_or_else(|| {
        let provider = model.cluster.provider();
        CliError::new(
            Exit::Usage,
            format!("this build of stackup has no provider {provider} in it"),
        )
        .hint("build it with all features: cargo build --release")
    })
}

#[cfg(feature = "aws")]
fn cloud(model: &StackModel) -> Option<ClusterPart> {
    crate::aws::expand(model)
}

#[cfg(not(feature = "aws"))]
fn cloud(_: &StackModel) -> Option<ClusterPart> {
    None
}
