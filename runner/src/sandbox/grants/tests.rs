use super::*;

fn map(capability: &str, function: &str, patterns: &[&str]) -> PatternMap {
    let patterns = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    PatternMap::from([(capability.to_owned(), BTreeMap::from([(function.to_owned(), patterns)]))])
}

fn send(pattern: &str, method: &str, address: &str) -> Result<HttpLeave, CallError> {
    let granted = map("http", "send", &[pattern]);
    let requested = map("http", "send", &["* **"]);
    let grants = Grants::compile("p", &requested, &granted).unwrap();
    grants.http("send", method, &Url::parse(address).unwrap())
}

fn check(pattern: &str, method: &str, address: &str, expected: bool) {
    let answer = send(pattern, method, address);
    assert_eq!(answer.is_ok(), expected, "{pattern} on {method} {address}: {answer:?}");
}

#[test]
fn requests_are_matched_part_by_part() {
    check("POST http://127.0.0.1:9000/restart/*", "POST", "http://127.0.0.1:9000/restart/web", true);
    check("POST http://127.0.0.1:9000/restart/*", "GET", "http://127.0.0.1:9000/restart/web", false);
    check("POST http://127.0.0.1:9000/restart/*", "POST", "http://127.0.0.1:9000/restart/a/b", false);
    check("POST http://127.0.0.1:9000/restart/*", "POST", "http://127.0.0.1:9001/restart/web", false);
    check("POST http://127.0.0.1:9000/restart/*", "POST", "https://127.0.0.1:9000/restart/web", false);
    check("POST http://127.0.0.1:9000/restart/*", "POST", "http://127.0.0.1:9000/restart/web?x=1", true);
    check("POST http://127.0.0.1:9000/restart/*", "POST", "http://127.0.0.1:9000/restart/../halt", false);
    check("POST https://api.example.com/**", "POST", "https://api.example.com/a/b", true);
    check("POST https://api.example.com:443/**", "POST", "https://api.example.com/a/b", true);
    check("POST https://api.example.com/**", "POST", "https://api.example.com:8443/a", false);
    check("POST https://api.example.com/**", "POST", "https://api.example.com.evil.com/a", false);
    check("POST https://*.example.com/**", "POST", "https://api.example.com/", true);
    check("POST https://*.example.com/**", "POST", "https://a.b.example.com/", false);
    check("POST https://**.example.com/**", "POST", "https://a.b.example.com/", true);
    check("POST https://*.example.com/**", "POST", "https://example.com/", false);
    check("POST https://x.com/a?k=*", "POST", "https://x.com/a?k=1", true);
    check("POST https://x.com/a?k=*", "POST", "https://x.com/a?j=1", false);
    check("POST https://x.com/a/*", "POST", "https://x.com/a/b%2Fc", false);
    check("POST https://x.com/a/**", "POST", "https://x.com/a/..%2fb", false);
    check("POST https://x.com/a/**", "POST", "https://x.com/a/%252e%252e/b", false);
    check("* **", "DELETE", "http://anything:1/x", true);
    check("PUT http://**", "PUT", "http://anything:1/x", true);
    check("PUT http://[::1]:8080/**", "PUT", "http://[::1]:8080/x", true);
    check("PUT http://*:*/x", "PUT", "http://anything:1/x", true);
}

#[test]
fn all_spellings_of_an_address_are_one() {
    for address in ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"] {
        check("POST http://127.0.0.1/**", "POST", address, true);
        check("POST http://10.0.0.1/**", "POST", address, false);
    }
}

#[test]
fn naming_opens_networks_and_wildcards_do_not() {
    let opens = |pattern: &str, address: &str| send(pattern, "POST", address).unwrap().networks.len();
    assert_eq!(opens("POST http://127.0.0.1:9000/**", "http://127.0.0.1:9000/"), 1);
    assert_eq!(opens("POST http://localhost/**", "http://localhost/"), 2);
    assert_eq!(opens("POST http://web-7/** @10.0.0.0/8", "http://web-7/"), 1);
    assert_eq!(opens("POST http://web-7/**", "http://web-7/"), 0);
    assert_eq!(opens("POST http://**", "http://web-7/"), 0);
    assert!(send("POST http://**", "POST", "http://127.0.0.1/").unwrap_err().is_denial());
}

#[test]
fn only_the_operator_opens_networks_and_says_idempotent() {
    let requested = map("http", "send", &["POST http://web-7/** @10.0.0.0/8 idempotent"]);
    let granted = map("http", "send", &["POST http://**"]);
    let grants = Grants::compile("p", &requested, &granted).unwrap();
    let leave = grants.http("send", "POST", &Url::parse("http://web-7/").unwrap()).unwrap();
    assert_eq!(leave, HttpLeave::default());
}

#[test]
fn a_reading_with_a_method_that_writes_must_be_named() {
    let url = Url::parse("http://a/x").unwrap();
    for (pattern, method, expected) in
        [("* http://a/**", "GET", true), ("* http://a/**", "POST", false), ("POST http://a/**", "POST", true)]
    {
        let grants = Grants::own("p", &map("http", "read", &[pattern])).unwrap();
        assert_eq!(grants.http("read", method, &url).is_ok(), expected, "{pattern} {method}");
    }
}

#[test]
fn a_refusal_prints_what_would_allow_it() {
    let requested = map("service", "restart", &["*.service"]);
    let grants = Grants::compile("restarter", &requested, &PatternMap::new()).unwrap();
    let refusal = grants.service("restart", "web.service").unwrap_err();
    assert_eq!(refusal.code, "access-denied");
    assert!(
        refusal.message.contains("grants: { restarter: { service: { restart: ['web.service'] } } }"),
        "{refusal:?}"
    );
    let refusal = grants.service("restart", "web.timer").unwrap_err();
    assert!(refusal.message.contains("[capabilities.service] restart = [\"web.timer\"]"), "{refusal:?}");
}

#[test]
fn a_snippet_from_a_refusal_allows_the_call() {
    let requested = map("http", "send", &["* **"]);
    let refused = Grants::compile("p", &requested, &PatternMap::new()).unwrap();
    let url = Url::parse("http://127.0.0.1:9000/a/b?c=d").unwrap();
    let message = refused.http("send", "POST", &url).unwrap_err().message;
    let pattern = message.split('\'').nth(1).unwrap();
    let allowed = Grants::compile("p", &requested, &map("http", "send", &[pattern])).unwrap();
    assert!(allowed.http("send", "POST", &url).is_ok(), "{pattern}");
}

#[test]
fn wrong_grants_are_errors_that_name_the_choices() {
    let error = |map: PatternMap| Grants::own("p", &map).unwrap_err().to_string();
    assert!(error(map("htp", "send", &[])).contains("`http`, `file`"));
    assert!(error(map("http", "post", &[])).contains("`read`, `send`, `await-status`"));
    for pattern in [
        "",
        "POST",
        "post http://a/",
        "POST ftp://a/",
        "POST http://a*b/",
        "POST http://a/ private",
        "POST http://u@a/",
    ] {
        assert!(error(map("http", "send", &[pattern])).contains("a pattern is METHOD SCHEME"), "{pattern}");
    }
    assert!(error(map("file", "read", &["a"])).contains("begins with `/`"));
    assert!(error(map("service", "start", &["web"])).contains("web.service"));
    assert!(error(map("secrets", "token", &["cookie"])).contains("header NAME @ https://HOST"));
    assert!(error(map("clock", "wall", &["x"])).contains("needs no grant"));
}

#[test]
fn only_requests_have_programs_with_wildcards() {
    let requested = map("process", "run", &["/** **"]);
    let line = ["-f".to_owned()];
    let granted = map("process", "run", &["/bin/x **"]);
    let grants = Grants::compile("p", &requested, &granted).unwrap();
    assert!(grants.process("/bin/x", &line).is_ok());
    assert!(grants.process("/bin/y", &line).is_err());
    let error = Grants::compile("p", &requested, &requested).unwrap_err().to_string();
    assert!(error.contains("without wildcards"), "{error}");
    assert!(Grants::rehearsal("p", &requested).unwrap().process("/bin/y", &line).is_ok());
}

#[test]
fn a_rehearsal_names_any_secret_and_requests_all_the_same() {
    let grants = Grants::rehearsal("p", &map("service", "restart", &["web-*.service"])).unwrap();
    let url = Url::parse("https://a.example/").unwrap();
    assert!(grants.secret("token", &Slot::Header("authorization"), &url).is_ok());
    assert!(grants.service("restart", "db.service").is_err());
}

#[test]
fn adding_a_grant_never_takes_one_away() {
    let one = Grants::own("p", &map("file", "read", &["/a/*"])).unwrap();
    let two = Grants::own("p", &map("file", "read", &["/a/*", "/b/*"])).unwrap();
    for path in ["/a/x", "/b/x", "/c/x"] {
        assert!(one.file("read", path).is_err() || two.file("read", path).is_ok(), "{path}");
    }
}
