use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Answer, Call, LocalError, Programs};

/// The label by which kind knows the nodes of a cluster.
const CLUSTER: &str = "io.x-k8s.kind.cluster";

/// The label by which kind knows what a node is.
const ROLE: &str = "io.x-k8s.kind.role";

/// A container that is, or was, a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    /// Its id, whole.
    pub(crate) id: String,
    name: String,
    state: State,
    config: Config,
    #[serde(default)]
    mounts: Vec<Mount>,
    #[serde(default)]
    network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: BTreeMap<String, Attachment>,
}

#[derive(Debug, Clone, Deserialize)]
struct Attachment {
    #[serde(rename = "IPAddress", default)]
    address: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    address6: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    destination: String,
}

impl Container {
    /// Its name, which is also the node's.
    pub(crate) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// Whether it runs.
    pub(crate) fn runs(&self) -> bool {
        self.state.running
    }

    /// Its addresses in Docker's networks.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        let networks = self.network_settings.networks.values();
        networks
            .flat_map(|network| [network.address.as_str(), network.address6.as_str()])
            .filter(|address| !address.is_empty())
    }

    /// The image that it was made from, as it was named.
    pub(crate) fn image(&self) -> &str {
        &self.config.image
    }

    /// Whether it is a node of this role: `control-plane`, `worker`.
    pub(crate) fn is(&self, role: &str) -> bool {
        self.config.labels.get(ROLE).is_some_and(|found| found == role)
    }

    /// Whether it is a node at all, and not the load balancer before several control planes.
    pub(crate) fn is_node(&self) -> bool {
        self.is("control-plane") || self.is("worker")
    }

    /// What is mounted below a path: the rest of the first such mount's path.
    pub(crate) fn mounted_below(&self, path: &str) -> Option<&str> {
        self.mounts
            .iter()
            .find_map(|mount| mount.destination.strip_prefix(path)?.strip_prefix('/'))
    }
}

/// Runs docker; if that fails and Docker does not answer at all, says so.
pub(crate) async fn docker(programs: &Programs, call: Call) -> Result<Answer, LocalError> {
    let failed = match call.run().await {
        Ok(answer) => return Ok(answer),
        Err(failed @ LocalError::Failed { .. }) => failed,
        Err(error) => return Err(error),
    };
    let version = programs
        .call("docker")?
        .args(["version", "--format", "{{.Server.Version}}"]);
    let version = version.answer().await?;
    if version.status.success() {
        Err(failed)
    } else {
        Err(LocalError::Docker(version.stderr.trim().to_owned()))
    }
}

/// All containers of a kind cluster, stopped ones too, by name.
pub(crate) async fn containers(programs: &Programs, cluster: &str) -> Result<Vec<Container>, LocalError> {
    let filter = format!("label={CLUSTER}={cluster}");
    let list = programs
        .call("docker")?
        .args(["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
    let ids = docker(programs, list).await?.text();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let inspect = programs.call("docker")?.args(["inspect", "--type", "container"]);
    let mut containers: Vec<Container> = match docker(programs, inspect.args(ids.lines())).await {
        Ok(answer) => answer.json()?,
        // An interrupted run's kind may be taking its own containers away this very moment; Docker lists them a while
        // longer than it knows them.
        Err(LocalError::Failed { .. }) => return Err(LocalError::Moving(cluster.to_owned())),
        Err(error) => return Err(error),
    };
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}

/// A call of a program inside a container.
pub(crate) fn inside(programs: &Programs, container: &Container, args: &[&str]) -> Result<Call, LocalError> {
    Ok(programs
        .call("docker")?
        .args(["exec", container.name()])
        .args(args))
}

/// Whether a network of this name is there.
pub(crate) async fn network_exists(programs: &Programs, name: &str) -> Result<bool, LocalError> {
    let filter = format!("name=^{name}$");
    let list = programs
        .call("docker")?
        .args(["network", "ls", "--quiet", "--filter", &filter]);
    Ok(!docker(programs, list).await?.text().is_empty())
}

/// Whether any container, running or not, is attached to a network.
pub(crate) async fn network_used(programs: &Programs, name: &str) -> Result<bool, LocalError> {
    let filter = format!("network={name}");
    let list = programs
        .call("docker")?
        .args(["ps", "--all", "--quiet", "--filter", &filter]);
    Ok(!docker(programs, list).await?.text().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_docker_inspect_tells_of_a_node_is_read() {
        let node: Container = serde_json::from_value(json!({
            "Id": "abc", "Name": "/demo-worker", "State": {"Running": true, "Status": "running"},
            "Config": {"Image": "kindest/node:v1", "Labels": {"io.x-k8s.kind.role": "worker"}},
            "Mounts": [{"Destination": "/var"}, {"Destination": "/etc/stackup/uid/hash"}],
        }))
        .unwrap();
        assert_eq!(
            (node.name(), node.runs(), node.is_node()),
            ("demo-worker", true, true)
        );
        assert_eq!(node.mounted_below("/etc/stackup"), Some("uid/hash"));
        assert_eq!(node.mounted_below("/etc/stack"), None);
    }
}
