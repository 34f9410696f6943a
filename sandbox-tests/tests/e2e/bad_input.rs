//! What is not an alert is refused with a clear word, and leaves nothing behind.

use sandbox_tests::alerts::{Firing, webhook};
use sandbox_tests::client::{Answer, send};
use sandbox_tests::daemon::Daemon;
use serde_json::json;

use super::stage::{ALERT, Stage};

fn check(daemon: &Daemon, body: &[u8], status: u16, code: &str) -> Answer {
    let answer = daemon.deliver(body);
    assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{}", answer.text());
    answer
}

/// Nothing was taken in: no alert, no run, no request at the target.
fn untouched(stage: &Stage, daemon: &Daemon) {
    for path in ["/v1/alerts", "/v1/runs"] {
        assert_eq!(daemon.get(path).expect(200)["items"], json!([]), "{path}");
    }
    assert!(stage.target.posts().is_empty());
}

#[test]
fn a_body_that_is_no_message_is_refused_by_its_kind() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    for body in [&b"{"[..], b"", b"\xff\xfe{}", b"alertname=ShopDown", b"[1,]"] {
        check(&daemon, body, 400, "not-json");
    }
    for body in [&b"{}"[..], b"[]", b"null", b"3", br#"{"version":"4","alerts":{}}"#] {
        check(&daemon, body, 422, "wrong-shape");
    }
    untouched(&stage, &daemon);
}

#[test]
fn one_bad_entry_refuses_the_whole_message_and_names_the_place() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let good = Firing::new(ALERT, "shop-1");
    for (member, value) in [
        ("startsAt", json!("yesterday")),
        ("labels", json!([])),
        ("labels", json!({ "alertname": 7 })),
        ("status", json!("perhaps")),
    ] {
        let mut body = webhook(&[good.clone(), good.from("2026-05-04T10:00:00Z")]);
        body["alerts"][1][member] = value;
        let answer = check(&daemon, body.to_string().as_bytes(), 422, "wrong-shape");
        let field = answer.json()["field"].as_str().unwrap_or_default().to_owned();
        assert!(field.contains("alerts[1]") && field.contains(member), "{}", answer.text());
    }
    untouched(&stage, &daemon);
}

#[test]
fn what_is_too_much_is_refused() {
    let Some(mut stage) = Stage::set("automatic") else { return };
    stage.home.source_more = ", max_body: 64KiB".to_owned();
    stage.home.configure();
    let daemon = stage.home.serve();
    check(&daemon, " ".repeat(64 * 1024 + 1).as_bytes(), 413, "too-large");
    check(&daemon, format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)).as_bytes(), 422, "over-limit");
    let mut deep = webhook(&[Firing::new(ALERT, "shop-1")]).to_string();
    deep = deep.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(2_000), "]".repeat(2_000)), 1);
    check(&daemon, deep.as_bytes(), 422, "over-limit");
    let mut body = webhook(&[Firing::new(ALERT, "shop-1")]);
    for number in 0..65 {
        body["alerts"][0]["labels"][format!("label_{number}")] = json!("x");
    }
    check(&daemon, body.to_string().as_bytes(), 422, "over-limit");
    untouched(&stage, &daemon);
}

#[test]
fn a_body_has_four_mebibytes_at_most_unless_configured() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let body = webhook(&[Firing::new(ALERT, "shop-1")]).to_string();
    let padded = |size: usize| format!("{body}{}", " ".repeat(size - body.len()));
    check(&daemon, padded((4 << 20) + 1).as_bytes(), 413, "too-large");
    untouched(&stage, &daemon);
    assert_eq!(daemon.deliver(padded(4 << 20).as_bytes()).status, 202);
}

#[test]
fn only_the_source_itself_may_send() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let body = webhook(&[Firing::new(ALERT, "shop-1")]).to_string();
    let post = |path: &str, token: Option<&str>| {
        let authorization = format!("Bearer {}", token.unwrap_or_default());
        let headers = [("authorization", authorization.as_str())];
        let headers = if token.is_some() { &headers[..] } else { &[] };
        send(daemon.address(), "POST", path, headers, body.as_bytes()).unwrap()
    };
    let own = stage.home.source_token.clone();
    let mut cut = own.clone();
    let _last = cut.pop();
    let cut = cut.as_str();
    for token in [
        None,
        Some(""),
        Some("wrong"),
        Some(cut),
        Some(&stage.home.administrator),
        Some(&stage.home.prometheus_token),
    ] {
        let answer = post("/v1/alerts/alertmanager", token);
        assert_eq!((answer.status, answer.problem().as_str()), (401, "not-authentic"), "{}", answer.text());
        assert!(!answer.text().contains(&own), "the answer holds the secret");
    }
    for source in ["nobody", "alertmanagers", "%2e%2e"] {
        let answer = post(&format!("/v1/alerts/{source}"), Some(&own));
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{}", answer.text());
    }
    assert_eq!(post("/api/v2/alerts", Some(&own)).status, 401, "another source's token");
    untouched(&stage, &daemon);
    let said = daemon.said();
    assert!(!said.contains(&own) && !said.contains(&stage.home.administrator), "a token in the log:\n{said}");
}

#[test]
fn a_full_queue_sends_the_sender_away_for_a_while() {
    let Some(mut stage) = Stage::set("approve") else { return };
    stage.home.more.push("queue: 1\n".to_owned());
    stage.home.configure();
    let daemon = stage.home.serve();
    // Runs that wait for people fill a queue of their own, ten times as long.
    let waiting: Vec<String> = (0..10)
        .map(|index| {
            let id = daemon.run_of(&Firing::new(ALERT, &format!("waiting-{index}")));
            let _run = daemon.until(&id, "waiting");
            id
        })
        .collect();
    let first = waiting[0].clone();
    let second = Firing::new(ALERT, "shop-2");
    let answer = daemon.deliver(webhook(std::slice::from_ref(&second)).to_string().as_bytes());
    assert_eq!((answer.status, answer.problem().as_str()), (503, "queue-full"), "{}", answer.text());
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(daemon.get("/v1/alerts").expect(200)["items"].as_array().map(Vec::len), Some(10));
    let _run = daemon.post(&format!("/v1/runs/{first}/cancel"), &json!({})).expect(200);
    let _run = daemon.outcome(&first, "cancelled");
    let _run = daemon.run_of(&second);
}

#[test]
fn every_refusal_of_the_api_is_a_problem_document() {
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    for (path, status) in [
        ("/v1/nothing", 404),
        ("/v1/runs/run_none", 404),
        ("/v1/alerts/none", 404),
        ("/v1/runs?state=sleeping", 422),
        ("/v1/runs?limit=0", 422),
        ("/v1/runs?after=there", 422),
        ("/v1/runs?after=al_00000000000000000000000000000000", 422),
        ("/v1/runs?colour=red", 422),
        ("/v1/runs?limit=many", 422),
        ("/v1/audit/inclusion?size=1", 422),
    ] {
        let answer = daemon.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(!answer.problem().is_empty());
    }
    let without = send(daemon.address(), "GET", "/v1/runs", &[], b"").unwrap();
    assert_eq!((without.status, without.problem().as_str()), (401, "not-authentic"));
    let wrong = daemon.post("/v1/runs", &json!({ "runbook": "none", "reason": "x" }));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let wrong = daemon.post("/v1/runs", &json!({ "runbook": "restart-shop", "reason": "" }));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let wrong =
        daemon.post("/v1/runs", &json!({ "runbook": "restart-shop", "reason": "x", "colour": "red" }));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let wrong = daemon.post("/livez", &json!({}));
    assert_eq!((wrong.status, wrong.problem().as_str()), (405, "method"));
}
