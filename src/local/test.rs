//! What the tests of this room share.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::Value;

use super::{Local, ProgramPaths, process::Process, room::owner};
use crate::{
    model::Address,
    resource::{Kind, Live, Observed, Readiness, ResourceError, Stack, Target},
};

/// A room in `folder` with this machine's programs.
pub(crate) fn local(folder: &Path) -> Local {
    Local::new(
        folder.to_owned(),
        ProgramPaths {
            control_plane: control_plane(),
            path: std::env::var_os("PATH").unwrap_or_default(),
            env: BTreeMap::from([("HOME".into(), folder.join("home").into_os_string())]),
        },
    )
}

/// The folder of the control plane's programs, where live tests can run.
pub(crate) fn control_plane() -> Option<std::path::PathBuf> {
    std::env::var_os("STACKUP_CONTROL_PLANE").map(Into::into)
}

/// The uid of a stack of this name: another one in each run, so that what a broken test left is not taken for ours.
pub(crate) fn uid(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Ends the processes of a test that failed half-way.
pub(crate) struct Ends(pub(crate) std::path::PathBuf, pub(crate) Vec<Target>);

impl Drop for Ends {
    fn drop(&mut self) {
        let mut left = Process::from_folder(&self.0).unwrap_or_default();
        for target in &self.1 {
            left.extend(Process::marked(&owner(target)).unwrap_or_default());
        }
        for process in left {
            drop(process.signal(rustix::process::Signal::KILL));
        }
    }
}

/// A target of a stack of this name.
pub(crate) fn target(kind: &dyn Kind, name: &str, inputs: Value) -> Target {
    let stack = Stack {
        name: name.to_owned(),
        uid: uid(name),
    };
    let address = Address::new(kind.name(), name);
    Target {
        identity: kind.identity(&stack, &address, &inputs).unwrap(),
        stack: Arc::new(stack),
        address,
        inputs: Some(Arc::new(inputs)),
        input_hash: String::new(),
        remembered: None,
        outputs: BTreeMap::new(),
        generation: 0,
        adopt: false,
    }
}

/// Looks at one target.
pub(crate) async fn observe(kind: &dyn Kind, target: &Target) -> Result<Option<Live>, ResourceError> {
    let observed = kind.observe(std::slice::from_ref(target)).await.remove(0)?;
    Ok(match observed {
        Observed::Absent => None,
        Observed::Live(live) => Some(*live),
    })
}

/// Looks, as the engine does, until `enough`; fails after a minute.
pub(crate) async fn until(
    kind: &dyn Kind,
    target: &Target,
    enough: impl Fn(Option<&Live>) -> bool,
) -> Option<Live> {
    let mut last = None;
    for _ in 0..240 {
        let live = observe(kind, target).await.unwrap();
        if enough(live.as_ref()) {
            return live;
        }
        last = live;
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("{} stays {last:?}", target.address);
}

/// Whether it is there, ready and as wanted.
pub(crate) fn ready(live: Option<&Live>) -> bool {
    live.is_some_and(|live| live.readiness == Readiness::Ready && live.changes.is_empty())
}
