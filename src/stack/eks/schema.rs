use std::collections::BTreeMap;

use schemars::JsonSchema;

/// The network of a cluster of provider eks: one of its own, or one that is there already.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
pub(in crate::stack) struct Network {
    /// The VPC's range of IPv4 addresses, /16 to /23. Default: 10.0.0.0/16.
    #[schemars(example = &"10.0.0.0/16")]
    cidr: Option<String>,
    /// Availability zones: how many (2 or 3), or their names. Default: 2.
    zones: Option<Zones>,
    /// How private nodes reach the world. Default: single.
    nat: Option<Nat>,
    /// A VPC that is there already and stays.
    #[schemars(example = &"vpc-0123456789abcdef0")]
    vpc: Option<String>,
    /// Subnets of that VPC in at least two zones, for control plane and nodes.
    subnets: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
enum Zones {
    /// So many.
    Count(u32),
    /// These.
    Names(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
enum Nat {
    /// Not at all: nodes stand in the public subnets and have public addresses. The cheapest.
    None,
    /// One gateway for all zones.
    Single,
    /// One gateway a zone.
    PerZone,
}

/// How the API server is reached from outside the network.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
pub(in crate::stack) struct Endpoint {
    /// Whether it has a public address; it always has a private one. Only true is supported yet.
    public: Option<bool>,
    /// Who may use the public address, as ranges of IPv4 addresses. Default: everybody who has credentials.
    public_cidrs: Option<Vec<String>>,
}

/// A managed group of worker nodes.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
pub(in crate::stack) struct NodeGroup {
    /// Its name.
    #[schemars(example = &"workers")]
    name: String,
    /// Instance types, the preferred first; several of one size, so that a lack of one does not end it. Default:
    /// t3.large, t3a.large.
    #[schemars(example = ["t3.large", "t3a.large"])]
    instance_types: Option<Vec<String>>,
    /// How the instances are paid for. Default: on-demand.
    capacity: Option<Capacity>,
    /// Fewest nodes. Default: desired.
    min: Option<u32>,
    /// Nodes at the start; an autoscaler may change their number later. Default: 2.
    desired: Option<u32>,
    /// Most nodes. Default: desired.
    max: Option<u32>,
    /// The root volume's size in GiB. Default: 30.
    disk: Option<u32>,
    /// Labels of its Nodes.
    labels: Option<BTreeMap<String, String>>,
    /// Taints of its Nodes.
    taints: Option<Vec<Taint>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
enum Capacity {
    /// Never taken away.
    OnDemand,
    /// Cheaper, and may be taken away.
    Spot,
}

/// A taint of a node group's Nodes.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
struct Taint {
    /// Its key.
    key: String,
    /// Its value.
    value: Option<String>,
    /// What it does to pods that do not tolerate it.
    effect: Effect,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "the words of Kubernetes, described for editors")]
enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

/// Who may use the cluster, beside the identity that makes it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
pub(in crate::stack) struct Access {
    /// The ARN of an IAM role or user.
    #[schemars(example = &"arn:aws:iam::111122223333:role/admins")]
    principal: String,
    /// An access policy of EKS. Default: `AmazonEKSClusterAdminPolicy`.
    #[schemars(example = &"AmazonEKSViewPolicy")]
    policy: Option<String>,
    /// Only in these namespaces. Default: in the whole cluster.
    namespaces: Option<Vec<String>>,
}

/// Logs of the control plane, kept in `CloudWatch`. They cost by their size.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "described for editors; the files are read with their places, field by field"
)]
pub(in crate::stack) struct Logs {
    /// Which: api, audit, authenticator, controllerManager, scheduler.
    types: Vec<String>,
    /// For how many days. Default: 7.
    retention_days: Option<u32>,
}
