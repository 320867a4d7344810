use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Kubeconfig, Local, LocalError,
    cluster::{Cluster, Differences},
    files,
    process::Process,
    room::owner,
};
use crate::resource::{Change, Intent, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed};

/// How long its token is valid; a run that finds it nearly used up renews it.
const TOKEN: &str = "--duration=168h";

/// How many seconds it must live before it counts as running: one that cannot work ends at once.
const SETTLED: u64 = 2;

/// The first container of a Deployment as a process beside a simulated cluster.
pub(crate) struct KwokCompanion;

/// What is run, and as whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inputs {
    cluster: Cluster,
    namespace: String,
    service_account: String,
    program: String,
    args: Vec<String>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outputs {
    program: String,
    args: Vec<String>,
    server: Option<String>,
    pid: Option<i32>,
    log: PathBuf,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    token_ends: bool,
}

/// Our note of what was started. Not its arguments: right after the start the system may not tell them yet.
#[derive(Serialize, Deserialize)]
struct Started {
    pid: i32,
    started: u64,
}

impl Resource for KwokCompanion {
    const KIND: &'static str = "kwok.companion";
    const DOCUMENTATION: &'static str = "The first container of a Deployment as a process beside a simulated cluster, \
        where no pod really runs: so a real operator works on real objects, with the rights of its ServiceAccount.\n\
        program: what to run.\n\
        args: the container's arguments; other ones restart it.\n\
        serviceAccount, namespace: whose token it gets.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 4,
        expected: Some(Duration::from_secs(3)),
        removal: Some(Duration::from_secs(1)),
        deadline: Duration::from_mins(1),
        settles: Duration::ZERO,
        paced: false,
        pins: false,
    };

    type Cloud = Local;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        if outputs.pid.is_none() {
            change.differs("running", json!(false), json!(true));
            return change;
        }
        if inputs.program != outputs.program {
            change.differs("program", json!(outputs.program), json!(inputs.program));
        }
        if inputs.args != outputs.args {
            change.differs("args", json!(outputs.args), json!(inputs.args));
        }
        if inputs.cluster.server != outputs.server {
            change.differs(
                "cluster.server",
                json!(outputs.server),
                json!(inputs.cluster.server),
            );
        }
        if outputs.token_ends {
            change.differs("token", json!("nearly used up"), json!("renewed"));
        }
        change
    }

    async fn observe(
        local: &Local,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        targets
            .iter()
            .map(|typed| Ok(look(local, typed.target)?))
            .collect()
    }

    async fn create(
        local: &Local,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        local.programs().require(&[&inputs.program, "kubectl"])?;
        start(local, target, inputs).await?;
        Ok(None)
    }

    async fn update(local: &Local, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let seen = look(local, target)?.map(|seen| Self::diff(inputs, &seen.outputs));
        if seen.is_some_and(|change| change.fields.iter().all(|field| field.path == "token")) {
            // It reads the file again by itself.
            return Ok(renew_token(local, target, inputs).await?);
        }
        for process in running(local, target)? {
            process.signal(Signal::KILL)?;
        }
        start(local, target, inputs).await?;
        Ok(())
    }

    async fn delete(local: &Local, target: &Target) -> Result<(), ResourceError> {
        let place = place(local, target);
        let running = running(local, target)?;
        // The folder goes with the first, polite call: where it is gone already, the polite one did not help.
        let signal = if place.exists() {
            Signal::TERM
        } else {
            Signal::KILL
        };
        for process in running {
            process.signal(signal)?;
        }
        Ok(files::remove(&place)?)
    }

    async fn diagnose(local: &Local, target: &Target) -> Vec<String> {
        local
            .log(&log_name(target))
            .map(|log| files::last_lines(&log, 10))
            .unwrap_or_default()
    }
}

/// The folder of its kubeconfig, token and our note.
fn place(local: &Local, target: &Target) -> PathBuf {
    local.path("companions").join(target.address.name())
}

fn log_name(target: &Target) -> String {
    format!("companion-{}", target.address.name())
}

/// Its processes: the one that we noted, or, if we were interrupted before that, those that carry our mark.
fn running(local: &Local, target: &Target) -> Result<Vec<Process>, LocalError> {
    let noted: Option<Started> = files::read_json(&place(local, target).join("started.json"))?;
    let same = |noted: Started| Process::of(noted.pid).filter(|now| now.started == noted.started);
    match noted.and_then(same) {
        Some(process) => Ok(vec![process]),
        None => Process::marked(&owner(target)),
    }
}

fn look(local: &Local, target: &Target) -> Result<Option<Seen<Outputs>>, LocalError> {
    let place = place(local, target);
    let process = running(local, target)?.into_iter().next();
    if process.is_none() && !place.exists() {
        return Ok(None);
    }
    let log = local.log(&log_name(target))?;
    let readiness = match &process {
        None => Readiness::Failed(match files::last_lines(&log, 1).pop() {
            Some(line) => format!("it has ended; its last line: {line}"),
            None => "it has ended without a word".to_owned(),
        }),
        Some(process) if process.age().is_some_and(|age| age < SETTLED) => {
            Readiness::NotYet("it has just been started".to_owned())
        }
        Some(_) => Readiness::Ready,
    };
    let kubeconfig = Kubeconfig::read(&place.join("kubeconfig"));
    Ok(Some(Seen {
        id: None,
        readiness,
        foreign: None,
        outputs: Outputs {
            program: process
                .as_ref()
                .map(|process| process.name().to_owned())
                .unwrap_or_default(),
            args: process
                .as_ref()
                .and_then(|process| process.args.get(1..))
                .unwrap_or_default()
                .to_vec(),
            server: kubeconfig.ok().and_then(|file| file.server().map(str::to_owned)),
            pid: process.map(|process| process.pid),
            log,
            token_ends: token_ends(&place.join("token")),
        },
    }))
}

async fn start(local: &Local, target: &Target, inputs: &Inputs) -> Result<(), LocalError> {
    let place = place(local, target);
    files::make_folder(&place)?;
    renew_token(local, target, inputs).await?;
    let kubeconfig = place.join("kubeconfig");
    let user = format!("{}/{}", inputs.namespace, inputs.service_account);
    let cluster = Kubeconfig::read(&local.kubeconfig())?.select(&inputs.cluster.context)?;
    cluster
        .with_token_file(&user, &place.join("token"))
        .write(&kubeconfig)?;
    let call = local.programs().call(&inputs.program)?.args(&inputs.args);
    let call = call.owner(&owner(target)).env("KUBECONFIG", &kubeconfig);
    let pid = call.spawn(&local.log(&log_name(target))?)?;
    // One that has ended already is noticed by the next look.
    if let Some(process) = i32::try_from(pid).ok().and_then(Process::of) {
        let Process { pid, started, .. } = process;
        files::write_json(&place.join("started.json"), &Started { pid, started })?;
    }
    Ok(())
}

async fn renew_token(local: &Local, target: &Target, inputs: &Inputs) -> Result<(), LocalError> {
    let call = local
        .programs()
        .call("kubectl")?
        .env("HOME", local.path("kwok/home"));
    let call = call.arg("--kubeconfig").arg(local.kubeconfig());
    let call = call.args([
        "--context",
        &inputs.cluster.context,
        "--namespace",
        &inputs.namespace,
    ]);
    let answer = call
        .args(["create", "token", &inputs.service_account, TOKEN])
        .run()
        .await?;
    files::write_private(&place(local, target).join("token"), answer.text().as_bytes())
}

/// Whether less than a fifth of a token's life is left; one that cannot be read is as good as used up.
fn token_ends(path: &Path) -> bool {
    let age = || path.metadata().ok()?.modified().ok()?.elapsed().ok();
    let token = std::fs::read_to_string(path).unwrap_or_default();
    match (lifetime(&token), age()) {
        (Some(lifetime), Some(age)) => age > lifetime.mul_f64(0.8),
        (None, _) => true,
        // It was written in the future: the clock was turned back.
        (Some(_), None) => false,
    }
}

/// How long a token is valid from when it was issued.
fn lifetime(token: &str) -> Option<Duration> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let time = |name: &str| claims.get(name)?.as_u64();
    Some(Duration::from_secs(time("exp")?.checked_sub(time("iat")?)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{room::kinds, test},
        *,
    };
    use crate::resource::Kind;

    fn kind(local: &Arc<Local>, name: &str) -> Arc<dyn Kind> {
        let kinds = kinds(local);
        Arc::clone(kinds.iter().find(|kind| kind.name() == name).unwrap())
    }

    fn token(issued: u64, ends: u64) -> String {
        let claims = json!({"iat": issued, "exp": ends}).to_string();
        format!("x.{}.y", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_renewed_when_a_fifth_of_its_life_is_left() {
        assert_eq!(lifetime(&token(100, 160)), Some(Duration::from_mins(1)));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(token_ends(&path));
        std::fs::write(&path, token(0, 3600)).unwrap();
        assert!(!token_ends(&path));
        let old = std::fs::File::options().append(true).open(&path).unwrap();
        let age = |seconds| {
            std::time::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap() - Duration::from_secs(seconds)
        };
        old.set_modified(age(2800)).unwrap();
        assert!(!token_ends(&path));
        old.set_modified(age(2900)).unwrap();
        assert!(token_ends(&path));
    }

    #[test]
    fn other_arguments_restart_it_and_one_that_ended_is_started_again() {
        let inputs = Inputs {
            cluster: Cluster::default(),
            namespace: "n".into(),
            service_account: "s".into(),
            program: "operator".into(),
            args: vec!["--a".into()],
        };
        let outputs = Outputs {
            program: "operator".into(),
            args: vec!["--a".into()],
            server: None,
            pid: Some(1),
            log: "/log".into(),
            token_ends: false,
        };
        assert_eq!(KwokCompanion::diff(&inputs, &outputs), Change::default());
        let ended = Outputs {
            pid: None,
            ..outputs.clone()
        };
        assert_eq!(KwokCompanion::diff(&inputs, &ended).fields[0].path, "running");
        let other = Outputs {
            args: vec!["--b".into()],
            ..outputs
        };
        assert_eq!(KwokCompanion::diff(&inputs, &other).fields[0].path, "args");
    }

    #[tokio::test]
    async fn a_companion_runs_with_the_rights_of_its_service_account_until_it_is_deleted() {
        if test::control_plane().is_none() {
            eprintln!("skipped: STACKUP_CONTROL_PLANE is not set");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(test::local(folder.path()));
        let cluster_kind = kind(&local, "kwok.cluster");
        let cluster = test::target(
            &*cluster_kind,
            "live-companion",
            json!({"workers": 1, "kubernetes": null}),
        );
        let _ends = test::Ends(folder.path().to_owned(), vec![cluster.clone()]);
        cluster_kind.create(&cluster).await.unwrap();
        let live = test::until(&*cluster_kind, &cluster, test::ready).await.unwrap();

        let kind = kind(&local, KwokCompanion::KIND);
        let inputs = |args: &[&str]| {
            json!({
                "cluster": live.outputs, "namespace": "default", "serviceAccount": "default",
                "program": "kubectl", "args": args,
            })
        };
        // A program that speaks to the API server and lives on: a watch of what this account may not see ends at once.
        let target = test::target(&*kind, "watcher", inputs(&["proxy", "--port=0"]));
        let _ends_too = test::Ends(folder.path().to_owned(), vec![target.clone()]);
        assert!(test::observe(&*kind, &target).await.unwrap().is_none());
        // The controller makes the ServiceAccount a moment after the API server is ready; the engine would wait for it.
        while let Err(error) = kind.create(&target).await {
            assert!(error.message.contains("not found"), "{error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let running = test::until(&*kind, &target, test::ready).await.unwrap();

        // Found again by its mark though the note is lost.
        std::fs::remove_file(folder.path().join("companions/watcher/started.json")).unwrap();
        let again = test::observe(&*kind, &target).await.unwrap().unwrap();
        assert_eq!(again.outputs["pid"], running.outputs["pid"]);

        let forbidden = test::target(&*kind, "watcher", inputs(&["get", "secrets", "--all-namespaces"]));
        assert_eq!(
            test::observe(&*kind, &forbidden).await.unwrap().unwrap().changes[0].path,
            "args"
        );
        kind.update(&forbidden).await.unwrap();
        let ended = test::until(&*kind, &forbidden, |live| {
            live.is_some_and(|live| matches!(live.readiness, Readiness::Failed(_)))
        })
        .await;
        assert!(format!("{:?}", ended.unwrap().readiness).contains("system:serviceaccount:default:default"));

        kind.update(&target).await.unwrap();
        test::until(&*kind, &target, test::ready).await;
        kind.delete(&target).await.unwrap();
        test::until(&*kind, &target, |live| live.is_none()).await;
        cluster_kind.delete(&cluster).await.unwrap();
        test::until(&*cluster_kind, &cluster, |live| live.is_none()).await;
    }
}
