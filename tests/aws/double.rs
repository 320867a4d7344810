//! A stand-in for AWS of one test: tests/support/aws-double/README.md says what it proves.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use crate::support::tier;

/// How long its start may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// It ends with its value.
pub(super) struct Double {
    _server: Child,
    pub(super) url: String,
    pub(super) folder: tempfile::TempDir,
}

impl Double {
    /// Starts one without API servers, with durations as they were published times `scale`; or says that the test is to
    /// be skipped.
    pub(super) async fn start(scale: f64) -> Option<Self> {
        let Some(python) = std::env::var_os("STACKUP_AWS_DOUBLE").map(PathBuf::from) else {
            tier::skip(
                "aws-double",
                "STACKUP_AWS_DOUBLE does not name a Python with what scripts/requirements.txt lists",
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/aws-double/double.py");
        let mut server = Command::new(python)
            .args([
                program,
                "--until-stdin-closes",
                "--scale",
                &scale.to_string(),
                "--folder",
            ])
            .arg(folder.path().join("double"))
            .env_remove("STACKUP_CONTROL_PLANE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        timeout(PATIENCE, stdout.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Some(Self {
            _server: server,
            url: told["url"].as_str().unwrap().to_owned(),
            folder,
        })
    }

    /// Everything that exists beyond what a fresh account has, by kind.
    pub(super) async fn account(&self) -> Value {
        self.ask("GET", "account", &Value::Null).await
    }

    /// Merges settings.
    pub(super) async fn set(&self, settings: Value) {
        self.ask("POST", "settings", &settings).await;
    }

    /// The calls that changed something and were not refused, from the `first` call on, as `eks:CreateCluster`.
    pub(super) async fn writes(&self, first: usize) -> Vec<String> {
        let calls = self.calls().await;
        let writes = calls.iter().skip(first).filter(|call| {
            call["mutating"] == json!(true) && call["status"].as_u64().is_some_and(|status| status < 300)
        });
        let name = |call: &Value| {
            let part = |name: &str| call[name].as_str().unwrap().to_owned();
            format!("{}:{}", part("service"), part("operation"))
        };
        writes.map(name).collect()
    }

    /// All calls so far, in order.
    pub(super) async fn calls(&self) -> Vec<Value> {
        let Value::Array(calls) = self.ask("GET", "calls", &Value::Null).await else {
            panic!("no list of calls");
        };
        calls
    }

    /// One request of those that are for tests.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let address = self.url.strip_prefix("http://").unwrap();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} /_double/{path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        assert_eq!(status, "200", "{method} {path}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}
