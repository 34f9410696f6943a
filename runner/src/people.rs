//! Who is asking: access tokens, and the person that each stands for.
//!
//! A token is 256 random bits, shown once; only its SHA-256 is kept. It never appears in a log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::RwLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
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

/// All tokens that are good, by hash.
#[derive(Debug, Default)]
pub struct Tokens(RwLock<HashMap<Digest, TokenRecord>>);

impl Tokens {
    /// Adds or changes a token; a revoked one is forgotten.
    pub fn put(&self, record: TokenRecord) {
        let mut tokens = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.retain(|_, known| known.id != record.id);
        if let (Some(hash), None) = (record.hash, record.revoked_at) {
            tokens.insert(hash, record);
        }
    }

    /// The person that a token stands for. The table is keyed by hash, so that the time a look-up takes tells
    /// nothing about any token.
    #[must_use]
    pub fn person(&self, token: &str, now: DateTime<Utc>) -> Option<Person> {
        let tokens = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let record = tokens.get(&Digest::of(token.as_bytes()))?;
        if record.expires.is_some_and(|expires| now >= expires) {
            return None;
        }
        Some(Person {
            name: record.name.clone(),
            roles: record.roles.iter().cloned().collect(),
            subject: Some(record.id.to_string()),
        })
    }

    /// Everybody who has a good token, with the roles of all their good tokens together.
    #[must_use]
    pub fn everybody(&self, now: DateTime<Utc>) -> BTreeMap<String, BTreeSet<String>> {
        let tokens = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut everybody: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in tokens.values().filter(|record| record.expires.is_none_or(|expires| now < expires)) {
            everybody.entry(record.name.clone()).or_default().extend(record.roles.iter().cloned());
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
