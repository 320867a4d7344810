//! One errand of the program's library in a process of its own, whose environment says where AWS is.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stackup::{
    aws::{self, Audited, Clients},
    engine::{Canceller, Run, execute, lint, plan, refresh},
    model::{
        Action, Address, CapacityModel, EksModel, EndpointModel, Events, NatModel, Need, NetworkModel,
        NodeGroupModel, Outcome, Secret, Verb, ZonesModel,
    },
    resource::{Registry, Remembered, Stack, Wanted},
    state::{Entry, FileStore, Holder, KeyedHash, Loaded, Place, Snapshot, Status},
};
use tokio::{process::Command, time::timeout};

use super::double::{Double, REGION};

const ERRAND: &str = "STACKUP_TEST_ERRAND";
/// How long an errand may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(4);

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Errand {
    /// The engine brings a stack from what is remembered to what is wanted.
    Run {
        stack: String,
        uid: String,
        remembered: BTreeMap<Address, Remembered>,
        wanted: Vec<Want>,
    },
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

/// A resource that is wanted: kind, name, inputs, and the addresses that it needs beside those that it refers to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Want(
    pub(super) String,
    pub(super) String,
    pub(super) Value,
    pub(super) Vec<Address>,
);

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

/// What the engine told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    /// What the plan showed.
    pub(super) planned: Vec<(Address, Action)>,
    pub(super) done: bool,
    pub(super) failed: BTreeMap<Address, String>,
    /// What a closer look at those that failed told.
    pub(super) details: BTreeMap<Address, Vec<String>>,
    pub(super) remembered: BTreeMap<Address, Remembered>,
}

/// Runs an errand against the double; `key` is the access key, or nothing for nobody who is signed in.
pub(super) async fn run(double: &Double, errand: &Errand, key: Option<&str>) -> Value {
    let folder = tempfile::tempdir_in(double.folder.path()).unwrap();
    let report = folder.path().join("report.json");
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "aws::errand::errand_of_its_own"])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env(ERRAND, json!([errand, folder.path(), report]).to_string())
        .env("AWS_ENDPOINT_URL", &double.url)
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
    let status = timeout(PATIENCE, command.status())
        .await
        .unwrap_or_else(|_| panic!("an errand does not end"))
        .unwrap();
    assert!(status.success(), "{errand:?}");
    serde_json::from_slice(&fs::read(&report).unwrap()).unwrap()
}

#[test]
#[ignore = "the tests start it, as a process of its own with its errand in the environment"]
fn errand_of_its_own() {
    let (errand, folder, report): (Errand, PathBuf, PathBuf) =
        serde_json::from_str(&env::var(ERRAND).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = runtime.block_on(carry_out(errand, folder));
    fs::write(report, serde_json::to_vec(&told).unwrap()).unwrap();
}

async fn carry_out(errand: Errand, folder: PathBuf) -> Value {
    let clients = Clients::patient(None);
    match errand {
        Errand::Run {
            stack,
            uid,
            remembered,
            wanted,
        } => {
            json!(engine(folder, &stack, &uid, remembered, wanted).await)
        }
        Errand::Audit { uid, cluster, vpc } => {
            let left = aws::audit(
                &clients,
                &Audited {
                    uid,
                    cluster,
                    vpc,
                    logs: false,
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
            let who = aws::identity(&clients).await.unwrap();
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

fn model(looked: Looked) -> EksModel {
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

/// A state in which all of this stands.
fn loaded(name: &str, uid: &str, remembered: BTreeMap<Address, Remembered>) -> Loaded {
    let mut snapshot = Snapshot::new(name, uid.to_owned(), "line".into());
    let entry = |(address, remembered)| {
        (
            address,
            Entry {
                remembered,
                status: Status::Done,
            },
        )
    };
    snapshot.resources = remembered.into_iter().map(entry).collect();
    Loaded {
        snapshot,
        unfinished: false,
        notes: Vec::new(),
    }
}

async fn engine(
    folder: PathBuf,
    name: &str,
    uid: &str,
    remembered: BTreeMap<Address, Remembered>,
    wanted: Vec<Want>,
) -> Told {
    let mut store = FileStore::new(folder.join(".stackup").join(name), name);
    store.prepare().unwrap();
    let holder = Holder {
        pid: std::process::id(),
        host: "here".into(),
        verb: "apply".into(),
        since: "now".into(),
    };
    store.lock(&holder).unwrap();
    let loaded = loaded(name, uid, remembered);
    let (_canceller, cancel) = Canceller::new();
    let run = Run {
        stack: Arc::new(Stack {
            name: name.into(),
            uid: uid.to_owned(),
        }),
        registry: Registry::new(aws::kinds(&Arc::new(Clients::new(None)))),
        events: Events::ignored(),
        cancel,
        hash: KeyedHash::new(Secret::new(b"key".to_vec())),
        adopt: false,
    };
    let verb = if wanted.is_empty() {
        Verb::Destroy
    } else {
        Verb::Apply
    };
    let wanted: Vec<Arc<Wanted>> = wanted
        .into_iter()
        .map(|Want(kind, name, inputs, needs)| {
            let kind = run.registry.get(&kind).unwrap().name();
            Arc::new(Wanted {
                address: Address::new(kind, &name),
                kind,
                component: None,
                inputs: Arc::new(inputs),
                needs: needs.into_iter().map(Need::ready).collect(),
            })
        })
        .collect();
    let refreshed = refresh(&run, &wanted, &loaded.snapshot).await.unwrap();
    let planned = plan(name, &refreshed, |_| false).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(lint(&planned, &refreshed), Vec::<String>::new());
    let shown = planned.steps.iter();
    let shown = shown.map(|step| (step.address.clone(), step.action)).collect();
    let executed = execute(&run, verb, &planned, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert!(executed.lost.is_none(), "{:?}", executed.lost);
    let failed = executed.report.failed.clone().into_iter();
    let details = executed.report.failed.into_iter();
    Told {
        planned: shown,
        details: details
            .map(|(address, failure)| (address, failure.details))
            .collect(),
        done: executed.report.outcome == Outcome::Done,
        failed: failed
            .map(|(address, failure)| (address, failure.message))
            .collect(),
        remembered: executed
            .snapshot
            .resources
            .into_iter()
            .map(|(address, entry)| (address, entry.remembered))
            .collect(),
    }
}
