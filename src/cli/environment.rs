use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{error::CliError, exit::Exit, flags::duration};
use crate::local::ProgramPaths;

/// Says how often a cloud is asked how far it is, where 5 seconds are not right.
const POLL_INTERVAL: &str = "STACKUP_POLL_INTERVAL";
/// AWS throttles those who ask often, and what takes minutes is not seen much later.
const PACE: Duration = Duration::from_secs(5);

/// The environment, as it was when the program started.
#[derive(Debug)]
pub(super) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    pub(super) fn new(variables: Vec<(OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// What a stack file may read with `${env:NAME}`.
    pub(super) fn text(&self) -> BTreeMap<String, String> {
        let text = |value: &OsString| value.to_str().map(str::to_owned);
        self.0
            .iter()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect()
    }

    pub(super) fn programs(&self) -> ProgramPaths {
        ProgramPaths {
            control_plane: self.get("STACKUP_CONTROL_PLANE").map(PathBuf::from),
            path: self.get("PATH").unwrap_or_default().to_owned(),
            env: self.0.clone(),
        }
    }

    /// How often what has no watch is looked at while it is awaited.
    pub(super) fn pace(&self) -> Result<Duration, CliError> {
        let Some(text) = self.get(POLL_INTERVAL) else {
            return Ok(PACE);
        };
        match duration(&text.to_string_lossy()) {
            Ok(pace) if pace.is_zero() => Err(String::from("it must be longer than nothing")),
            read => read,
        }
        .map_err(|error| CliError::new(Exit::Usage, format!("{POLL_INTERVAL}: {error}")))
    }

    /// The user's own kubeconfig.
    pub(super) fn kubeconfig(&self) -> Option<PathBuf> {
        let named = self
            .get("KUBECONFIG")
            .and_then(|list| std::env::split_paths(list).next());
        named.or_else(|| Some(Path::new(self.get("HOME")?).join(".kube/config")))
    }
}
