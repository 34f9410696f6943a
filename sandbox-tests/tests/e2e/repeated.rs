//! The same request twice, with an `Idempotency-Key`: done once, also over a crash of the daemon.

use sandbox_tests::client::{Answer, send};
use sandbox_tests::daemon::Daemon;
use serde_json::{Value, json};

use super::stage::Stage;

struct Request<'r> {
    path: &'r str,
    token: &'r str,
    key: &'r str,
    media_type: &'r str,
    body: &'r [u8],
}

impl Request<'_> {
    fn send(&self, daemon: &Daemon) -> Answer {
        let authorization = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", self.media_type),
            ("idempotency-key", self.key),
        ];
        send(daemon.address(), "POST", self.path, &headers, self.body).unwrap()
    }
}

fn json_request<'r>(stage: &'r Stage, path: &'r str, key: &'r str, body: &'r [u8]) -> Request<'r> {
    Request { path, token: &stage.home.administrator, key, media_type: "application/json", body }
}

fn runs(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/v1/runs").expect(200)["items"].as_array().unwrap().clone()
}

#[test]
fn a_repeated_request_gets_the_first_answer_also_after_a_crash() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let start = json!({ "runbook": "restart-shop", "target": "shop-1", "reason": "by hand",
        "labels": { "instance": "shop-1" }, "mode": "plan" });
    let body = start.to_string();
    let request = json_request(&stage, "/v1/runs", "once", body.as_bytes());
    let first = request.send(&daemon);
    let id = first.expect(202)["id"].as_str().unwrap().to_owned();
    let _run = daemon.outcome(&id, "observed");
    assert_eq!(request.send(&daemon).body, first.body);
    daemon.kill();

    let daemon = stage.home.serve();
    let again = request.send(&daemon);
    assert_eq!((again.status, again.text()), (202, first.text()));
    assert_eq!(again.header("content-type"), Some("application/json"));
    let other = json_request(&stage, "/v1/runs", "once", b"{}").send(&daemon);
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency-key"), "{}", other.text());
    assert_eq!(runs(&daemon).len(), 1);
    // Another person's key of the same name is another key.
    let ada = stage.home.token("ada", "operator");
    let hers = Request { token: &ada, ..request }.send(&daemon);
    assert_ne!(hers.expect(202)["id"], json!(id));
}

#[test]
fn a_refused_request_is_answered_alike_and_a_stranger_leaves_nothing() {
    let Some(stage) = Stage::set("approve") else { return };
    let daemon = stage.home.serve();
    let request = json_request(&stage, "/v1/runs", "k", br#"{"runbook":"none","reason":"x"}"#);
    assert_eq!(request.send(&daemon).status, 422);
    let stranger = Request { token: "stn_nobody", ..request };
    let refused = stranger.send(&daemon);
    assert_eq!((refused.status, refused.problem().as_str()), (401, "not-authentic"));
    let long = "k".repeat(257);
    let refused = Request { token: &stage.home.administrator, key: &long, ..stranger }.send(&daemon);
    assert_eq!((refused.status, refused.json()["field"].as_str()), (400, Some("Idempotency-Key")));
}

#[test]
fn a_token_is_never_stored_with_the_answer_that_held_it() {
    let Some(stage) = Stage::bare() else { return };
    let daemon = stage.home.serve();
    let request = json_request(&stage, "/v1/tokens", "k", br#"{"name":"ada","roles":["reader"]}"#);
    let first = request.send(&daemon);
    let token = first.expect(201)["token"].as_str().unwrap().to_owned();
    assert_eq!(request.send(&daemon).text(), first.text(), "while the daemon runs");
    daemon.kill();
    for name in ["journal.db", "journal.db-wal"] {
        let bytes = std::fs::read(stage.home.path("data").join(name)).unwrap_or_default();
        assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()), "{name} holds the token");
    }

    let daemon = stage.home.serve();
    let again = request.send(&daemon);
    assert_eq!((again.status, again.problem().as_str()), (409, "idempotency-key"), "{}", again.text());
    let tokens = daemon.get("/v1/tokens").expect(200);
    let hers = tokens["items"].as_array().unwrap().iter().filter(|token| token["name"] == "ada").count();
    assert_eq!(hers, 1);
}

#[test]
fn a_large_plugin_can_be_installed_with_a_key() {
    let Some(stage) = Stage::bare() else { return };
    let daemon = stage.home.serve();
    let mut body = Vec::new();
    let mut part = |name: &str, bytes: &[u8]| {
        let head = format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    // More than other requests may have: what is refused is the plugin, not its size.
    part("component", &vec![0; 3 << 20]);
    part("envelope", b"{}");
    body.extend_from_slice(b"--b--\r\n");
    let request = Request {
        media_type: "multipart/form-data; boundary=b",
        ..json_request(&stage, "/v1/plugins", "large", &body)
    };
    let refused = request.send(&daemon);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(request.send(&daemon).text(), refused.text());
    let other = json_request(&stage, "/v1/runs", "large", &body).send(&daemon);
    assert_eq!((other.status, other.problem().as_str()), (413, "too-large"), "{}", other.text());
}
