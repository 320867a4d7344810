//! One errand of the program's library in a process of its own, whose environment says where AWS is.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stackup::{
    aws::{self, Audited, Clients},
    model::{CapacityModel, EksModel, EndpointModel, NatModel, NetworkModel, NodeGroupModel, ZonesModel},
    resource::Stack,
    state::Place,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    child::{self, Order},
    double::{Double, REGION},
};

const ERRAND: &str = "STACKUP_TEST_ERRAND";
/// The file, in the folder of its process, that says what an errand told.
const REPORT: &str = "report.json";
/// How long an errand may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(4);

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Errand {
    /// The engine brings a stack from what is remembered to what is wanted.
    Run(Order),
    Audit {
        uid: String,
        cluster: Option<String>,
        vpc: Option<String>,
    },
    Stacks,
    Preflight(Box<Looked>),
    /// Who runs this, and a token for the cluster of this name.
    Token(String),
}

/// What a preflight looks at, where it differs from a stack that nothing is wrong with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Looked {
    pub(super) cidr: String,
    pub(super) zones: ZonesModel,
    pub(super) types: Vec<String>,
    pub(super) kubernetes: Option<String>,
    pub(super) existing: Option<(String, Vec<String>)>,
    /// Account and region that the state remembers.
    pub(super) remembered: Option<(String, String)>,
}

/// An errand on its way, in a process of its own.
pub(super) struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    /// What it told at its end; nothing if it ended otherwise than it should.
    pub(super) async fn told(&mut self) -> Option<Value> {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let status = ended
            .unwrap_or_else(|_| panic!("an errand does not end"))
            .unwrap();
        let report = || fs::read(self.folder.path().join(REPORT)).unwrap();
        status
            .success()
            .then(|| serde_json::from_slice(&report()).unwrap())
    }

    pub(super) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Starts an errand at an AWS of this address; `key` is the access key, or nothing for nobody who is signed in.
pub(super) fn start(url: &str, errand: &Errand, key: Option<&str>, fault: Option<&str>) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "aws::errand::errand_of_its_own"])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env(ERRAND, json!([errand, folder.path()]).to_string())
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_REGION", REGION)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    if let Some(key) = key {
        command
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", "test");
    }
    if let Some(fault) = fault {
        command.env("STACKUP_FAULT", fault);
    }
    let child = command.spawn().unwrap();
    Running { child, folder }
}

/// Runs an errand against the double.
pub(super) async fn run(double: &Double, errand: &Errand, key: Option<&str>) -> Value {
    let told = start(&double.url, errand, key, None).told().await;
    told.unwrap_or_else(|| panic!("{errand:?} ended badly"))
}

#[test]
#[ignore = "the tests start it, as a process of its own with its errand in the environment"]
fn errand_of_its_own() {
    let (errand, folder): (Errand, PathBuf) = serde_json::from_str(&env::var(ERRAND).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = runtime.block_on(carry_out(errand));
    fs::write(folder.join(REPORT), serde_json::to_vec(&told).unwrap()).unwrap();
}

async fn carry_out(errand: Errand) -> Value {
    let clients = Clients::patient(None);
    match errand {
        Errand::Run(order) => json!(child::run(&order).await),
        Errand::Audit { uid, cluster, vpc } => {
            let left = aws::audit(
                &clients,
                &Audited {
                    uid,
                    cluster,
                    vpc,
                    logs: false,
                    since: None,
                },
            )
            .await
            .unwrap();
            json!(
                left.iter()
                    .map(|one| json!([one.kind, one.id, one.why, one.region]))
                    .collect::<Vec<_>>()
            )
        }
        Errand::Token(cluster) => {
            let who = match aws::identity(&clients).await {
                Ok(who) => who,
                Err(error) => return json!({"error": error.to_string()}),
            };
            let token = aws::token(&clients, &cluster).await.unwrap();
            json!({"principal": who.principal, "token": token.text.expose()})
        }
        Errand::Stacks => {
            let stacks = aws::stacks(&clients, SystemTime::now()).await.unwrap();
            let told = stacks.iter().map(|one| {
                json!({"name": one.name, "uid": one.uid, "expired": one.expired, "resources": one.resources})
            });
            json!(told.collect::<Vec<_>>())
        }
        Errand::Preflight(looked) => {
            let stack = Stack {
                name: "demo".into(),
                uid: "0123456789abcdef".into(),
            };
            let place = looked
                .remembered
                .clone()
                .map(|(account, region)| Place { account, region });
            let found = aws::preflight(
                &clients,
                &model(*looked),
                &stack,
                place.as_ref(),
                None,
                SystemTime::now(),
            )
            .await;
            json!(
                found
                    .iter()
                    .map(|one| json!([one.title, one.found, one.hint, one.warning]))
                    .collect::<Vec<_>>()
            )
        }
    }
}

pub(super) fn model(looked: Looked) -> EksModel {
    let network = match looked.existing {
        Some((vpc, subnets)) => NetworkModel::Existing { vpc, subnets },
        None => NetworkModel::Own {
            cidr: looked.cidr,
            zones: looked.zones,
            nat: NatModel::Single,
        },
    };
    let group = |capacity, types: &[String]| NodeGroupModel {
        name: "workers".into(),
        instance_types: types.to_vec(),
        capacity,
        min: 1,
        desired: 2,
        max: 3,
        disk: 20,
        labels: BTreeMap::new(),
        taints: Vec::new(),
    };
    EksModel {
        region: REGION.into(),
        kubernetes: looked.kubernetes,
        network,
        endpoint: EndpointModel {
            public: true,
            public_cidrs: vec!["0.0.0.0/0".into()],
        },
        node_groups: vec![
            group(CapacityModel::OnDemand, &looked.types),
            group(CapacityModel::Spot, &["t3.medium".to_owned()]),
        ],
        access: Vec::new(),
        logs: Vec::new(),
        log_retention_days: 1,
        deletion_protection: false,
    }
}
