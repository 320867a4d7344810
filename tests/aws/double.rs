//! The AWS double of one test, on loopback; it ends with its value.

use std::{path::PathBuf, process::Stdio, time::Duration};

use aws_sdk_ec2::config::{BehaviorVersion, Credentials, Region};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes};
use hyper_util::rt::TokioIo;
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::support::{sandbox::processes_of, tier};

pub(super) const REGION: &str = "eu-central-1";
/// How long the double may take to start on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) struct Double {
    server: Child,
    /// The double ends what it started when this closes.
    open: Option<ChildStdin>,
    pub(super) url: String,
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) folder: tempfile::TempDir,
}

impl Drop for Double {
    fn drop(&mut self) {
        // Its API servers must end too, and only it knows them.
        drop(self.open.take());
        for _ in 0..200 {
            match self.server.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(100)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        // Should it not have come so far, nothing of its folder runs on.
        for pid in processes_of(self.folder.path()) {
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
}

impl Double {
    /// Starts one whose clock runs `1 / scale` times as fast as AWS's, or says that the test is to be skipped.
    pub(super) async fn start(scale: f64) -> Option<Self> {
        Self::of(scale, None).await
    }

    /// The same with a real API server behind each of its clusters.
    pub(super) async fn with_clusters(scale: f64) -> Option<Self> {
        let programs = tier::control_plane()?;
        let folder = programs.path("kwokctl").parent().map(PathBuf::from);
        Self::of(scale, folder).await
    }

    async fn of(scale: f64, programs: Option<PathBuf>) -> Option<Self> {
        let Some(python) = std::env::var_os("STACKUP_DOUBLE_PYTHON").map(PathBuf::from) else {
            tier::skip(
                "aws-double",
                "STACKUP_DOUBLE_PYTHON does not name a Python with what scripts/requirements.txt lists",
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/aws-double/double.py");
        let mut command = Command::new(python);
        command
            .args([
                script,
                "--until-stdin-closes",
                "--scale",
                &scale.to_string(),
                "--folder",
            ])
            .arg(folder.path())
            .env_remove("STACKUP_CONTROL_PLANE");
        if let Some(programs) = &programs {
            command.arg("--programs").arg(programs);
        }
        let mut server = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let open = server.stdin.take();
        let mut line = String::new();
        let mut told = BufReader::new(server.stdout.take().unwrap());
        timeout(PATIENCE, told.read_line(&mut line))
            .await
            .unwrap_or_else(|_| panic!("the double does not start"))
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let url = told["url"].as_str().unwrap().to_owned();
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&url)
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .build();
        Some(Self {
            server,
            open,
            url,
            ec2: aws_sdk_ec2::Client::from_conf(config),
            folder,
        })
    }

    /// The environment of a program that takes the double for AWS, and asks it as often as its clock is fast.
    pub(super) fn environment(&self) -> [(&'static str, &str); 8] {
        [
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("STACKUP_POLL_INTERVAL", "200ms"),
        ]
    }

    /// Asks the double itself.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let address = self.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/_double/{path}"))
            .header("host", address)
            .body(Full::<Bytes>::from(body.to_string()))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    pub(super) async fn set(&self, settings: Value) {
        self.ask("POST", "settings", &settings).await;
    }

    /// Leaves something as controllers or people do.
    pub(super) async fn plant(&self, mut what: Value) -> Value {
        what["region"] = REGION.into();
        self.ask("POST", "plant", &what).await
    }

    /// Everything that exists beyond a fresh account, as `ec2:vpc vpc-1`; what comes and goes with an account's services
    /// is not counted.
    pub(super) async fn account(&self) -> Vec<String> {
        let told = self.ask("GET", "account", &Value::Null).await;
        let kinds = told.as_object().unwrap().iter();
        let things = kinds.flat_map(|(kind, things)| {
            let things = things.as_array().unwrap().iter();
            things.map(move |thing| format!("{kind} {}", thing["id"].as_str().unwrap()))
        });
        things.collect()
    }

    /// The calls so far that change something, with all that was sent, in the order of their text.
    pub(super) async fn requests(&self) -> Vec<String> {
        let told = self.ask("GET", "calls", &Value::Null).await;
        let calls = told
            .as_array()
            .unwrap()
            .iter()
            .filter(|call| call["mutating"] == true);
        let text = |call: &Value| {
            let name = format!(
                "{}:{}",
                call["service"].as_str().unwrap(),
                call["operation"].as_str().unwrap()
            );
            let mut sent = call["parameters"].clone();
            if let Some(token) = sent.get_mut("ClientToken") {
                // It comes first, and would make the order another one each time.
                *token = "TOKEN".into();
            }
            format!("{name} {sent:#}")
        };
        let mut calls: Vec<String> = calls.map(text).collect();
        calls.sort();
        calls
    }

    /// The calls so far, as `ec2:CreateVpc`, of those that change something or of all.
    pub(super) async fn calls(&self, changing: bool) -> Vec<String> {
        let told = self.ask("GET", "calls", &Value::Null).await;
        let calls = told.as_array().unwrap().iter();
        let calls = calls.filter(|call| !changing || call["mutating"] == true);
        calls.map(name).collect()
    }

    /// The calls from the `first` on that changed something and were not refused.
    pub(super) async fn writes(&self, first: usize) -> Vec<String> {
        let told = self.ask("GET", "calls", &Value::Null).await;
        let calls = told.as_array().unwrap().iter().skip(first);
        let writes = calls.filter(|call| {
            call["mutating"] == true && call["status"].as_u64().is_some_and(|status| status < 300)
        });
        writes.map(name).collect()
    }
}

fn name(call: &Value) -> String {
    let part = |part: &str| call[part].as_str().unwrap().to_owned();
    format!("{}:{}", part("service"), part("operation"))
}
