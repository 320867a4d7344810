use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    existing_cluster::ExistingCluster, kind_cluster::KindCluster, kind_images::KindImages,
    kwok_cluster::KwokCluster, kwok_companion::KwokCompanion,
};
use crate::{
    model::{Address, ClusterModel, CompanionSpec, Need, StackModel},
    resource::{ClusterPart, Reference, Resource, Wanted},
};

/// The cluster of a stack, and what its nodes need; nothing if this room does not make it.
pub fn expand(model: &StackModel) -> Option<ClusterPart> {
    let (kind, inputs) = match &model.cluster {
        ClusterModel::Kind(kind) => (
            KindCluster::KIND,
            // The archives are a resource of their own: others do not change the cluster.
            json!({
                "workers": kind.workers,
                "kubernetes": kind.kubernetes,
                "image": kind.image,
                "config": kind.config,
                "loadImages": [],
            }),
        ),
        ClusterModel::Kwok(kwok) => (
            KwokCluster::KIND,
            json!({"workers": kwok.workers, "kubernetes": kwok.kubernetes}),
        ),
        ClusterModel::Existing(existing) => (
            ExistingCluster::KIND,
            json!({"kubeconfig": existing.kubeconfig, "context": existing.context}),
        ),
        ClusterModel::Eks(_) => return None,
    };
    let cluster = Address::new(kind, &model.name);
    let mut part = ClusterPart {
        cluster: cluster.clone(),
        pods_need: Vec::new(),
        wanted: vec![wanted(cluster.clone(), kind, inputs)],
    };
    if let ClusterModel::Kind(kind) = &model.cluster
        && !kind.load_images.is_empty()
    {
        let address = Address::new(KindImages::KIND, &model.name);
        let inputs = json!({"cluster": Reference::whole(&cluster), "archives": kind.load_images});
        let mut images = wanted(address.clone(), KindImages::KIND, inputs);
        images.needs.push(Need::ready(cluster));
        part.wanted.push(images);
        part.pods_need.push(address);
    }
    Some(part)
}

/// The processes that run beside a simulated cluster, for Deployments whose pods only seem to run there. None elsewhere.
pub fn companions(model: &StackModel, cluster: &Address, specs: &[CompanionSpec]) -> Vec<Wanted> {
    if !matches!(model.cluster, ClusterModel::Kwok(_)) {
        return Vec::new();
    }
    let companion = |spec: &CompanionSpec| Wanted {
        component: Some(spec.component.clone()),
        needs: vec![
            Need::ready(cluster.clone()),
            Need::applied(spec.deployment.clone()),
        ],
        ..wanted(
            Address::new(KwokCompanion::KIND, &spec.name),
            KwokCompanion::KIND,
            json!({
                "cluster": Reference::whole(cluster),
                "namespace": spec.namespace,
                "serviceAccount": spec.service_account,
                "program": spec.program,
                "args": spec.args,
            }),
        )
    };
    specs.iter().map(companion).collect()
}

fn wanted(address: Address, kind: &'static str, inputs: Value) -> Wanted {
    Wanted {
        address,
        kind,
        component: None,
        inputs: Arc::new(inputs),
        needs: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{KindModel, KwokModel};

    fn model(cluster: ClusterModel) -> StackModel {
        StackModel {
            name: "demo".into(),
            folder: "/x".into(),
            lifetime: None,
            cluster,
            components: Vec::new(),
            verify: None,
            tags: BTreeMap::new(),
            state: None,
        }
    }

    #[test]
    fn pods_of_a_kind_cluster_wait_for_its_images() {
        let mut kind = KindModel {
            workers: 1,
            kubernetes: None,
            image: None,
            load_images: vec!["/a.tar".into()],
            config: None,
        };
        let part = expand(&model(ClusterModel::Kind(kind.clone()))).unwrap();
        assert_eq!(part.cluster.as_str(), "kind.cluster/demo");
        assert_eq!(part.pods_need, [Address::new("kind.images", "demo")]);
        assert!(!part.wanted[0].inputs.to_string().contains("a.tar"));
        kind.load_images.clear();
        assert!(
            expand(&model(ClusterModel::Kind(kind)))
                .unwrap()
                .pods_need
                .is_empty()
        );
    }

    #[test]
    fn a_companion_runs_beside_a_simulated_cluster_only() {
        let spec = CompanionSpec {
            component: "monitoring".into(),
            deployment: Address::new("k8s", "monitoring/Deployment/operator"),
            namespace: "monitoring".into(),
            name: "operator".into(),
            program: "operator".into(),
            args: vec!["--x".into()],
            service_account: "operator".into(),
        };
        let kwok = model(ClusterModel::Kwok(KwokModel {
            workers: 1,
            kubernetes: None,
        }));
        let cluster = expand(&kwok).unwrap().cluster;
        let wanted = companions(&kwok, &cluster, std::slice::from_ref(&spec));
        assert_eq!(wanted[0].address.as_str(), "kwok.companion/operator");
        assert_eq!(wanted[0].needs.len(), 2);
        let existing = model(ClusterModel::Existing(crate::model::ExistingModel {
            kubeconfig: None,
            context: "x".into(),
        }));
        assert!(companions(&existing, &cluster, &[spec]).is_empty());
    }
}
