//! A folder of its own for one test, with its own HOME, in which the real program runs.

use std::{
    ffi::OsString,
    fs,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long one run of the program may take before it is killed and the test fails.
const LIMIT: Duration = Duration::from_mins(3);

/// What of the environment the program sees in a sandbox, beside HOME.
const PASSED_ON: [&str; 3] = ["PATH", "STACKUP_CONTROL_PLANE", "TMPDIR"];

/// A temporary folder with a HOME. At its end every process is killed that was started from it or works on it.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    env: Vec<(OsString, OsString)>,
    hosts: Option<PathBuf>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stackup-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        let passed_on = PASSED_ON
            .iter()
            .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let mut env: Vec<_> = passed_on.collect();
        env.push(("HOME".into(), folder.path().join("home").into()));
        Self {
            folder,
            env,
            hosts: None,
        }
    }

    /// The same with one more variable, or another value of it.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The same in which the program looks up names in `hosts` here, instead of the machine's `/etc/hosts`. Nothing if this
    /// machine gives no one a mount namespace.
    #[cfg(feature = "aws")]
    pub(crate) fn own_hosts(mut self) -> Option<Self> {
        self.hosts = Some(self.write("hosts", "127.0.0.1 localhost\n"));
        let tried = self.namespace().arg("true").output().unwrap();
        if !tried.status.success() {
            let why = String::from_utf8_lossy(&tried.stderr);
            super::tier::skip(
                "mount",
                &format!("no mount namespace can be had here: {}", why.trim()),
            );
            return None;
        }
        Some(self)
    }

    /// A command whose arguments are the command to run in a mount namespace with the hosts here.
    fn namespace(&self) -> Command {
        let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.args(&self.hosts);
        command
    }

    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file, with the folders that it needs.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs the program here to its end.
    #[track_caller]
    pub(crate) fn stackup(&self, arguments: &[&str]) -> Run {
        self.spawn(arguments).wait()
    }

    /// Runs the program here with variables of this run only.
    #[track_caller]
    pub(crate) fn stackup_with(&self, env: &[(&str, &str)], arguments: &[&str]) -> Run {
        let mut command = self.command(arguments);
        command.envs(env.iter().copied());
        Running::start(command).wait()
    }

    /// Starts the program here.
    #[track_caller]
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// The program as it would be run here, for a test that needs it otherwise.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_stackup");
        let mut command = if self.hosts.is_some() {
            let mut within = self.namespace();
            within.arg(program);
            within
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.env.iter().cloned());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for pid in processes_of(self.folder.path()) {
            // It may have ended meanwhile.
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes whose program or arguments lie in this folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<Pid> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        program.starts_with(folder) || String::from_utf8_lossy(&arguments).contains(folder)
    });
    let pids = ours.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw)
        .filter(|pid| *pid != rustix::process::getpid())
        .collect()
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The exit code; nothing if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Run {
    /// Fails, with all that was written, unless it ended with this code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "ended with {:?} (signal {:?}) instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code,
            self.signal,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails unless this stands in what was written.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.all().contains(text),
            "does not say '{text}'\n--- stdout\n{}\n--- stderr\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// Standard output, then standard error.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A started program. It is killed if the test lets go of it.
pub(crate) struct Running {
    child: Child,
    began: Instant,
    limit: Duration,
    stdout: Output,
    stderr: Output,
}

/// What a process wrote so far, and the thread that reads it.
struct Output(Arc<Mutex<Vec<u8>>>, Option<JoinHandle<()>>);

impl Running {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Output::of(child.stdout.take()), Output::of(child.stderr.take()));
        Self {
            child,
            began: Instant::now(),
            limit: LIMIT,
            stdout,
            stderr,
        }
    }

    /// Gives it more time than usual, or less.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its standard error holds this text.
    #[track_caller]
    pub(crate) fn until_it_says(&mut self, text: &str) {
        while !self.stderr().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && self.began.elapsed() < self.limit,
                "never said '{text}' ({ended:?}):\n{}\n{}",
                self.stdout.text(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                self.began.elapsed() < self.limit,
                "still running after {:?}:\n{}\n{}",
                self.limit,
                self.stdout.text(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        };
        Run {
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
            code: status.code(),
            signal: status.signal(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or it ends now.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Output {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let reader = pipe.map(|mut pipe| {
            let text = Arc::clone(&text);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                    text.lock().unwrap().extend_from_slice(&buffer[..read]);
                }
            })
        });
        Self(text, reader)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// All of it. A process that the program left behind may hold the pipe open: that is not waited for.
    fn end(&mut self) -> String {
        let until = Instant::now() + Duration::from_secs(2);
        while self.1.as_ref().is_some_and(|reader| !reader.is_finished()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        self.text()
    }
}
