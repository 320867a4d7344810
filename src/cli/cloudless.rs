//! What stands for AWS in a build without it: nothing is made, asked or left.

use std::sync::Arc;

use super::error::CliError;
use crate::{
    model::{Address, Plan, StackModel},
    resource::{Kind, Stack},
    state::Snapshot,
};

/// Nothing to call.
#[derive(Debug, Clone)]
pub(super) struct Cloud;

pub(super) fn cloud(_: &StackModel) -> Cloud {
    Cloud
}

pub(super) fn kinds(_: &Cloud) -> Vec<Arc<dyn Kind>> {
    Vec::new()
}

#[cfg(feature = "kubernetes")]
pub(super) fn tokens(_: &Cloud) -> Option<crate::kubernetes::Tokens> {
    None
}

#[cfg(feature = "kubernetes")]
pub(super) fn keep(_: &Cloud) -> Option<crate::kubernetes::Keep> {
    None
}

pub(super) async fn at_its_place(_: &Cloud, _: &StackModel, _: &mut Snapshot) -> Result<(), CliError> {
    std::future::ready(Ok(())).await
}

pub(super) async fn look_ahead(
    _: &StackModel,
    _: &Stack,
    _: &Snapshot,
    _: &Plan,
) -> Result<Vec<String>, CliError> {
    std::future::ready(Ok(Vec::new())).await
}

/// Nothing to look for.
pub(super) struct Audited;

pub(super) fn audited(_: &StackModel, _: &Snapshot) -> Audited {
    Audited
}

pub(super) async fn audit(_: &StackModel, _: Audited) -> Result<(), CliError> {
    std::future::ready(Ok(())).await
}

pub(super) fn cost(_: &[&Address]) -> Option<String> {
    None
}

pub(super) fn cost_of(_: &Plan) -> Option<String> {
    None
}

pub(super) fn kubeconfig(
    _: &serde_json::Map<String, serde_json::Value>,
    _: &str,
) -> Option<serde_json::Value> {
    None
}
