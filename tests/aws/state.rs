//! State in a bucket, with the real program against the S3 of stock moto: two machines, one bucket, and whatever may
//! happen between them. What holds here is not proven for AWS itself, whose conditional writes moto imitates.

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata as _,
    primitives::ByteStream,
};
use rustix::process::Signal;
use serde_json::Value;
use stackup::{
    model::Verb,
    state::{Record, Snapshot, write_line},
};
use tokio::time::{sleep, timeout};

use super::{
    Moto, PATIENCE,
    hop::{Fault, Hop},
};
use crate::support::sandbox::{Run, Sandbox};

const BUCKET: &str = "state-of-tests";
/// Longer than a lease, in seconds.
const LAPSED: i64 = 120;

/// Moto with a bucket, and what all machines share.
struct Shop {
    moto: Moto,
    s3: Client,
}

impl Shop {
    async fn open() -> Option<Self> {
        let shop = Self::without_bucket().await?;
        bucket(&format!("http://{}", shop.moto.address), BUCKET).await;
        Some(shop)
    }

    async fn without_bucket() -> Option<Self> {
        let moto = Moto::start().await?;
        let kubeconfig = "{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], \
            contexts: [{name: x, context: {cluster: c}}]}";
        std::fs::write(moto.folder.path().join("config"), kubeconfig).unwrap();
        let s3 = client(&format!("http://{}", moto.address));
        Some(Self { moto, s3 })
    }

    /// A machine that talks to moto at `url`, with a stack file whose state lies under `key`.
    fn machine_at(&self, url: &str, key: &str) -> Sandbox {
        let machine = Self::bare_machine(url);
        let state = format!("state: {{s3: {{bucket: {BUCKET}, key: {key}}}}}\n");
        machine.write("stackup.yaml", self.stack() + &state);
        machine
    }

    fn machine(&self, key: &str) -> Sandbox {
        self.machine_at(&format!("http://{}", self.moto.address), key)
    }

    fn bare_machine(url: &str) -> Sandbox {
        Sandbox::new()
            .env("AWS_ENDPOINT_URL", url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true")
    }

    fn stack(&self) -> String {
        let kubeconfig = self.moto.folder.path().join("config");
        format!(
            "name: demo\ncluster: {{provider: existing, existing: {{context: x, kubeconfig: {}}}}}\nverify: off\n",
            kubeconfig.display()
        )
    }

    /// A machine for which every lease has run out.
    async fn later(&self, key: &str) -> (Sandbox, Hop) {
        let hop = Hop::plain(self.moto.address).await.ahead(LAPSED);
        (self.machine_at(&hop.url(), key), hop)
    }

    async fn keys(&self, key: &str) -> Vec<String> {
        let prefix = format!("{key}/");
        let list = self.s3.list_objects_v2().bucket(BUCKET).prefix(&prefix);
        let found = list.send().await.unwrap();
        let keys = found.contents().iter().map(|object| object.key().unwrap());
        keys.map(|key| key.strip_prefix(&prefix).unwrap().to_owned())
            .collect()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.s3.get_object().bucket(BUCKET).key(key);
        let body = got.send().await.unwrap().body;
        body.collect().await.unwrap().to_vec()
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        let put = self.s3.put_object().bucket(BUCKET).key(key);
        put.body(ByteStream::from(bytes.to_vec())).send().await.unwrap();
    }

    /// Leaves a run of `demo` under `key` that began and announced nothing: the next apply has something to write, though
    /// the cluster that it finds stands as it should.
    async fn begin(&self, key: &str) {
        self.put(&format!("{key}/state.json"), &begun().0).await;
        self.put(&format!("{key}/journal/00000001"), &begun().1).await;
    }

    async fn snapshot(&self, key: &str) -> Value {
        serde_json::from_slice(&self.get(&format!("{key}/state.json")).await).unwrap()
    }

    /// Everything is in the state, and nothing of a run is left beside it.
    async fn rests(&self, key: &str) {
        let snapshot = self.snapshot(key).await;
        assert_eq!(
            snapshot["resources"]["existing.cluster/demo"]["status"]["is"], "done",
            "{key}: {snapshot}"
        );
        // A run that was killed after its last snapshot leaves its journal, which counts no more.
        let before = snapshot["serial"].as_u64().unwrap() - 1;
        let mut ended = false;
        for name in self.keys(key).await {
            assert_ne!(name, "lock", "{key}");
            if name.starts_with("journal/") {
                let segment = self.get(&format!("{key}/{name}")).await;
                let text = String::from_utf8(segment).unwrap();
                ended |= text.contains(&format!("\"serial\":{before},"));
                assert!(ended || text.starts_with("fence "), "{key}/{name}: {text}");
            }
        }
        self.machine(key).stackup(&["diff", "--exit-code"]).ends(0);
    }
}

/// Makes a bucket.
pub(super) async fn bucket(url: &str, name: &str) {
    let created = client(url).create_bucket().bucket(name);
    created.send().await.unwrap();
}

fn client(url: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .build();
    Client::from_conf(config)
}

/// A snapshot, and the journal of a run that began on top of it.
fn begun() -> (Vec<u8>, Vec<u8>) {
    let mut snapshot = Snapshot::new("demo", "uid".into(), "lineage".into());
    snapshot.serial = 1;
    (snapshot.write().unwrap(), opened(&snapshot))
}

fn opened(snapshot: &Snapshot) -> Vec<u8> {
    let mut line = Vec::new();
    write_line(&Record::open(snapshot, Verb::Apply), &mut line).unwrap();
    line
}

fn apply(machine: &Sandbox) -> Run {
    machine.stackup(&["apply", "--yes"])
}

#[tokio::test]
async fn the_double_honours_the_conditions_that_the_store_relies_on() {
    let Some(shop) = Shop::open().await else { return };
    let put = || {
        shop.s3
            .put_object()
            .bucket(BUCKET)
            .key("k")
            .body(ByteStream::from_static(b"1"))
    };
    let first = put().if_none_match("*").send().await.unwrap();
    let code = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let again = put().if_none_match("*").send().await.unwrap_err();
    assert_eq!(again.code(), Some("PreconditionFailed"), "{}", code(&again));
    let foreign = put().if_match("\"0\"").send().await.unwrap_err();
    assert_eq!(foreign.code(), Some("PreconditionFailed"), "{}", code(&foreign));
    put().if_match(first.e_tag().unwrap()).send().await.unwrap();
    let absent = shop.s3.put_object().bucket(BUCKET).key("other").if_match("\"0\"");
    let absent = absent.send().await.unwrap_err();
    assert_eq!(absent.code(), Some("NoSuchKey"), "{}", code(&absent));
    let delete = || shop.s3.delete_object().bucket(BUCKET).key("k");
    let foreign = delete().if_match("\"0\"").send().await.unwrap_err();
    assert_eq!(foreign.code(), Some("PreconditionFailed"), "{}", code(&foreign));
    delete().if_match(first.e_tag().unwrap()).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_machine_made_another_one_knows_and_takes_down() {
    let Some(shop) = Shop::open().await else { return };
    shop.begin("demo").await;
    let (here, there) = (shop.machine("demo"), shop.machine("demo"));
    apply(&here).ends(0);
    assert_eq!(
        shop.keys("demo").await,
        ["backups/state-00000001.json", "key", "state.json"]
    );
    let key = shop
        .s3
        .head_object()
        .bucket(BUCKET)
        .key("demo/key")
        .send()
        .await
        .unwrap();
    assert_eq!(key.server_side_encryption().unwrap().as_str(), "AES256");
    assert!(!here.path(".stackup/demo/state.json").exists() && !here.path(".stackup/demo/key").exists());

    let before = shop.snapshot("demo").await;
    there.stackup(&["diff", "--exit-code"]).ends(0);
    apply(&there).ends(0);
    assert_eq!(shop.snapshot("demo").await, before);
    there
        .stackup(&["state", "list"])
        .ends(0)
        .says("existing.cluster/demo");
    there
        .stackup(&["state", "show", "existing.cluster/demo"])
        .ends(0)
        .says("https://127.0.0.1:1");
    there
        .stackup(&["state", "unlock"])
        .ends(0)
        .says("Nobody holds the lock");

    shop.machine("demo").stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(shop.keys("demo").await, Vec::<String>::new());
    there
        .stackup(&["destroy", "--yes"])
        .ends(0)
        .says("Nothing to destroy");
    assert_eq!(shop.keys("demo").await, Vec::<String>::new());
    assert!(!there.path(".stackup/demo").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_works_and_the_other_is_told_who_does() {
    let Some(shop) = Shop::open().await else { return };
    let hop = Hop::start(shop.moto.address, Fault::Hold, |_, call| {
        call.starts_with("PUT") && call.contains("/journal/0")
    })
    .await;
    shop.begin("demo").await;
    let first = shop.machine_at(&hop.url(), "demo");
    let running = first.spawn(&["apply", "--yes"]);
    timeout(PATIENCE, hop.held()).await.unwrap();

    let second = shop.machine("demo");
    let holder = format!("'stackup apply', process {} on", running.id());
    apply(&second).ends(3).says(&holder);
    second
        .stackup(&["state", "unlock"])
        .ends(3)
        .says(&holder)
        .says("which is alive");
    // It shows that it lives while its call is out, and gives back the lock as it is then.
    let beats = || {
        hop.calls()
            .iter()
            .filter(|call| *call == "PUT /state-of-tests/demo/lock")
            .count()
    };
    let two = async {
        while beats() < 2 {
            sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, two).await.unwrap();
    // Each record of it waits to be let go.
    let serve = tokio::spawn(async move {
        loop {
            hop.let_go();
            hop.held().await;
        }
    });
    running.wait().ends(0);
    serve.abort();
    shop.rests("demo").await;
    apply(&second).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_slept_past_its_lease_is_shut_out_when_it_wakes() {
    let Some(shop) = Shop::open().await else { return };
    // Asleep before it announces anything, before it records an end, and before it closes the run.
    for (name, part, nth) in [
        ("announcing", "/journal/0", 0),
        ("recording", "/journal/0", 1),
        ("closing", "/state.json", 0),
    ] {
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let hop = Hop::start(shop.moto.address, Fault::Hold, move |_, call| {
            call.starts_with("PUT")
                && call.contains(part)
                && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == nth
        })
        .await;
        shop.begin(name).await;
        let sleeper = shop.machine_at(&hop.url(), name);
        let running = sleeper.spawn(&["apply", "--yes"]);
        timeout(PATIENCE, hop.held()).await.unwrap();
        running.signal(Signal::STOP);

        let (later, _hop) = shop.later(name).await;
        apply(&later).ends(0);
        let after = shop.snapshot(name).await;
        assert_eq!(after["epoch"], 1, "{name}: {after}");

        hop.let_go();
        running.signal(Signal::CONT);
        running
            .wait()
            .ends(3)
            .says("was taken over")
            .says("nothing further was begun");
        assert_eq!(shop.snapshot(name).await, after, "{name}");
        shop.rests(name).await;
        // Nobody trips over what is left of that.
        shop.machine(name).stackup(&["destroy", "--yes"]).ends(0);
        shop.begin(name).await;
        apply(&shop.machine(name)).ends(0);
        shop.rests(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_at_any_call_is_gone_on_with_from_another_machine() {
    let Some(shop) = Shop::open().await else { return };
    let measured = Hop::plain(shop.moto.address).await;
    shop.begin("measured").await;
    apply(&shop.machine_at(&measured.url(), "measured")).ends(0);
    let calls = measured.calls();
    assert!(calls.len() > 12, "{calls:?}");
    for (n, call) in calls.iter().enumerate() {
        // A read has no effect: before and after it are the same.
        let faults = if call.starts_with("GET") {
            vec![Fault::KillBefore]
        } else {
            vec![Fault::KillBefore, Fault::KillAfter]
        };
        for fault in faults {
            let key = format!("killed-{n}-{fault:?}");
            shop.begin(&key).await;
            let hop = Hop::start(shop.moto.address, fault, move |number, _| number == n).await;
            let machine = shop.machine_at(&hop.url(), &key);
            let running = machine.spawn(&["apply", "--yes"]);
            timeout(PATIENCE, hop.kill()).await.unwrap();
            running.signal(Signal::KILL);
            running.wait();
            let (later, _hop) = shop.later(&key).await;
            apply(&later).ends(0);
            shop.rests(&key).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_and_a_store_that_is_busy_do_not_end_a_run() {
    let Some(shop) = Shop::open().await else { return };
    let measured = Hop::plain(shop.moto.address).await;
    shop.begin("measured").await;
    apply(&shop.machine_at(&measured.url(), "measured")).ends(0);
    for n in 0..measured.calls().len() {
        for fault in [Fault::LoseAnswer, Fault::Throttle] {
            let key = format!("{fault:?}-{n}");
            shop.begin(&key).await;
            let hop = Hop::start(shop.moto.address, fault, move |number, _| number == n).await;
            apply(&shop.machine_at(&hop.url(), &key)).ends(0);
            shop.rests(&key).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_removed_once_its_holder_is_gone_and_not_before() {
    let Some(shop) = Shop::open().await else { return };
    let hop = Hop::start(shop.moto.address, Fault::KillAfter, |_, call| {
        call.starts_with("PUT") && call.contains("/journal/0")
    })
    .await;
    shop.begin("demo").await;
    let machine = shop.machine_at(&hop.url(), "demo");
    let running = machine.spawn(&["apply", "--yes"]);
    timeout(PATIENCE, hop.kill()).await.unwrap();
    running.signal(Signal::KILL);
    running.wait();
    let machine = shop.machine("demo");
    machine.stackup(&["state", "unlock"]).ends(3);
    let (later, _hop) = shop.later("demo").await;
    later
        .stackup(&["state", "unlock"])
        .ends(0)
        .says("Removed the lock of 'stackup apply'");
    apply(&machine).ends(0).says("resuming");
    shop.rests("demo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_in_a_bucket_is_an_error_with_the_command_that_mends_it() {
    let Some(shop) = Shop::open().await else { return };
    let machine = shop.machine("demo");
    shop.begin("demo").await;
    apply(&machine).ends(0);
    let whole = shop.get("demo/state.json").await;
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    let damage = [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        flipped,
        vec![0; 64],
    ];
    for bytes in damage {
        shop.put("demo/state.json", &bytes).await;
        apply(&machine)
            .ends(8)
            .says("the state is damaged: s3://state-of-tests/demo/state.json at byte")
            .says("aws s3 cp s3://state-of-tests/demo/backups/state-00000001.json s3://state-of-tests/demo/state.json");
        assert_eq!(shop.get("demo/state.json").await, bytes);
    }
    let gone = shop.s3.delete_object().bucket(BUCKET).key("demo/state.json");
    gone.send().await.unwrap();
    apply(&machine).ends(8).says("it is missing");

    shop.put("demo/state.json", &whole).await;
    for segment in [&b""[..], b"no line", b"0123456789abcdef {}\n"] {
        shop.put("demo/journal/00000001", segment).await;
        machine
            .stackup(&["diff"])
            .ends(8)
            .says("s3://state-of-tests/demo/journal/");
    }
    let gone = shop
        .s3
        .delete_object()
        .bucket(BUCKET)
        .key("demo/journal/00000001");
    gone.send().await.unwrap();
    let backup = shop.get("demo/backups/state-00000001.json").await;
    shop.put("demo/state.json", &backup).await;
    apply(&machine).ends(0);
    machine.stackup(&["diff", "--exit-code"]).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_ten_states_are_kept() {
    let Some(shop) = Shop::open().await else { return };
    let machine = shop.machine("demo");
    shop.begin("demo").await;
    for _ in 0..13 {
        apply(&machine).ends(0);
        let last: Snapshot = serde_json::from_slice(&shop.get("demo/state.json").await).unwrap();
        shop.put("demo/journal/00000001", &opened(&last)).await;
    }
    let kept = shop.keys("demo").await;
    let kept: Vec<&str> = kept
        .iter()
        .filter_map(|name| name.strip_prefix("backups/"))
        .collect();
    assert_eq!(kept.len(), 10, "{kept:?}");
    assert_eq!((kept[0], kept[9]), ("state-00000004.json", "state-00000013.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_made_as_it_should_be_and_one_that_is_there_is_told_what_it_lacks() {
    let Some(mut shop) = Shop::without_bucket().await else {
        return;
    };
    let hop = Hop::plain(shop.moto.address).await;
    shop.s3 = client(&hop.url());
    let machine = shop.machine_at(&hop.url(), "demo");
    apply(&machine)
        .ends(1)
        .says("NoSuchBucket")
        .says("stackup state init");
    machine
        .stackup(&["state", "init"])
        .ends(0)
        .says("Made the bucket state-of-tests");
    let versions = shop
        .s3
        .get_bucket_versioning()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert_eq!(versions.status().unwrap().as_str(), "Enabled");
    let encryption = shop
        .s3
        .get_bucket_encryption()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    let rules = encryption.server_side_encryption_configuration().unwrap().rules();
    let default = rules[0].apply_server_side_encryption_by_default().unwrap();
    assert_eq!(default.sse_algorithm().as_str(), "AES256");
    let access = shop
        .s3
        .get_public_access_block()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    let access = access.public_access_block_configuration().unwrap();
    let blocks = [access.block_public_acls(), access.block_public_policy()];
    assert_eq!(blocks, [Some(true); 2]);
    let policy = shop.s3.get_bucket_policy().bucket(BUCKET).send().await.unwrap();
    assert!(policy.policy().unwrap().contains("aws:SecureTransport"));
    machine
        .stackup(&["state", "init"])
        .ends(0)
        .says("is private, versioned, encrypted");
    // The road to moto is without TLS.
    let plain = shop.s3.get_object().bucket(BUCKET).key("k").send().await;
    assert_eq!(plain.unwrap_err().raw_response().unwrap().status().as_u16(), 403);
    let policy = shop.s3.delete_bucket_policy().bucket(BUCKET);
    policy.send().await.unwrap();
    shop.begin("demo").await;
    apply(&machine).ends(0);
    shop.rests("demo").await;

    shop.s3
        .create_bucket()
        .bucket("bare-bucket")
        .send()
        .await
        .unwrap();
    let bare = ["--set", "state.s3.bucket=bare-bucket", "state", "init"];
    let refused = machine.stackup(&bare).ends(6);
    for lack in ["public access", "no versions", "without TLS", "--mend"] {
        assert!(refused.all().contains(lack), "{}", refused.all());
    }
    let mend = [&bare[..], &["--mend"]].concat();
    machine.stackup(&mend).ends(0).says("Mended");
    machine.stackup(&bare).ends(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_the_folder_is_not_forgotten_when_the_stack_file_names_a_bucket() {
    let Some(shop) = Shop::open().await else { return };
    let machine = shop.machine("demo");
    let with_bucket = machine.read("stackup.yaml");
    machine.write("stackup.yaml", shop.stack());
    machine.write(".stackup/demo/state.json", begun().0);
    machine.write(".stackup/demo/journal.ndjson", begun().1);
    machine.write("stackup.yaml", &with_bucket);
    // What only the journal tells would be forgotten with it.
    machine
        .stackup(&["apply", "--yes"])
        .ends(6)
        .says("with a run that did not end")
        .says("take state out of the stack file");
    machine.write("stackup.yaml", shop.stack());
    apply(&machine).ends(0);
    machine.write("stackup.yaml", &with_bucket);
    for verb in [&["diff"][..], &["apply", "--yes"]] {
        machine
            .stackup(verb)
            .ends(6)
            .says("aws s3 cp")
            .says(".stackup/demo/state.json s3://state-of-tests/demo/state.json");
    }
    assert_eq!(shop.keys("demo").await, Vec::<String>::new());
    for name in ["state.json", "key"] {
        let path = machine.path(format!(".stackup/demo/{name}"));
        shop.put(&format!("demo/{name}"), &std::fs::read(&path).unwrap())
            .await;
        std::fs::remove_file(path).unwrap();
    }
    shop.rests("demo").await;
}
