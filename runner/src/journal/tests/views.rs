//! Views: written with their entries, listed, rebuilt.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sqlx::ConnectOptions as _;

use super::super::sql;
use super::super::writer::UNINDEXED_ROWS;
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

/// A row whose keys follow from its id, as they do in a journal.
fn keyed(number: usize, state: &str) -> ViewRow {
    let keys = [number % 4, number % 7, number / 10].map(|key| (key > 0).then(|| key.to_string()));
    ViewRow { keys, ..row(&format!("r{number:03}"), state, None) }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(&'static str, usize, &'static str)>),
    /// The keys of all rows are in their table afterwards.
    Reopen,
    /// Together: one, or several.
    List(Vec<ViewQuery>),
}

fn step() -> impl Strategy<Value = Step> {
    let state = || prop::sample::select(vec!["", "open", "ended"]);
    // One with a table of its own, one beside others.
    let kind = || prop::sample::select(vec!["run", "halt"]);
    let key = |most: usize| prop::option::weighted(0.4, (1..most).prop_map(|key| key.to_string()));
    let after = prop::option::of((0..60_usize).prop_map(|number| ViewCursor { id: format!("r{number:03}") }));
    let query =
        (kind(), prop::option::of(state()), (key(4), key(7), key(6)), after, 1..20_u32, any::<bool>());
    let query = query.prop_map(|(kind, state, (k1, k2, k3), after, limit, newest_first)| {
        let state = state.map(str::to_owned);
        ViewQuery { kind, state, keys: [k1, k2, k3], after, limit, newest_first }
    });
    prop_oneof![
        3 => prop::collection::vec((kind(), 0..60_usize, state()), 1..12).prop_map(Step::Write),
        1 => Just(Step::Reopen),
        6 => prop::collection::vec(query, 0..5).prop_map(Step::List),
    ]
}

/// What a query finds among all rows.
fn found(rows: &BTreeMap<(&'static str, String), ViewRow>, query: &ViewQuery) -> Vec<ViewRow> {
    let fits = |row: &&ViewRow| {
        if row.kind != query.kind {
            return false;
        }
        let keys = query.keys.iter().zip(&row.keys);
        let behind = query.after.as_ref().is_none_or(|after| match query.newest_first {
            true => row.id < after.id,
            false => row.id > after.id,
        });
        let keys_fit = keys.into_iter().all(|(wanted, key)| wanted.is_none() || wanted == key);
        keys_fit && behind && query.state.as_ref().is_none_or(|state| *state == row.state)
    };
    let fitting = rows.values().filter(fits).cloned();
    let limit = query.limit as usize;
    if query.newest_first { fitting.rev().take(limit).collect() } else { fitting.take(limit).collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn listings_find_what_is_there_wherever_its_keys_stand(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let mut journal = place.open().await;
            let mut rows = BTreeMap::new();
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Write(written) => {
                        let written = written.into_iter();
                        let written = written.map(|(kind, number, state)| ViewRow { kind, ..keyed(number, state) });
                        let written: Vec<ViewRow> = written.collect();
                        rows.extend(written.iter().map(|row| ((row.kind, row.id.clone()), row.clone())));
                        journal.commit(vec![with_views(number, written)]).await.unwrap();
                    }
                    Step::Reopen => {
                        journal.shutdown().await;
                        journal = place.open().await;
                    }
                    Step::List(queries) => {
                        let expected: Vec<_> = queries.iter().map(|query| found(&rows, query)).collect();
                        prop_assert_eq!(journal.views_at_once(&queries).await.unwrap(), expected, "{:?}", queries);
                    }
                }
            }
            Ok(())
        })?;
    }
}

async fn raw(place: &Place) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.data().join(DATABASE_FILE));
    options.connect().await.unwrap()
}

async fn counted(raw: &mut sqlx::SqliteConnection, table: &str) -> usize {
    let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
    usize::try_from(count.fetch_one(raw).await.unwrap_or(-1_i64)).unwrap()
}

#[tokio::test]
async fn keys_are_put_into_their_table_once_there_are_many_rows() {
    let place = Place::new();
    let journal = place.open().await;
    let of_two = ViewQuery {
        kind: "run",
        keys: [None, Some("2".to_owned()), None],
        limit: MAX_PAGE,
        ..ViewQuery::default()
    };
    let mut raw = raw(&place).await;
    for (number, first) in (0..).zip((0..2 * UNINDEXED_ROWS).step_by(100)) {
        let rows = (first..first + 100).map(|number| keyed(number, "open")).collect();
        journal.commit(vec![with_views(number, rows)]).await.unwrap();
        let wanted = (0..first + 100).filter(|number| number % 7 == 2).count();
        assert_eq!(journal.views(&of_two).await.unwrap().len(), wanted, "after {first}");
        // The writer does it once it has answered; what it is asked next, it does after that.
        journal.commit(vec![]).await.unwrap();
        let unindexed: i64 = sqlx::query_scalar(sql::unindexed()).fetch_one(&mut raw).await.unwrap();
        assert!(usize::try_from(unindexed).unwrap() < UNINDEXED_ROWS, "{unindexed} after {first}");
    }
    assert!(counted(&mut raw, "view_keys").await > UNINDEXED_ROWS);
}

#[tokio::test]
async fn an_erasure_takes_keys_out_of_their_table() {
    let place = Place::new();
    let journal = place.open().await;
    let rows = (0..30).map(|number| keyed(number, "open")).collect();
    journal.commit(vec![Entry { views: rows, ..with_payload(0) }]).await.unwrap();
    journal.shutdown().await;
    let journal = place.open().await;
    let bare = ViewRow { keys: [None, None, Some("new".to_owned())], ..keyed(9, "open") };
    journal.erase(vec![0], vec![with_views(1, vec![bare.clone()])]).await.unwrap();
    let of = |keys: [Option<&str>; 3]| ViewQuery {
        kind: "run",
        keys: keys.map(|key| key.map(str::to_owned)),
        limit: 100,
        ..ViewQuery::default()
    };
    assert_eq!(journal.views(&of([None, None, Some("new")])).await.unwrap(), [bare]);
    let others = journal.views(&of([None, Some("2"), None])).await.unwrap();
    assert_eq!(others.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["r002", "r016", "r023"]);
    let mut raw = raw(&place).await;
    let left = counted(&mut raw, "view_keys WHERE id = 'r009'").await;
    assert_eq!(left, 1);
}

/// Turns the tables back into those of version 4.
const BACK_TO_4: &str = "BEGIN;
    CREATE TABLE payloads (first INTEGER PRIMARY KEY REFERENCES segments (first) DEFERRABLE INITIALLY DEFERRED,
        bytes BLOB NOT NULL);
    INSERT INTO payloads SELECT first, payloads FROM segments WHERE payloads IS NOT NULL;
    DROP TRIGGER segments_stay; DROP TRIGGER segments_lose_nothing; DROP TRIGGER payloads_only_shrink;
    ALTER TABLE segments DROP COLUMN payloads;
    CREATE TRIGGER segments_stay BEFORE UPDATE ON segments
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER segments_lose_nothing BEFORE DELETE ON segments
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER payloads_only_shrink BEFORE UPDATE ON payloads
        WHEN octet_length(NEW.bytes) >= octet_length(OLD.bytes) OR NEW.first <> OLD.first
        BEGIN SELECT RAISE(ABORT, 'a payload can be removed but not changed'); END;
    CREATE TRIGGER payloads_leave_a_mark BEFORE DELETE ON payloads
        BEGIN SELECT RAISE(ABORT, 'a removed payload leaves its mark'); END;
    UPDATE meta SET value = '4' WHERE key = 'schema';
    COMMIT";

/// Turns the tables of the views of version 4 back into those of version 3.
const BACK_TO_3: &str = "BEGIN;
    CREATE TABLE old (
        n INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT,
        k1 TEXT, k2 TEXT, k3 TEXT, doc BLOB, UNIQUE (kind, id)
    );
    INSERT INTO old (kind, id, state, k1, k2, k3, doc)
        SELECT kind, id, state, k1, k2, k3, doc FROM views
        UNION ALL SELECT kind, id, state, k1, k2, k3, doc FROM view_runs
        UNION ALL SELECT kind, id, state, k1, k2, k3, doc FROM view_alerts
        UNION ALL SELECT kind, id, state, k1, k2, k3, doc FROM view_actions;
    DROP TABLE views; DROP TABLE view_runs; DROP TABLE view_alerts; DROP TABLE view_actions;
    ALTER TABLE old RENAME TO views;
    CREATE INDEX views_state ON views (kind, state, id) WHERE state IS NOT NULL;
    DELETE FROM meta WHERE key LIKE 'indexed %';
    INSERT INTO meta (key, value) SELECT 'indexed', max(n) FROM views;
    UPDATE meta SET value = '3' WHERE key = 'schema';
    COMMIT";

/// And those of version 3 into those of version 2.
const BACK_TO_2: &str = "BEGIN;
    CREATE TABLE old (
        kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT,
        k1 TEXT, k2 TEXT, k3 TEXT, doc BLOB NOT NULL, PRIMARY KEY (kind, id)
    );
    INSERT INTO old SELECT kind, id, state, k1, k2, k3, doc FROM views;
    DROP TABLE views; DROP TABLE view_keys; ALTER TABLE old RENAME TO views;
    CREATE INDEX views_state ON views (kind, state, id) WHERE state IS NOT NULL;
    CREATE INDEX views_k1 ON views (kind, k1, id) WHERE k1 IS NOT NULL;
    UPDATE meta SET value = '2' WHERE key = 'schema'; DELETE FROM meta WHERE key = 'indexed';
    COMMIT";

#[tokio::test]
async fn journals_of_the_versions_before_are_brought_up_to_date() {
    for back in [&[BACK_TO_4][..], &[BACK_TO_4, BACK_TO_3], &[BACK_TO_4, BACK_TO_3, BACK_TO_2]] {
        let place = Place::new();
        let journal = place.open().await;
        let kinds = ["run", "alert", "action", "halt"];
        let of = |kind| (0..30).map(move |number| ViewRow { kind, ..keyed(number, "open") });
        let rows: Vec<ViewRow> = kinds.into_iter().flat_map(of).collect();
        journal.commit(vec![with_views(0, rows.clone()), with_payload(1), with_payload(2)]).await.unwrap();
        journal.erase(vec![2], vec![plain(3)]).await.unwrap();
        journal.shutdown().await;
        let mut raw = raw(&place).await;
        for step in back {
            sqlx::raw_sql(*step).execute(&mut raw).await.unwrap();
        }
        drop(raw);
        let journal = place.open().await;
        for kind in kinds {
            let query = ViewQuery { kind, limit: 100, ..ViewQuery::default() };
            let wanted: Vec<ViewRow> = rows.iter().filter(|row| row.kind == kind).cloned().collect();
            assert_eq!(journal.views(&query).await.unwrap(), wanted);
            let keys = [None, Some("2".to_owned()), None];
            assert_eq!(journal.views(&ViewQuery { keys, ..query }).await.unwrap().len(), 4, "{kind}");
        }
        let kept = with_payload(1).payload.map(StoredPayload::Kept);
        for (index, payload) in [(0, None), (1, kept), (2, Some(StoredPayload::Removed))] {
            assert_eq!(journal.payload(index).await.unwrap(), payload, "{index}");
        }
        journal.erase(vec![1], vec![with_payload(4)]).await.unwrap();
        assert_eq!(journal.payload(1).await.unwrap(), Some(StoredPayload::Removed));
        journal.commit(vec![with_views(5, vec![keyed(3, "ended")])]).await.unwrap();
        journal.shutdown().await;
        let database = std::fs::read(place.data().join(DATABASE_FILE)).unwrap();
        let holds = |text: &str| database.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        let found = ["outside text 1", "outside text 2", "outside text 4"].map(holds);
        assert_eq!(found, [false, false, true], "what was removed is gone where it stood before, too");
        place.open().await.shutdown().await;
    }
}

/// A fold that the caller would have written: the row of entry n is `n`.
fn fold(index: u64, leaf: &[u8], payload: Option<&StoredPayload>) -> Result<Vec<ViewRow>, FoldError> {
    let state = match payload {
        None => "none",
        Some(StoredPayload::Kept(_)) => "kept",
        Some(StoredPayload::Removed) => "removed",
    };
    let (id, kind) = (format!("r{}", index % 500), if index % 500 == 7 { "halt" } else { "run" });
    Ok(vec![ViewRow { kind, doc: leaf.to_vec(), ..row(&id, state, None) }])
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
