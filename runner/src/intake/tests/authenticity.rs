//! Who may send, with the vectors that others published.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::{NOW, at, headers, shared, source};
use crate::intake::{IntakeError, authenticate, check_credentials};

/// `Ok` or the reason of the refusal.
fn verdict(yaml: &str, sent: &[(&str, &str)], token: Option<&str>, body: &[u8], now: &str) -> String {
    match authenticate(&source(yaml), &headers(sent), token, body, at(now)) {
        Ok(()) => "ok".to_owned(),
        Err(error) => {
            assert_eq!((error.status().as_u16(), error.code()), (401, "not-authentic"));
            error.to_string().replace("not authentic: ", "")
        }
    }
}

#[test]
fn credentials_decide() {
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let check = |source: &str, authorization: &[&str], token: Option<&str>, expected: &str| {
        let sent: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", *value)).collect();
        let yaml = format!("{{ format: generic, {source} }}");
        assert_eq!(
            verdict(&yaml, &sent, token, b"{}", NOW),
            expected,
            "{source} {authorization:?} {token:?}"
        );
    };
    let bearer = "bearer: s3cret";
    check(bearer, &["Bearer s3cret"], None, "ok");
    check(bearer, &["bEaReR   s3cret"], None, "ok");
    check(bearer, &["Bearer s3cre"], None, "the bearer token is wrong");
    check(bearer, &["Bearer"], None, "the bearer token is wrong");
    check(bearer, &["s3cret"], None, "the Authorization header's scheme must be Bearer");
    check(bearer, &[], None, "an Authorization header is missing");
    check(bearer, &["Bearer s3cret", "Bearer s3cret"], None, "more than one Authorization header");
    check(bearer, &["Bearer s3cret"], Some("s3cret"), "this source takes no token in its path");
    let user = "basic: { username: am, password: 'a:b' }";
    check(user, &[&basic("am:a:b")], None, "ok");
    check(user, &[&basic("am:a")], None, "the user or the password is wrong");
    check(user, &[&basic("AM:a:b")], None, "the user or the password is wrong");
    check(user, &["Basic !"], None, "the basic credentials are not base64");
    check(user, &["Bearer s3cret"], None, "the Authorization header's scheme must be Basic");
    let token = "token: pathtok";
    check(token, &[], Some("pathtok"), "ok");
    check(token, &["Bearer whatever"], Some("pathtok"), "ok");
    check(token, &[], Some("pathto"), "the token in the path is wrong");
    check(token, &[], None, "the token in the path is missing");
    let both = "bearer: s3cret, token: pathtok";
    check(both, &["Bearer s3cret"], None, "ok");
    check(both, &[], Some("pathtok"), "ok");
    check(both, &["Bearer s3cret"], Some("x"), "the token in the path is wrong");
    check(both, &["Bearer x"], Some("pathtok"), "the bearer token is wrong");
    check("authenticate: none", &["Bearer x"], None, "ok");
    check("authenticate: none", &[], Some("x"), "this source takes no token in its path");
}

#[test]
fn a_signature_is_asked_for_beside_a_credential() {
    let yaml = "{ format: generic, bearer: s3cret, hmac: { secret: k, header: X-Sig } }";
    let bearer = ("authorization", "Bearer s3cret");
    assert_eq!(verdict(yaml, &[bearer], None, b"{}", NOW), "the signature's header is missing");
    assert!(
        check_credentials(&source(yaml), &headers(&[bearer]), None).is_ok(),
        "known before the body is read"
    );
    let signed = "{ format: generic, hmac: { secret: k, header: X-Sig } }";
    assert_eq!(verdict(signed, &[], None, b"{}", NOW), "the signature's header is missing");
    let large = vec![b' '; 5 * 1024 * 1024];
    let error = authenticate(&source(signed), &HeaderMap::new(), None, &large, at(NOW)).unwrap_err();
    assert!(matches!(error, IntakeError::TooLarge { .. }), "nothing is hashed that would not be read");
}

const GITHUB: &str = "{ format: generic, hmac: { secret: \"It's a Secret to Everybody\", \
                        header: X-Hub-Signature-256, prefix: 'sha256=' } }";
const GITHUB_SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[test]
fn githubs_documented_signature_is_taken_and_nothing_near_it() {
    let check = |header: &str, body: &str, expected: &str| {
        assert_eq!(
            verdict(GITHUB, &[("x-hub-signature-256", header)], None, body.as_bytes(), NOW),
            expected,
            "{header}"
        );
    };
    let good = format!("sha256={GITHUB_SIGNATURE}");
    let wrong = format!("sha256={}", "0".repeat(64));
    let none = "no signature matches the body";
    check(&good, "Hello, World!", "ok");
    check(&good.to_uppercase().replace("SHA256", "sha256"), "Hello, World!", "ok");
    check(&format!("{wrong}, {good}"), "Hello, World!", "ok");
    check(&good, "Hello, World", none);
    check(&wrong, "Hello, World!", none);
    check(GITHUB_SIGNATURE, "Hello, World!", none);
    check(&good.replace("757107", "75710"), "Hello, World!", none);
    check(&good.replace("757107", "75710g"), "Hello, World!", none);
    check("", "Hello, World!", none);
    let ninth = format!("{}{good}", format!("{wrong},").repeat(8));
    check(&ninth, "Hello, World!", none);
}

#[test]
fn a_signed_timestamp_holds_for_five_minutes() {
    // HMAC-SHA256("secret", "1614265330:{\"a\":1}"), by Python's hmac module.
    let signature = "3fd9d25a2cd01444997e3e93fd9f9c0f96bd28003c09c4ce78dd628daa732675";
    let yaml = "{ format: generic, hmac: { secret: secret, header: X-Grafana-Alerting-Signature, timestamp_header: X-Ts } }";
    let check = |timestamp: &str, now: &str, expected: &str| {
        let sent = [("x-grafana-alerting-signature", signature), ("x-ts", timestamp)];
        assert_eq!(verdict(yaml, &sent, None, br#"{"a":1}"#, now), expected, "{timestamp} {now}");
    };
    check("1614265330", "2021-02-25T15:02:10Z", "ok");
    check("1614265330", "2021-02-25T15:07:10Z", "ok");
    check("1614265330", "2021-02-25T14:57:10Z", "ok");
    check("1614265330", "2021-02-25T15:07:11Z", "the timestamp is more than 300 seconds off");
    check("1614265330", "2021-02-25T14:57:09Z", "the timestamp is more than 300 seconds off");
    check("1614265331", "2021-02-25T15:02:10Z", "no signature matches the body");
    check("+1614265330", "2021-02-25T15:02:10Z", "the timestamp is not a number of seconds");
    check("", "2021-02-25T15:02:10Z", "the timestamp is not a number of seconds");
    let sent = [("x-grafana-alerting-signature", signature)];
    assert_eq!(verdict(yaml, &sent, None, b"{}", NOW), "the timestamp's header is missing");
}

#[test]
fn base64_signatures_are_read() {
    let yaml = "{ format: generic, hmac: { secret: \"It's a Secret to Everybody\", header: X-Sig, encoding: base64 } }";
    let good = "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEPhc=";
    assert_eq!(verdict(yaml, &[("x-sig", good)], None, b"Hello, World!", NOW), "ok");
    assert_eq!(
        verdict(yaml, &[("x-sig", "dXEH6g==")], None, b"Hello, World!", NOW),
        "no signature matches the body"
    );
}

#[test]
fn signatures_published_by_others_are_taken() {
    let Some(path) = shared("payloads/signature-vectors.json") else { return };
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut checked = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let text = |member: &str| vector[member].as_str().unwrap_or_default();
        let scheme = text("scheme").split([' ', '(']).next().unwrap();
        let (extra, now) = match scheme {
            "github" => ("prefix: 'sha256='", NOW.to_owned()),
            "pagerduty-v1" => ("prefix: v1=", NOW.to_owned()),
            "slack-v0" => (
                "prefix: v0=, timestamp_header: X-Ts, signed: 'v0:{timestamp}:{body}'",
                chrono::DateTime::from_timestamp(text("timestamp").parse().unwrap(), 0).unwrap().to_rfc3339(),
            ),
            _ => continue,
        };
        let body = match vector["body_file"].as_str() {
            Some(file) => std::fs::read(shared(&format!("payloads/{file}")).unwrap()).unwrap(),
            None => text("body").as_bytes().to_vec(),
        };
        let secret = text("secret").replace('\'', "''");
        let yaml = format!("{{ format: generic, hmac: {{ secret: '{secret}', header: X-Sig, {extra} }} }}");
        let sent = [("x-sig", text("signature")), ("x-ts", text("timestamp"))];
        assert_eq!(verdict(&yaml, &sent, None, &body, &now), "ok", "{scheme}");
        assert_ne!(verdict(&yaml, &sent, None, &[&body[..], b" "].concat(), &now), "ok", "{scheme}");
        checked += 1;
    }
    assert_eq!(checked, 3);
}
