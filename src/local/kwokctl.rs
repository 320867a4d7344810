use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::TcpListener,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    Answer, Call, Kubeconfig, Local, LocalError,
    cluster::{self, KUBECONFIG},
    files,
    process::Process,
};
use crate::resource::Target;

/// The programs of a control plane.
pub(crate) const PROGRAMS: [&str; 7] = [
    "kwokctl",
    "kwok",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

/// What runs in a cluster, as kwokctl names it.
pub(crate) const COMPONENTS: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
];

/// The prefix of worker names, and what kwokctl labels them with.
pub(crate) const WORKER: &str = "worker";

/// The lowest port that is chosen: below it are those that servers are known by.
const FIRST_PORT: u16 = 10_000;

/// Where a kwok cluster keeps everything, and the calls of its programs.
pub(crate) struct Place {
    /// `kwok/` in the data folder: kwokctl's work folder, and its home.
    pub(crate) folder: PathBuf,
    /// The cluster's own folder in it.
    pub(crate) cluster: PathBuf,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn of(local: &Local, target: &Target) -> Result<Self, LocalError> {
        let name = cluster::name(target)?.to_owned();
        let folder = local.path("kwok");
        Ok(Self {
            cluster: folder.join("clusters").join(&name),
            folder,
            name,
        })
    }

    pub(crate) fn mark(&self) -> PathBuf {
        self.folder.join("stackup.json")
    }

    pub(crate) fn options(&self) -> PathBuf {
        self.folder.join("options.json")
    }

    /// Where kwokctl writes its entry, so that it leaves the user's file alone; ours is made from the cluster's own.
    pub(crate) fn their_kubeconfig(&self) -> PathBuf {
        self.folder.join(KUBECONFIG)
    }

    /// Whether kwokctl has finished writing it: without either file it could not be started again.
    pub(crate) fn whole(&self) -> bool {
        self.cluster.join("kwok.yaml").exists() && self.cluster.join("kubeconfig.yaml").exists()
    }

    pub(crate) fn processes(&self) -> Result<Vec<Process>, LocalError> {
        Process::from_folder(&self.cluster.join("bin"))
    }

    pub(crate) fn stopped(&self) -> Result<Vec<String>, LocalError> {
        let processes = self.processes()?;
        let runs = |name: &str| processes.iter().any(|process| process.name() == name);
        Ok(COMPONENTS
            .iter()
            .filter(|name| !runs(name))
            .map(|&name| name.to_owned())
            .collect())
    }

    /// Removes the notes of processes that are gone. After a restart of the machine their ids may be someone else's,
    /// and kwokctl would take those for its own: it would not start, and stop the wrong ones.
    pub(crate) fn forget_dead(&self) -> Result<(), LocalError> {
        let processes = self.processes()?;
        for component in COMPONENTS {
            if !processes.iter().any(|process| process.name() == component) {
                files::remove(&self.cluster.join("pids").join(format!("{component}.pid")))?;
            }
        }
        Ok(())
    }

    /// A call of kwokctl that touches nothing outside our folder.
    pub(crate) fn kwokctl(&self, local: &Local) -> Result<Call, LocalError> {
        let call = local.programs().call("kwokctl")?.lengthy();
        Ok(call
            .without("KWOK_")
            .env("KWOK_WORKDIR", &self.folder)
            .env("HOME", self.folder.join("home"))
            .args(["--name", &self.name]))
    }

    /// A call of kubectl that asks the API server for a path.
    pub(crate) async fn get(&self, local: &Local, path: &str) -> Result<Answer, LocalError> {
        let call = local
            .programs()
            .call("kubectl")?
            .env("HOME", self.folder.join("home"));
        let call = call.arg("--kubeconfig").arg(self.cluster.join("kubeconfig.yaml"));
        call.args(["--request-timeout=10s", "get", "--raw", path])
            .answer()
            .await
    }

    pub(crate) async fn scale(&self, local: &Local, workers: u32) -> Result<(), LocalError> {
        let call = self
            .kwokctl(local)?
            .args(["scale", "node", WORKER, "--serial-length", "1"]);
        call.args(["--replicas", &workers.to_string()])
            .run()
            .await
            .map(drop)
    }
}

/// The context's name, as kwokctl makes it.
pub(crate) fn context(cluster: &str) -> String {
    format!("kwok-{cluster}")
}

pub(crate) fn write_kubeconfig(local: &Local, place: &Place) -> Result<(), LocalError> {
    let theirs = Kubeconfig::read(&place.cluster.join("kubeconfig.yaml"))?;
    theirs
        .select(&context(&place.name))?
        .embed()?
        .write(&local.kubeconfig())
}

/// The version of the API server that is found: `v1.34.4`.
pub(crate) async fn version(local: &Local) -> Result<String, LocalError> {
    let answer = local
        .programs()
        .call("kube-apiserver")?
        .args(["--version"])
        .run()
        .await?;
    let text = answer.text();
    text.split_whitespace()
        .find(|word| word.starts_with('v'))
        .map(str::to_owned)
        .ok_or_else(|| LocalError::Answer {
            command: answer.command,
            why: format!("'{text}' holds no version"),
        })
}

/// kwokctl's configuration. It listens on loopback only, since its etcd asks for no credentials; and we choose the
/// ports, since kwokctl tries them in a fixed order, where two that start at once meet.
pub(crate) fn options(local: &Local, kubernetes: &str) -> Result<Value, LocalError> {
    let program = |name: &str| local.programs().find(name);
    let mut options = json!({
        "runtime": "binary",
        "kubeVersion": kubernetes,
        "bindAddress": "127.0.0.1",
        "disableQPSLimits": true,
        "etcdBinary": program("etcd")?,
        "kubeApiserverBinary": program("kube-apiserver")?,
        "kubeControllerManagerBinary": program("kube-controller-manager")?,
        "kubeSchedulerBinary": program("kube-scheduler")?,
        "kwokControllerBinary": program("kwok")?,
        "kubectlBinary": program("kubectl")?,
    });
    let names = [
        "kubeApiserverPort",
        "etcdPort",
        "etcdPeerPort",
        "kubeControllerManagerPort",
        "kubeSchedulerPort",
        "kwokControllerPort",
    ];
    let listeners =
        free_ports(names.len()).map_err(LocalError::file("find a free port on", Path::new("127.0.0.1")))?;
    if let Some(options) = options.as_object_mut() {
        for (name, listener) in names.into_iter().zip(&listeners) {
            let address = listener.local_addr();
            let port = address.map_err(LocalError::file("read a port of", Path::new("127.0.0.1")))?;
            options.insert(name.to_owned(), port.port().into());
        }
    }
    Ok(json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
    }))
}

/// Listeners on so many ports of this machine that are free, and stay so until a server that was told of them listens. All
/// are held until all are known, so that no port comes twice.
///
/// # Errors
///
/// When the system has no port left.
pub fn free_ports(count: usize) -> io::Result<Vec<TcpListener>> {
    listeners(count, &outgoing_ports(), chance())
}

/// The ports that the system gives to outgoing connections: one of these, free when it is chosen, may be taken before
/// what it was chosen for listens on it.
fn outgoing_ports() -> RangeInclusive<u16> {
    // What IANA sets aside for it, for systems that do not tell.
    const USUAL: RangeInclusive<u16> = 49_152..=u16::MAX;
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = told.split_whitespace().map(str::parse);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(low)), Some(Ok(high))) => low..=high,
        _ => USUAL,
    }
}

/// Listeners on free ports outside of `outgoing`, or on any port where these do not do. `chance` says where to begin, so
/// that two that look at once do not meet.
fn listeners(count: usize, outgoing: &RangeInclusive<u16>, chance: u64) -> io::Result<Vec<TcpListener>> {
    let listen = |port| TcpListener::bind(("127.0.0.1", port));
    let quiet: Vec<u16> = (FIRST_PORT..=u16::MAX)
        .filter(|port| !outgoing.contains(port))
        .collect();
    let start = chance.checked_rem(quiet.len() as u64).unwrap_or_default();
    let mut found: Vec<_> = quiet
        .iter()
        .cycle()
        .skip(usize::try_from(start).unwrap_or_default())
        .take(quiet.len())
        .filter_map(|&port| listen(port).ok())
        .take(count)
        .collect();
    while found.len() < count {
        found.push(listen(0)?);
    }
    Ok(found)
}

/// A number that nobody can tell before: the standard library's only source of chance is the seed of its maps.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(listeners: &[TcpListener]) -> Vec<u16> {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        listeners.iter().map(port).collect()
    }

    #[test]
    fn ports_are_free_and_never_those_of_outgoing_connections() {
        let outgoing = outgoing_ports();
        let held = listeners(6, &outgoing, 7).unwrap();
        let first = ports(&held);
        assert!(first.iter().all(|port| !outgoing.contains(port)), "{first:?}");
        let second = ports(&listeners(6, &outgoing, 7).unwrap());
        assert!(
            second.iter().all(|port| !first.contains(port)),
            "{first:?} {second:?}"
        );
    }

    #[test]
    fn every_port_is_as_likely_to_be_the_first() {
        // A range in the middle must not send all who begin within it to the port behind it.
        let outgoing = FIRST_PORT + 1..=u16::MAX - 1;
        let first = |chance| ports(&listeners(1, &outgoing, chance).unwrap())[0];
        assert_eq!([first(0), first(1), first(2)], [FIRST_PORT, u16::MAX, FIRST_PORT]);
    }

    #[test]
    fn where_every_port_may_go_to_outgoing_connections_any_will_do() {
        assert_eq!(listeners(6, &(0..=u16::MAX), 1).unwrap().len(), 6);
    }
}
