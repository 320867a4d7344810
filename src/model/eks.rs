use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An EKS cluster with its network and worker nodes, as the stack file wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EksModel {
    /// The region, `eu-central-1`.
    pub region: String,
    /// The Kubernetes version, `1.34`; without it, the one that EKS takes by default.
    pub kubernetes: Option<String>,
    /// Where it lives.
    pub network: NetworkModel,
    /// How its API server is reached.
    pub endpoint: EndpointModel,
    /// Its worker nodes; at least one group.
    pub node_groups: Vec<NodeGroupModel>,
    /// Who may use it, beside the identity that makes it.
    pub access: Vec<AccessModel>,
    /// Which logs of the control plane are kept: `api`, `audit`, `authenticator`, `controllerManager`, `scheduler`.
    pub logs: Vec<String>,
    /// How many days they are kept.
    pub log_retention_days: u32,
    /// Whether EKS itself refuses to delete the cluster.
    pub deletion_protection: bool,
}

/// The network of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkModel {
    /// One of our own.
    Own {
        /// The VPC's range of IPv4 addresses, `10.0.0.0/16`.
        cidr: String,
        /// The availability zones.
        zones: ZonesModel,
        /// How private nodes reach the world.
        nat: NatModel,
    },
    /// One that is there already, and stays.
    Existing {
        /// The VPC's id.
        vpc: String,
        /// The ids of subnets in at least two zones, for control plane and nodes.
        subnets: Vec<String>,
    },
}

/// Which availability zones a network spans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ZonesModel {
    /// So many, chosen among those that EKS and the instance types are offered in: 2 or 3.
    Count(u32),
    /// These, by name.
    Names(Vec<String>),
}

/// How private nodes reach the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatModel {
    /// Not at all: nodes stand in the public subnets, with public addresses.
    None,
    /// Through one NAT gateway, in the first zone.
    Single,
    /// Through one NAT gateway a zone.
    PerZone,
}

/// How a cluster's API server is reached. Nodes always use the private way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointModel {
    /// Whether it has a public address too.
    pub public: bool,
    /// From where the public address may be used; `0.0.0.0/0` is everywhere.
    pub public_cidrs: Vec<String>,
}

/// A managed group of worker nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroupModel {
    /// Its name.
    pub name: String,
    /// Instance types, the preferred first.
    pub instance_types: Vec<String>,
    /// How the instances are paid for.
    pub capacity: CapacityModel,
    /// Fewest nodes.
    pub min: u32,
    /// Nodes at the start; later the group's autoscaler may own the number.
    pub desired: u32,
    /// Most nodes.
    pub max: u32,
    /// The root volume's size in GiB.
    pub disk: u32,
    /// Labels of its Nodes.
    pub labels: BTreeMap<String, String>,
    /// Taints of its Nodes.
    pub taints: Vec<TaintModel>,
}

/// How instances are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityModel {
    /// By the second, never taken away.
    OnDemand,
    /// Cheaper, and may be taken away.
    Spot,
}

/// A taint of a node group's Nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaintModel {
    /// Its key.
    pub key: String,
    /// Its value, if it has one.
    #[serde(default)]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Who may use a cluster, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessModel {
    /// The ARN of an IAM role or user.
    pub principal: String,
    /// The name of an access policy of EKS: `AmazonEKSClusterAdminPolicy`.
    pub policy: String,
    /// The namespaces that it holds for; empty for the whole cluster.
    pub namespaces: Vec<String>,
}
