//! Small stacks for tests: texts in a folder of their own, expanded as a user's would be.

use std::{collections::BTreeMap, fs};

use super::{Expanded, expand};
use crate::{
    model::{
        Address, ClusterModel, ComponentModel, ExistingModel, KindModel, KwokModel, ManifestSource, Mistake,
        StackModel, Until,
    },
    resource::Wanted,
};

/// A stack of components, each one file of manifests and perhaps a `component.yaml`.
pub(super) struct Fixture {
    folder: tempfile::TempDir,
    pub(super) model: StackModel,
}

impl Fixture {
    pub(super) fn new(components: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let components = components
            .iter()
            .map(|(name, text)| {
                let path = folder.path().join(name);
                fs::create_dir(&path).unwrap();
                fs::write(path.join("a.yaml"), text).unwrap();
                component(name, ManifestSource::Path(path))
            })
            .collect();
        let model = stack(kwok(), components);
        Self { folder, model }
    }

    /// The first component, to change it.
    pub(super) fn first(&mut self) -> &mut ComponentModel {
        &mut self.model.components[0]
    }

    pub(super) fn define(self, component: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(component).join("component.yaml"), text).unwrap();
        self
    }

    pub(super) fn expand(&self) -> Result<Expanded, Vec<Mistake>> {
        expand(&self.model, &cluster(), &[Address::new("kind.images", "demo")])
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        self.expand()
            .unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
            .wanted
    }

    /// The mistakes, without the folder that differs from run to run.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let folder = format!("{}/", self.folder.path().display());
        let mistakes = self.expand().err().unwrap_or_default();
        mistakes
            .iter()
            .map(|mistake| mistake.to_string().replace(&folder, ""))
            .collect()
    }

    /// Every edge as `dependant -> needed` (applied) or `dependant => needed` (ready), without the leading `k8s/`.
    pub(super) fn edges(&self) -> Vec<String> {
        edges(&self.wanted())
    }
}

pub(super) fn edges(wanted: &[Wanted]) -> Vec<String> {
    let short = |address: &Address| address.as_str().trim_start_matches("k8s/").to_owned();
    let mut edges: Vec<String> = wanted
        .iter()
        .flat_map(|wanted| {
            wanted.needs.iter().map(|need| {
                let arrow = if need.until == Until::Ready { "=>" } else { "->" };
                format!("{} {arrow} {}", short(&wanted.address), short(&need.address))
            })
        })
        .collect();
    edges.sort();
    edges
}

pub(super) fn cluster() -> Address {
    Address::new("kwok.cluster", "demo")
}

pub(super) fn kwok() -> ClusterModel {
    ClusterModel::Kwok(KwokModel {
        workers: 1,
        kubernetes: None,
    })
}

pub(super) fn providers() -> [ClusterModel; 3] {
    [
        kwok(),
        ClusterModel::Kind(KindModel {
            workers: 2,
            kubernetes: None,
            image: None,
            load_images: Vec::new(),
            config: None,
        }),
        ClusterModel::Existing(ExistingModel {
            kubeconfig: None,
            context: "test".into(),
        }),
    ]
}

pub(super) fn component(name: &str, source: ManifestSource) -> ComponentModel {
    ComponentModel {
        name: name.into(),
        source,
        namespace: None,
        labels: BTreeMap::new(),
        depends_on: Vec::new(),
        images: BTreeMap::new(),
        values: BTreeMap::new(),
        patches: Vec::new(),
    }
}

pub(super) fn stack(cluster: ClusterModel, components: Vec<ComponentModel>) -> StackModel {
    StackModel {
        name: "demo".into(),
        folder: "/stack".into(),
        lifetime: None,
        cluster,
        components,
        verify: None,
        tags: BTreeMap::new(),
        state: None,
    }
}
