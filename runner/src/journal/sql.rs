//! All SQL of the journal.
//!
//! Portable to PostgreSQL except where a comment says `SQLite:`. Every call is a hop to the connection's
//! thread, which costs more than the rows: a batch is sent as one query of several statements, and rows go
//! in by multi-row inserts of a few fixed lengths, so that each text is prepared once. A shorter batch fills
//! up with NULL rows, which the `WHERE` leaves out.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use sqlx::sqlite::Sqlite;
use sqlx::{AssertSqlSafe, QueryBuilder};

use super::read::{MAX_PAGE, ViewQuery};

/// Counts up when an older program could no longer read the tables.
pub(super) const SCHEMA_VERSION: &str = "5";

/// What brings a journal of a version before to a later one.
pub(super) fn upgrade(version: &str) -> Option<&'static str> {
    match version {
        "2" | "3" => Some(TO_4),
        "4" => Some(TO_5),
        _ => None,
    }
}

/// The tables of the views' rows, each with the kind that it is for; the first is for all others. Every run makes rows
/// of these kinds: in tables of their own they go in at the end, as does what finds them. In one table for all they
/// would go in amid the others', whose pages are split and levelled for that with every commit.
const TABLES: [(&str, &str); TABLE_COUNT] =
    [("views", ""), ("view_runs", "run"), ("view_alerts", "alert"), ("view_actions", "action")];
/// How many there are.
pub(super) const TABLE_COUNT: usize = 4;

/// The place among the tables of the one that holds the rows of a kind.
pub(super) fn place_of(kind: &str) -> usize {
    TABLES.iter().position(|(_, of)| *of == kind).unwrap_or(0)
}

fn table_of(kind: &str) -> &'static str {
    TABLES.get(place_of(kind)).map_or("views", |(table, _)| table)
}

/// A table of views' rows.
macro_rules! table_of_views {
    ($name:literal) => {
        concat!(
            "CREATE TABLE ",
            $name,
            " (
        n INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT,
        k1 TEXT, k2 TEXT, k3 TEXT, doc BLOB, UNIQUE (kind, id)
    );
    CREATE INDEX ",
            $name,
            "_state ON ",
            $name,
            " (kind, state, id) WHERE state IS NOT NULL;
    "
        )
    };
}

/// The tables of the views, and what finds their rows.
macro_rules! tables_of_views {
    () => {
        concat!(
            table_of_views!("views"),
            table_of_views!("view_runs"),
            table_of_views!("view_alerts"),
            table_of_views!("view_actions"),
            "CREATE TABLE view_keys (
        kind TEXT NOT NULL, place INTEGER NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (kind, place, value, id)
    ) WITHOUT ROWID;
"
        )
    };
}

/// Puts those rows of one table into another that satisfy a condition.
macro_rules! take_views {
    ($into:literal, $from:literal, $condition:literal) => {
        concat!(
            "INSERT INTO ",
            $into,
            " (kind, id, state, k1, k2, k3, doc) SELECT kind, id, state, k1, k2, k3, doc FROM ",
            $from,
            " WHERE ",
            $condition,
            " ORDER BY kind, id;
    "
        )
    };
}

/// Puts all rows of one table into those that hold their kinds.
macro_rules! take_views_from {
    ($from:literal) => {
        concat!(
            take_views!("view_runs", $from, "kind = 'run'"),
            take_views!("view_alerts", $from, "kind = 'alert'"),
            take_views!("view_actions", $from, "kind = 'action'"),
            take_views!("views", $from, "kind NOT IN ('run', 'alert', 'action')"),
        )
    };
}

/// The triggers of the table of segments: its payloads alone can be made less.
macro_rules! segments_stay {
    () => {
        "CREATE TRIGGER segments_stay BEFORE UPDATE ON segments
        WHEN NEW.first IS NOT OLD.first OR NEW.leaves IS NOT OLD.leaves
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER segments_lose_nothing BEFORE DELETE ON segments
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER payloads_only_shrink BEFORE UPDATE OF payloads ON segments
        WHEN OLD.payloads IS NULL OR NEW.payloads IS NULL
            OR octet_length(NEW.payloads) >= octet_length(OLD.payloads)
        BEGIN SELECT RAISE(ABORT, 'a payload can be removed but not changed'); END;
    "
    };
}

/// What [`super::segment`] says of the first two tables. Payloads stand behind the leaves, which are read without them:
/// beside them in a table of their own they would cost a commit a page or two more. A state or key that is empty is NULL and in no index.
///
/// The keys of a view's row are looked up in `view_keys`, where they are put for many rows at once ([`index_keys`]):
/// most of them are spread all over that table, and a page for each would cost a commit more than all the rest of it.
/// Rows after the last one of a table that was, by `n`, are searched as they are; `meta` says which that is.
///
/// SQLite: the triggers' bodies, `WITHOUT ROWID`, `INTEGER PRIMARY KEY` (`BIGINT` elsewhere) and `BLOB` (`BYTEA`).
/// Whether a statement keeps copies of the pages that it changes, lest it fail half-way, follows from its constraints:
/// none of those that a batch writes does, since they fail with their whole transaction (`OR ROLLBACK`), references
/// are checked with the commit, and what an upsert sets may be NULL.
pub(super) const SCHEMA: &str = concat!(
    "
    BEGIN IMMEDIATE;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE segments (first INTEGER PRIMARY KEY, leaves BLOB NOT NULL, payloads BLOB);
    CREATE TABLE runs (
        run TEXT NOT NULL, first INTEGER NOT NULL REFERENCES segments (first) DEFERRABLE INITIALLY DEFERRED,
        places BLOB NOT NULL, PRIMARY KEY (run, first)
    ) WITHOUT ROWID;
    CREATE TABLE subtrees (level INTEGER NOT NULL, n INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, n));
    CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
",
    tables_of_views!(),
    "    CREATE TABLE views_rebuilt (
        kind TEXT NOT NULL, id TEXT NOT NULL, state TEXT,
        k1 TEXT, k2 TEXT, k3 TEXT, doc BLOB NOT NULL, PRIMARY KEY (kind, id)
    );
    ",
    segments_stay!(),
    "CREATE TRIGGER runs_stay BEFORE UPDATE ON runs
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER runs_lose_nothing BEFORE DELETE ON runs
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
    CREATE TRIGGER subtrees_stay BEFORE UPDATE ON subtrees
        BEGIN SELECT RAISE(ABORT, 'the tree only grows'); END;
    CREATE TRIGGER subtrees_lose_nothing BEFORE DELETE ON subtrees
        BEGIN SELECT RAISE(ABORT, 'the tree only grows'); END;
    COMMIT;
"
);

/// The views of versions 2 and 3 had one table. SQLite: dropping a table drops its other indexes.
const TO_4: &str = concat!(
    "
    BEGIN IMMEDIATE;
    ALTER TABLE views RENAME TO views_before;
    DROP INDEX views_state;
    DROP TABLE IF EXISTS view_keys;
    ",
    tables_of_views!(),
    take_views_from!("views_before"),
    "DROP TABLE views_before;
    DELETE FROM meta WHERE key = 'indexed';
    UPDATE meta SET value = '4' WHERE key = 'schema';
    COMMIT;
"
);

/// The payloads of version 4 had a table of their own.
const TO_5: &str = concat!(
    "
    BEGIN IMMEDIATE;
    DROP TRIGGER segments_stay;
    DROP TRIGGER segments_lose_nothing;
    DROP TRIGGER payloads_only_shrink;
    ALTER TABLE segments ADD COLUMN payloads BLOB;
    UPDATE segments SET payloads = (SELECT bytes FROM payloads WHERE payloads.first = segments.first);
    DROP TABLE payloads;
    ",
    segments_stay!(),
    "UPDATE meta SET value = '5' WHERE key = 'schema';
    COMMIT;
"
);

/// The names of [`LATER_TABLES`].
pub(super) const LATER: [&str; 2] = ["requests", "token_uses"];
/// Tables that older journals of this version do not have yet. What an older program does not know, it leaves alone.
pub(super) const LATER_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS requests (
        id TEXT PRIMARY KEY, since INTEGER NOT NULL, request TEXT NOT NULL,
        status INTEGER, media_type TEXT, answer BLOB
    );
    CREATE INDEX IF NOT EXISTS requests_since ON requests (since);
    CREATE TABLE IF NOT EXISTS token_uses (id TEXT PRIMARY KEY, at INTEGER NOT NULL);
";

/// SQLite: `sqlite_master`.
pub(super) const TABLES_THERE: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";
pub(super) const META: &str = "SELECT key, value FROM meta";
pub(super) const PUT_META: &str =
    "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(super) const LAST_SEGMENT: &str = "SELECT first, leaves FROM segments ORDER BY first DESC LIMIT 1";
/// The segments that hold any of the entries from the one index up to the other.
pub(super) const SEGMENTS: &str = "SELECT first, leaves, payloads FROM segments
    WHERE first >= (SELECT coalesce(max(first), 0) FROM segments WHERE first <= ?) AND first < ? ORDER BY first";
/// The same without payloads.
pub(super) const LEAVES: &str = "SELECT first, leaves, NULL FROM segments
    WHERE first >= (SELECT coalesce(max(first), 0) FROM segments WHERE first <= ?) AND first < ? ORDER BY first";
pub(super) const RUN_PLACES: &str = "SELECT first, places FROM runs WHERE run = ? ORDER BY first";
/// The segments that hold entries of a run, none of which ends before an index.
pub(super) const RUN_SEGMENTS: &str = "SELECT runs.first, places, leaves, payloads
    FROM runs JOIN segments ON segments.first = runs.first
    WHERE run = ? AND runs.first > ? ORDER BY runs.first";
pub(super) const SUBTREES: &str = "SELECT hash FROM subtrees WHERE level = ? AND n >= ? AND n < ? ORDER BY n";
pub(super) const PUT_SUBTREE: &str = "INSERT INTO subtrees (level, n, hash) VALUES (?, ?, ?)";

/// The payloads of the segment that holds an entry, where it has any.
pub(super) const PAYLOADS_OF: &str = "SELECT first, payloads FROM segments
    WHERE first = (SELECT max(first) FROM segments WHERE first <= ?) AND payloads IS NOT NULL";
pub(super) const SHRINK_PAYLOADS: &str = "UPDATE segments SET payloads = ? WHERE first = ?";
/// SQLite: overwrites what is removed with zeros, and only then, because it costs writes.
pub(super) const OVERWRITE_ON: &str = "PRAGMA secure_delete = ON";
pub(super) const OVERWRITE_OFF: &str = "PRAGMA secure_delete = OFF";

/// The newest checkpoints stay; how many is for people who look back, nothing depends on it.
pub(super) const PUT_CHECKPOINT: &str = "BEGIN IMMEDIATE;
    INSERT INTO checkpoints (size, note) VALUES (?, ?) ON CONFLICT (size) DO UPDATE SET note = excluded.note;
    DELETE FROM checkpoints WHERE size < (SELECT min(size) FROM
        (SELECT size FROM checkpoints ORDER BY size DESC LIMIT 1000) AS newest);
    COMMIT";
/// A write that changes nothing but has to reach the disk.
pub(super) const PROBE: &str = "INSERT INTO meta (key, value) VALUES ('probe', '0')
    ON CONFLICT (key) DO UPDATE SET value = CASE meta.value WHEN '0' THEN '1' ELSE '0' END";
/// SQLite: folds the write-ahead log, and gives back the room that it took.
pub(super) const EMPTY_WAL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
/// SQLite: folds the write-ahead log into the database file.
pub(super) const FOLD_WAL: &str = "PRAGMA wal_checkpoint(PASSIVE)";

pub(super) const TOKEN_USES: &str = "SELECT id, at FROM token_uses";
pub(super) const KEEP_TOKEN_USE: &str = "INSERT INTO token_uses (id, at) VALUES (?, ?)
    ON CONFLICT (id) DO UPDATE SET at = max(token_uses.at, excluded.at)";

pub(super) const TAKEN_REQUEST: &str =
    "SELECT request, status, media_type, answer FROM requests WHERE id = ? AND since > ?";
/// Those that are over go, then the oldest of those that are too many.
pub(super) const TAKE_REQUEST: &str = "BEGIN IMMEDIATE;
    DELETE FROM requests WHERE since <= ?;
    DELETE FROM requests WHERE since <= (SELECT since FROM requests ORDER BY since DESC LIMIT 1 OFFSET ?);
    INSERT INTO requests (id, since, request) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING;
    COMMIT";
pub(super) const KEEP_ANSWER: &str =
    "UPDATE requests SET status = ?, media_type = ?, answer = ? WHERE id = ?";
pub(super) const FORGET_REQUEST: &str = "DELETE FROM requests WHERE id = ?";

pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// One row.
pub(super) fn view(kind: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "SELECT id, state, k1, k2, k3, doc FROM {} WHERE kind = ? AND id = ?",
        table_of(kind)
    ))
}

/// How many rows are in a state.
pub(super) fn view_count(kind: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT count(*) FROM {} WHERE kind = ? AND state = ?", table_of(kind)))
}

/// The last row of a table whose keys are in `view_keys`.
fn indexed(table: &str) -> String {
    format!("(SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM meta WHERE key = 'indexed {table}')")
}

/// How many rows have come since, in all tables.
pub(super) fn unindexed() -> AssertSqlSafe<String> {
    let of = |(table, _)| format!("(SELECT coalesce(max(n), 0) - {} FROM {table})", indexed(table));
    AssertSqlSafe(format!("SELECT {}", TABLES.map(of).join(" + ")))
}

/// The three keys of the rows that satisfy a condition, as rows of `view_keys`.
fn keys_of(source: &str, condition: &str) -> String {
    let of = |place| {
        format!(
            "SELECT kind, {place} AS place, k{place} AS value, id FROM {source}
            WHERE {condition} AND k{place} IS NOT NULL"
        )
    };
    [1, 2, 3].map(of).join(" UNION ALL ")
}

/// Puts the keys of all rows into `view_keys` that are not there yet, in its order: so each of its pages is changed
/// once.
pub(super) fn index_keys() -> AssertSqlSafe<String> {
    let of = |(table, _)| {
        let keys = keys_of(&format!("{table} NOT INDEXED"), &format!("n > {}", indexed(table)));
        format!(
            "INSERT INTO view_keys (kind, place, value, id)
                SELECT kind, place, value, id FROM ({keys}) AS fresh ORDER BY kind, place, value, id;
            INSERT INTO meta (key, value) SELECT 'indexed {table}', coalesce(max(n), 0) FROM {table} WHERE true
                ON CONFLICT (key) DO UPDATE SET value = excluded.value;"
        )
    };
    AssertSqlSafe(format!("BEGIN IMMEDIATE; {} COMMIT", TABLES.map(of).join(" ")))
}

/// Sets the keys of a row, kind and id of which are the first two arguments: what was known of the old ones goes.
pub(super) fn set_keys(kind: &str) -> AssertSqlSafe<String> {
    let (row, table) = ("kind = ?1 AND id = ?2", table_of(kind));
    let keys = keys_of(table, &format!("{row} AND n <= {}", indexed(table)));
    AssertSqlSafe(format!(
        "DELETE FROM view_keys WHERE {row} AND place IN (1, 2, 3) AND value IN (
            SELECT k1 FROM {table} WHERE {row} UNION ALL SELECT k2 FROM {table} WHERE {row}
            UNION ALL SELECT k3 FROM {table} WHERE {row});
        UPDATE {table} SET k1 = ?3, k2 = ?4, k3 = ?5 WHERE {row};
        INSERT INTO view_keys (kind, place, value, id) {keys}"
    ))
}

pub(super) const CLEAR_REBUILT: &str = "DELETE FROM views_rebuilt";
pub(super) const DIFFERENCES: &str = "
    WITH held AS (
        SELECT kind, id, state, k1, k2, k3, doc FROM views
        UNION ALL SELECT kind, id, state, k1, k2, k3, doc FROM view_runs
        UNION ALL SELECT kind, id, state, k1, k2, k3, doc FROM view_alerts
        UNION ALL SELECT kind, id, state, k1, k2, k3, doc FROM view_actions
    )
    SELECT DISTINCT kind, id FROM (
        SELECT * FROM (SELECT * FROM held
            EXCEPT SELECT kind, id, state, k1, k2, k3, doc FROM views_rebuilt) AS lost
        UNION ALL
        SELECT * FROM (SELECT kind, id, state, k1, k2, k3, doc FROM views_rebuilt
            EXCEPT SELECT * FROM held) AS gained
    ) AS differing ORDER BY kind, id LIMIT ?";
pub(super) const SWAP_REBUILT: &str = concat!(
    "BEGIN IMMEDIATE;
    DELETE FROM views;
    DELETE FROM view_runs;
    DELETE FROM view_alerts;
    DELETE FROM view_actions;
    DELETE FROM view_keys;
    DELETE FROM meta WHERE key LIKE 'indexed %';
    ",
    take_views_from!("views_rebuilt"),
    "DELETE FROM views_rebuilt;
    COMMIT"
);

/// Adds the listing that answers a query, with its arguments. Its columns: id, state, three keys, document.
pub(super) fn list(sql: &mut QueryBuilder<Sqlite>, query: &ViewQuery) {
    let (kind, table) = (query.kind, table_of(query.kind));
    let order = if query.newest_first { "DESC" } else { "ASC" };
    // The last key that is asked for is mostly the one that the fewest rows have.
    let sought =
        query.keys.iter().enumerate().rev().find_map(|(place, key)| Some((place + 1, key.as_deref()?)));
    if let Some((place, value)) = sought {
        sql.push("SELECT id, state, k1, k2, k3, doc FROM (");
        rows(sql, &format!("view_keys AS found CROSS JOIN {table} AS v"), "found");
        sql.push("v.kind = found.kind AND v.id = found.id AND found.kind = ").push_bind(kind);
        sql.push(" AND found.place = ").push(place).push(" AND found.value = ").push_bind(value.to_owned());
        conditions(sql, query, "found");
        sql.push(" UNION ALL ");
        rows(sql, &format!("{table} AS v NOT INDEXED"), "v");
        sql.push("v.n > ").push(indexed(table)).push(" AND v.kind = ").push_bind(kind);
        conditions(sql, query, "v");
        sql.push(") AS listed");
    } else {
        rows(sql, &format!("{table} AS v"), "v");
        sql.push("v.kind = ").push_bind(kind);
        conditions(sql, query, "v");
    }
    sql.push(" ORDER BY id ").push(order).push(" LIMIT ").push_bind(query.limit.min(MAX_PAGE));
}

/// The rows of a source, in no order, up to their conditions. SQLite: with `CROSS JOIN` the keys are searched before
/// the rows, and with `NOT INDEXED` the newest rows are read as they stand.
fn rows(sql: &mut QueryBuilder<Sqlite>, source: &str, ids: &str) {
    let columns = "v.state AS state, v.k1 AS k1, v.k2 AS k2, v.k3 AS k3, v.doc AS doc";
    sql.push(format_args!("SELECT {ids}.id AS id, {columns} FROM {source} WHERE "));
}

/// What else a query asks of rows.
fn conditions(sql: &mut QueryBuilder<Sqlite>, query: &ViewQuery, ids: &str) {
    match query.state.as_deref() {
        None => {}
        Some("") => {
            sql.push(" AND v.state IS NULL");
        }
        Some(state) => {
            sql.push(" AND v.state = ").push_bind(state.to_owned());
        }
    }
    for (key, column) in query.keys.iter().zip(["v.k1", "v.k2", "v.k3"]) {
        if let Some(key) = key {
            sql.push(format_args!(" AND {column} = ")).push_bind(key.clone());
        }
    }
    if let Some(after) = &query.after {
        let than = if query.newest_first { "<" } else { ">" };
        sql.push(format_args!(" AND {ids}.id {than} ")).push_bind(after.id.clone());
    }
}

/// The rows that one call takes of a table: lengths of the multi-row inserts.
const LENGTHS: [usize; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 128];
/// The most rows of one table in one call.
pub(super) const MAX_ROWS: usize = 128;

/// Arguments of one view's row.
pub(super) const VIEW_COLUMNS: usize = 7;

/// The shape of one call of a batch; rows beyond those at hand are NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub(super) begin: bool,
    pub(super) commit: bool,
    pub(super) segments: usize,
    pub(super) runs: usize,
    /// By the place of their table.
    pub(super) views: [usize; TABLE_COUNT],
}

impl Shape {
    /// The smallest shape that holds these rows, each at most [`MAX_ROWS`].
    pub(super) fn holding(segments: usize, runs: usize, views: [usize; TABLE_COUNT]) -> Self {
        Self {
            begin: false,
            commit: false,
            segments: round(segments),
            runs: round(runs),
            views: views.map(round),
        }
    }
}

/// The shortest insert that takes these rows, at most [`MAX_ROWS`].
pub(super) fn round(rows: usize) -> usize {
    LENGTHS.into_iter().find(|length| *length >= rows).unwrap_or(MAX_ROWS)
}

/// Texts that are kept at most: far more than a load uses, and a few megabytes.
const MAX_TEXTS: usize = 1024;

/// The texts of the calls that were used lately: at most one for each [`Shape`].
#[derive(Debug, Default)]
pub(super) struct BatchTexts(HashMap<Shape, Arc<str>>);

impl BatchTexts {
    pub(super) fn get(&mut self, shape: Shape) -> AssertSqlSafe<Arc<str>> {
        // There are as many shapes as mixes of rows: what is still in use is soon made again.
        if self.0.len() >= MAX_TEXTS && !self.0.contains_key(&shape) {
            self.0.clear();
        }
        let text = self.0.entry(shape).or_insert_with(|| batch(shape).into());
        AssertSqlSafe(Arc::clone(text))
    }
}

fn batch(shape: Shape) -> String {
    let mut sql = String::new();
    if shape.begin {
        sql.push_str(BEGIN);
        sql.push(';');
    }
    insert(&mut sql, "segments (first, leaves, payloads)", shape.segments, 3);
    insert(&mut sql, "runs (run, first, places)", shape.runs, 3);
    for ((table, _), rows) in TABLES.into_iter().zip(shape.views) {
        if rows > 0 {
            upsert_views(&mut sql, table, rows);
            sql.push(';');
        }
    }
    if shape.commit {
        sql.push_str(COMMIT);
    }
    sql
}

/// The insert of up to `rows` rows into the table that a rebuild fills: it has no index, and takes all of a row.
pub(super) fn rebuilt_views(rows: usize) -> AssertSqlSafe<String> {
    let mut sql = String::with_capacity(4096);
    upsert_views(&mut sql, "views_rebuilt", round(rows));
    sql.push_str(", k1 = excluded.k1, k2 = excluded.k2, k3 = excluded.k3");
    AssertSqlSafe(sql)
}

/// State and document change often, the keys only when an erasure removes the text that they are made of. So the
/// upsert leaves the keys alone, and an erasure sets them by [`set_keys`].
fn upsert_views(sql: &mut String, table: &'static str, rows: usize) {
    insert_rows(sql, &format!("{table} (kind, id, state, k1, k2, k3, doc)"), rows, VIEW_COLUMNS);
    sql.push_str(" ON CONFLICT (kind, id) DO UPDATE SET state = excluded.state, doc = excluded.doc");
}

/// PostgreSQL will want the types of the parameters (`unnest` over arrays does it with one text).
fn insert(sql: &mut String, into: &str, rows: usize, columns: usize) {
    if rows > 0 {
        insert_rows(sql, into, rows, columns);
        sql.push(';');
    }
}

fn insert_rows(sql: &mut String, into: &str, rows: usize, columns: usize) {
    let values = values(rows, columns);
    write!(sql, "INSERT OR ROLLBACK INTO {into} SELECT * FROM ({values}) AS given WHERE column1 IS NOT NULL")
        .expect("writing to a string does not fail");
}

fn values(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("VALUES {}", vec![row.as_str(); rows].join(","))
}
