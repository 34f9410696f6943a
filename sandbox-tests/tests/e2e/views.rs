//! The journal is the truth: the views of a whole day's work hold nothing that cannot be folded from it again.

use std::collections::HashMap;

use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use serde_json::json;
use staunch::journal::{FoldError, Journal, Options, StoredPayload, ViewRow};
use staunch::keys;
use staunch::pipeline::views::Fold;
use staunch_core::event::Event;

use super::stage::{ALERT, Stage};

/// One row per kind of thing that can happen in a day: fixed, rejected, expired, refused, repeated, resolved.
fn work(stage: &Stage) {
    let daemon = stage.home.serve();
    let one = Firing::new(ALERT, "shop-1");
    let id = daemon.run_of(&one);
    let waiting = daemon.until(&id, "waiting");
    let _run = daemon.approve(&stage.home.administrator, &waiting).expect(200);
    let _run = daemon.outcome(&id, "fixed");
    let _again = daemon.alerts(&[one.clone(), one.resolved("2026-05-04T09:05:00Z")]);
    let id = daemon.run_of(&Firing::new(ALERT, "shop-2"));
    let _run = daemon.until(&id, "waiting");
    let _run = daemon.post(&format!("/v1/runs/{id}/reject"), &json!({ "comment": "no" })).expect(200);
    let _run = daemon.outcome(&daemon.run_of(&Firing::new("Quick", "shop-3")), "expired");
    let _run = daemon.outcome(&daemon.run_of(&Firing::new("Alone", "shop-4")), "cancelled");
    let _nothing = daemon.alerts(&[Firing::new("Nobody", "shop-5")]);
    let _refused = daemon.deliver(b"{");
    let _token = stage.home.token("ada", "operator");
    let _stays = daemon.halt(&json!({ "plugin": "another" }));
    let silence = json!({ "matchers": ["instance=\"none\""], "duration": "1h", "comment": "a test" });
    let made = daemon.post("/v1/silences", &silence).expect(201);
    let _stays = daemon.post("/v1/silences", &silence).expect(201);
    let _over = daemon.delete(&format!("/v1/silences/{}", made["id"].as_str().unwrap())).expect(200);
    daemon.release(&daemon.halt(&json!("all")));
    let by_hand = json!({ "reason": "a day's work" });
    let _open = daemon.post("/v1/breakers/http-request@shop-99/trip", &by_hand).expect(200);
    let _open = daemon.post("/v1/breakers/probe:tcp:%2F%2Fshop:1/trip", &by_hand).expect(200);
    let _run = daemon.run_of(&Firing::new(ALERT, "shop-6"));
    glass(stage, &daemon);
    in_steps(stage, &daemon);
    assert_eq!(daemon.stop(), Some(0));
}

/// A run that leaves a step out, tries one again and is taken back, and the one that follows it.
fn in_steps(stage: &Stage, daemon: &Daemon) {
    let tries = std::sync::atomic::AtomicU32::new(0);
    stage.target.set_well(false);
    stage.target.answer_posts(move |_| {
        if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 { 503 } else { 200 }
    });
    let entry = daemon.alerts(&[Firing::new("Steps", "shop-10")]).remove(0);
    let first = daemon.outcome(entry["runs"][0].as_str().unwrap(), "not-fixed");
    assert_eq!(
        (&first["undo"]["state"], &first["steps"][0]["retries"]),
        (&json!("done"), &json!(1)),
        "{first:#}"
    );
    assert_eq!(first["steps"][1]["state"], "skipped");
    let path = format!("/v1/alerts/{}", entry["id"].as_str().unwrap());
    let runs = until("the next rung is taken", SOON, || {
        let runs = daemon.get(&path).expect(200)["runs"].clone();
        (runs.as_array().map(Vec::len) == Some(2)).then_some(runs)
    });
    let _waiting = daemon.until(runs[1].as_str().unwrap(), "waiting");
}

/// Runbooks for that.
fn stepwise(stage: &Stage) {
    let url = format!("http://{}/", stage.target.address());
    let input = format!("{{ method: POST, url: '{url}', undo: {{ method: POST, url: '{url}' }} }}");
    let verify = stage.verify().replace("within: 20s", "within: 300ms");
    stage.home.runbook(
        "in-steps",
        &format!(
            "match: ['alertname=\"Steps\"']\nautonomy: automatic\nundo: when-not-fixed\nnext: restart-shop\n\
             steps:\n  - {{ plugin: http-request, input: {input}, retry: {{ times: 1, backoff: 10ms }} }}\n  \
             - {{ plugin: http-request, input: {input}, when: \"steps[0].status == 'failed'\" }}\n{verify}"
        ),
    );
}

/// The glass broken twice, one of them reviewed after its run was over; a run taken over.
fn glass(stage: &Stage, daemon: &Daemon) {
    for name in ["shop-7", "shop-8"] {
        let id = daemon.run_of(&Firing::new(ALERT, name));
        let plan = daemon.until(&id, "waiting")["plan"]["digest"].clone();
        let body = json!({ "plan": plan, "reason": "it cannot wait" });
        let _run = daemon.post(&format!("/v1/runs/{id}/break-glass"), &body).expect(200);
        let _run = daemon.until(&id, "ended");
        if name == "shop-7" {
            let second = stage.home.token("root", "administrator");
            let path = format!("/v1/justifications/{id}/review");
            let _run = daemon.post_by(&second, &path, &json!({ "comment": "seen" })).expect(200);
        }
    }
    let id = daemon.run_of(&Firing::new(ALERT, "shop-9"));
    let _run = daemon.until(&id, "waiting");
    let _run = daemon.post(&format!("/v1/runs/{id}/takeover"), &json!({ "comment": "mine" })).expect(200);
    let _run = daemon.outcome(&id, "cancelled");
}

fn event(leaf: &[u8], payload: Option<&StoredPayload>) -> Result<Event, FoldError> {
    let bytes = match payload {
        Some(StoredPayload::Kept(payload)) => Some(payload.bytes.as_slice()),
        Some(StoredPayload::Removed) | None => None,
    };
    Ok(Event::decode(leaf, bytes)?)
}

#[test]
fn views_are_a_fold_over_the_journal_and_nothing_else() {
    let Some(stage) = Stage::set("approve") else { return };
    stage.runbook("quick", "Quick", "approve", "gate: { approvals: 1, roles: [operator], expires: 1s }\n");
    let input = format!("{{ method: POST, url: 'http://{}/' }}", stage.target.address());
    let steps = format!("schedule: '@yearly'\nsteps: [{{ plugin: http-request, input: {input} }}]\n");
    stage.home.runbook("yearly", &steps);
    stage.runbook("alone", "Alone", "automatic", &stage.verify());
    stepwise(&stage);
    work(&stage);

    let key = keys::load_private(&stage.home.path("keys/journal.key")).unwrap();
    let options = Options::new(stage.home.path("data"), stage.home.origin(), key);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (rebuilt, kinds) = runtime.block_on(async {
        let journal = Journal::open(options).await.unwrap();
        let mut fold = Fold::default();
        let mut kinds: HashMap<String, u32> = HashMap::new();
        let apply =
            |_index: u64, leaf: &[u8], payload: Option<&StoredPayload>| -> Result<Vec<ViewRow>, FoldError> {
                let rows = fold.apply(&event(leaf, payload)?);
                for row in &rows {
                    *kinds.entry(row.kind.to_owned()).or_default() += 1;
                }
                Ok(rows)
            };
        let rebuilt = journal.rebuild_views(apply, false).await.unwrap();
        journal.shutdown().await;
        (rebuilt, kinds)
    });
    assert_eq!(rebuilt.differences, [], "rows of the views that the journal does not give");
    for kind in [
        "run",
        "alert",
        "token",
        "plugin",
        "halt",
        "silence",
        "schedule",
        "action",
        "breaker",
        "justification",
    ] {
        assert!(kinds.contains_key(kind), "nothing of kind {kind} was shown: {kinds:?}");
    }
    assert!(rebuilt.entries > 30, "{}", rebuilt.entries);
}
