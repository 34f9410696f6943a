//! Approvals signed by those who give them: a DSSE envelope over an in-toto Statement about the plan.
//!
//! The statement names run and plan and what was said, so that it is good for nothing else. The envelope is kept
//! with the approval: whoever has the person's public key can check it without this host.

use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use staunch_core::id::{Digest, RunId};

use super::Refusal;
use crate::causes::chain;
use crate::plugin::dsse::{DsseError, Envelope};
use crate::plugin::statement::{STATEMENT_TYPE, Subject, SubjectDigest};

/// The type of the predicate, version 1.
const PREDICATE_TYPE: &str = "https://staunch.dev/plan-approval/v1";

/// A statement about one plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    /// The plan; exactly one.
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: PlanApproval,
}

/// The predicate: the yes to one plan of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanApproval {
    /// The run.
    run: String,
    /// What was said with it.
    comment: Option<String>,
    /// When it was signed, in the signer's word.
    signed_at: DateTime<Utc>,
}

/// Why an envelope is no approval.
#[derive(Debug, thiserror::Error)]
enum SignedError {
    /// The person has no key here.
    #[error("{0} has no public key under people in staunch.yaml")]
    NoKey(String),
    /// Not an envelope, or with a signature that does not verify.
    #[error("the envelope cannot be read")]
    Envelope(#[from] DsseError),
    /// Not the statement of an approval.
    #[error("the signed payload is not a statement about an approval")]
    Statement(#[source] serde_json::Error),
    /// Not signed by the person.
    #[error("no key of {0} signed it")]
    Stranger(String),
    /// About something else.
    #[error("it is about another {0}")]
    Other(&'static str),
}

/// Signs the yes to the plan of a run: the envelope as JSON.
#[must_use]
pub fn sign_approval(
    run: &str,
    plan: &Digest,
    comment: Option<&str>,
    at: DateTime<Utc>,
    key: &SigningKey,
) -> Value {
    let statement = Statement {
        statement_type: STATEMENT_TYPE.to_owned(),
        subject: vec![Subject { name: run.to_owned(), digest: SubjectDigest { sha256: plan.hex() } }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: PlanApproval { run: run.to_owned(), comment: comment.map(str::to_owned), signed_at: at },
    };
    let payload = serde_json::to_vec(&statement).expect("a statement holds only what JSON can hold");
    let mut envelope = Envelope::of(&payload);
    envelope.sign(key);
    serde_json::to_value(&envelope).expect("an envelope is strings alone")
}

/// Whether the envelope is this person's yes to this plan of this run, with these words.
///
/// # Errors
/// 422 naming `envelope`, with what is wrong with it.
pub(super) fn check(
    envelope: &Value,
    (person, keys): (&str, &[VerifyingKey]),
    (run, plan, comment): (&RunId, Digest, Option<&str>),
) -> Result<(), Refusal> {
    verify(envelope, person, keys, run, plan, comment)
        .map_err(|error| Refusal::Invalid { field: "envelope", message: chain(&error) })
}

fn verify(
    envelope: &Value,
    person: &str,
    keys: &[VerifyingKey],
    run: &RunId,
    plan: Digest,
    comment: Option<&str>,
) -> Result<(), SignedError> {
    if keys.is_empty() {
        return Err(SignedError::NoKey(person.to_owned()));
    }
    let (envelope, payload) = Envelope::read(envelope.to_string().as_bytes())?;
    let keys: Vec<&VerifyingKey> = keys.iter().collect();
    if envelope.signers(&payload, &keys)?.is_empty() {
        return Err(SignedError::Stranger(person.to_owned()));
    }
    let said: Statement = serde_json::from_slice(&payload).map_err(SignedError::Statement)?;
    let digest = plan.hex();
    let same_plan = matches!(said.subject.as_slice(), [subject] if subject.digest.sha256 == digest);
    for (same, what) in [
        (said.statement_type == STATEMENT_TYPE && said.predicate_type == PREDICATE_TYPE, "kind of thing"),
        (said.predicate.run == run.as_str(), "run"),
        (same_plan, "plan"),
        (said.predicate.comment.as_deref() == comment, "comment than the one beside it"),
    ] {
        if !same {
            return Err(SignedError::Other(what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn an_envelope_is_good_for_one_person_run_plan_and_comment() {
        let (run, plan, at) = (RunId::from_bits(1), Digest::of(b"plan"), DateTime::UNIX_EPOCH);
        let ada = [key(1).verifying_key()];
        let signed = sign_approval(run.as_str(), &plan, Some("go"), at, &key(1));
        let problem = |envelope: &Value, keys: &[VerifyingKey], run: &RunId, plan, comment| {
            verify(envelope, "ada", keys, run, plan, comment).err().map(|error| error.to_string())
        };
        assert_eq!(problem(&signed, &ada, &run, plan, Some("go")), None);
        let (other, stranger) = (RunId::from_bits(2), [key(2).verifying_key()]);
        for (problem, wanted) in [
            (problem(&signed, &stranger, &run, plan, Some("go")), "no key of ada signed it"),
            (problem(&signed, &[], &run, plan, Some("go")), "ada has no public key"),
            (problem(&signed, &ada, &other, plan, Some("go")), "another run"),
            (problem(&signed, &ada, &run, Digest::of(b"other"), Some("go")), "another plan"),
            (problem(&signed, &ada, &run, plan, None), "another comment"),
            (problem(&Value::Null, &ada, &run, plan, Some("go")), "cannot be read"),
        ] {
            assert!(problem.as_ref().is_some_and(|text| text.contains(wanted)), "{problem:?}, not {wanted}");
        }
    }

    #[test]
    fn a_changed_word_breaks_the_signature() {
        let (run, plan) = (RunId::from_bits(1), Digest::of(b"plan"));
        let signed = sign_approval(run.as_str(), &plan, None, DateTime::UNIX_EPOCH, &key(1));
        let other = sign_approval(run.as_str(), &Digest::of(b"b"), None, DateTime::UNIX_EPOCH, &key(1));
        let mut mixed = signed;
        mixed["payload"] = other["payload"].clone();
        let error =
            verify(&mixed, "ada", &[key(1).verifying_key()], &run, Digest::of(b"b"), None).unwrap_err();
        assert!(matches!(error, SignedError::Envelope(DsseError::Signature(_))), "{error}");
    }
}
