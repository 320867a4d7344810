//! What else goes wrong under a run: signals, a second run, a reader that goes away, a full disk, a damaged state.

use std::{fs, io::Write, path::Path, process::Command, thread, time::Duration};

use rustix::process::Signal;

use crate::support::{cluster, proxy::Fault, sandbox::Running, shop::Shop, tier};

#[test]
fn a_signal_during_a_wait_ends_the_run_and_the_next_one_goes_on() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "signal");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        shop.hold_pods();
        let mut run = shop.sandbox.spawn(&["apply", "--yes"]);
        waits(&shop, &mut run);
        run.signal(signal);
        run.wait().ends(code);
    }
    shop.first_version();
    shop.apply().ends(0);
    shop.destroy().ends(0);
    shop.is_gone();
}

#[test]
fn a_second_run_is_told_who_holds_the_lock() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "lock");
    shop.hold_pods();
    let mut first = shop.sandbox.spawn(&["apply", "--yes"]);
    waits(&shop, &mut first);
    let holder = format!("process {}", first.id());
    shop.apply().ends(3).says(&holder).says("stackup apply");
    shop.destroy().ends(3).says(&holder);
    // Reading does not need the lock.
    shop.sandbox.stackup(&["diff"]).ends(0);
    first.signal(Signal::KILL);
    assert_eq!(first.wait().signal, Some(9));
    shop.first_version();
    shop.apply().ends(0).says("resuming");
    shop.destroy().ends(0);
    shop.is_gone();
}

/// Waits until everything but the pods has been written.
fn waits(shop: &Shop, run: &mut Running) {
    run.until_it_says("web");
    let path = format!("/apis/apps/v1/namespaces/{0}/deployments/web", shop.name);
    shop.cluster.until(&path, |web| {
        !web["spec"]["template"]["spec"]["schedulingGates"].is_null()
    });
    thread::sleep(Duration::from_millis(500));
}

#[test]
fn a_lost_call_or_a_lost_answer_is_made_good_within_the_run() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "lost");
    for fault in [Fault::Drop, Fault::LoseAnswer, Fault::Status(503)] {
        shop.proxy
            .inject(fault, 2, 2, |sent| sent.writes() && sent.method != "DELETE");
        shop.proxy.inject(fault, 1, 1, |sent| sent.method == "DELETE");
    }
    shop.apply().ends(0);
    shop.writes();
    shop.second_version();
    shop.apply().ends(0);
    shop.writes();
    shop.apply().ends(0);
    assert_eq!(shop.writes().len(), 0);
    shop.destroy().ends(0);
    shop.is_gone();
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_run() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "pipe");
    for arguments in [
        &["apply", "--yes"][..],
        &["apply", "--yes", "--output", "json"],
        &["destroy", "--yes"],
    ] {
        let mut child = shop.sandbox.command(arguments).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
    shop.is_gone();
}

#[test]
fn a_damaged_state_is_named_with_its_place_and_a_backup_and_nothing_is_done() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "damage");
    shop.apply().ends(0);
    shop.second_version();
    shop.apply().ends(0);
    shop.writes();
    let state = shop.sandbox.path(format!(".stackup/{}/state.json", shop.name));
    let journal = state.with_file_name("journal.ndjson");
    let whole = fs::read(&state).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let half = &whole[..whole.len() / 2];
    for (what, damaged) in [("empty", &b""[..]), ("half", half), ("flipped", &flipped)] {
        fs::write(&state, damaged).unwrap();
        for verb in [
            &["apply", "--yes"][..],
            &["destroy", "--yes"],
            &["diff"],
            &["status"],
        ] {
            let run = shop.sandbox.stackup(verb);
            assert_eq!(run.code, Some(8), "{what} {verb:?}: {}", run.all());
            run.says("state.json at byte ").says("/backups/state-");
        }
        assert_eq!(fs::read(&state).unwrap(), damaged, "{what}: it was overwritten");
    }
    fs::remove_file(&state).unwrap();
    shop.apply().ends(8).says("it is missing");
    fs::write(&state, &whole).unwrap();
    fs::write(&journal, "0000000000000000 {}\n0000000000000000 {}\n").unwrap();
    shop.apply().ends(8).says("journal.ndjson at byte ");
    fs::write(&journal, "").unwrap();
    assert_eq!(
        shop.writes().len(),
        0,
        "something was written with a damaged state"
    );
    shop.sandbox.stackup(&["diff", "--exit-code"]).ends(0);
    shop.destroy().ends(0);
    shop.is_gone();
}

/// A small file system of its own; ends with its value.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// Mounts it, or says why that cannot be done here.
    fn new(path: &'a Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let run = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs"])
            .arg(path)
            .output()
            .unwrap();
        if !run.status.success() {
            tier::skip(
                "mount",
                &format!(
                    "no file system can be mounted here: {}",
                    String::from_utf8_lossy(&run.stderr).trim()
                ),
            );
            return None;
        }
        Some(Self(path))
    }

    fn read_only(&self, yes: bool) {
        let how = if yes { "remount,ro" } else { "remount,rw" };
        assert!(
            Command::new("mount")
                .args(["-o", how])
                .arg(self.0)
                .status()
                .unwrap()
                .success()
        );
    }

    /// Leaves this many bytes free.
    fn fill(&self, free: usize) {
        let path = self.0.join("filler");
        let mut filler = fs::File::create(&path).unwrap();
        let mut size = 0;
        while let Ok(written @ 1..) = filler.write(&[0; 4096]) {
            size += written;
        }
        filler
            .set_len(u64::try_from(size.saturating_sub(free)).unwrap())
            .unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0).status());
    }
}

#[test]
fn without_room_or_right_to_write_nothing_is_begun_and_the_state_stays() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "disk");
    let folder = shop.sandbox.path(".stackup");
    let Some(mount) = Mount::new(&folder) else { return };
    shop.apply().ends(0);
    shop.second_version();
    shop.writes();
    let state = folder.join(&shop.name).join("state.json");
    let whole = fs::read(&state).unwrap();

    mount.read_only(true);
    shop.apply().ends(1).says("Read-only file system");
    mount.read_only(false);
    mount.fill(0);
    shop.apply().ends(1).says("No space left on device");
    assert_eq!(shop.writes().len(), 0, "it wrote without being able to remember");
    assert_eq!(fs::read(&state).unwrap(), whole);

    // With a little more each time it comes a little further.
    let mut failed = 0;
    for pages in 1..40 {
        mount.fill(pages * 4096);
        let run = shop.apply();
        if run.code == Some(0) {
            break;
        }
        failed += 1;
        run.ends(1).says("No space left on device");
        let loads = shop.sandbox.stackup(&["status"]);
        assert_ne!(loads.code, Some(8), "{pages} pages: {}", loads.all());
    }
    assert!((1..39).contains(&failed), "{failed} runs failed");
    mount.empty();
    shop.apply().ends(0);
    shop.sandbox.stackup(&["diff", "--exit-code"]).ends(0);
    shop.destroy().ends(0);
    drop(mount);
    assert_eq!(shop.objects(), serde_json::json!({}));
}
