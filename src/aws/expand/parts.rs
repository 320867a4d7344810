use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::tags::{self, Tags},
    addresses,
    network::Network,
};
use crate::{
    model::{Address, ClusterModel, EksModel, Need, StackModel},
    resource::{ClusterPart, Reference, Wanted},
};

/// The add-ons that every cluster gets, in the order of their names.
const ADDONS: [Addon; 6] = [
    Addon::new("aws-ebs-csi-driver")
        .role("ebs-csi-controller-sa")
        .pods(),
    Addon::new("coredns").pods(),
    Addon::new("eks-pod-identity-agent"),
    Addon::new("kube-proxy"),
    Addon::new("metrics-server").pods(),
    Addon::new("vpc-cni").role("aws-node"),
];

/// What is known of an add-on beforehand; all else is asked of EKS.
#[derive(Debug, Clone, Copy)]
struct Addon {
    name: &'static str,
    /// The `ServiceAccount` whose pods call AWS.
    role: Option<&'static str>,
    /// Whether it has pods that need a node, so that EKS calls it degraded until there is one.
    needs_nodes: bool,
}

impl Addon {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            role: None,
            needs_nodes: false,
        }
    }

    const fn role(mut self, service_account: &'static str) -> Self {
        self.role = Some(service_account);
        self
    }

    const fn pods(mut self) -> Self {
        self.needs_nodes = true;
        self
    }
}

/// The parts of one stack, as they are gathered.
pub(super) struct Parts<'a> {
    name: &'a str,
    pub(super) eks: &'a EksModel,
    /// What the stack file adds; a lifetime is not among them, or another one would renew the nodes.
    pub(super) tags: &'a Tags,
    wanted: Vec<Wanted>,
}

/// The cluster of a stack with its network and nodes; nothing if it is not one of AWS.
pub fn expand(model: &StackModel) -> Option<ClusterPart> {
    let ClusterModel::Eks(eks) = &model.cluster else {
        return None;
    };
    let mut parts = Parts {
        name: &model.name,
        eks,
        tags: &model.tags,
        wanted: Vec::new(),
    };
    let network = parts.network();
    let cluster = parts.cluster(&network);
    let access = parts.access(&cluster);
    let addons = parts.addons(&cluster);
    let groups = parts.node_groups(&cluster, &network, &addons);
    let api = parts.api(&cluster, &access);
    parts.outside(&api, &groups, &addons);
    parts.storage_class(&api);
    Some(ClusterPart {
        cluster: api,
        pods_need: Vec::new(),
        wanted: parts.wanted,
    })
}

impl Parts<'_> {
    /// Adds a resource that carries tags.
    pub(super) fn tagged(
        &mut self,
        kind: &'static str,
        name: &str,
        mut inputs: Value,
        needs: Vec<Need>,
    ) -> Address {
        if let Some(inputs) = inputs.as_object_mut() {
            let mut tags = self.tags.clone();
            if let Some(Value::Object(own)) = inputs.remove("tags") {
                tags.extend(
                    own.into_iter()
                        .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned()))),
                );
            }
            inputs.insert("tags".to_owned(), json!(tags));
        }
        self.add(kind, name, inputs, needs)
    }

    pub(super) fn add(&mut self, kind: &'static str, name: &str, inputs: Value, needs: Vec<Need>) -> Address {
        let address = Address::new(kind, name);
        self.wanted.push(Wanted {
            address: address.clone(),
            kind,
            component: None,
            inputs: Arc::new(inputs),
            needs,
        });
        address
    }

    pub(super) fn role(
        &mut self,
        name: &str,
        service: &str,
        policies: &[&str],
        addon: Option<&str>,
    ) -> Address {
        // IAM knows no regions: without this tag a role would be taken for one of a stack in another.
        let tags = json!({tags::REGION: self.eks.region});
        let mut inputs = json!({"service": service, "policies": policies, "tags": tags});
        if let (Some(inputs), Some(addon)) = (inputs.as_object_mut(), addon) {
            inputs.insert("addon".to_owned(), json!(addon));
            inputs.insert("kubernetes".to_owned(), json!(self.eks.kubernetes));
        }
        self.tagged("aws.iam_role", name, inputs, Vec::new())
    }

    fn cluster(&mut self, network: &Network) -> Address {
        let role = self.role("cluster", "eks.amazonaws.com", &["AmazonEKSClusterPolicy"], None);
        let leftovers = self.add(
            "aws.leftovers",
            self.name,
            json!({
                "cluster": self.name,
                "vpcId": network.vpc,
                "subnetIds": network.all_subnets(),
                "logs": !self.eks.logs.is_empty(),
            }),
            // A load balancer that is left has addresses, and with those the gateway cannot go.
            network.gateway.iter().cloned().map(Need::applied).collect(),
        );
        // On the way down: the cluster, then what its controllers left, then the network.
        let mut needs = vec![Need::applied(leftovers)];
        if !self.eks.logs.is_empty() {
            // Before the cluster, or EKS makes one that never ends; gone after it, or a dying cluster makes it anew.
            let inputs = json!({"name": format!("/aws/eks/{}/cluster", self.name), "retentionDays": self.eks.log_retention_days});
            needs.push(Need::ready(self.tagged(
                "aws.log_group",
                self.name,
                inputs,
                Vec::new(),
            )));
        }
        let inputs = json!({
            "name": self.name,
            "kubernetes": self.eks.kubernetes,
            "roleArn": Reference::field(&role, "arn"),
            "subnets": network.control_plane(),
            "publicAccess": self.eks.endpoint.public,
            "publicCidrs": self.eks.endpoint.public_cidrs,
            "logs": self.eks.logs,
            "deletionProtection": self.eks.deletion_protection,
        });
        self.tagged("aws.eks_cluster", self.name, inputs, needs)
    }

    /// Who may use the cluster: the identity that makes it, and those whom the stack file names.
    fn access(&mut self, cluster: &Address) -> Address {
        let name = Reference::field(cluster, "name");
        let admin = json!([{"name": "AmazonEKSClusterAdminPolicy", "namespaces": []}]);
        let inputs = json!({"cluster": name, "principal": null, "policies": admin});
        let own = self.tagged("aws.eks_access_entry", "operator", inputs, Vec::new());
        let mut by_principal: Vec<(&str, Vec<Value>)> = Vec::new();
        for grant in &self.eks.access {
            let policy = json!({"name": grant.policy, "namespaces": grant.namespaces});
            match by_principal
                .iter_mut()
                .find(|(principal, _)| *principal == grant.principal)
            {
                Some((_, policies)) => policies.push(policy),
                None => by_principal.push((&grant.principal, vec![policy])),
            }
        }
        for (principal, policies) in by_principal {
            let inputs = json!({"cluster": name, "principal": principal, "policies": policies});
            self.tagged(
                "aws.eks_access_entry",
                &addresses::principal(principal),
                inputs,
                Vec::new(),
            );
        }
        own
    }

    fn addons(&mut self, cluster: &Address) -> Vec<Address> {
        let mut made = Vec::new();
        for addon in ADDONS {
            let mut roles = serde_json::Map::new();
            if let Some(service_account) = addon.role {
                let role = self.role(addon.name, "pods.eks.amazonaws.com", &[], Some(addon.name));
                roles.insert(service_account.to_owned(), Reference::field(&role, "arn"));
            }
            let inputs = json!({
                "cluster": Reference::field(cluster, "name"),
                "name": addon.name,
                "roles": roles,
                "needsNodes": addon.needs_nodes,
            });
            made.push(self.tagged("aws.eks_addon", addon.name, inputs, Vec::new()));
        }
        made
    }

    /// The API server, once it answers and accepts us: what every object of Kubernetes refers to.
    fn api(&mut self, cluster: &Address, access: &Address) -> Address {
        self.add(
            "k8s.api",
            self.name,
            json!({"cluster": Reference::whole(cluster)}),
            vec![Need::ready(access.clone())],
        )
    }

    /// What controllers make in AWS for objects of Kubernetes. It goes first, while nodes and add-ons still work on it.
    fn outside(&mut self, api: &Address, groups: &[Address], addons: &[Address]) {
        let needs = groups.iter().chain(addons).cloned().map(Need::applied).collect();
        self.add(
            "k8s.outside",
            self.name,
            json!({"cluster": Reference::whole(api)}),
            needs,
        );
    }

    /// EKS comes without a default storage class, and a claim without a class would wait for ever.
    fn storage_class(&mut self, api: &Address) {
        let object = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "gp3",
                "labels": {"stackup/stack": self.name},
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "ebs.csi.aws.com",
            "parameters": {"type": "gp3", "encrypted": "true"},
            "reclaimPolicy": "Delete",
            "allowVolumeExpansion": true,
            "volumeBindingMode": "WaitForFirstConsumer",
        });
        self.add(
            "k8s.object",
            "StorageClass/gp3",
            json!({"cluster": Reference::whole(api), "namespaced": false, "object": object}),
            Vec::new(),
        );
        if let Some(class) = self.wanted.last_mut() {
            class.address = Address::new("k8s", "StorageClass/gp3");
        }
    }
}
