//! A full disk, on a file system of a few megabytes.

use super::super::health::Health;
use super::*;

const DISK: &str = "6m";
const RESERVE: u64 = 1024 * 1024;

/// A small file system, unmounted at the end; `None` where mounting is not permitted.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={DISK}");
        let mounted =
            command("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", folder.path().to_str().unwrap()]);
        if mounted { Some(Self(folder)) } else { None }
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let filler = self.0.path().join("filler");
        let error = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(filler).unwrap());
        assert!(error.is_err(), "the disk has no end");
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        command("umount", &["-l", self.0.path().to_str().unwrap()]);
    }
}

#[expect(clippy::disallowed_methods, reason = "mounts and unmounts the test's disk")]
fn command(program: &str, arguments: &[&str]) -> bool {
    let done =
        std::process::Command::new(program).args(arguments).stderr(std::process::Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

async fn fill_up(journal: &Journal) -> u64 {
    let mut size = journal.size();
    while journal.commit(entries(0..64)).await.is_ok() {
        size += 64;
    }
    size
}

#[tokio::test]
async fn a_full_disk_gives_up_the_reserve_then_refuses_and_recovers() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a file system is not permitted");
        return;
    };
    let place =
        Place { folder: tempfile::tempdir_in(disk.0.path()).unwrap(), key: SigningKey::from_bytes(&[7; 32]) };
    let options = Options { reserve_bytes: RESERVE, ..place.options() };
    let journal = Journal::open(options.clone()).await.unwrap();
    assert!(journal.accepting());
    disk.fill();

    // The reserve lets accepted work go on while intake is told to stop.
    while journal.accepting() {
        journal.commit(entries(0..64)).await.expect("the reserve takes over");
    }
    assert!(journal.writable());
    journal.commit(entries(0..2)).await.unwrap();

    let acknowledged = fill_up(&journal).await;
    assert_eq!(journal.inner.shared.health.get(), Health::Full);
    assert!(!journal.writable());
    assert!(matches!(journal.commit(entries(0..1)).await, Err(JournalError::Unavailable(_))));
    assert!(matches!(journal.submit(entries(0..1)).await, Err(JournalError::Unavailable(_))));

    disk.free();
    let recovered = async {
        while !journal.accepting() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered).await.expect("space is noticed");
    assert_eq!(journal.commit(entries(0..1)).await.unwrap(), acknowledged);
    assert_eq!(std::fs::metadata(place.data().join("reserve")).unwrap().len(), RESERVE);
    journal.shutdown().await;
    let journal = Journal::open(options).await.unwrap();
    assert_eq!(journal.size(), acknowledged + 1);
    journal.shutdown().await;
}

#[tokio::test]
async fn without_space_for_the_reserve_no_alerts_are_accepted() {
    let place = Place::new();
    let journal = Journal::open(Options { reserve_bytes: u64::MAX / 4, ..place.options() }).await.unwrap();
    assert!(!journal.accepting() && journal.writable());
    journal.commit(entries(0..1)).await.unwrap();
    journal.shutdown().await;
}
