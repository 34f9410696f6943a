//! Whether a message is from the sender that its source stands for.
//!
//! Credentials (bearer, basic, token in the path) say who sends; a message needs one that is right
//! and none that is wrong. A signature says that the body is the sender's; a source that has one
//! configured takes no message without. Secrets are kept as digests, so comparing takes the same
//! time whatever is presented, its length included.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::config::{Encoding, HmacConfig, SourceConfig};
use super::error::{IntakeError, SourceError};
use super::source::Source;

/// Seconds that a signed timestamp may be off, either way.
const TIMESTAMP_WINDOW: i64 = 300;
/// Signatures of one message that are looked at: rotation needs two.
const SIGNATURES: usize = 8;

/// Checks that a message is the source's own: [`check_credentials`], then [`check_signature`].
///
/// `path_token` is the last part of `/v1/alerts/{source}/{token}`, where the message came there.
///
/// # Errors
/// [`IntakeError::NotAuthentic`], and [`IntakeError::TooLarge`] before anything is hashed.
pub fn authenticate(
    source: &Source,
    headers: &HeaderMap,
    path_token: Option<&str>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), IntakeError> {
    check_credentials(source, headers, path_token)?;
    check_signature(source, headers, body, now)
}

/// Checks what can be checked before the body is read.
///
/// # Errors
/// [`IntakeError::NotAuthentic`].
pub fn check_credentials(
    source: &Source,
    headers: &HeaderMap,
    path_token: Option<&str>,
) -> Result<(), IntakeError> {
    source.authenticator().check_credentials(headers, path_token).map_err(not_authentic)
}

/// Checks the signature, where the source has one.
///
/// # Errors
/// [`IntakeError::NotAuthentic`], and [`IntakeError::TooLarge`] before anything is hashed.
pub fn check_signature(
    source: &Source,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), IntakeError> {
    let limit = source.limits().body;
    if body.len() > limit {
        return Err(IntakeError::TooLarge { size: body.len(), limit });
    }
    match &source.authenticator().signature {
        Some(signature) => signature.check(headers, body, now).map_err(not_authentic),
        None => Ok(()),
    }
}

fn not_authentic(reason: &'static str) -> IntakeError {
    IntakeError::NotAuthentic { reason }
}

/// Why a message is not authentic; says nothing about the secret.
type Reason = &'static str;

/// All that a source checks.
#[derive(Debug)]
pub(super) struct Authenticator {
    bearer: Option<SecretDigest>,
    basic: Option<SecretDigest>,
    token: Option<SecretDigest>,
    pub(super) signature: Option<Signature>,
    /// The operator wrote `authenticate: none`.
    open: bool,
}

impl Authenticator {
    /// Takes the credentials out of a source's configuration.
    pub(super) fn compile(name: &str, config: &SourceConfig) -> Result<Self, SourceError> {
        let written = [
            ("bearer", config.bearer.is_some()),
            ("basic", config.basic.is_some()),
            ("hmac", config.hmac.is_some()),
            ("token", config.token.is_some()),
        ]
        .into_iter()
        .find(|(_, given)| *given);
        let source_name = name.to_owned();
        match (config.authenticate, written) {
            (None, None) => return Err(SourceError::NoAuthentication { source_name }),
            (Some(_), Some((member, _))) => return Err(SourceError::Contradiction { source_name, member }),
            (None, Some(_)) | (Some(_), None) => {}
        }
        let digest = |member, secret: &SecretString| {
            let secret = not_empty(name, member, secret)?;
            Ok::<_, SourceError>(SecretDigest::of(secret.as_bytes()))
        };
        let basic = match &config.basic {
            None => None,
            Some(basic) if basic.username.contains(':') => {
                return Err(SourceError::Member {
                    source_name,
                    member: "basic.username",
                    problem: "may hold no colon: it ends the user in HTTP basic authentication".to_owned(),
                });
            }
            Some(basic) => {
                let password = not_empty(name, "basic.password", &basic.password)?;
                Some(SecretDigest::of(format!("{}:{password}", basic.username).as_bytes()))
            }
        };
        Ok(Self {
            bearer: config.bearer.as_ref().map(|secret| digest("bearer", secret)).transpose()?,
            basic,
            token: config.token.as_ref().map(|secret| digest("token", secret)).transpose()?,
            signature: config.hmac.as_ref().map(|hmac| Signature::compile(name, hmac)).transpose()?,
            open: config.authenticate.is_some(),
        })
    }

    /// Takes nobody: no credential is configured and nothing is open.
    pub(super) fn refusing() -> Self {
        Self { bearer: None, basic: None, token: None, signature: None, open: false }
    }

    fn check_credentials(&self, headers: &HeaderMap, path_token: Option<&str>) -> Result<(), Reason> {
        match (path_token, &self.token) {
            (Some(_), None) => return Err("this source takes no token in its path"),
            (Some(presented), Some(token)) if !token.is(presented.as_bytes()) => {
                return Err("the token in the path is wrong");
            }
            (None, _) | (Some(_), Some(_)) => {}
        }
        if self.bearer.is_some() || self.basic.is_some() {
            match headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>().as_slice() {
                [] => {}
                [one] => return self.check_authorization(one.as_bytes()),
                _ => return Err("more than one Authorization header"),
            }
        }
        if path_token.is_some() || self.open {
            return Ok(());
        }
        match (self.bearer.is_some() || self.basic.is_some(), self.token.is_some(), &self.signature) {
            (true, ..) => Err("an Authorization header is missing"),
            (false, true, _) => Err("the token in the path is missing"),
            // The signature is checked when the body is there.
            (false, false, Some(_)) => Ok(()),
            (false, false, None) => Err("nobody is let in here"),
        }
    }

    fn check_authorization(&self, value: &[u8]) -> Result<(), Reason> {
        let at = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, presented) = value.split_at(at);
        let presented = presented.trim_ascii();
        if let (true, Some(bearer)) = (scheme.eq_ignore_ascii_case(b"bearer"), &self.bearer) {
            return if bearer.is(presented) { Ok(()) } else { Err("the bearer token is wrong") };
        }
        if let (true, Some(basic)) = (scheme.eq_ignore_ascii_case(b"basic"), &self.basic) {
            let pair = STANDARD.decode(presented).map_err(|_| "the basic credentials are not base64")?;
            return if basic.is(&pair) { Ok(()) } else { Err("the user or the password is wrong") };
        }
        Err(match (&self.bearer, &self.basic) {
            (Some(_), Some(_)) => "the Authorization header's scheme must be Bearer or Basic",
            (Some(_), None) => "the Authorization header's scheme must be Bearer",
            (None, _) => "the Authorization header's scheme must be Basic",
        })
    }
}

fn not_empty<'s>(name: &str, member: &'static str, secret: &'s SecretString) -> Result<&'s str, SourceError> {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return Err(SourceError::EmptySecret { source_name: name.to_owned(), member });
    }
    Ok(secret)
}

/// The digest of a secret: enough to recognise it.
struct SecretDigest([u8; 32]);

impl SecretDigest {
    fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    fn is(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(presented).0).into()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

/// HMAC-SHA256 over the body, its key ready.
pub(super) struct Signature {
    keyed: Hmac<Sha256>,
    header: HeaderName,
    prefix: String,
    encoding: Encoding,
    timestamp_header: Option<HeaderName>,
    signed: Vec<Part>,
}

/// A part of the bytes that are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Timestamp,
    Body,
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature")
            .field("header", &self.header)
            .field("prefix", &self.prefix)
            .field("encoding", &self.encoding)
            .field("timestamp_header", &self.timestamp_header)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}

impl Signature {
    fn compile(name: &str, config: &HmacConfig) -> Result<Self, SourceError> {
        let refuse = |member, problem: &str| SourceError::Member {
            source_name: name.to_owned(),
            member,
            problem: problem.to_owned(),
        };
        let header = |member, text: &str| {
            text.parse::<HeaderName>().map_err(|_| refuse(member, "is not the name of a header"))
        };
        if config.prefix.contains(|c: char| c == ',' || c.is_whitespace()) {
            return Err(refuse("hmac.prefix", "may hold no comma and no white space: they part signatures"));
        }
        let secret = not_empty(name, "hmac.secret", &config.secret)?;
        let keyed = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|_| refuse("hmac.secret", "is no key for HMAC-SHA256"))?;
        let timestamp_header = config
            .timestamp_header
            .as_deref()
            .map(|text| header("hmac.timestamp_header", text))
            .transpose()?;
        let default = if timestamp_header.is_some() { "{timestamp}:{body}" } else { "{body}" };
        let signed = signed_parts(config.signed.as_deref().unwrap_or(default));
        let count = |part: &Part| signed.iter().filter(|other| *other == part).count();
        if count(&Part::Body) != 1 {
            return Err(refuse("hmac.signed", "must hold {body} once"));
        }
        if count(&Part::Timestamp) != usize::from(timestamp_header.is_some()) {
            return Err(refuse(
                "hmac.signed",
                "must hold {timestamp} once with a timestamp_header, and not without",
            ));
        }
        Ok(Self {
            keyed,
            header: header("hmac.header", &config.header)?,
            prefix: config.prefix.clone(),
            encoding: config.encoding,
            timestamp_header,
            signed,
        })
    }

    /// The header that carries the signatures.
    pub(super) fn header(&self) -> &HeaderName {
        &self.header
    }

    fn check(&self, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<(), Reason> {
        let timestamp = self.timestamp(headers, now)?;
        let mut mac = self.keyed.clone();
        for part in &self.signed {
            match part {
                Part::Literal(text) => mac.update(text.as_bytes()),
                Part::Timestamp => mac.update(timestamp),
                Part::Body => mac.update(body),
            }
        }
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        let mut presented = headers
            .get_all(&self.header)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .peekable();
        if presented.peek().is_none() {
            return Err("the signature's header is missing");
        }
        // Every signature is compared, so that the time does not tell which of them matched.
        let matched = presented
            .take(SIGNATURES)
            .filter_map(|text| self.decode(text))
            .fold(Choice::from(0), |matched, signature| matched | expected.ct_eq(&signature));
        if bool::from(matched) { Ok(()) } else { Err("no signature matches the body") }
    }

    /// The timestamp's bytes, as signed; empty where none is.
    fn timestamp<'h>(&self, headers: &'h HeaderMap, now: DateTime<Utc>) -> Result<&'h [u8], Reason> {
        let Some(name) = &self.timestamp_header else { return Ok(&[]) };
        let value = headers.get(name).ok_or("the timestamp's header is missing")?;
        let seconds: i64 = value
            .to_str()
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or("the timestamp is not a number of seconds")?;
        if seconds.abs_diff(now.timestamp()) > TIMESTAMP_WINDOW.unsigned_abs() {
            return Err("the timestamp is more than 300 seconds off");
        }
        Ok(value.as_bytes())
    }

    fn decode(&self, text: &[u8]) -> Option<[u8; 32]> {
        let digits = text.strip_prefix(self.prefix.as_bytes())?;
        match self.encoding {
            Encoding::Hex => unhex(digits),
            Encoding::Base64 => STANDARD.decode(digits).ok()?.try_into().ok(),
        }
    }
}

fn signed_parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let next = [("{timestamp}", Part::Timestamp), ("{body}", Part::Body)]
            .into_iter()
            .filter_map(|(word, part)| Some((rest.find(word)?, word, part)))
            .min_by_key(|(at, ..)| *at);
        let Some((at, word, part)) = next else {
            parts.push(Part::Literal(rest.to_owned()));
            break;
        };
        let (literal, after) = rest.split_at(at);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        parts.push(part);
        rest = after.strip_prefix(word).unwrap_or_default();
    }
    parts
}

fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use http::HeaderValue;

    use super::*;

    fn signature(key: &[u8]) -> Signature {
        Signature {
            keyed: Hmac::new_from_slice(key).unwrap(),
            header: HeaderName::from_static("x-signature"),
            prefix: String::new(),
            encoding: Encoding::Hex,
            timestamp_header: None,
            signed: vec![Part::Body],
        }
    }

    fn bytes(text: &serde_json::Value) -> Vec<u8> {
        let digits: Vec<u8> = text.as_str().unwrap().bytes().collect();
        let value = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
        digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
    }

    #[test]
    fn agrees_with_wycheproof() {
        let root = std::env::var_os("STAUNCH_SHARED").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
            PathBuf::from,
        );
        let path = root.join("vectors/wycheproof/hmac_sha256_test.json");
        if !path.exists() {
            println!("skipped: {} is not there", path.display());
            return;
        }
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut checked = 0;
        for group in file["testGroups"].as_array().unwrap() {
            // We take whole tags alone, so that a truncated one, valid elsewhere, is refused here.
            let whole = group["tagSize"] == 256;
            for test in group["tests"].as_array().unwrap() {
                let value = HeaderValue::from_str(test["tag"].as_str().unwrap()).unwrap();
                let headers = HeaderMap::from_iter([(HeaderName::from_static("x-signature"), value)]);
                let found = signature(&bytes(&test["key"])).check(
                    &headers,
                    &bytes(&test["msg"]),
                    DateTime::UNIX_EPOCH,
                );
                assert_eq!(found.is_ok(), whole && test["result"] == "valid", "test {}", test["tcId"]);
                checked += 1;
            }
        }
        assert_eq!(checked, 174);
    }

    #[test]
    fn parts_of_what_is_signed_are_found() {
        let literal = |text: &str| Part::Literal(text.to_owned());
        for (text, expected) in [
            ("{body}", vec![Part::Body]),
            ("v0:{timestamp}:{body}", vec![literal("v0:"), Part::Timestamp, literal(":"), Part::Body]),
            ("{body}{bodyx}", vec![Part::Body, literal("{bodyx}")]),
        ] {
            assert_eq!(signed_parts(text), expected, "{text}");
        }
    }
}
