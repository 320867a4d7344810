use serde_json::{Value, json};

use super::{network::Network, parts::Parts};
use crate::{
    model::{Address, Need},
    resource::Reference,
};

/// What a node may do: join, pull images, be reached by Session Manager. Its pods get their rights by pod identity.
const NODE_POLICIES: [&str; 3] = [
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
];

impl Parts<'_> {
    /// The groups of worker nodes, each with its launch template, and the role that they share.
    pub(super) fn node_groups(
        &mut self,
        cluster: &Address,
        network: &Network,
        addons: &[Address],
    ) -> Vec<Address> {
        let role = self.role("node", "ec2.amazonaws.com", &NODE_POLICIES, None);
        // Without the network add-on nodes never get ready; it must be on its way before they come.
        let cni = addons.iter().filter(|addon| addon.name() == "vpc-cni");
        let routes = network.routes.iter().cloned().map(Need::ready);
        let needs: Vec<Need> = cni.cloned().map(Need::applied).chain(routes).collect();
        let mut made = Vec::new();
        for group in &self.eks.node_groups {
            let inputs = json!({"disk": group.disk, "instanceTags": self.tags});
            let template = self.tagged("aws.launch_template", &group.name, inputs, Vec::new());
            let taints: Vec<Value> = group.taints.iter().map(|taint| json!(taint)).collect();
            let inputs = json!({
                "cluster": Reference::field(cluster, "name"),
                "name": group.name,
                "roleArn": Reference::field(&role, "arn"),
                "subnetIds": network.nodes(),
                "instanceTypes": group.instance_types,
                "capacity": group.capacity,
                "min": group.min,
                "desired": group.desired,
                "max": group.max,
                "labels": group.labels,
                "taints": taints,
                "launchTemplate": {
                    "id": Reference::field(&template, "id"),
                    "version": Reference::field(&template, "version"),
                },
            });
            made.push(self.tagged("aws.eks_node_group", &group.name, inputs, needs.clone()));
        }
        made
    }
}
