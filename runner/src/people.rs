//! Who is asking: access tokens, and the person that each stands for; and people whom an OpenID provider vouches for.
//!
//! A token is 256 random bits, shown once; only its SHA-256 is kept. It never appears in a log.

mod jwks;
mod jws;
pub mod oidc;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::RwLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use staunch_core::id::{Digest, TokenId};
use staunch_core::policy::Person;
use staunch_core::policy::people::{ROLES, is_person_name};

/// What every token begins with, so that leaked ones can be searched for.
pub const TOKEN_PREFIX: &str = "stn_";

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub name: String,
    /// Their roles.
    pub roles: Vec<String>,
    /// SHA-256 of the token; none when the payload was removed, and then it is no longer good.
    pub hash: Option<Digest>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends to be good.
    pub expires: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// The most people of an identity provider that are remembered. Beyond it those who came first are forgotten first.
const MOST_SEEN: usize = 10_000;

/// All tokens that are good, by hash, and the people whom an identity provider vouched for lately.
#[derive(Debug, Default)]
pub struct Tokens {
    by_hash: RwLock<HashMap<Digest, TokenRecord>>,
    seen: RwLock<BTreeMap<String, Seen>>,
    used: RwLock<HashMap<TokenId, Use>>,
}

/// When a token was used last.
#[derive(Debug, Clone, Copy)]
struct Use {
    /// The minute.
    at: DateTime<Utc>,
    /// Whether the store knows.
    kept: bool,
}

/// What an identity provider said of a person, and until when that holds.
#[derive(Debug)]
struct Seen {
    roles: BTreeSet<String>,
    until: DateTime<Utc>,
}

impl Tokens {
    /// Adds or changes a token; a revoked one is forgotten.
    pub fn put(&self, record: TokenRecord) {
        let mut tokens = self.by_hash.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.retain(|_, known| known.id != record.id);
        if let (Some(hash), None) = (record.hash, record.revoked_at) {
            tokens.insert(hash, record);
        }
    }

    /// The person that a token stands for. The table is keyed by hash, so that the time a look-up takes tells
    /// nothing about any token.
    #[must_use]
    pub fn person(&self, token: &str, now: DateTime<Utc>) -> Option<Person> {
        let tokens = self.by_hash.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let record = tokens.get(&Digest::of(token.as_bytes()))?;
        if record.expires.is_some_and(|expires| now >= expires) {
            return None;
        }
        self.note_use(&record.id, now);
        Some(Person {
            name: record.name.clone(),
            roles: record.roles.iter().cloned().collect(),
            groups: BTreeSet::new(),
            subject: Some(record.id.to_string()),
        })
    }

    /// Notes that a token was used. Most uses fall into a minute that is noted already, and only read.
    fn note_use(&self, id: &TokenId, now: DateTime<Utc>) {
        let Ok(at) = now.duration_trunc(TimeDelta::minutes(1)) else { return };
        if self.last_use(id).is_some_and(|known| known >= at) {
            return;
        }
        let mut used = self.used.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        used.insert(id.clone(), Use { at, kept: false });
    }

    /// The minute in which a token was used last; `None` where it never was, as far as is known.
    #[must_use]
    pub fn last_use(&self, id: &TokenId) -> Option<DateTime<Utc>> {
        let used = self.used.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        used.get(id).map(|used| used.at)
    }

    /// Takes up when a token was used last, as the store knows it.
    pub fn restore_use(&self, id: TokenId, at: DateTime<Utc>) {
        let mut used = self.used.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        used.entry(id).or_insert(Use { at, kept: true });
    }

    /// The uses that the store does not know yet; from now on they count as known to it.
    pub fn uses_to_keep(&self) -> Vec<(TokenId, DateTime<Utc>)> {
        let mut used = self.used.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let unkept = used.iter_mut().filter(|(_, used)| !used.kept);
        unkept
            .map(|(id, used)| {
                used.kept = true;
                (id.clone(), used.at)
            })
            .collect()
    }

    /// Remembers what an identity provider says of a person, until it holds no longer.
    pub fn saw(&self, person: &Person, until: DateTime<Utc>) {
        let mut seen = self.seen.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if seen.len() >= MOST_SEEN && !seen.contains_key(&person.name) {
            let first = seen.iter().min_by_key(|(_, seen)| seen.until).map(|(name, _)| name.clone());
            if let Some(first) = first {
                seen.remove(&first);
            }
        }
        seen.insert(person.name.clone(), Seen { roles: person.roles.clone(), until });
    }

    /// Everybody who has a good token, or whom an identity provider vouches for now, with the roles of all of it
    /// together.
    #[must_use]
    pub fn everybody(&self, now: DateTime<Utc>) -> BTreeMap<String, BTreeSet<String>> {
        let tokens = self.by_hash.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut everybody: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in tokens.values().filter(|record| record.expires.is_none_or(|expires| now < expires)) {
            everybody.entry(record.name.clone()).or_default().extend(record.roles.iter().cloned());
        }
        let seen = self.seen.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, seen) in seen.iter().filter(|(_, seen)| now < seen.until) {
            everybody.entry(name.clone()).or_default().extend(seen.roles.iter().cloned());
        }
        everybody
    }
}

/// A new token: the text to show once.
#[must_use]
pub fn new_token() -> String {
    let mut bits = [0; 32];
    crate::clock::random(&mut bits);
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))
}

/// Refuses names and roles that nobody could mean.
///
/// # Errors
/// What is wrong and what would be valid.
pub fn check_token_request(name: &str, roles: &[String]) -> Result<(), String> {
    if !is_person_name(name) {
        return Err("name: 1 to 128 characters without control characters are valid".to_owned());
    }
    if roles.is_empty() {
        return Err(format!("roles: at least one is needed; valid are {}", ROLES.join(", ")));
    }
    for role in roles {
        if !ROLES.contains(&role.as_str()) {
            return Err(format!("roles: {role:?} is not a role; valid are {}", ROLES.join(", ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(token: &str) -> TokenRecord {
        TokenRecord {
            id: TokenId::from_bits(1),
            name: "ada".to_owned(),
            roles: vec!["operator".to_owned()],
            hash: Some(Digest::of(token.as_bytes())),
            created_at: DateTime::UNIX_EPOCH,
            expires: DateTime::from_timestamp(100, 0),
            revoked_at: None,
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let tokens = Tokens::default();
        let token = new_token();
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        tokens.put(record(&token));
        assert_eq!(tokens.person(&token, at(99)).unwrap().name, "ada");
        assert!(tokens.person(&token, at(100)).is_none());
        assert!(tokens.person("stn_other", at(1)).is_none());
        tokens.put(TokenRecord { revoked_at: Some(at(5)), ..record(&token) });
        assert!(tokens.person(&token, at(6)).is_none());
    }

    #[test]
    fn the_last_use_of_a_token_is_known_to_the_minute_and_handed_over_once() {
        let tokens = Tokens::default();
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let id = TokenId::from_bits(1);
        tokens.put(record("a"));
        assert_eq!(tokens.last_use(&id), None);
        assert!(tokens.person("a", at(61)).is_some() && tokens.person("b", at(62)).is_none());
        assert_eq!(tokens.last_use(&id), Some(at(60)));
        assert_eq!(tokens.uses_to_keep(), [(id.clone(), at(60))]);
        assert!(tokens.person("a", at(99)).is_some());
        assert_eq!(tokens.uses_to_keep(), [], "the same minute");
        assert!(tokens.person("a", at(100)).is_none(), "expired");
        assert_eq!(tokens.last_use(&id), Some(at(60)), "what is refused is no use");
        let later = Tokens::default();
        later.restore_use(id.clone(), at(60));
        assert_eq!((later.last_use(&id), later.uses_to_keep().len()), (Some(at(60)), 0));
    }

    #[test]
    fn people_of_a_provider_are_known_as_long_as_it_vouches_for_them() {
        let tokens = Tokens::default();
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let roles = BTreeSet::from(["auditor".to_owned()]);
        let person = Person { name: "ada".to_owned(), roles, groups: BTreeSet::new(), subject: None };
        tokens.put(record("a"));
        tokens.saw(&person, at(50));
        let roles =
            |second| tokens.everybody(at(second)).remove("ada").unwrap_or_default().into_iter().collect();
        let known: [Vec<String>; 3] = [roles(49), roles(50), roles(100)];
        assert_eq!(
            known,
            [vec!["auditor".to_owned(), "operator".to_owned()], vec!["operator".to_owned()], vec![]]
        );
    }

    #[test]
    fn a_person_is_known_as_long_as_one_token_is_good_and_has_the_roles_of_all() {
        let tokens = Tokens::default();
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let other = TokenRecord {
            id: TokenId::from_bits(2),
            roles: vec!["auditor".to_owned()],
            expires: DateTime::from_timestamp(200, 0),
            ..record("b")
        };
        tokens.put(record("a"));
        tokens.put(other.clone());
        let roles = |second| tokens.everybody(at(second)).get("ada").cloned();
        let set = |roles: &[&str]| Some(roles.iter().map(|role| (*role).to_owned()).collect());
        assert_eq!(roles(99), set(&["auditor", "operator"]));
        assert_eq!(roles(100), set(&["auditor"]));
        assert_eq!(roles(200), None);
        tokens.put(TokenRecord { revoked_at: Some(at(5)), ..other });
        assert_eq!(roles(99), set(&["operator"]));
    }

    #[test]
    fn refuses_unknown_roles_by_name() {
        let error = check_token_request("ada", &["root".to_owned()]).unwrap_err();
        assert!(error.contains("root") && error.contains("operator"), "{error}");
        assert!(check_token_request("", &["reader".to_owned()]).is_err());
        assert!(check_token_request("a", &[]).is_err());
    }
}
