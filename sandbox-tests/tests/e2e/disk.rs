//! A full disk: nothing new is taken in, nothing acts, and it goes on when there is room again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sandbox_tests::alerts::{Firing, webhook};
use sandbox_tests::installation::Installation;
use sandbox_tests::outside::is_root;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::program::{command, finish};
use sandbox_tests::skip;
use serde_json::json;

use super::stage::{ALERT, Stage};

/// A small disk; it is taken away with its value.
struct Disk(PathBuf);

fn works(command: &mut Command) -> bool {
    finish(command).code == Some(0)
}

impl Disk {
    /// Puts the data folder of an installation on a disk of its own; `None` where that is not allowed.
    fn under(home: &Installation) -> Option<Self> {
        if !is_root() {
            skip("only root can mount a small disk");
            return None;
        }
        let data = home.path("data");
        let old = home.path("data.old");
        fs::rename(&data, &old).unwrap();
        fs::create_dir(&data).unwrap();
        let mut mount = command("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96m,mode=700", "tmpfs"]).arg(&data);
        if !works(&mut mount) {
            fs::remove_dir(&data).unwrap();
            fs::rename(&old, &data).unwrap();
            skip("a small disk cannot be mounted here");
            return None;
        }
        let disk = Self(data.clone());
        let mut copy = command("cp");
        copy.args(["-a"]).arg(old.join(".")).arg(&data);
        assert!(works(&mut copy), "the data cannot be copied");
        Some(disk)
    }

    /// Fills it to the last byte, again and again while something gives way.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = File::options().create(true).append(true).open(&filler).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, for the daemon may still be on its way out.
        let _unmounted = works(command("umount").arg("-l").arg(&self.0));
    }
}

fn status_of(daemon: &sandbox_tests::daemon::Daemon, number: usize) -> u16 {
    daemon.deliver(webhook(&[Firing::new(ALERT, &format!("shop-{number}"))]).to_string().as_bytes()).status
}

/// How much is kept back in a data folder.
fn reserve_of(data: &Path) -> u64 {
    fs::metadata(data.join("reserve")).map(|meta| meta.len()).unwrap_or(0)
}

#[test]
fn a_full_disk_stops_the_intake_and_everything_that_acts_until_there_is_room() {
    let Some(stage) = Stage::set("approve") else { return };
    let Some(disk) = Disk::under(&stage.home) else { return };
    let daemon = stage.home.serve();
    let id = daemon.run_of(&Firing::new(ALERT, "before"));
    let waiting = daemon.until(&id, "waiting");

    let filler = disk.fill();
    let mut number = 0;
    until("the intake refuses", SOON, || {
        number += 1;
        (status_of(&daemon, number) == 503).then_some(())
    });
    let refused = daemon.deliver(webhook(&[Firing::new(ALERT, "more")]).to_string().as_bytes());
    assert_eq!((refused.status, refused.problem().as_str()), (503, "journal"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_ne!(daemon.get("/readyz").status, 200, "a daemon that takes nothing in is not ready");
    assert_eq!(daemon.get("/livez").status, 200);
    // The reserve is there so that what was accepted can still be written down; without it nothing is.
    until("the reserve is given up", SOON, || (reserve_of(&disk.0) == 0).then_some(()));
    disk.fill();
    // Until the journal has met the end of it, what is still in its log's own space goes through.
    let answer = until("nothing can be written", SOON, || {
        let answer = daemon.post(&format!("/v1/runs/{id}/approve"), &json!({ "plan": "sha256:none" }));
        assert_eq!(answer.status, 422, "what is wrong is said in any case: {}", answer.text());
        disk.fill();
        let answer = daemon.post("/v1/tokens", &json!({ "name": "x".repeat(100), "roles": ["reader"] }));
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(answer.problem(), "journal");
    let answer = daemon.approve(&stage.home.administrator, &waiting);
    assert_eq!((answer.status, answer.problem().as_str()), (503, "journal"), "{}", answer.text());
    assert!(stage.target.posts().is_empty(), "something acted that is not in the journal");

    fs::remove_file(filler).unwrap();
    until("the intake takes alerts again", Duration::from_secs(60), || {
        number += 1;
        (status_of(&daemon, number) == 202).then_some(())
    });
    assert_eq!(daemon.get("/readyz").status, 200);
    let run = daemon.until(&id, "waiting");
    let _run = daemon.approve(&stage.home.administrator, &run).expect(200);
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(run["effects"][0]["status"], "done", "{run:#}");
    assert_eq!(stage.target.posts().len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}
