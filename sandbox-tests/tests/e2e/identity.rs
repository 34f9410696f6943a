//! People whom an OpenID provider vouches for, against one that we did not write: `oidc-provider-mock`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox_tests::alerts::Firing;
use sandbox_tests::client::send;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::Installation;
use sandbox_tests::poll::{SOON, until};
use sandbox_tests::program;
use sandbox_tests::skip;
use serde_json::{Value, json};

use super::stage::{ALERT, Stage};

/// A running provider; it ends with its value.
struct Provider {
    process: Child,
    address: SocketAddr,
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Where `.ci/setup` puts the provider; `None`, with a visible skip, where it is not.
fn package() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python-oidc");
    let found = folder.join("oidc_provider_mock").is_dir();
    if !found {
        skip("oidc-provider-mock is not installed; `.ci/setup` installs it");
    }
    found.then_some(folder)
}

impl Provider {
    fn start(users: &[Value]) -> Option<Self> {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_at(port, users)
    }

    fn start_at(port: u16, users: &[Value]) -> Option<Self> {
        let folder = package()?;
        let mut command: Command = program::command("python3");
        command.env("PYTHONPATH", &folder).args(["-m", "oidc_provider_mock", "--port", &port.to_string()]);
        for user in users {
            command.args(["--user-claims", &user.to_string()]);
        }
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let provider = Self { process: command.spawn().unwrap(), address: ([127, 0, 0, 1], port).into() };
        until("the provider to answer", SOON, || {
            let discovery = "/.well-known/openid-configuration";
            send(provider.address, "GET", discovery, &[], b"").ok().filter(|answer| answer.status == 200)
        });
        Some(provider)
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An ID token for a person, by the authorization code flow.
    fn token(&self, person: &str, audience: &str) -> String {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let back = "http%3A%2F%2F127.0.0.1%2Fback";
        let query = format!(
            "/oauth2/authorize?response_type=code&client_id={audience}&redirect_uri={back}&scope=openid"
        );
        let answer = send(self.address, "POST", &query, &form, format!("sub={person}").as_bytes()).unwrap();
        let location = answer.header("location").unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        let code = location.split(['?', '&']).find_map(|part| part.strip_prefix("code=")).unwrap();
        let body = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={back}&client_id={audience}&client_secret=s"
        );
        let answer = send(self.address, "POST", "/oauth2/token", &form, body.as_bytes()).unwrap();
        answer.expect(200)["id_token"].as_str().unwrap().to_owned()
    }
}

/// Lets the provider vouch for people.
fn trust(home: &mut Installation, provider: &Provider, audience: &str) {
    home.more.push(format!(
        "identity: {{ oidc: {{ issuer: '{}', audience: {audience}, roles: {{ sre: [operator], everybody: [reader] }} }} }}\n",
        provider.issuer()
    ));
    home.configure();
}

fn users() -> Vec<Value> {
    vec![
        json!({ "sub": "ada", "groups": ["sre", "everybody"] }),
        json!({ "sub": "ben", "groups": ["everybody"] }),
        json!({ "sub": "cleo" }),
    ]
}

fn get(daemon: &Daemon, token: &str, path: &str) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    let answer = send(daemon.address(), "GET", path, &[("authorization", &bearer)], b"").unwrap();
    (answer.status, answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn people_of_a_provider_may_what_their_groups_may() {
    let Some(mut stage) = Stage::set("approve") else { return };
    let Some(provider) = Provider::start(&users()) else { return };
    trust(&mut stage.home, &provider, "staunch");
    let daemon = stage.home.serve();
    let [ada, ben, cleo] = ["ada", "ben", "cleo"].map(|name| provider.token(name, "staunch"));
    assert_eq!(get(&daemon, &ben, "/v1/runs").0, 200);
    let (status, detail) = get(&daemon, &cleo, "/v1/runs");
    assert_eq!(status, 403, "who is in no group that has a role may nothing");
    assert!(detail.contains("cleo may not read"), "{detail}");
    let id = daemon.run_of(&Firing::new(ALERT, "shop-1"));
    let waiting = daemon.until(&id, "waiting");
    assert_eq!(daemon.approve(&ben, &waiting).status, 403);
    // The approval counts again in the moment of acting: the provider vouched for the person just now.
    let _approved = daemon.approve(&ada, &waiting).expect(200);
    let run = daemon.outcome(&id, "fixed");
    let trace = daemon.get(&format!("/v1/runs/{id}/why")).expect(200).to_string();
    assert!(trace.contains("approved by ada"), "{trace}");
    let approved =
        daemon.journal(&id).into_iter().find(|entry| entry["leaf"]["kind"] == "run-approved").unwrap();
    let subject = format!("{}#ada", provider.issuer());
    assert_eq!(approved["payload"]["approval"]["subject"], json!(subject), "{run:#}");
    // Tokens go on to work beside it.
    assert_eq!(daemon.get("/v1/runs").status, 200);
}

#[test]
fn a_token_that_is_not_for_here_is_refused_with_the_reason_and_without_the_token() {
    let mut home = Installation::empty();
    let Some(provider) = Provider::start(&users()) else { return };
    trust(&mut home, &provider, "staunch");
    let daemon = home.serve();
    let good = provider.token("ada", "staunch");
    assert_eq!(get(&daemon, &good, "/v1/runs").0, 200);
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = format!("{}.{payload}.", part(json!({ "alg": "none" })));
    let hmac = format!("{}.{payload}.{signature}", part(json!({ "alg": "HS256" })));
    let mut root: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    root["sub"] = json!("root");
    for (token, wanted) in [
        (provider.token("ada", "another"), "another audience"),
        (none, "\"none\" is not accepted"),
        (hmac, "\"HS256\" is not accepted"),
        (format!("{head}.{}.{signature}", part(root)), "does not verify"),
        (format!("{head}.{payload}."), "does not verify"),
        ("a.b.c".to_owned(), "not a JWT"),
        ("no-jwt".to_owned(), "unknown, expired or revoked"),
    ] {
        let (status, detail) = get(&daemon, &token, "/v1/runs");
        assert_eq!(status, 401, "{wanted}: {detail}");
        assert!(detail.contains(wanted), "{detail}");
        assert!(token.len() < 20 || !detail.contains(&token), "{detail}");
    }
    let said = daemon.said();
    assert!(!said.contains(payload) && !said.contains(signature), "a token is in the log");
}

#[test]
fn new_keys_of_the_provider_are_found_and_its_absence_lets_nobody_new_in() {
    let mut home = Installation::empty();
    let Some(provider) = Provider::start(&users()) else { return };
    trust(&mut home, &provider, "staunch");
    let port = provider.address.port();
    let old = provider.token("ada", "staunch");
    let daemon = home.serve();
    assert_eq!(get(&daemon, &old, "/v1/runs").0, 200);
    drop(provider);
    assert_eq!(get(&daemon, &old, "/v1/runs").0, 200, "keys that are known hold while the provider is away");
    // Another process, another key, the same issuer.
    let Some(provider) = Provider::start_at(port, &users()) else { return };
    let new = provider.token("ada", "staunch");
    until("the keys to be asked for again", SOON, || (get(&daemon, &new, "/v1/runs").0 == 200).then_some(()));
    assert_eq!(get(&daemon, &old, "/v1/runs").0, 401, "its key is gone");
    drop(provider);
    assert_eq!(daemon.stop(), Some(0));
    let daemon = home.serve();
    let (status, detail) = get(&daemon, &new, "/v1/runs");
    assert_eq!(status, 503, "{detail}");
    assert!(detail.contains("identity provider"), "{detail}");
    assert_eq!(daemon.get("/v1/runs").status, 200, "tokens do not depend on it");
}

#[test]
fn a_provider_that_could_be_anybody_is_no_configuration() {
    let home = Installation::empty();
    let config = std::fs::read_to_string(home.config()).unwrap();
    for (oidc, wanted) in [
        ("{}", "issuer"),
        ("{ issuer: 'https://id.example' }", "audience"),
        ("{ issuer: 'http://id.example', audience: a }", "http is for loopback only"),
        ("{ issuer: nonsense, audience: a }", "no address"),
        ("{ issuer: 'https://id.example', audience: a, secret: b }", "unknown key"),
        ("{ issuer: 'https://id.example', audience: a, roles: { sre: operator } }", "must be a list"),
    ] {
        let path = home.path("other.yaml");
        std::fs::write(&path, format!("{config}\nidentity: {{ oidc: {oidc} }}\n")).unwrap();
        let mut check = program::command(program::staunch());
        let checked = program::finish(check.arg("--config").arg(&path).arg("check"));
        assert_eq!(checked.code, Some(1), "{oidc}: {checked:?}");
        assert!(checked.stdout.contains(wanted), "{oidc}: {}", checked.stdout);
    }
}

#[test]
fn rules_about_people_may_look_at_target_labels_and_time() {
    let Some(stage) = Stage::set("approve") else { return };
    let path = stage.home.path("policies/people.cedar");
    let rules = std::fs::read_to_string(&path).unwrap();
    let more = r#"
        @id("not-shop-9")
        forbid (principal, action in [Action::"start", Action::"approve"], resource)
        when { context has target && context.target == "shop-9" };
        @id("not-by-label")
        forbid (principal, action == Action::"reject", resource)
        when { context has labels && context.labels.hasTag("instance") && context.labels.getTag("instance") == "shop-1" };
        @id("never")
        forbid (principal, action == Action::"halt", resource) when { context.time.hour >= 0 };
    "#;
    std::fs::write(&path, format!("{rules}{more}")).unwrap();
    let daemon = stage.home.serve();
    let start = |more: Value| {
        let mut body = json!({ "runbook": "restart-shop", "reason": "r" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        daemon.post("/v1/runs", &body)
    };
    for (more, status) in [
        (json!({ "labels": { "instance": "shop-9" } }), 403),
        (json!({ "target": "shop-9", "labels": { "instance": "shop-2" } }), 403),
        (json!({ "drill": true, "labels": { "instance": "shop-9" } }), 403),
        (json!({ "labels": { "instance": "shop-3" } }), 202),
    ] {
        let answer = start(more.clone());
        assert_eq!(answer.status, status, "{more}: {}", answer.text());
        assert!(status == 202 || answer.text().contains("not-shop-9"), "{}", answer.text());
    }
    let ids = ["shop-9", "shop-1"].map(|instance| daemon.run_of(&Firing::new(ALERT, instance)));
    let [nine, one] = ids.map(|id| daemon.until(&id, "waiting"));
    let operator = stage.home.token("ada", "operator");
    assert_eq!(daemon.approve(&operator, &nine).status, 403);
    let reject = |run: &Value| {
        let path = format!("/v1/runs/{}/reject", run["id"].as_str().unwrap());
        daemon.post_by(&operator, &path, &json!({})).status
    };
    assert_eq!((reject(&one), reject(&nine)), (403, 200));
    assert_eq!(daemon.approve(&operator, &one).status, 200);
    let halted = daemon.post("/v1/halts", &json!({ "scope": "all", "reason": "r" }));
    assert_eq!(halted.status, 403, "{}", halted.text());
}
