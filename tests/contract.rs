//! The contract between the engine and the kinds: every kind of every room goes through the same cases.
//!
//! The resources are those of the examples. Of the other side nothing can be reached, which is the state in which a kind
//! can do the most harm by claiming what it has not seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use serde_json::{Value, json};
use stackup::{
    model::Address,
    resource::{Kind, Made, Observed, Remembered, ResourceError, Stack, Target, Wanted, references, resolve},
};
use tokio::{process::Command, time::timeout};

use crate::support::whole::Whole;

/// What is known on this machine alone (our processes, our folder, our note of what was loaded): that it is not there
/// can be seen.
const HERE: [&str; 3] = ["kind.images", "kwok.cluster", "kwok.companion"];
/// What is only awaited: letting it go is all that there is to its removal.
const AWAITED: [&str; 1] = ["k8s.api"];
/// What others leave behind: making it is remembering where to look, removing it is the looking.
const REMEMBERED: [&str; 2] = ["aws.leftovers", "k8s.outside"];
/// How many resources of a kind are taken where calls are made.
const OF_EACH: usize = 2;
/// Calls that reach nobody take no longer, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Stacks in which every kind occurs.
fn stacks(data: &Path) -> Vec<Whole> {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "memory", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "memory", "user": {}}],
        "contexts": [{"name": "memory", "context": {"cluster": "memory", "user": "memory"}}],
    });
    fs::write(data.join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let existing = data.join("existing.yaml");
    let text =
        "name: there\ncluster: {provider: existing, existing: {kubeconfig: kubeconfig, context: memory}}\n";
    fs::write(&existing, text).unwrap();
    let archive = data.join("shop.tar");
    fs::write(&archive, "").unwrap();
    let archives = format!("cluster.kind.loadImages=[{}]", archive.display());
    let mut stacks = vec![
        Whole::of(existing.to_str().unwrap(), &[], data),
        Whole::of("kind.yaml", &[&archives], data),
        Whole::of("rehearsal.yaml", &[], data),
    ];
    if cfg!(feature = "aws") {
        stacks.push(Whole::of("eks.yaml", &["cluster.logs.types=[api]"], data));
    }
    stacks
}

impl Whole {
    fn stack(&self) -> Arc<Stack> {
        Arc::new(Stack {
            name: self.name.clone(),
            uid: "0123456789abcdef".into(),
        })
    }

    /// One of the stack's resources, as the engine asks about it.
    fn target(&self, kind: &dyn Kind, wanted: &Wanted) -> Target {
        let outputs: BTreeMap<Address, Arc<Value>> = references(&wanted.inputs)
            .into_iter()
            .map(|address| (address.clone(), Arc::new(self.outputs[&address].clone())))
            .collect();
        let stack = self.stack();
        Target {
            identity: kind.identity(&stack, &wanted.address, &wanted.inputs).unwrap(),
            inputs: Some(resolve(&wanted.inputs, &outputs).unwrap()),
            address: wanted.address.clone(),
            input_hash: "hash".into(),
            remembered: None,
            generation: 1,
            adopt: false,
            outputs,
            stack,
        }
    }

    /// Every resource with its kind.
    fn resources(&self) -> impl Iterator<Item = (&Arc<dyn Kind>, &Wanted)> {
        self.wanted.iter().map(|wanted| {
            let kind = self.kinds.iter().find(|kind| kind.name() == wanted.kind);
            (kind.unwrap(), &**wanted)
        })
    }
}

/// The same resource when the stack file no longer wants it: the state knows what was about to be made, and what its kind
/// told of it without asking anybody.
async fn no_longer_wanted(kind: &dyn Kind, target: &Target, wanted: &Wanted) -> Target {
    let told = if REMEMBERED.contains(&kind.name()) {
        kind.create(target).await.unwrap().live
    } else {
        None
    };
    let recorded = kind.traits().records_inputs;
    let remembered = Remembered {
        kind: kind.name().to_owned(),
        identity: target.identity.clone(),
        id: Some("id-1".into()),
        component: None,
        inputs: recorded.then(|| Value::clone(&wanted.inputs)),
        input_hash: "hash".into(),
        outputs: told.map_or(Value::Null, |live| live.outputs),
        needs: Vec::new(),
        refers: target.outputs.keys().cloned().collect(),
        generation: 1,
    };
    Target {
        inputs: None,
        remembered: Some(Arc::new(remembered)),
        ..target.clone()
    }
}

#[test]
fn every_kind_occurs_in_an_example_and_explains_each_of_its_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let stacks = stacks(folder.path());
    let mut unused: BTreeSet<&str> = stacks[0].kinds.iter().map(|kind| kind.name()).collect();
    assert_eq!(unused.len(), stacks[0].kinds.len(), "two kinds have one name");
    for (kind, wanted) in stacks.iter().flat_map(Whole::resources) {
        let (name, words) = (kind.name(), kind.documentation());
        unused.remove(name);
        assert!(
            words.split_whitespace().count() >= 10,
            "{name} is hardly documented"
        );
        for input in wanted.inputs.as_object().unwrap().keys() {
            let explained = words
                .split(|letter: char| !letter.is_alphanumeric())
                .any(|word| word == input);
            assert!(explained, "{name} does not explain its input '{input}'");
        }
    }
    // What only a cluster of a cloud needs is in no other example.
    if cfg!(feature = "aws") {
        assert_eq!(unused, BTreeSet::new(), "no example has one of these");
    }
}

#[test]
fn what_every_kind_says_of_its_times_and_limits_fits_together() {
    let folder = tempfile::tempdir().unwrap();
    for kind in &stacks(folder.path())[0].kinds {
        let (name, traits) = (kind.name(), kind.traits());
        assert!(traits.at_once > 0, "{name} could never be called");
        for usual in traits.expected.into_iter().chain(traits.removal) {
            assert!(usual < traits.deadline, "{name} usually takes longer than it may");
        }
        assert!(
            traits.settles < traits.deadline,
            "{name} may stay unseen longer than it may take"
        );
    }
}

#[test]
fn what_finds_a_resource_is_known_before_any_call_and_finds_no_other() {
    let folder = tempfile::tempdir().unwrap();
    for whole in stacks(folder.path()) {
        let mut seen = BTreeMap::new();
        for (kind, wanted) in whole.resources() {
            let identity = || {
                kind.identity(&whole.stack(), &wanted.address, &wanted.inputs)
                    .unwrap()
            };
            let found = identity();
            assert_eq!(found, identity(), "{} is found in two ways", wanted.address);
            assert_eq!(
                references(&found),
                [],
                "{} is found by what is not known yet",
                wanted.address
            );
            let before = seen.insert((kind.name(), found.to_string()), &wanted.address);
            assert_eq!(before, None, "{} is found by the same as another", wanted.address);
        }
    }
}

#[tokio::test]
async fn what_a_resource_lives_in_and_goes_with_is_another_of_its_stack() {
    let folder = tempfile::tempdir().unwrap();
    for whole in stacks(folder.path()) {
        let addresses: BTreeSet<&Address> = whole.wanted.iter().map(|wanted| &wanted.address).collect();
        for (kind, wanted) in whole.resources() {
            let target = whole.target(kind.as_ref(), wanted);
            let unwanted = no_longer_wanted(kind.as_ref(), &target, wanted).await;
            for target in [unwanted, target] {
                for other in kind.lives_in(&target).into_iter().chain(kind.goes_with(&target)) {
                    assert_ne!(other, wanted.address);
                    assert!(
                        addresses.contains(&other),
                        "{} names {other}, which is not there",
                        wanted.address
                    );
                }
            }
        }
    }
}

/// Where it cannot be set up in this process: the SDK of AWS reads the environment.
#[tokio::test]
async fn where_nothing_can_be_reached_no_kind_claims_anything() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--ignored", "--exact", "contract::nobody_answers"])
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let told = timeout(PATIENCE, child.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "a test starts it, as a process of its own with nothing that it could reach"]
async fn nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for whole in stacks(folder.path()) {
        let mut of_each: BTreeMap<&str, Claims<'_>> = BTreeMap::new();
        for (kind, wanted) in whole.resources() {
            let claims = of_each
                .entry(kind.name())
                .or_insert_with(|| Claims::new(kind.as_ref()));
            if claims.targets.len() < OF_EACH {
                let target = whole.target(kind.as_ref(), wanted);
                let unwanted = no_longer_wanted(kind.as_ref(), &target, wanted).await;
                claims.unwanted.push(unwanted);
                claims.targets.push(target);
            }
        }
        for (name, claims) in of_each {
            let told = claims.collect().await.into_iter();
            wrong.extend(told.map(|claim| format!("{}: {name}: {claim}", whole.name)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a kind claims though nobody answers.
struct Claims<'a> {
    kind: &'a dyn Kind,
    targets: Vec<Target>,
    /// The same once they are no longer wanted.
    unwanted: Vec<Target>,
    wrong: Vec<String>,
}

impl<'a> Claims<'a> {
    fn new(kind: &'a dyn Kind) -> Self {
        Self {
            kind,
            targets: Vec::new(),
            unwanted: Vec::new(),
            wrong: Vec::new(),
        }
    }

    async fn collect(mut self) -> Vec<String> {
        let (kind, name) = (self.kind, self.kind.name());
        assert_eq!(
            kind.observe(&[]).await.len(),
            0,
            "{name} answers what was not asked"
        );
        let unreadable = |target: &Target| Target {
            identity: json!(42),
            ..target.clone()
        };
        let strange: Vec<Target> = self.targets.iter().map(unreadable).collect();
        for (which, targets) in [
            ("what is no longer wanted", std::mem::take(&mut self.unwanted)),
            ("what is wanted", std::mem::take(&mut self.targets)),
            ("what cannot be read", strange),
        ] {
            let answers = kind.observe(&targets).await;
            assert_eq!(answers.len(), targets.len(), "{name}: one answer each");
            for (target, answer) in targets.iter().zip(answers) {
                self.look(which, target, &answer);
                if let Some(mut looks) = kind.watch(target) {
                    let first = timeout(PATIENCE, looks.next()).await.unwrap().unwrap();
                    self.look(which, target, &first);
                }
                if target.inputs.is_some() {
                    self.write("create", target, kind.create(target).await);
                    self.write("update", target, kind.update(target).await);
                }
                // That it tells nothing is no harm; that it never comes back would be.
                kind.diagnose(target).await;
                self.removal(which, target, &kind.delete(target).await);
            }
        }
        self.wrong
    }

    fn look(&mut self, which: &str, target: &Target, answer: &Result<Observed, ResourceError>) {
        match answer {
            Ok(Observed::Absent) if !self.may_know(target) => {
                self.claim(target, &format!("{which} is said to be absent"));
            }
            Err(error) if error.message.is_empty() => self.claim(target, "an error says nothing"),
            Ok(_) | Err(_) => {}
        }
    }

    fn write(&mut self, verb: &str, target: &Target, made: Result<Made, ResourceError>) {
        if let Ok(made) = made
            && (made.id.is_some() || made.live.is_some())
            && !REMEMBERED.contains(&self.kind.name())
        {
            self.claim(target, &format!("{verb} made something"));
        }
    }

    fn removal(&mut self, which: &str, target: &Target, removed: &Result<(), ResourceError>) {
        if removed.is_ok() && !self.may_know(target) && !AWAITED.contains(&self.kind.name()) {
            self.claim(target, &format!("{which} is said to be removed"));
        }
    }

    /// Whether what stands of it can be known here without an answer from anybody.
    fn may_know(&self, target: &Target) -> bool {
        let name = self.kind.name();
        let never_begun = REMEMBERED.contains(&name) && target.remembered.is_none();
        HERE.contains(&name) || never_begun || self.kind.stays(target)
    }

    fn claim(&mut self, target: &Target, what: &str) {
        self.wrong.push(format!("{}: {what}", target.address));
    }
}
