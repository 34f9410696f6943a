//! Appending, reading, proving, reopening.

use proptest::prelude::*;
use staunch_core::tlog::{TilePath, leaf_hash, verify_consistency, verify_inclusion};

use super::super::health::Health;
use super::*;

#[tokio::test]
async fn entries_of_one_call_stand_together_and_are_read_back() {
    let place = Place::new();
    let journal = place.open().await;
    assert_eq!(journal.commit(entries(0..3)).await.unwrap(), 0);
    assert_eq!(journal.commit(entries(3..300)).await.unwrap(), 3);
    assert_eq!(journal.size(), 300);
    let page = journal.entries(10, 20, 5).await.unwrap();
    assert_eq!(page.iter().map(|entry| entry.index).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
    let expected = entries(0..300);
    for entry in journal.entries(0, 300, 1000).await.unwrap() {
        let given = &expected[usize::try_from(entry.index).unwrap()];
        assert_eq!(entry.leaf, given.leaf);
        let payload = journal.payload(entry.index).await.unwrap();
        assert_eq!(payload, given.payload.clone().map(StoredPayload::Kept));
    }
    assert_eq!(journal.entry(300).await.unwrap(), None);
}

#[tokio::test]
async fn submitted_entries_come_before_a_later_commit() {
    let place = Place::new();
    let journal = place.open().await;
    for number in 0..50 {
        journal.submit(vec![plain(number)]).await.unwrap();
    }
    assert_eq!(journal.commit(vec![plain(50)]).await.unwrap(), 50);
    let numbers: Vec<_> = journal.entries(0, 51, 100).await.unwrap().into_iter().map(|e| e.leaf).collect();
    assert_eq!(numbers, (0..51).map(|n| plain(n).leaf).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_follows_at_once_shares_the_commit() {
    let place = Place::new();
    let journal = place.open().await;
    let mut growth = journal.growth();
    let begun = journal.begin(vec![plain(0)], true).await.unwrap();
    journal.submit_after(vec![plain(1)], Some(&begun.beginning())).await.unwrap();
    // Nobody waits for them yet: others do not either, and come first.
    assert_eq!(journal.commit(vec![plain(9)]).await.unwrap(), 0);
    assert_eq!(*growth.borrow_and_update(), 1);
    assert_eq!(journal.commit_after(vec![plain(2)], Some(&begun.beginning())).await.unwrap(), 3);
    assert_eq!(*growth.borrow_and_update(), 4, "one transaction");
    assert_eq!(begun.durable().await.unwrap(), 1);
}

#[tokio::test]
async fn what_nothing_follows_from_goes_by_itself() {
    let place = Place::new();
    let journal = place.open().await;
    let begun = journal.begin(vec![plain(0)], true).await.unwrap();
    journal.submit_after(vec![plain(1)], Some(&begun.beginning())).await.unwrap();
    let beginning = begun.beginning();
    assert_eq!(begun.durable().await.unwrap(), 0);
    assert_eq!(journal.commit_after(vec![plain(2)], Some(&beginning)).await.unwrap(), 2);
}

#[tokio::test]
async fn what_goes_along_is_refused_along() {
    let place = Place::new();
    let journal = place.open().await;
    let begun = journal.begin(vec![plain(0)], true).await.unwrap();
    journal.inner.shared.health.set(Health::Full, "no space");
    let beginning = begun.beginning();
    let follows = journal.commit_after(vec![plain(1)], Some(&beginning)).await.unwrap_err().to_string();
    assert_eq!(begun.durable().await.unwrap_err().to_string(), follows);
    assert!(beginning.refused());
    journal.inner.shared.health.set(Health::Good, "");
    assert_eq!(journal.commit(vec![plain(2)]).await.unwrap(), 0);
}

#[tokio::test]
async fn what_follows_from_refused_entries_is_refused() {
    let place = Place::new();
    let journal = place.open().await;
    journal.inner.shared.health.set(Health::Full, "no space");
    let begun = journal.begin(vec![plain(0)], false).await.unwrap();
    let beginning = begun.beginning();
    assert!(begun.durable().await.is_err() && beginning.refused());
    journal.inner.shared.health.set(Health::Good, "");
    journal.submit_after(vec![plain(1)], Some(&beginning)).await.unwrap();
    let error = journal.commit_after(vec![plain(2)], Some(&beginning)).await.unwrap_err().to_string();
    assert!(error.contains("follow from"), "{error}");
    assert_eq!(journal.commit(vec![plain(3)]).await.unwrap(), 0);
}

#[tokio::test]
async fn submitted_entries_reach_the_disk_without_a_commit() {
    let place = Place::new();
    let journal = place.open().await;
    journal.submit(vec![plain(0)]).await.unwrap();
    journal.growth().wait_for(|size| *size == 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_get_distinct_indices() {
    let place = Place::new();
    let journal = place.open().await;
    let calls = (0..200_u64).map(|number| {
        let journal = journal.clone();
        tokio::spawn(
            async move { (journal.commit(vec![plain(number), plain(number)]).await.unwrap(), number) },
        )
    });
    let mut firsts = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let (first, number) = call.await.unwrap();
        assert_eq!(journal.entry(first + 1).await.unwrap().unwrap().leaf, plain(number).leaf);
        firsts.push(first);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, (0..200).map(|call| call * 2).collect::<Vec<_>>());
}

#[tokio::test]
async fn refuses_what_is_too_large_and_stores_nothing_of_the_call() {
    let place = Place::new();
    let journal = place.open().await;
    let long = Entry { leaf: vec![b' '; 65_536], ..Entry::default() };
    let error = journal.commit(vec![plain(0), long]).await.unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { what: "leaf", .. }), "{error}");
    let error = journal.commit(entries(0..5000)).await.unwrap_err();
    assert!(matches!(error, JournalError::TooMany { .. }), "{error}");
    assert_eq!(journal.commit(vec![]).await.unwrap(), 0);
    journal.commit(vec![Entry { leaf: vec![b' '; 65_535], ..Entry::default() }]).await.unwrap();
}

#[tokio::test]
async fn entries_of_a_run_are_found() {
    let place = Place::new();
    let journal = place.open().await;
    let of = |run: &str, number| Entry { run: Some(run.to_owned()), ..plain(number) };
    journal.commit(vec![of("a", 0), of("b", 1), plain(2), of("a", 3)]).await.unwrap();
    assert_eq!(journal.run_indices("a").await.unwrap(), [0, 3]);
    assert_eq!(journal.run_entries("a", 1, 10).await.unwrap()[0].0.leaf, plain(3).leaf);
    assert_eq!(journal.run_indices("c").await.unwrap(), [0; 0]);
}

#[tokio::test]
async fn entries_of_a_run_come_with_their_payloads() {
    let place = Place::new();
    let journal = place.open().await;
    let of = |entry: Entry| Entry { run: Some("a".to_owned()), ..entry };
    let given = vec![of(with_payload(0)), with_payload(1), of(plain(2)), of(with_payload(3))];
    journal.commit(given.clone()).await.unwrap();
    journal.erase(vec![3], vec![plain(4)]).await.unwrap();
    let found = journal.run_entries("a", 0, 10).await.unwrap();
    let indices: Vec<u64> = found.iter().map(|(entry, _)| entry.index).collect();
    assert_eq!(indices, [0, 2, 3]);
    let payloads: Vec<_> = found.into_iter().map(|(_, payload)| payload).collect();
    let kept = StoredPayload::Kept(given[0].payload.clone().unwrap());
    assert_eq!(payloads, [Some(kept), None, Some(StoredPayload::Removed)]);
    let page = journal.run_entries("a", 1, 1).await.unwrap();
    assert_eq!(page[0].0.index, 2);
}

#[tokio::test]
async fn the_database_refuses_changes_to_entries() {
    let place = Place::new();
    let journal = place.open().await;
    let of_run = Entry { run: Some("a".to_owned()), ..plain(300) };
    journal.commit(entries(0..300).into_iter().chain([of_run]).collect()).await.unwrap();
    journal.shutdown().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.data().join(DATABASE_FILE));
    let mut raw = sqlx::ConnectOptions::connect(&options).await.unwrap();
    for change in [
        "UPDATE segments SET leaves = x'00' WHERE first = 0",
        "DELETE FROM segments WHERE first = 0",
        "UPDATE segments SET first = 1000 WHERE first = 0",
        "UPDATE segments SET rowid = 1000 WHERE first = 0",
        "UPDATE segments SET _rowid_ = 1000, payloads = x'' WHERE first = 0",
        "UPDATE segments SET payloads = payloads || x'00' WHERE first = 0",
        "UPDATE segments SET payloads = zeroblob(length(payloads)) WHERE first = 0",
        "UPDATE segments SET payloads = NULL WHERE first = 0",
        "UPDATE segments SET payloads = x'', leaves = x'00' WHERE first = 0",
        "UPDATE runs SET first = 1",
        "DELETE FROM runs",
        "UPDATE subtrees SET hash = x'00'",
        "DELETE FROM subtrees",
    ] {
        let error = sqlx::query(change).execute(&mut raw).await.unwrap_err().to_string();
        assert!(
            ["append-only", "removed", "only grows"].iter().any(|word| error.contains(word)),
            "{change}: {error}"
        );
    }
    sqlx::query("UPDATE segments SET payloads = x'000000' WHERE first = 0").execute(&mut raw).await.unwrap();
}

#[tokio::test]
async fn a_second_daemon_on_the_same_data_is_refused() {
    let place = Place::new();
    let journal = place.open().await;
    let error = place.try_open().await.unwrap_err().to_string();
    let pid = std::process::id().to_string();
    assert!(error.contains(&pid) && error.contains(place.data().to_str().unwrap()), "{error}");
    assert_eq!(holder(&place.data()).unwrap(), Some(pid));
    journal.shutdown().await;
    assert_eq!(holder(&place.data()).unwrap(), None);
    assert!(matches!(journal.commit(vec![plain(0)]).await, Err(JournalError::Closed)));
    place.try_open().await.unwrap().shutdown().await;
}

#[tokio::test]
async fn refuses_data_that_others_can_touch_and_says_how_to_mend_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.open().await.shutdown().await;
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.data()), 0o700);
    for file in files_of(&place.data()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    set(&place.data(), 0o750);
    let error = place.try_open().await.unwrap_err().to_string();
    assert!(error.contains("chmod 700"), "{error}");
    set(&place.data(), 0o700);
    set(&place.data().join("checkpoint"), 0o644);
    let error = place.try_open().await.unwrap_err().to_string();
    assert!(error.contains("chmod 600") && error.contains("checkpoint"), "{error}");
}

#[tokio::test]
async fn another_origin_or_key_does_not_sign_this_log() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..3)).await.unwrap();
    journal.shutdown().await;
    let error = Journal::open(Options { origin: "other".into(), ..place.options() }).await.unwrap_err();
    assert!(matches!(error, JournalError::Origin { .. }), "{error}");
    let other = Place { key: SigningKey::from_bytes(&[8; 32]), ..place };
    assert!(matches!(other.try_open().await.unwrap_err(), JournalError::Forked { .. }));
    let error = Journal::open(Options { origin: "two words".into(), ..other.options() }).await.unwrap_err();
    assert!(matches!(error, JournalError::BadOrigin(_)), "{error}");
}

#[tokio::test]
async fn a_backup_put_back_is_refused_as_a_fork() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..10)).await.unwrap();
    journal.shutdown().await;
    let database = place.data().join(DATABASE_FILE);
    let old = std::fs::read(&database).unwrap();
    let journal = place.open().await;
    journal.commit(entries(10..20)).await.unwrap();
    journal.shutdown().await;
    let checkpoint = std::fs::read(place.data().join(CHECKPOINT_FILE)).unwrap();
    std::fs::write(&database, &old).unwrap();
    let error = place.try_open().await.unwrap_err().to_string();
    assert!(
        error.contains("10 entries") && error.contains("covers 20") && error.contains("new-epoch"),
        "{error}"
    );

    // Another history of the same length is no better.
    std::fs::remove_file(place.data().join(CHECKPOINT_FILE)).unwrap();
    assert!(matches!(place.try_open().await.unwrap_err(), JournalError::Forked { .. }));
    let other = Place::new();
    let journal = other.open().await;
    journal.commit(entries(100..130)).await.unwrap();
    journal.shutdown().await;
    std::fs::write(other.data().join(CHECKPOINT_FILE), checkpoint).unwrap();
    let error = other.try_open().await.unwrap_err().to_string();
    assert!(error.contains("root"), "{error}");
}

#[tokio::test]
async fn tiles_are_served_as_far_as_the_log_goes() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..600)).await.unwrap();
    let tile = async |path: &str| journal.tile(TilePath::parse(path).unwrap()).await.unwrap();
    assert_eq!(tile("tile/0/000").await.unwrap().len(), 256 * 32);
    assert_eq!(tile("tile/0/002.p/88").await.unwrap().len(), 88 * 32);
    assert_eq!(tile("tile/0/002.p/5").await.unwrap(), tile("tile/0/002.p/88").await.unwrap()[..5 * 32]);
    assert_eq!(tile("tile/1/000.p/2").await.unwrap().len(), 2 * 32);
    assert!(tile("tile/entries/002.p/88").await.unwrap().ends_with(&plain(599).leaf));
    for absent in [
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/entries/003.p/1",
        "tile/0/x072/x057/x594/x037/x927/936",
    ] {
        assert_eq!(tile(absent).await, None, "{absent}");
    }
}

#[tokio::test]
async fn proofs_beyond_the_log_are_refused() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..5)).await.unwrap();
    for (index, size) in [(5, 5), (0, 0), (0, 6), (u64::MAX, 5), (0, u64::MAX)] {
        let error = journal.inclusion(index, size).await.unwrap_err();
        assert!(matches!(error, JournalError::OutOfRange { .. }), "{index} {size}: {error}");
    }
    for (from, to) in [(0, 5), (5, 4), (1, 6), (6, 6)] {
        let error = journal.consistency(from, to).await.unwrap_err();
        assert!(matches!(error, JournalError::OutOfRange { .. }), "{from} {to}: {error}");
    }
}

#[tokio::test]
async fn checkpoints_cover_what_was_committed() {
    let place = Place::new();
    let journal = place.open().await;
    let keys = [journal.verifier_key().clone()];
    let first = open_checkpoint(&journal.checkpoint().note, &keys).unwrap();
    assert_eq!((first.origin.as_str(), first.size), (ORIGIN, 0));
    journal.commit(entries(0..5)).await.unwrap();
    let covering = journal.checkpoint_covering_all().await.unwrap();
    let signed = open_checkpoint(&covering.note, &keys).unwrap();
    assert_eq!((signed.size, signed.root), (5, journal.root(5).await.unwrap()));
    assert_eq!(std::fs::read(place.data().join(CHECKPOINT_FILE)).unwrap(), covering.note);
}

#[tokio::test]
async fn silence_is_proved_by_heartbeats() {
    let place = Place::new();
    let make: MakeHeartbeat = Arc::new(plain);
    let options = Options { heartbeat: Duration::ZERO, make_heartbeat: Some(make), ..place.options() };
    let journal = Journal::open(options).await.unwrap();
    journal.growth().wait_for(|size| *size == 1).await.unwrap();
    assert_eq!(journal.entry(0).await.unwrap().unwrap().leaf, plain(0).leaf);
    assert!(journal.checkpoint_covering_all().await.unwrap().size >= 1);
}

#[tokio::test]
async fn a_failed_journal_refuses_everything_until_a_restart() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..2)).await.unwrap();
    journal.inner.shared.health.set(Health::Failed, "the disk said no");
    let error = journal.commit(entries(2..3)).await.unwrap_err().to_string();
    assert!(error.contains("the disk said no"), "{error}");
    assert!(journal.submit(entries(2..3)).await.is_err());
    assert!(!journal.accepting() && !journal.writable() && !journal.try_room());
    journal.inner.shared.health.set(Health::Good, "");
    assert!(!journal.writable());
    journal.shutdown().await;
    drop(journal);
    assert_eq!(place.open().await.commit(entries(2..3)).await.unwrap(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_entry_is_proved_after_any_sequence_of_calls_and_restarts(
        calls in prop::collection::vec((0..3_u8, 1..120_u64), 1..8), old: u64, index: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let mut journal = place.open().await;
            let mut size = 0;
            for (kind, count) in calls {
                match kind {
                    0 => journal.submit(entries(size..size + count)).await.unwrap(),
                    1 => assert_eq!(journal.commit(entries(size..size + count)).await.unwrap(), size),
                    _ => {
                        journal.submit(entries(size..size + count)).await.unwrap();
                        drop(journal);
                        journal = place.open().await;
                    }
                }
                size += count;
            }
            assert_eq!(journal.commit(vec![]).await.unwrap(), size);
            let (index, old) = (index % size, 1 + old % size);
            let root = journal.root(size).await.unwrap();
            let leaf = leaf_hash(&journal.entry(index).await.unwrap().unwrap().leaf);
            let proof = journal.inclusion(index, size).await.unwrap();
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()));
            let proof = journal.consistency(old, size).await.unwrap();
            let old_root = journal.root(old).await.unwrap();
            assert_eq!(verify_consistency(old, size, &old_root, &root, &proof), Ok(()));
            journal.shutdown().await;
        });
    }
}

#[tokio::test]
async fn a_stop_in_order_leaves_no_log_to_be_read_again() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..300)).await.unwrap();
    assert!(place.data().join(WAL_FILE).exists());
    // A reader may be there still.
    assert_eq!(journal.view("run", "a").await.unwrap(), None);
    assert_eq!(journal.entries(0, 10, 10).await.unwrap().len(), 10);
    journal.shutdown().await;
    assert!(!place.data().join(WAL_FILE).exists());
    assert_eq!(place.open().await.size(), 300);
}
