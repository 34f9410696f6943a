//! Epochs: what the first entry of one says about the log before is compared with the entries.

use super::*;

/// The export of a log whose second epoch begins after `size` entries and says `root` of the one before; more entries
/// follow.
async fn second_epoch(size: u64, root: impl Fn(&str) -> String) -> (Epoch, Report) {
    let place = Place::new();
    let journal = place.open().await;
    if size > 0 {
        journal.commit(entries(0..size)).await.unwrap();
    }
    journal.shutdown().await;
    let begun = loop {
        match begin_epoch(&place.data(), ORIGIN).await {
            Err(JournalError::Locked { .. }) => tokio::task::yield_now().await,
            begun => break begun.unwrap(),
        }
    };
    let place = Place { key: SigningKey::from_bytes(&[8; 32]), ..place };
    let journal = place.open().await;
    let (checkpoint, _) = begun.before.clone().unwrap();
    let (origin, size, root) = (&checkpoint.origin, checkpoint.size, root(&checkpoint.root.to_string()));
    let leaf = format!(
        r#"{{"v":1,"kind":"log-begun","fact":{{"epoch":2,"before":{{"origin":"{origin}","size":{size},"root":"{root}"}},"continues":true}}}}"#
    );
    journal.commit(vec![Entry { leaf: leaf.into_bytes(), ..Entry::default() }]).await.unwrap();
    journal.commit(entries(0..300)).await.unwrap();
    let dir = place.folder.path().join("export");
    journal.export(&dir, true, |_| ()).await.unwrap();
    journal.shutdown().await;
    (begun, verify(&dir, &dir.join("log.vkey")).unwrap())
}

#[tokio::test]
async fn an_epoch_continues_what_was_signed_before() {
    for size in [0, 1, 255, 256, 257, 600] {
        let (begun, report) = second_epoch(size, str::to_owned).await;
        assert_eq!((begun.number, begun.continues), (2, true), "{size}");
        assert_eq!(begun.origin, format!("{ORIGIN}/epoch-2"));
        assert_eq!((report.problems.as_slice(), report.origin.as_str()), (&[][..], begun.origin.as_str()));
        let before = Some((ORIGIN.to_owned(), size));
        assert_eq!(report.epochs, [EpochSeen { index: size, number: 2, before, continues: true }]);
    }
}

#[tokio::test]
async fn an_epoch_that_says_it_continues_what_it_does_not_is_found() {
    for size in [1, 256, 300] {
        let (_, report) = second_epoch(size, |_| "0".repeat(64)).await;
        let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
        assert_eq!(problem.place, format!("entry {size}"));
        assert!(problem.message.contains("says that it continues"), "{problem}");
    }
}

#[tokio::test]
async fn the_old_key_does_not_open_the_new_epoch() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(entries(0..5)).await.unwrap();
    journal.shutdown().await;
    drop(journal);
    while let Err(error) = begin_epoch(&place.data(), ORIGIN).await {
        assert!(matches!(error, JournalError::Locked { .. }), "{error}");
        tokio::task::yield_now().await;
    }
    let new = Place { key: SigningKey::from_bytes(&[8; 32]), ..place };
    let journal = new.open().await;
    journal.commit(entries(5..9)).await.unwrap();
    journal.shutdown().await;
    drop(journal);
    let old = Place { key: SigningKey::from_bytes(&[7; 32]), ..new };
    let refused = loop {
        match old.try_open().await {
            Err(JournalError::Locked { .. }) => tokio::task::yield_now().await,
            other => break other.map(drop).unwrap_err(),
        }
    };
    assert!(matches!(refused, JournalError::Forked { .. }), "{refused}");
}
