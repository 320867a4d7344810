use std::{path::PathBuf, sync::Arc};

use super::{
    ProgramPaths, Programs, existing_cluster::ExistingCluster, kind_cluster::KindCluster,
    kind_images::KindImages, kwok_cluster::KwokCluster, kwok_companion::KwokCompanion,
};
use crate::resource::{Kind, Target, kind};

/// What the kinds of this room share: the stack's data folder and the programs.
#[derive(Debug)]
pub struct Local {
    data: PathBuf,
    programs: Programs,
}

impl Local {
    /// A room that keeps everything in `data`, the absolute path of `.stackup/<name>/`.
    pub fn new(data: PathBuf, programs: ProgramPaths) -> Self {
        Self {
            data,
            programs: Programs::new(programs),
        }
    }

    /// The programs that it starts.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A path in the data folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// Our own kubeconfig of the stack's cluster.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path(super::cluster::KUBECONFIG)
    }

    /// The file that a program's output goes to; its folder is there afterwards.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf, super::LocalError> {
        let folder = self.path("logs");
        super::files::make_folder(&folder)?;
        Ok(folder.join(format!("{name}.log")))
    }
}

/// What every process that we start for a resource carries: the stack's uid and the resource's address.
pub(crate) fn owner(target: &Target) -> String {
    format!("{}/{}", target.stack.uid, target.address)
}

/// The kinds of this room.
pub fn kinds(local: &Arc<Local>) -> Vec<Arc<dyn Kind>> {
    vec![
        kind::<ExistingCluster>(local),
        kind::<KindCluster>(local),
        kind::<KindImages>(local),
        kind::<KwokCluster>(local),
        kind::<KwokCompanion>(local),
    ]
}
