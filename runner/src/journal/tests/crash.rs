//! Crashes: what was acknowledged is there, the rest is there whole or not at all.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::*;

const CHILD: &str = "STAUNCH_JOURNAL_TEST_DIR";

/// Not a test of its own: the program that is killed. It appends pairs and says which are acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the parent test names the directory")]
async fn child_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let key = SigningKey::from_bytes(&[7; 32]);
    let journal = Journal::open(Options::new(dir, ORIGIN, key)).await.unwrap();
    let mut stdout = std::io::stdout();
    loop {
        let first = journal.commit(entries(0..2)).await.unwrap();
        writeln!(stdout, "acknowledged {first}").unwrap();
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "starts this very test program to kill it")]
async fn killed_in_the_middle_it_keeps_what_it_acknowledged() {
    let place = Place::new();
    for round in 1..=5_u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "journal::tests::crash::child_appends_until_it_is_killed"])
            .env(CHILD, place.data())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut indices =
            lines.filter_map(|line| line.split_once("acknowledged ")?.1.trim().parse::<u64>().ok());
        let acknowledged = indices.nth(usize::try_from(round * 37).unwrap()).expect("the child appends");
        child.kill().unwrap();
        child.wait().unwrap();
        let options = Options { reserve_bytes: RESERVE_BYTES, ..place.options() };
        let journal = Journal::open(options).await.expect("what a crash leaves is opened");
        assert!(journal.size() >= acknowledged + 2, "{} < {acknowledged} + 2", journal.size());
        assert_eq!(journal.size() % 2, 0, "half a call was stored");
        journal.shutdown().await;
    }
    let journal = place.open().await;
    let dir = place.folder.path().join("export");
    journal.export(&dir, true, |_| ()).await.unwrap();
    assert_eq!(verify(&dir, &dir.join("log.vkey")).unwrap().problems, []);
}
