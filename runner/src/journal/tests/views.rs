//! Views: written with their entries, listed, rebuilt.

use super::*;

async fn ids(journal: &Journal, query: ViewQuery) -> Vec<String> {
    let query = ViewQuery { kind: "run", limit: if query.limit == 0 { 100 } else { query.limit }, ..query };
    journal.views(&query).await.unwrap().into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn the_last_row_of_an_id_wins_within_and_across_batches() {
    let place = Place::new();
    let journal = place.open().await;
    let first = with_views(0, vec![row("a", "queued", Some("x")), row("b", "queued", None)]);
    let second = with_views(1, vec![row("a", "running", Some("x"))]);
    journal.commit(vec![first, second]).await.unwrap();
    assert_eq!(journal.view("run", "a").await.unwrap(), Some(row("a", "running", Some("x"))));
    journal.commit(vec![with_views(2, vec![row("a", "ended", None)])]).await.unwrap();
    assert_eq!(journal.view("run", "a").await.unwrap(), Some(row("a", "ended", Some("x"))));
    assert_eq!(journal.view("run", "b").await.unwrap(), Some(row("b", "queued", None)));
    assert_eq!(journal.view("alert", "a").await.unwrap(), None);
    assert_eq!(journal.count_views("run", "ended").await.unwrap(), 1);
}

#[tokio::test]
async fn the_keys_of_a_row_change_with_an_erasure_alone() {
    let place = Place::new();
    let journal = place.open().await;
    let rows = |key| (0..3).map(|id| row(&format!("r{id}"), "queued", key)).collect();
    journal.commit(vec![with_views(0, rows(Some("x")))]).await.unwrap();
    let of = |key: &str| ViewQuery { keys: [Some(key.to_owned()), None, None], ..ViewQuery::default() };
    journal.commit(vec![with_views(1, vec![row("r1", "ended", Some("y"))])]).await.unwrap();
    assert_eq!(ids(&journal, of("x")).await, ["r0", "r1", "r2"]);
    journal.erase(vec![0], vec![with_views(2, vec![row("r2", "ended", None)])]).await.unwrap();
    assert_eq!(ids(&journal, of("x")).await, ["r0", "r1"]);
    assert_eq!(ids(&journal, ViewQuery::default()).await, ["r0", "r1", "r2"]);
}

#[tokio::test]
async fn listings_filter_turn_around_and_go_on_from_a_cursor() {
    let place = Place::new();
    let journal = place.open().await;
    let rows = (0..300).map(|n| {
        let state = if n % 2 == 0 { "running" } else { "ended" };
        row(&format!("r{n:03}"), state, (n % 3 == 0).then_some("x"))
    });
    journal.commit(vec![with_views(0, rows.collect())]).await.unwrap();
    let query = ViewQuery { limit: 3, ..ViewQuery::default() };
    assert_eq!(ids(&journal, query.clone()).await, ["r000", "r001", "r002"]);
    let after = Some(ViewCursor { id: "r009".into() });
    assert_eq!(ids(&journal, ViewQuery { after, ..query.clone() }).await, ["r010", "r011", "r012"]);
    let newest = ViewQuery { newest_first: true, ..query };
    assert_eq!(ids(&journal, newest.clone()).await, ["r299", "r298", "r297"]);
    let after = Some(ViewCursor { id: "r298".into() });
    assert_eq!(ids(&journal, ViewQuery { after, ..newest.clone() }).await, ["r297", "r296", "r295"]);
    let ended = ViewQuery { state: Some("ended".into()), ..newest };
    assert_eq!(ids(&journal, ended.clone()).await, ["r299", "r297", "r295"]);
    let keys = [Some("x".to_owned()), None, None];
    assert_eq!(ids(&journal, ViewQuery { keys, ..ended }).await, ["r297", "r291", "r285"]);
    let everything = ViewQuery { limit: u32::MAX, ..ViewQuery::default() };
    assert_eq!(ids(&journal, everything).await.len(), 300);
}

/// A fold that the caller would have written: the row of entry n is `n`.
fn fold(index: u64, leaf: &[u8], payload: Option<&StoredPayload>) -> Result<Vec<ViewRow>, FoldError> {
    let state = match payload {
        None => "none",
        Some(StoredPayload::Kept(_)) => "kept",
        Some(StoredPayload::Removed) => "removed",
    };
    let id = format!("r{}", index % 500);
    Ok(vec![ViewRow { doc: leaf.to_vec(), ..row(&id, state, None) }])
}

#[tokio::test]
async fn views_are_rebuilt_from_the_journal_to_the_same_rows() {
    let place = Place::new();
    let journal = place.open().await;
    let mut all = entries(0..700);
    for (index, entry) in (0..).zip(&mut all) {
        let payload = entry.payload.clone().map(StoredPayload::Kept);
        entry.views = fold(index, &entry.leaf, payload.as_ref()).unwrap();
    }
    let last = all.split_off(400);
    journal.commit(all).await.unwrap();
    journal.commit(last).await.unwrap();
    let compared = journal.rebuild_views(fold, false).await.unwrap();
    assert_eq!(compared, Rebuilt { entries: 700, differences: vec![] });

    // A removed payload shows in a rebuilt view; until then the difference is named.
    journal.erase(vec![699], vec![plain(700)]).await.unwrap();
    assert_eq!(journal.payload(699).await.unwrap(), Some(StoredPayload::Removed));
    let named = |id: &str| ("run".to_owned(), id.to_owned());
    let compared = journal.rebuild_views(fold, true).await.unwrap();
    assert_eq!(compared.differences, [named("r199"), named("r200")]);
    assert_eq!(journal.view("run", "r199").await.unwrap().unwrap().state, "removed");
    assert_eq!(journal.rebuild_views(fold, false).await.unwrap().differences, []);
}

#[tokio::test]
async fn a_fold_that_refuses_an_entry_leaves_the_views_alone() {
    let place = Place::new();
    let journal = place.open().await;
    journal.commit(vec![with_views(0, vec![row("a", "queued", None)]), plain(1)]).await.unwrap();
    let refuse = |index: u64, _: &[u8], _: Option<&StoredPayload>| -> Result<Vec<ViewRow>, FoldError> {
        if index == 1 { Err("no such kind".into()) } else { Ok(vec![]) }
    };
    let error = journal.rebuild_views(refuse, true).await.unwrap_err();
    assert!(matches!(error, JournalError::Fold { index: 1, .. }), "{error}");
    assert!(journal.view("run", "a").await.unwrap().is_some());
}
