//! Never an effect without its quorum, whenever the power goes: two people who count, before the intent.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::poll::{SOON, until};
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// How many runs ask two people.
const RUNS: usize = 18;

/// How often the power goes.
const KILLS: usize = 5;

/// Choices that another run of the test makes otherwise; what failed names the seed.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        Self(RandomState::new().hash_one("quorum"))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
        items
    }
}

/// An approval as it is sent: by whom, with which token, for which run.
#[derive(Debug, Clone)]
struct Word {
    token: String,
    run: String,
    body: String,
}

/// Sends an approval until there is an answer: the daemon may be gone for a while. Its status.
fn say(at: &Mutex<SocketAddr>, word: &Word) -> u16 {
    let authorization = format!("Bearer {}", word.token);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let path = format!("/v1/runs/{}/approve", word.run);
    until("the approval is answered", SOON, || {
        let address = *at.lock().unwrap();
        let answer = send(address, "POST", &path, &headers, word.body.as_bytes()).ok()?;
        (answer.status != 503).then_some(answer.status)
    })
}

/// Who approves which run: of every three one gets two people who count, one a single person twice, and one a
/// person beside somebody who is gone by then.
fn enough(number: usize) -> bool {
    number.is_multiple_of(3)
}

#[test]
fn power_cuts_at_any_time_let_nothing_happen_that_two_people_did_not_approve() {
    let Some(stage) = Stage::bare() else { return };
    let gate = "gate: { approvals: 2, roles: [operator], expires: 5m }\n";
    stage.runbook("restart-shop", ALERT, "approve", gate);
    let mut chance = Chance::new();
    let seed = chance.0;
    let daemon = stage.home.serve();
    let people: Vec<String> = ["ada", "ben", "cleo"].map(|name| stage.home.token(name, "operator")).into();
    let gone = daemon.post("/v1/tokens", &json!({ "name": "gone", "roles": ["operator"] })).expect(201);
    let alerts: Vec<Firing> = (0..RUNS).map(|number| Firing::new(ALERT, &format!("shop-{number}"))).collect();
    let entries = daemon.alerts(&alerts);
    let runs: Vec<Value> =
        entries.iter().map(|entry| daemon.until(entry["runs"][0].as_str().unwrap(), "waiting")).collect();
    let mut words = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let word = |token: &str| Word {
            token: token.to_owned(),
            run: run["id"].as_str().unwrap().to_owned(),
            body: json!({ "plan": run["plan"]["digest"], "comment": "seen" }).to_string(),
        };
        let (one, step) = (chance.below(3), 1 + chance.below(2));
        words.push(word(&people[one]));
        match number % 3 {
            0 => words.push(word(&people[(one + step) % 3])),
            1 => words.push(word(&people[one])),
            _ => assert_eq!(daemon.approve(gone["token"].as_str().unwrap(), run).status, 200),
        }
    }
    let path = format!("/v1/tokens/{}", gone["id"].as_str().unwrap());
    assert!(matches!(daemon.delete(&path).status, 200 | 204), "the token is revoked");
    let (words, said, at) = (chance.shuffled(words), AtomicUsize::new(0), Mutex::new(daemon.address()));
    let mut daemon = Some(daemon);
    std::thread::scope(|scope| {
        let (half, other) = words.split_at(words.len() / 2);
        let (at, said) = (&at, &said);
        for part in [half, other] {
            scope.spawn(move || {
                for word in part {
                    let status = say(at, word);
                    assert!(matches!(status, 200 | 409), "seed {seed}: {status} for {word:?}");
                    said.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        for cut in 0..KILLS {
            // Some approvals later each time, and somewhere in what follows from them.
            let next = (cut + 1) * words.len() / (KILLS + 1);
            until("people go on", SOON, || (said.load(Ordering::Acquire) >= next).then_some(()));
            std::thread::sleep(Duration::from_millis(u64::try_from(chance.below(30)).unwrap()));
            // What people say while there is nobody to hear it, they say again.
            daemon.take().unwrap().kill();
            let next = stage.home.serve();
            *at.lock().unwrap() = next.address();
            daemon = Some(next);
        }
    });
    let daemon = daemon.unwrap();
    for (number, run) in runs.iter().enumerate() {
        let id = run["id"].as_str().unwrap();
        let rest = until(&format!("seed {seed}: run {id} is at rest"), SOON, || {
            let run = daemon.run(id);
            let resting = if enough(number) { &["ended", "parked"][..] } else { &["waiting"][..] };
            resting.iter().any(|state| run["state"] == *state).then_some(run)
        });
        assert_quorum(&daemon, &stage, &rest, number, seed);
    }
    let posts = stage.target.posts();
    let keys: BTreeSet<_> = posts.iter().filter_map(|seen| seen.header("idempotency-key")).collect();
    assert_eq!(keys.len(), posts.len(), "seed {seed}: one request a key");
    assert!(posts.len() + KILLS >= RUNS / 3, "seed {seed}: only {} requests", posts.len());
}

/// That what was done of a run was done once, and behind the words of two people who counted.
fn assert_quorum(daemon: &Daemon, stage: &Stage, run: &Value, number: usize, seed: u64) {
    let path = format!("/restart/shop-{number}");
    let requests = stage.target.posts().iter().filter(|seen| seen.path == path).count();
    let entries = daemon.journal(run["id"].as_str().unwrap());
    let kind = |entry: &Value| entry["leaf"]["kind"].as_str().unwrap().to_owned();
    let (mut approved, mut intended) = (BTreeSet::new(), 0);
    for entry in &entries {
        match kind(entry).as_str() {
            "run-approved" => {
                let approval = &entry["payload"]["approval"];
                assert_eq!(approval["plan"], run["plan"]["digest"], "seed {seed}: {entry:#}");
                // Whoever was gone by then counts for nothing, though the word stands in the journal.
                if approval["by"] != "gone" {
                    approved.insert(approval["by"].as_str().unwrap().to_owned());
                }
            }
            "run-permitted" | "effect-intended" => {
                assert_eq!(approved.len(), 2, "seed {seed}: {entry:#} in {entries:#?}");
                intended += usize::from(kind(entry) == "effect-intended");
            }
            _ => {}
        }
    }
    assert!(requests <= intended && intended <= 1, "seed {seed}: {requests} of {intended}: {run:#}");
    if enough(number) {
        assert!(intended == 1, "seed {seed}: two people approved, and nothing was intended: {run:#}");
    } else {
        assert_eq!(run["quorum"]["missing"], 1, "seed {seed}: {run:#}");
    }
}
