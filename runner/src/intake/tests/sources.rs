//! What may stand below `sources:`.

use std::time::Duration;

use super::{source, source_error};
use crate::intake::Format;

#[test]
fn a_source_is_compiled_with_its_defaults() {
    let plain = source("{ format: alertmanager, bearer: s3cret }");
    assert_eq!((plain.name(), plain.format()), ("shop", Format::Alertmanager));
    assert_eq!(plain.stale_after(), Duration::from_secs(12 * 3_600));
    assert_eq!(plain.limits().body, 4 * 1024 * 1024);
    let set = source("{ format: generic, token: t, stale_after: 30m, max_body: 1MiB, identity: [host] }");
    assert_eq!(set.stale_after(), Duration::from_secs(1_800));
    assert_eq!(set.limits().body, 1024 * 1024);
    assert_eq!(source("{ format: generic, token: t, max_body: 1000 }").limits().body, 1_000);
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!(
        "{:?}",
        source(
            "{ format: generic, bearer: s3cret, basic: { username: u, password: s3cret }, \
                  hmac: { secret: s3cret, header: X-S }, token: s3cret }"
        )
    );
    assert!(!printed.contains("s3cret"), "{printed}");
}

#[test]
fn wrong_sources_are_refused_with_what_would_be_right() {
    let check = |yaml: &str, expected: &str| {
        let error = source_error(yaml);
        assert!(error.contains(expected), "{yaml}\n{error}");
    };
    check(
        "{ format: alertmanager }",
        "has no authentication: give it bearer, basic, hmac or token, or write `authenticate: none`",
    );
    check(
        "{ format: alertmanager, authenticate: none, token: t }",
        "says `authenticate: none` and has token too",
    );
    check("{ format: alertmanager, authenticate: nobody }", "none");
    check("{ format: alertmanager, bearer: '' }", "bearer is empty");
    check("{ format: alertmanager, basic: { username: u, password: '' } }", "basic.password is empty");
    check("{ format: alertmanager, basic: { username: 'u:v', password: p } }", "may hold no colon");
    check(
        "{ format: grafana, token: t }",
        "format grafana is not available in this version; available: alertmanager, prometheus, generic",
    );
    check("{ format: x, token: t }", "\"x\" is no format; available: alertmanager");
    check("{ format: generic, tokn: t }", "tokn");
    check("{ format: generic, token: t, max_body: 65MiB }", "max_body: must be from 1 byte to 64 MiB");
    check("{ format: generic, token: t, max_body: 4GB }", "is not a size");
    check("{ format: generic, token: t, stale_after: soon }", "is not a period");
    check("{ format: generic, token: t, identity: [] }", "identity: must name at least one label");
    check("{ format: prometheus, token: t, identity: [a] }", "identity: has no effect");
    check("{ format: prometheus, token: t, mapping: { title: /x } }", "mapping: belongs to format generic");
    check(
        "{ format: generic, hmac: { secret: s, header: 'a b' } }",
        "hmac.header: is not the name of a header",
    );
    check(
        "{ format: generic, hmac: { secret: s, header: a, prefix: 'v1,' } }",
        "hmac.prefix: may hold no comma",
    );
    check("{ format: generic, hmac: { secret: s, header: a, encoding: hexa } }", "hex");
    check(
        "{ format: generic, hmac: { secret: s, header: a, signed: '{timestamp}' } }",
        "hmac.signed: must hold {body} once",
    );
    check(
        "{ format: generic, hmac: { secret: s, header: a, signed: '{timestamp}{body}' } }",
        "hmac.signed: must hold {timestamp} once",
    );
    check(
        "{ format: generic, hmac: { secret: s, header: a, timestamp_header: t, signed: '{body}' } }",
        "hmac.signed: must hold {timestamp} once",
    );
}

#[test]
fn wrong_mappings_are_refused_with_what_would_be_right() {
    let check = |mapping: &str, expected: &str| {
        let error = source_error(&format!("{{ format: generic, token: t, mapping: {{ {mapping} }} }}"));
        assert!(error.contains(expected), "{mapping}\n{error}");
    };
    check("titel: /x", "titel");
    check("title: '{{ x'", "mapping.title: the template does not compile");
    check("labels: { a: '{% if %}' }", "mapping.labels.a: the template does not compile");
    check("title: '{{ x|nosuch }}'", "mapping.title: the template does not compile");
    check("title: '{% include \"/etc/passwd\" %}'", "mapping.title: the template does not compile");
    check("title: '/a~2'", "is no JSON pointer");
    check("title: '/{{ x }}'", "is neither a JSON pointer nor a template");
    check("alerts: items", "mapping.alerts: expected a JSON pointer, such as /items");
    check("labels: host", "expected a JSON pointer to an object, or names with their values");
    check("severity: { from: /p, map: { P1: terrible } }", "terrible");
    check("status: { form: /s }", "form");
    check(
        "links: ['/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a','/a']",
        "at most 16 links",
    );
}
