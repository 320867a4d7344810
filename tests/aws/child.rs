//! One run of the engine over the kinds of AWS, in a process of its own that can be killed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use stackup::{
    aws,
    engine::{Canceller, Run, execute, lint, plan, refresh},
    model::{Action, Address, Events, Outcome, Secret, Verb},
    resource::{Reference, Registry, Stack, Wanted},
    state::{FileStore, Holder, KeyedHash, Loaded, Snapshot, Store as _},
};
use tokio::process::{Child, Command};

const ORDER: &str = "STACKUP_TEST_ORDER";
const NAME: &str = "probe";

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) uid: String,
    /// Where its state lies.
    pub(super) folder: PathBuf,
    /// The VPC's range, or nothing for a destroy.
    pub(super) cidr: Option<String>,
    /// Whether machines in the first subnet get public addresses.
    pub(super) public: bool,
    /// Whether it finds credentials.
    pub(super) signed: bool,
    /// Where its report goes.
    pub(super) report: PathBuf,
}

/// What a child tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// The actions that the plan showed.
    pub(super) planned: Vec<(Address, Action)>,
    pub(super) done: bool,
    /// What failed, and what could not be read, in words.
    pub(super) failed: Vec<String>,
    pub(super) left_in_state: usize,
}

/// Starts a child that talks to `endpoint`.
pub(super) fn start(order: &Order, endpoint: &str, fault: Option<&str>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "aws::child::run_of_its_own"])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_ACCESS_KEY_ID")
        .env(ORDER, serde_json::to_string(order).unwrap())
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    if order.signed {
        command
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
    }
    if let Some(fault) = fault {
        command.env("STACKUP_FAULT", fault);
    }
    command.spawn().unwrap()
}

/// What a child that ended told.
pub(super) fn told(order: &Order) -> Told {
    let text = fs::read(&order.report).unwrap();
    fs::remove_file(&order.report).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A VPC, and two subnets of it in two zones.
fn stack(cidr: &str, public: bool) -> Vec<Arc<Wanted>> {
    let vpc = Address::new("aws.vpc", "main");
    let wanted = |kind: &'static str, name: &str, inputs| {
        Arc::new(Wanted {
            address: Address::new(kind, name),
            kind,
            component: None,
            inputs: Arc::new(inputs),
            needs: Vec::new(),
        })
    };
    let half = |third: u8| format!("{}.{third}.0/24", cidr.rsplitn(3, '.').last().unwrap());
    let subnet = |zone: &str, third: u8, public: bool| {
        let inputs = json!({"vpcId": Reference::field(&vpc, "id"), "cidr": half(third),
            "zone": format!("eu-central-1{zone}"), "publicAddresses": public});
        wanted("aws.subnet", zone, inputs)
    };
    vec![
        wanted("aws.vpc", "main", json!({"cidr": cidr})),
        subnet("a", 1, public),
        subnet("b", 2, false),
    ]
}

#[test]
#[ignore = "the tests start it, as a process of its own with its orders in the environment"]
fn run_of_its_own() {
    let order: Order = serde_json::from_str(&env::var(ORDER).unwrap()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = runtime.block_on(run(&order));
    write(&order.report, &told);
}

fn write(path: &Path, told: &Told) {
    fs::write(path, serde_json::to_vec(told).unwrap()).unwrap();
}

async fn run(order: &Order) -> Told {
    let mut store = FileStore::new(order.folder.join(".stackup").join(NAME), NAME);
    store.prepare().unwrap();
    let holder = Holder {
        pid: std::process::id(),
        host: "here".into(),
        verb: "apply".into(),
        since: "now".into(),
    };
    store.lock(&holder).unwrap();
    let loaded = store.load().await.unwrap().unwrap_or_else(|| Loaded {
        snapshot: Snapshot::new(NAME, order.uid.clone(), "line".into()),
        unfinished: false,
        notes: Vec::new(),
    });
    let (_canceller, cancel) = Canceller::new();
    let run = Run {
        stack: Arc::new(Stack {
            name: NAME.into(),
            uid: order.uid.clone(),
        }),
        registry: Registry::new(aws::kinds(&Arc::new(aws::Clients::new(None)))),
        events: Events::ignored(),
        cancel,
        hash: KeyedHash::new(Secret::new(b"key".to_vec())),
        adopt: false,
        pace: Duration::from_millis(500),
    };
    let (wanted, verb) = match &order.cidr {
        Some(cidr) => (stack(cidr, order.public), Verb::Apply),
        None => (Vec::new(), Verb::Destroy),
    };
    let refreshed = refresh(&run, &wanted, &loaded.snapshot).await.unwrap();
    let mut told = Told {
        left_in_state: loaded.snapshot.resources.len(),
        ..Told::default()
    };
    let plan = match plan(NAME, &refreshed, |_| false) {
        Ok(plan) => plan,
        Err(errors) => {
            told.failed = errors
                .into_iter()
                .map(|(address, error)| format!("{address}: {error}"))
                .collect();
            return told;
        }
    };
    assert_eq!(lint(&plan, &refreshed), Vec::<String>::new());
    told.planned = plan
        .steps
        .iter()
        .map(|step| (step.address.clone(), step.action))
        .collect();
    let executed = execute(&run, verb, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert!(executed.lost.is_none(), "{:?}", executed.lost);
    told.done = executed.report.outcome == Outcome::Done;
    let failed = executed.report.failed.iter();
    told.failed = failed
        .map(|(address, failure)| format!("{address}: {}", failure.message))
        .collect();
    told.left_in_state = executed.snapshot.resources.len();
    told
}
