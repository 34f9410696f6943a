//! Every route has its action in people.cedar: where that permits nothing, nothing can be had.

use sandbox_tests::client::send;
use serde_json::{Value, json};

use super::stage::Stage;

/// What needs no token.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/", "/openapi.json"];

/// Senders of alerts show who they are in their source's way, with no action of a person.
fn is_intake(path: &str, method: &str) -> bool {
    method == "post" && (path.starts_with("/v1/alerts/") || path == "/api/v2/alerts")
}

fn is_open(path: &str, method: &str) -> bool {
    OPEN.contains(&path) || is_intake(path, method)
}

/// The query that a route cannot do without, so that nothing but the right is missing.
fn query(path: &str) -> &'static str {
    match path {
        "/v1/audit/consistency" => "?from=1",
        "/v1/audit/inclusion" => "?index=1",
        "/v1/audit/entries" => "?from=0&to=1",
        _ => "",
    }
}

/// A path with something in the place of each parameter.
fn filled(path: &str) -> String {
    let run = format!("run_{}", "0".repeat(32));
    let parts = path.split('/').map(|part| if part.starts_with('{') { run.as_str() } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// A body that the route takes, so that nothing but the right is missing.
fn body(path: &str) -> Value {
    match path {
        "/v1/runs" => json!({ "runbook": "restart-shop", "reason": "a test", "mode": "plan" }),
        "/v1/halts" => json!({ "scope": "all", "reason": "a test" }),
        "/v1/silences" => json!({ "matchers": ["a=\"b\""], "duration": "1h", "comment": "a test" }),
        _ => json!({}),
    }
}

/// What the route takes: plugins come as files.
fn kind(path: &str) -> &'static str {
    if matches!(path, "/v1/plugins" | "/v1/plugins/run") {
        "multipart/form-data; boundary=x"
    } else {
        "application/json"
    }
}

#[test]
fn no_route_is_without_its_action() {
    let Some(stage) = Stage::set("approve") else { return };
    std::fs::write(stage.home.path("policies/people.cedar"), "// Nobody may do anything.\n").unwrap();
    let daemon = stage.home.serve();
    let document = daemon.get("/openapi.json").expect(200);
    let good = format!("Bearer {}", stage.home.administrator);
    let mut seen = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| !is_open(path, method)) {
            let (verb, text) = (method.to_ascii_uppercase(), body(path).to_string());
            let place = format!("{}{}", filled(path), query(path));
            let status = |authorization: &str| {
                let headers = [("authorization", authorization), ("content-type", kind(path))];
                let answer = send(daemon.address(), &verb, &place, &headers, text.as_bytes()).unwrap();
                answer.status
            };
            assert_eq!(status("Bearer stn_nobody"), 401, "{verb} {path} asks for no token");
            assert_eq!(status(&good), 403, "{verb} {path} asks people.cedar for no action");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} routes in {document:#}");
}
