#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place that starts other programs"
)]

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncWriteExt, process::Command};

use super::LocalError;

/// The variable that carries a [mark](Call::owner) in the environment of what is started.
pub(crate) const OWNER: &str = "STACKUP_OWNER";

/// How many lines of what a program wrote an error repeats.
const TAIL: usize = 8;

/// How long a call may take that only asks, on a machine that is busy.
const PROMPT: Duration = Duration::from_mins(1);

/// How long one may take that makes, loads or removes something: longer than any kind of this room waits for readiness.
const LENGTHY: Duration = Duration::from_mins(30);

/// Where programs are looked for and what they inherit. Nothing else is read from our own environment.
#[derive(Debug, Clone, Default)]
pub struct ProgramPaths {
    /// The folder of the control plane's programs (`STACKUP_CONTROL_PLANE`); looked at first.
    pub control_plane: Option<PathBuf>,
    /// The `PATH`.
    pub path: OsString,
    /// The environment that programs inherit.
    pub env: BTreeMap<OsString, OsString>,
}

/// Finds and starts programs.
#[derive(Debug, Clone)]
pub struct Programs(ProgramPaths);

impl Programs {
    /// Programs from these places.
    pub fn new(paths: ProgramPaths) -> Self {
        Self(paths)
    }

    /// Where a program is.
    pub fn find(&self, name: &str) -> Result<PathBuf, LocalError> {
        self.folders()
            .map(|folder| folder.join(name))
            .find(|path| executable(path))
            .ok_or_else(|| LocalError::Missing(vec![name.to_owned()]))
    }

    /// Fails with all of these programs that are not there, not only with the first.
    pub fn require(&self, names: &[&str]) -> Result<(), LocalError> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| self.find(name).is_err())
            .map(|&name| name.to_owned())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(LocalError::Missing(missing))
        }
    }

    /// A call of a program, to be completed and run.
    pub fn call(&self, name: &str) -> Result<Call, LocalError> {
        let program = self.find(name)?;
        let mut env = self.0.env.clone();
        let path = std::env::join_paths(self.folders()).unwrap_or_else(|_| self.0.path.clone());
        env.insert("PATH".into(), path);
        env.remove(OsStr::new(OWNER));
        Ok(Call {
            name: name.to_owned(),
            program,
            args: Vec::new(),
            env,
            stdin: None,
            limit: PROMPT,
        })
    }

    /// A variable of the environment that programs inherit.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.0.env.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.0
            .control_plane
            .clone()
            .into_iter()
            .chain(std::env::split_paths(&self.0.path))
            .filter(|folder| folder.is_absolute())
    }
}

fn executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// One call of a program. It runs in a process group of its own, so that Ctrl-C reaches only us: what has begun ends.
#[derive(Debug)]
pub struct Call {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    stdin: Option<Vec<u8>>,
    limit: Duration,
}

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    /// The call, as an error names it.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote about it.
    pub stderr: String,
}

impl Call {
    /// Adds arguments. They appear in errors: never a secret.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// Leaves out the variables that begin with this: they would set what we set otherwise.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        self.env
            .retain(|name, _| !name.to_string_lossy().starts_with(prefix));
        self
    }

    /// Marks it, and all that it starts, so that a later run finds it though we were killed before we could note its id.
    #[must_use]
    pub fn owner(self, mark: &str) -> Self {
        self.env(OWNER, mark)
    }

    /// Gives it this to read.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Gives it the time that it takes to make, load or remove something.
    #[must_use]
    pub fn lengthy(mut self) -> Self {
        self.limit = LENGTHY;
        self
    }

    /// Runs it to its end, whatever that is.
    pub async fn answer(self) -> Result<Answer, LocalError> {
        let command = self.text();
        let start = |program: &Path| {
            let program = program.to_owned();
            move |source| LocalError::Start { program, source }
        };
        let silent = self.silent();
        let mut child = self
            .command()
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start(&self.program))?;
        let input = child.stdin.take().zip(self.stdin);
        let write = async {
            if let Some((mut pipe, bytes)) = input {
                // A program that ends without reading everything tells why by its exit status.
                drop(pipe.write_all(&bytes).await);
            }
        };
        let pid = child.id();
        let end = async { tokio::join!(write, child.wait_with_output()).1 };
        let output = within(self.limit, pid, end).await.ok_or(silent)?;
        let output = output.map_err(start(&self.program))?;
        Ok(Answer {
            command,
            status: output.status,
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it to its end, which must be a success.
    pub async fn run(self) -> Result<Answer, LocalError> {
        self.answer().await?.success()
    }

    /// Runs it to its end, which must be a success; what it writes goes to a file, so that it can go on without us.
    pub async fn run_logged(self, log: &Path) -> Result<(), LocalError> {
        let (command, silent) = (self.text(), self.silent());
        let mut child = self.start(log)?;
        let pid = child.id();
        let end = async {
            if let Some((mut pipe, bytes)) = child.stdin.take().zip(self.stdin) {
                drop(pipe.write_all(&bytes).await);
            }
            child.wait().await
        };
        let status = within(self.limit, pid, end).await.ok_or(silent)?;
        let status = status.map_err(|source| LocalError::Start {
            program: self.program.clone(),
            source,
        })?;
        if status.success() {
            return Ok(());
        }
        Err(LocalError::Failed {
            command,
            status: ended(status),
            tail: tail(&super::files::last_lines(log, TAIL)),
        })
    }

    /// Starts it and lets it live on without us; what it writes is added to a file. Returns its process id.
    pub fn spawn(self, log: &Path) -> Result<u32, LocalError> {
        Ok(self.start(log)?.id().unwrap_or_default())
    }

    /// Starts it with its output going to a file.
    fn start(&self, log: &Path) -> Result<tokio::process::Child, LocalError> {
        let open = || -> std::io::Result<(File, File)> {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(LocalError::file("write", log))?;
        self.command()
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|source| LocalError::Start {
                program: self.program.clone(),
                source,
            })
    }

    fn silent(&self) -> LocalError {
        LocalError::Silent {
            command: self.text(),
            limit: self.limit,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .process_group(0);
        command
    }

    fn text(&self) -> String {
        std::iter::once(self.name.clone())
            .chain(self.args.iter().map(|arg| arg.to_string_lossy().into_owned()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Answer {
    /// Fails unless the program ended well.
    pub fn success(self) -> Result<Self, LocalError> {
        if self.status.success() {
            return Ok(self);
        }
        let lines: Vec<String> = self.stderr.lines().map(str::to_owned).collect();
        Err(LocalError::Failed {
            command: self.command,
            status: ended(self.status),
            tail: tail(lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default()),
        })
    }

    /// What it wrote, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// What it wrote, as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, LocalError> {
        serde_json::from_slice(&self.stdout).map_err(|error| LocalError::Answer {
            command: self.command.clone(),
            why: error.to_string(),
        })
    }
}

/// Awaits the end of a process, but not for ever: a client of Docker waits for a daemon that hangs. Then the process is
/// ended, with what it started: it leads a group of its own.
async fn within<T>(limit: Duration, pid: Option<u32>, end: impl Future<Output = T>) -> Option<T> {
    let ended = tokio::time::timeout(limit, end).await.ok();
    let group = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let (None, Some(group)) = (&ended, group) {
        // It may have ended this very moment.
        let _ended = kill_process_group(group, Signal::KILL);
    }
    ended
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no status".to_owned(),
    }
}

fn tail(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::{super::process::Process, *};

    fn programs() -> Programs {
        Programs::new(ProgramPaths {
            control_plane: None,
            path: "/usr/bin:/bin".into(),
            env: BTreeMap::new(),
        })
    }

    #[tokio::test]
    async fn a_failed_program_is_named_with_arguments_status_and_last_lines() {
        let call = programs()
            .call("sh")
            .unwrap()
            .args(["-c", "echo first >&2; echo reason >&2; exit 3"]);
        let error = call.run().await.unwrap_err().to_string();
        assert!(
            error.contains("sh -c") && error.contains("exit status 3"),
            "{error}"
        );
        assert!(error.ends_with("first; reason"), "{error}");
    }

    #[tokio::test]
    async fn what_is_piped_in_comes_out_whole_and_is_never_named() {
        let secret = "secret".repeat(100_000);
        let answer = programs()
            .call("cat")
            .unwrap()
            .stdin(secret.clone())
            .run()
            .await
            .unwrap();
        assert_eq!(answer.stdout, secret.as_bytes());
        let error = programs()
            .call("sh")
            .unwrap()
            .args(["-c", "exit 1"])
            .stdin("secret")
            .run()
            .await;
        assert!(!error.unwrap_err().to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_program_inherits_only_what_it_is_given() {
        let answer = programs().call("env").unwrap().env("A", "1").run().await.unwrap();
        assert_eq!(
            answer.text().lines().collect::<Vec<_>>(),
            ["A=1", "PATH=/usr/bin:/bin"]
        );
    }

    #[test]
    fn all_missing_programs_are_named_at_once() {
        let error = programs().require(&["no-such-a", "sh", "no-such-b"]).unwrap_err();
        assert!(error.to_string().starts_with("no-such-a, no-such-b not found"));
    }

    #[tokio::test]
    async fn a_logged_program_tells_the_end_of_its_log_when_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let call = programs()
            .call("sh")
            .unwrap()
            .args(["-c", "echo it broke; exit 1"]);
        let error = call.run_logged(&folder.path().join("log")).await.unwrap_err();
        assert!(error.to_string().ends_with("it broke"));
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("test-{}", folder.path().display());
        let hangs = || {
            let call = programs().call("sh").unwrap().args(["-c", "sleep 60; true"]);
            let mut call = call.owner(&mark);
            call.limit = Duration::from_millis(300);
            call
        };
        let error = hangs().run().await.unwrap_err();
        let logged = hangs().run_logged(&folder.path().join("log")).await.unwrap_err();
        for error in [error, logged] {
            assert!(
                error
                    .to_string()
                    .starts_with("'sh -c sleep 60; true' did not end within"),
                "{error}"
            );
        }
        let over = std::time::Instant::now() + Duration::from_secs(10);
        while !Process::marked(&mark).unwrap().is_empty() {
            assert!(std::time::Instant::now() < over, "it runs on");
            tokio::task::yield_now().await;
        }
    }
}
