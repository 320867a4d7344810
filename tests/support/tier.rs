//! What a test needs of the machine. A test that cannot run says so, and fails where its tier is required.

use std::{env, fs, io::Write, path::PathBuf, thread};

/// Whether `STACKUP_REQUIRE` names this tier.
pub(crate) fn required(tier: &str) -> bool {
    let required = env::var("STACKUP_REQUIRE").unwrap_or_default();
    required.split(',').any(|name| name == tier)
}

/// The programs of a control plane, or nothing if the test is to be skipped.
pub(crate) fn control_plane() -> Option<Programs> {
    let programs = Programs::find();
    if let Err(missing) = &programs {
        skip(
            "control-plane",
            &format!("{missing} is neither in STACKUP_CONTROL_PLANE nor on PATH: see scripts/control-plane"),
        );
    }
    programs.ok()
}

/// Says that the present test does not run, or fails it.
#[track_caller]
pub(crate) fn skip(tier: &str, why: &str) {
    assert!(!required(tier), "the tier {tier} is required, and {why}");
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    #[expect(
        clippy::print_stdout,
        reason = "cargo shows it to who asks why a test took no time"
    )]
    {
        println!("skipped: {test}: {why}");
    }
    if let Some(list) = env::var_os("STACKUP_SKIPPED") {
        let mut list = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(list)
            .unwrap();
        list.write_all(format!("{tier}\t{test}\t{why}\n").as_bytes())
            .unwrap();
    }
}

/// Where the programs of a control plane are.
pub(crate) struct Programs(Vec<(&'static str, PathBuf)>);

impl Programs {
    const NAMES: [&str; 7] = [
        "kwokctl",
        "kwok",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
    ];

    /// All of them, or the first that is missing.
    fn find() -> Result<Self, &'static str> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = env::var_os("STACKUP_CONTROL_PLANE")
            .map(PathBuf::from)
            .into_iter()
            .chain(env::split_paths(&path))
            .collect();
        let find = |name: &'static str| -> Result<_, &'static str> {
            let found = folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|path| path.is_file());
            Ok((name, found.ok_or(name)?))
        };
        Ok(Self(Self::NAMES.into_iter().map(find).collect::<Result<_, _>>()?))
    }

    pub(crate) fn path(&self, name: &str) -> &PathBuf {
        &self.0.iter().find(|(known, _)| *known == name).unwrap().1
    }
}
