use std::{fs, io, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::{LocalError, program::OWNER};

/// Linux tells times of processes in hundredths of a second, on every architecture that we build for.
const TICKS_PER_SECOND: u64 = 100;

/// A process that lives, told apart from a later one with the same id by when it started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// When it started, in ticks since the machine started.
    pub(crate) started: u64,
    /// What it was started as, the program first.
    pub(crate) args: Vec<String>,
}

impl Process {
    /// The process with this id, if it lives; one that has ended and was not yet collected does not.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        // The name in parentheses may hold anything; state is the first field after it, the start time the twentieth.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let args = fs::read(folder.join("cmdline")).ok()?;
        Some(Self {
            pid,
            started: fields.get(19)?.parse().ok()?,
            args: args
                .split(|&byte| byte == 0)
                .map(|arg| String::from_utf8_lossy(arg).into_owned())
                .collect::<Vec<_>>()
                .strip_suffix(&[String::new()])?
                .to_vec(),
        })
    }

    /// All processes that [carry this mark](super::Call::owner).
    pub(crate) fn marked(mark: &str) -> Result<Vec<Self>, LocalError> {
        let wanted = format!("{OWNER}={mark}").into_bytes();
        Self::all(|pid| {
            // Another user's environment cannot be read; then it is not ours.
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
                environ
                    .split(|&byte| byte == 0)
                    .any(|variable| variable == wanted)
            })
        })
    }

    /// All processes whose program was started from this folder.
    pub(crate) fn from_folder(folder: &Path) -> Result<Vec<Self>, LocalError> {
        Ok(Self::all(|_| true)?
            .into_iter()
            .filter(|process| process.program().starts_with(folder))
            .collect())
    }

    fn all(wanted: impl Fn(i32) -> bool) -> Result<Vec<Self>, LocalError> {
        let own = std::process::id();
        let list = fs::read_dir("/proc").map_err(LocalError::file("read", "/proc"))?;
        Ok(list
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|&pid| u32::try_from(pid) != Ok(own) && wanted(pid))
            .filter_map(Self::of)
            .collect())
    }

    /// The path or name that it was started by.
    pub(crate) fn program(&self) -> &Path {
        Path::new(self.args.first().map_or("", String::as_str))
    }

    /// The last part of that.
    pub(crate) fn name(&self) -> &str {
        self.program()
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }

    /// Whether this very process still lives.
    pub(crate) fn lives(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// For how many seconds it has lived.
    pub(crate) fn age(&self) -> Option<u64> {
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let seconds: u64 = uptime.split('.').next()?.parse().ok()?;
        Some(seconds.saturating_sub(self.started / TICKS_PER_SECOND))
    }

    /// Sends it a signal; harmless if it is gone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), LocalError> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.lives()) else {
            return Ok(());
        };
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(LocalError::File {
                verb: "stop the process",
                path: format!("/proc/{}", self.pid).into(),
                source: io::Error::from(error),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::{ProgramPaths, Programs},
        *,
    };

    #[tokio::test]
    async fn a_marked_process_is_found_and_told_from_a_later_one_of_its_id() {
        let programs = Programs::new(ProgramPaths {
            control_plane: None,
            path: "/usr/bin:/bin".into(),
            env: BTreeMap::new(),
        });
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("test-{}", folder.path().display());
        assert!(Process::marked(&mark).unwrap().is_empty());
        let call = programs.call("sleep").unwrap().args(["60"]).owner(&mark);
        let pid = call.spawn(&folder.path().join("log")).unwrap();
        // The child carries our environment until it has become the program.
        let found = loop {
            if let [found] = &Process::marked(&mark).unwrap()[..] {
                break found.clone();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((found.pid, found.name()), (i32::try_from(pid).unwrap(), "sleep"));
        let later = Process {
            started: found.started + 1,
            ..found.clone()
        };
        assert!(!later.lives());
        later.signal(Signal::KILL).unwrap();
        assert!(found.lives());
        found.signal(Signal::KILL).unwrap();
        while found.lives() {
            tokio::task::yield_now().await;
        }
    }
}
