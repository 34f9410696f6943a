use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn settings(issuer: &str) -> OidcSettings {
    OidcSettings {
        issuer: issuer.to_owned(),
        audience: "staunch".to_owned(),
        name_claim: "sub".to_owned(),
        groups_claim: "groups".to_owned(),
        roles: BTreeMap::from([
            ("sre".to_owned(), vec!["operator".to_owned(), "reader".to_owned()]),
            ("audit".to_owned(), vec!["auditor".to_owned()]),
        ]),
    }
}

fn claims(issuer: &str) -> Value {
    json!({ "iss": issuer, "aud": "staunch", "sub": "ada", "exp": 1_800_000_100, "groups": ["sre", "other"] })
}

fn judged(change: impl FnOnce(&mut Map<String, Value>)) -> Result<(Person, DateTime<Utc>), String> {
    let mut claims = claims("https://id.example").as_object().unwrap().clone();
    change(&mut claims);
    judge(&settings("https://id.example"), &claims, now())
}

#[test]
fn claims_name_a_person_with_the_roles_of_their_groups() {
    let (person, until) = judged(|_| ()).unwrap();
    assert_eq!((person.name.as_str(), until.timestamp()), ("ada", 1_800_000_100));
    assert_eq!(person.roles.into_iter().collect::<Vec<_>>(), ["operator", "reader"]);
    assert_eq!(person.groups.into_iter().collect::<Vec<_>>(), ["other", "sre"]);
    assert_eq!(person.subject.as_deref(), Some("https://id.example#ada"));
    let one = judged(|claims| drop(claims.insert("groups".to_owned(), json!("audit")))).unwrap().0;
    assert!(one.roles.contains("auditor"));
    let none = judged(|claims| drop(claims.remove("groups"))).unwrap().0;
    assert!(none.roles.is_empty(), "without a group there is no role");
}

#[test]
fn refuses_claims_that_are_not_for_here_and_now() {
    for (name, value, wanted) in [
        ("iss", json!("https://id.example/"), "another issuer"),
        ("iss", json!(["https://id.example"]), "another issuer"),
        ("aud", json!("other"), "another audience"),
        ("aud", json!(["other", 7]), "another audience"),
        ("aud", json!({}), "another audience"),
        ("exp", json!(1_799_999_940), "expired"),
        ("exp", json!("1900000000"), "no time"),
        ("exp", json!(-1), "no time"),
        ("exp", json!(1e300), "no time"),
        ("nbf", json!(1_800_000_061), "not good yet"),
        ("iat", json!(1_800_000_061), "not good yet"),
        ("nbf", json!("now"), "no time"),
        ("sub", json!(7), "no subject"),
        ("sub", json!(""), "is no name"),
        ("sub", json!("a\u{0}b"), "is no name"),
    ] {
        let error = judged(|claims| drop(claims.insert(name.to_owned(), value.clone()))).unwrap_err();
        assert!(error.contains(wanted), "{name} {value}: {error}");
    }
    let never = judged(|claims| drop(claims.remove("exp"))).unwrap_err();
    assert!(never.contains("never expires"), "{never}");
    for (name, value) in [
        ("aud", json!(["other", "staunch"])),
        ("exp", json!(1_799_999_941)),
        ("exp", json!(1_800_000_000.5)),
        ("nbf", json!(1_800_000_060)),
    ] {
        assert!(
            judged(|claims| drop(claims.insert(name.to_owned(), value.clone()))).is_ok(),
            "{name} {value}"
        );
    }
}

#[test]
fn a_provider_is_asked_over_https_or_on_this_machine() {
    for good in ["https://id.example", "http://127.0.0.1:9400", "http://localhost/x", "http://[::1]:1"] {
        assert!(check_address(good).is_ok(), "{good}");
    }
    for bad in
        ["http://id.example", "http://10.0.0.1", "ftp://localhost", "id.example", "https://a:b@id.example"]
    {
        assert!(check_address(bad).is_err(), "{bad}");
    }
}

/// A provider of this test: its keys can be changed, and it counts how often it was asked for them.
struct Provider {
    issuer: String,
    keys: Arc<StdMutex<Value>>,
    asked: Arc<AtomicUsize>,
}

fn jwk(id: &str, key: &SigningKey) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "alg": "EdDSA", "x": x })
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn token(id: &str, key: &SigningKey, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": id })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).to_bytes());
    format!("{message}.{signature}")
}

async fn provider() -> Provider {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let keys = Arc::new(StdMutex::new(json!({ "keys": [jwk("one", &key(1))] })));
    let asked = Arc::new(AtomicUsize::new(0));
    let discovery = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") });
    let (known, count) = (Arc::clone(&keys), Arc::clone(&asked));
    let set = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let keys = known.lock().unwrap().clone();
        async move { Json(keys) }
    };
    let router =
        Router::new().route(DISCOVERY, get(move || async move { Json(discovery) })).route("/jwks", get(set));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Provider { issuer, keys, asked }
}

fn said(result: Result<(Person, DateTime<Utc>), OidcError>) -> String {
    match result {
        Ok((person, _)) => person.name,
        Err(OidcError::Refused(message)) => format!("refused: {message}"),
        Err(OidcError::Unavailable(message)) => format!("unavailable: {message}"),
    }
}

#[tokio::test]
async fn keys_are_kept_and_looked_for_anew_when_they_rotate_but_not_as_often_as_tokens_say() {
    let provider = provider().await;
    let oidc = Oidc::new(settings(&provider.issuer), &[]).unwrap();
    let good = token("one", &key(1), &claims(&provider.issuer));
    for _ in 0..3 {
        assert_eq!(said(oidc.person(&good, now()).await), "ada");
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1, "kept");
    // Strangers' tokens do not make it ask at will.
    for number in 0..5 {
        let stranger = token(&format!("k{number}"), &key(9), &claims(&provider.issuer));
        assert!(said(oidc.person(&stranger, now()).await).contains("no such key"));
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1, "asked within the last seconds");
    *provider.keys.lock().unwrap() = json!({ "keys": [jwk("two", &key(2))] });
    let rotated = token("two", &key(2), &claims(&provider.issuer));
    assert!(said(oidc.person(&rotated, now()).await).contains("no such key"), "not yet");
    // As after a while.
    *oidc.asked.lock().await = None;
    assert_eq!(said(oidc.person(&rotated, now()).await), "ada");
    assert!(said(oidc.person(&good, now()).await).contains("no such key"), "the old key is gone");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
}

/// As if this had been so long ago.
fn ago(time: Duration) -> Instant {
    Instant::now().checked_sub(time).unwrap()
}

#[tokio::test]
async fn keys_are_good_for_an_hour_and_asked_for_again_after_ten_seconds() {
    let provider = provider().await;
    let oidc = Oidc::new(settings(&provider.issuer), &[]).unwrap();
    let good = token("one", &key(1), &claims(&provider.issuer));
    assert_eq!(said(oidc.person(&good, now()).await), "ada");
    let second = Duration::from_secs(1);
    for (keys_are, asked_was, asks) in [
        (KEYS_GOOD_FOR - second, KEYS_GOOD_FOR - second, 1),
        (KEYS_GOOD_FOR, ASK_AGAIN - second, 1),
        (KEYS_GOOD_FOR, ASK_AGAIN, 2),
    ] {
        oidc.keys.write().unwrap().as_mut().unwrap().at = ago(keys_are);
        *oidc.asked.lock().await = Some(ago(asked_was));
        assert_eq!(said(oidc.person(&good, now()).await), "ada", "old keys are better than none");
        assert_eq!(provider.asked.load(Ordering::SeqCst), asks, "{keys_are:?} {asked_was:?}");
    }
}

#[tokio::test]
async fn a_token_of_another_key_or_changed_is_refused() {
    let provider = provider().await;
    let oidc = Oidc::new(settings(&provider.issuer), &[]).unwrap();
    let forged = token("one", &key(2), &claims(&provider.issuer));
    assert!(said(oidc.person(&forged, now()).await).contains("does not verify"));
    let good = token("one", &key(1), &claims(&provider.issuer));
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let mut other = claims(&provider.issuer);
    other["sub"] = json!("root");
    let changed = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(other.to_string()));
    assert!(said(oidc.person(&changed, now()).await).contains("does not verify"));
    let late = now() + TimeDelta::seconds(161);
    assert!(said(oidc.person(&good, late).await).contains("expired"));
}

#[tokio::test]
async fn a_provider_that_is_away_or_another_one_lets_nobody_in() {
    let nobody = Oidc::new(settings("http://127.0.0.1:1"), &[]).unwrap();
    let any = token("one", &key(1), &claims("http://127.0.0.1:1"));
    assert!(said(nobody.person(&any, now()).await).starts_with("unavailable"));
    let provider = provider().await;
    let slash = format!("{}/", provider.issuer);
    let other = Oidc::new(settings(&slash), &[]).unwrap();
    let answer = said(other.person(&token("one", &key(1), &claims(&slash)), now()).await);
    assert!(answer.starts_with("unavailable"), "its discovery names another issuer: {answer}");
}
