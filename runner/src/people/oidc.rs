//! People whom an OpenID provider vouches for: JWTs as bearer tokens.
//!
//! Issuer and audience are pinned by the configuration, algorithms by [`super::jws`]. Keys come from the provider's
//! discovery, are kept, and are looked for anew when a token names one that is not among them; how often that can
//! be brought about is bounded. Nothing of a token is ever logged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Map, Value};
use staunch_core::policy::Person;
use staunch_core::policy::people::is_person_name;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::{Host, Url};

use super::jwks::{KeySet, NoKey};
use super::jws::Signed;
use crate::causes::chain;

/// How far the provider's clock and this one may be apart.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// How long keys are good before the provider is asked for them again.
const KEYS_GOOD_FOR: Duration = Duration::from_secs(3600);

/// The provider is asked at most once in so long, whatever tokens say.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Longest that one answer of the provider may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest answer of the provider, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The most groups of one person that are looked at.
const MOST_GROUPS: usize = 1_000;

/// Where the provider says what it is, below its issuer.
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Whom to trust about people, and what their groups mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// The issuer, exactly as it stands in tokens.
    pub issuer: String,
    /// The audience that tokens must be for.
    pub audience: String,
    /// The claim that names the person.
    pub name_claim: String,
    /// The claim that lists their groups.
    pub groups_claim: String,
    /// The roles that each group gives.
    pub roles: BTreeMap<String, Vec<String>>,
}

/// Why an address of a provider is not used.
///
/// # Errors
/// What is wrong with it.
pub fn check_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(format!("{text:?} has no host")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{text:?} must hold no credentials"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(format!("{text:?} must be https; http is for loopback only")),
    }
}

/// Why a token does not say who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OidcError {
    /// It is not good; the sentence tells no secret.
    Refused(String),
    /// The provider's keys are not to be had.
    Unavailable(String),
}

/// An OpenID provider, and what is known of its keys.
#[derive(Debug)]
pub struct Oidc {
    settings: OidcSettings,
    http: reqwest::Client,
    keys: RwLock<Option<Kept>>,
    /// When the provider was asked last. Held while it is asked, so that it is asked once.
    asked: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct Kept {
    keys: Arc<KeySet>,
    at: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Oidc {
    /// A provider of which nothing is known yet. `roots`: authorities that its certificate may be vouched for by,
    /// beside the system's.
    ///
    /// # Errors
    /// When no client for it can be made.
    #[expect(
        clippy::disallowed_methods,
        reason = "the provider is asked here alone, at addresses of the operator's choice"
    )]
    pub fn new(settings: OidcSettings, roots: &[CertificateDer<'static>]) -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .tls_backend_preconfigured(tls(roots)?)
            .build()
            .map_err(|error| chain(&error))?;
        Ok(Self { settings, http, keys: RwLock::default(), asked: Mutex::default() })
    }

    /// Whether a bearer token has the form of what a provider gives, so that it is worth asking about.
    #[must_use]
    pub fn is_jwt(token: &str) -> bool {
        token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The person that a token stands for, and until when.
    ///
    /// # Errors
    /// Why it stands for nobody.
    pub async fn person(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<(Person, DateTime<Utc>), OidcError> {
        let refused = |message: String| OidcError::Refused(message);
        let signed = Signed::read(token).map_err(|error| refused(error.to_string()))?;
        let keys = self.keys(None).await?;
        let payload = match verified(&signed, &keys) {
            Err(why) if why.fresh_keys_may_help(&signed) => {
                let keys = self.keys(Some(&keys)).await?;
                verified(&signed, &keys)
            }
            verified => verified,
        };
        let payload = payload.map_err(|why| refused(why.to_string()))?;
        let claims: Map<String, Value> = serde_json::from_slice(payload)
            .map_err(|_| refused("its claims are no JSON object".to_owned()))?;
        judge(&self.settings, &claims, now).map_err(refused)
    }

    /// The provider's keys: those that are kept, unless there are none, they are old, or they are just the ones that
    /// did not do.
    async fn keys(&self, unfit: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, OidcError> {
        let good = |kept: &Kept| {
            kept.at.elapsed() < KEYS_GOOD_FOR && unfit.is_none_or(|unfit| !Arc::ptr_eq(unfit, &kept.keys))
        };
        if let Some(kept) = self.kept().filter(good) {
            return Ok(kept.keys);
        }
        let mut asked = self.asked.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(kept) = self.kept().filter(good) {
            return Ok(kept.keys);
        }
        if asked.is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            let nothing =
                || OidcError::Unavailable("the identity provider did not answer just now".to_owned());
            return self.kept().map(|kept| kept.keys).ok_or_else(nothing);
        }
        *asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let kept = Kept { keys: Arc::clone(&keys), at: Instant::now() };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
                Ok(keys)
            }
            Err(why) => {
                tracing::warn!("the keys of {} cannot be had: {why}", self.settings.issuer);
                // Keys that were good are better than nobody being let in while the provider is away.
                let nothing = || OidcError::Unavailable("the identity provider does not answer".to_owned());
                self.kept().map(|kept| kept.keys).ok_or_else(nothing)
            }
        }
    }

    fn kept(&self) -> Option<Kept> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the provider what it is, and for its keys.
    async fn fetch(&self) -> Result<KeySet, String> {
        let issuer = &self.settings.issuer;
        let place = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
        let discovery: Discovery = serde_json::from_slice(&self.get(&place).await?)
            .map_err(|error| format!("{place}: not a discovery document: {error}"))?;
        if discovery.issuer != *issuer {
            return Err(format!("{place} says that it is {:?}", discovery.issuer));
        }
        KeySet::read(&self.get(&discovery.jwks_uri).await?)
            .map_err(|error| format!("{}: {error}", discovery.jwks_uri))
    }

    async fn get(&self, address: &str) -> Result<Vec<u8>, String> {
        let url = check_address(address)?;
        let failed = |error: reqwest::Error| format!("{address}: {}", chain(&error.without_url()));
        let mut response = self.http.get(url).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("{address} answers {}", response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(format!("{address} answers more than {MAX_ANSWER} bytes"));
            }
        }
        Ok(body)
    }
}

fn tls(extra: &[CertificateDer<'static>]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(extra.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Why a token is not verified by a set of keys.
#[derive(Debug, thiserror::Error)]
enum Unverified {
    #[error("the issuer has no such key")]
    Unknown,
    #[error("no single key of the issuer fits its header")]
    Unfit,
    #[error("its signature does not verify")]
    Signature,
}

impl Unverified {
    /// Whether the provider may sign with a new key since: it named one, or left it open.
    fn fresh_keys_may_help(&self, signed: &Signed<'_>) -> bool {
        matches!(self, Self::Unknown) || signed.key_id.is_none()
    }
}

/// The payload of a token, if one of the keys made its signature.
fn verified<'s>(signed: &'s Signed<'_>, keys: &KeySet) -> Result<&'s [u8], Unverified> {
    let key = keys.find(signed.key_id.as_deref(), signed.algorithm).map_err(|why| match why {
        NoKey::Unknown => Unverified::Unknown,
        NoKey::Unfit => Unverified::Unfit,
    })?;
    signed.verified_by(key).ok_or(Unverified::Signature)
}

/// Who the claims of a verified token say that somebody is.
fn judge(
    settings: &OidcSettings,
    claims: &Map<String, Value>,
    now: DateTime<Utc>,
) -> Result<(Person, DateTime<Utc>), String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(settings.issuer.as_str()) {
        return Err("it is from another issuer".to_owned());
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(audience)) => *audience == settings.audience,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(settings.audience.as_str())),
        _ => false,
    };
    if !for_us {
        return Err("it is for another audience".to_owned());
    }
    let until = time(claims, "exp")?.ok_or("it never expires, which is not accepted")?;
    if now >= until + LEEWAY {
        return Err("it has expired".to_owned());
    }
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|from| now + LEEWAY < from) {
            return Err("it is not good yet".to_owned());
        }
    }
    let subject = text("sub").ok_or("it has no subject")?;
    let named = |name: &&str| is_person_name(name);
    let name = text(&settings.name_claim).filter(named).ok_or_else(|| {
        format!(
            "its claim {} is no name: 1 to 128 characters without control characters are valid",
            settings.name_claim
        )
    })?;
    let groups = groups(claims.get(&settings.groups_claim));
    let roles = groups.iter().filter_map(|group| settings.roles.get(group)).flatten().cloned().collect();
    let subject = Some(format!("{}#{subject}", settings.issuer));
    Ok((Person { name: name.to_owned(), roles, groups, subject }, until))
}

/// The time in a claim: seconds since 1970, perhaps with a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, String> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let wrong = || format!("its claim {name} is no time");
    let seconds = value.as_f64().filter(|seconds| (0.0..1e11).contains(seconds)).ok_or_else(wrong)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be in range; parts of a second do not matter"
    )]
    let whole = seconds as i64;
    DateTime::from_timestamp(whole, 0).map(Some).ok_or_else(wrong)
}

/// The groups of a claim: a list of texts, or one text.
fn groups(claim: Option<&Value>) -> BTreeSet<String> {
    match claim {
        Some(Value::String(one)) => BTreeSet::from([one.clone()]),
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).take(MOST_GROUPS).map(str::to_owned).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests;
