//! Bodies of any sender, read by a mapping.

use http::HeaderMap;
use staunch_core::alert::{Severity, Status, fingerprint};

use super::{NOW, at, headers, mapped, source};
use crate::intake::parse;

const YAML: &str = "
format: generic
token: t
mapping:
  alerts: /data/items
  status: { from: /state, firing: [open, flapping], resolved: [closed] }
  fingerprint: /id
  severity: { from: /priority, map: { P1: critical, P2: error } }
  title: '{{ check }} on {{ host }}'
  description: /text
  service: shop
  target: /host
  labels: { host: /host, env: '{{ root.environment }}', team: payments, missing: /nothing, first: /list/0/a~1b }
  annotations: /details
  starts_at: /opened
  ends_at: /closed
  links: [/url, 'https://wiki.example/{{ check }}']
";

const BODY: &str = r#"{"environment":"prod","data":{"items":[
    {"id":4711,"state":"Open","priority":"p1","check":"disk","host":"web-7","text":"full","opened":1614265330,
     "closed":null,"url":"https://mon.example/4711","details":{"used":97.5,"note":"{{ 7 * 7 }}"},"list":[{"a/b":"x"}]},
    {"id":"4712","state":"closed","priority":"whatever","check":"cpu","host":"web-8",
     "opened":"2026-11-21T02:00:00Z","closed":1795226400000,"url":"ftp://x"}]}}"#;

#[test]
fn a_mapping_reads_any_body() {
    let alerts = mapped(YAML, BODY).unwrap();
    let [open, closed] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!(
        (open.fingerprint.as_str(), open.status, open.severity),
        ("4711", Status::Firing, Severity::Critical)
    );
    assert_eq!(open.title.as_deref(), Some("disk on web-7"));
    assert_eq!((open.service.as_deref(), open.target.as_deref()), (Some("shop"), Some("web-7")));
    let labels: Vec<(&str, &str)> =
        open.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("env", "prod"), ("first", "x"), ("host", "web-7"), ("team", "payments")]);
    assert_eq!(open.annotations["used"], "97.5");
    assert_eq!(open.annotations["note"], "{{ 7 * 7 }}", "text from outside is never a template");
    assert_eq!((open.starts_at, open.ends_at), (Some(at("2021-02-25T15:02:10Z")), None));
    assert_eq!(open.links, ["https://mon.example/4711", "https://wiki.example/disk"]);
    assert_eq!((closed.status, closed.severity), (Status::Resolved, Severity::Warning));
    assert_eq!(closed.ends_at, Some(at("2026-11-21T02:00:00Z")));
    assert_eq!(closed.links, ["https://wiki.example/cpu"]);
}

fn with(mapping: &str) -> String {
    format!("{{ format: generic, token: t, mapping: {{ {mapping} }} }}")
}

#[test]
fn status_words_left_out_are_what_the_other_list_does_not_name() {
    let check = |lists: &str, word: &str, expected: Option<Status>| {
        let yaml = with(&format!("title: x, status: {{ from: /s{lists} }}"));
        let found = mapped(&yaml, &format!(r#"{{"s":{word}}}"#));
        assert_eq!(found.ok().map(|alerts| alerts[0].status), expected, "{yaml} {word}");
    };
    check("", r#""Firing""#, Some(Status::Firing));
    check("", r#""resolved""#, Some(Status::Resolved));
    check("", r#""ok""#, None);
    check(", resolved: [ok]", r#""OK""#, Some(Status::Resolved));
    check(", resolved: [ok]", r#""bad""#, Some(Status::Firing));
    check(", firing: ['true']", "true", Some(Status::Firing));
    check(", firing: ['true']", "false", Some(Status::Resolved));
    check(", firing: [a], resolved: [b]", r#""c""#, None);
    check(", firing: [a], resolved: [b]", "null", None);
    let ends =
        |end: &str| mapped(&with("title: x, ends_at: /e"), &format!(r#"{{"e":"{end}"}}"#)).unwrap()[0].status;
    assert_eq!(ends("2026-11-21T02:00:00Z"), Status::Resolved);
    assert_eq!(ends("2026-11-21T04:00:00Z"), Status::Firing);
}

#[test]
fn identity_labels_make_the_fingerprint() {
    let yaml = "{ format: generic, token: t, identity: [host, check], mapping: { labels: { host: /h, value: /v } } }";
    let alerts = mapped(yaml, r#"[{"h":"a","v":1},{"h":"a","v":2}]"#).unwrap();
    assert_eq!(alerts[0].fingerprint, fingerprint([("host", "a")]));
    assert_eq!(alerts[0].fingerprint, alerts[1].fingerprint);
    let error = mapped(yaml, r#"[{"v":1}]"#).unwrap_err();
    assert_eq!(error.to_string(), "body[0]: has none of the source's identity labels (host, check)");
}

#[test]
fn templates_see_headers_but_no_credentials() {
    let yaml = "{ format: generic, bearer: s3cret, hmac: { secret: k, header: X-Sig }, \
                 mapping: { title: '{{ headers[\"x-event\"] }}', description: '{{ headers }}' } }";
    let headers = headers(&[
        ("X-Event", "opened"),
        ("Authorization", "Bearer s3cret"),
        ("X-Sig", "5165"),
        ("Cookie", "c00kie"),
    ]);
    let alert = &parse(&source(yaml), &headers, b"{}", at(NOW)).unwrap()[0];
    assert_eq!(alert.title.as_deref(), Some("opened"));
    let all = alert.description.as_deref().unwrap();
    assert!(!["s3cret", "5165", "c00kie"].iter().any(|secret| all.contains(secret)), "{all}");
}

#[test]
fn an_entrys_members_are_reachable_even_under_our_names() {
    let yaml = with("title: '{{ item.root }}', description: '{{ root.items[0].root }}', alerts: /items");
    let alert = &mapped(&yaml, r#"{"items":[{"root":"own"}]}"#).unwrap()[0];
    assert_eq!((alert.title.as_deref(), alert.description.as_deref()), (Some("own"), Some("own")));
}

#[test]
fn refuses_what_a_mapping_does_not_find() {
    let check = |mapping: &str, body: &str, expected: &str| {
        let error = parse(&source(&with(mapping)), &HeaderMap::new(), body.as_bytes(), at(NOW)).unwrap_err();
        assert_eq!(format!("{} {error}", error.status().as_u16()), expected, "{mapping}");
    };
    check("alerts: /items", "{}", "422 items: is missing: the alerts should be there");
    check("alerts: /items", r#"{"items":3}"#, "422 items: expected an object or an array, found a number");
    check("title: '{{ a.b }}'", r#"[{"a":{}}]"#, "422 body[0]: mapping.title: undefined value");
    check("title: '{{ a }}'", "[1]", "422 body[0]: mapping.title: undefined value");
    check(
        "labels: { x: /a }",
        r#"[{"a":[]}]"#,
        "422 body[0].a: expected a string, a number or a boolean, found an array",
    );
    check("labels: /a", r#"{"a":"x"}"#, "422 a: expected an object, found a string");
    check("fingerprint: /id, title: x", "{}", "422 id: is missing");
    check("status: /s, title: x", "{}", "422 s: is missing");
    check(
        "status: '{{ s }}', title: x",
        r#"{"s":"up"}"#,
        "422 body: mapping.status: \"up\" is in neither list of mapping.status",
    );
    check(
        "starts_at: '{{ s }}', title: x",
        r#"{"s":"up"}"#,
        "422 body: mapping.starts_at: expected a time such as 2026-01-31T09:30:00Z, found \"up\"",
    );
    check(
        "title: '{{ a * 20000 }}'",
        r#"{"a":"x"}"#,
        "422 body: mapping.title: more than 16384 bytes of text",
    );
    check(
        "title: '{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}'",
        "{}",
        "422 body: mapping.title: engine ran out of fuel",
    );
    let nul = mapped(&with("labels: { x: /a }"), r#"{"a":"\u0000"}"#).unwrap_err();
    assert_eq!(nul.location(), Some("a"));
}

#[test]
fn a_null_in_a_template_is_empty_text() {
    let alert = &mapped(&with("title: 'a{{ x }}b', description: '{{ x }}'"), r#"{"x":null}"#).unwrap()[0];
    assert_eq!((alert.title.as_deref(), alert.description.as_deref()), (Some("ab"), None));
}
