use ed25519_dalek::SigningKey;

use super::*;
use crate::plugin::component::embed_manifest;
use crate::plugin::dsse;
use crate::plugin::testing::{key, manifest_text, now, plugin, policy, signed};

fn outcome(
    component: &[u8],
    envelope: &[u8],
    policy: &TrustPolicy,
    floor: Option<&Floor>,
) -> Result<VerifiedPlugin, &'static str> {
    let component = Bytes::copy_from_slice(component);
    let candidate = Candidate { file: "p.wasm", component: &component, envelope };
    verify(&candidate, policy, floor, now()).map_err(|error| error.refusal.code())
}

fn refused(component: &[u8], envelope: &[u8], policy: &TrustPolicy, code: &str) {
    assert_eq!(outcome(component, envelope, policy, None).unwrap_err(), code);
}

/// The envelope of a statement that `change` has altered before signing.
fn forged(component: &[u8], key: &SigningKey, change: impl FnOnce(&mut Statement)) -> Vec<u8> {
    let mut statement = Statement::for_component("p.wasm", component, now()).unwrap();
    change(&mut statement);
    let mut envelope = Envelope::of(&statement.to_bytes());
    envelope.sign(key);
    dsse::to_bytes(&envelope)
}

#[test]
fn a_genuine_plugin_is_verified() {
    let (key, bytes) = (key(1), plugin("web-fix", 3));
    let verified = outcome(&bytes, &signed(&bytes, &[&key]), &policy(&[&key], 1), None).unwrap();
    assert_eq!(verified.digest(), Digest::of(&bytes));
    assert_eq!((verified.manifest().name.as_str(), verified.manifest().release), ("web-fix", 3));
    assert_eq!(verified.signers(), [key_id(&key.verifying_key())]);
    assert_eq!(verified.statement().predicate.wit_world, "staunch:plugin/remediator@1.0.0");
}

#[test]
fn strangers_and_nobody_are_refused() {
    let (ours, theirs, bytes) = (key(1), key(2), plugin("p", 1));
    let envelope = signed(&bytes, &[&theirs]);
    refused(&bytes, &envelope, &policy(&[&ours], 1), "signature");
    refused(&bytes, &envelope, &policy(&[], 1), "signature");
    refused(&bytes, &envelope, &policy(&[&theirs], 0), "signature");
    refused(&bytes, b"{}", &policy(&[&theirs], 1), "signature");
}

#[test]
fn a_threshold_counts_different_trusted_keys() {
    let (one, two, three, bytes) = (key(1), key(2), key(3), plugin("p", 1));
    let both = policy(&[&one, &two], 2);
    assert!(outcome(&bytes, &signed(&bytes, &[&one, &two]), &both, None).is_ok());
    refused(&bytes, &signed(&bytes, &[&one, &three]), &both, "threshold");
    refused(&bytes, &signed(&bytes, &[&one, &one]), &both, "threshold");
    refused(&bytes, &signed(&bytes, &[&one]), &policy(&[&one, &one], 2), "threshold");
}

#[test]
fn keys_count_for_their_prefixes_and_their_time() {
    let (key, bytes) = (key(1), plugin("web-fix", 1));
    let envelope = signed(&bytes, &[&key]);
    let with = |prefixes: &[&str], not_after: Option<&str>| {
        let mut policy = policy(&[&key], 1);
        policy.keys[0].prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        policy.keys[0].not_after = not_after.map(|end| end.parse().unwrap());
        policy
    };
    assert!(outcome(&bytes, &envelope, &with(&["db-", "web-"], None), None).is_ok());
    refused(&bytes, &envelope, &with(&["db-"], None), "prefix");
    assert!(outcome(&bytes, &envelope, &with(&[], Some("2026-06-01T12:00:01Z")), None).is_ok());
    refused(&bytes, &envelope, &with(&[], Some("2026-06-01T12:00:00Z")), "signature");
}

#[test]
fn a_statement_cannot_be_put_beside_another_component() {
    let (key, bytes, other) = (key(1), plugin("p", 1), plugin("q", 1));
    refused(&other, &signed(&bytes, &[&key]), &policy(&[&key], 1), "digest-mismatch");
}

#[test]
fn every_member_of_the_statement_must_fit_the_manifest() {
    let (key, bytes) = (key(1), plugin("p", 5));
    let check = |code: &str, change: fn(&mut Statement)| {
        refused(&bytes, &forged(&bytes, &key, change), &policy(&[&key], 1), code);
    };
    check("manifest-mismatch", |s| s.predicate.name = "q".to_owned());
    check("manifest-mismatch", |s| s.predicate.version.patch += 1);
    check("manifest-mismatch", |s| s.predicate.release += 1);
    check("manifest-mismatch", |s| s.predicate.kind = staunch_core::policy::PluginKind::Check);
    check("manifest-mismatch", |s| s.predicate.effects = staunch_core::policy::Effects::ReadOnly);
    check("manifest-mismatch", |s| s.predicate.capabilities.clear());
    check("manifest-mismatch", |s| s.predicate.manifest_sha256.replace_range(..1, "x"));
    check("manifest-mismatch", |s| s.predicate.wit_world.push('x'));
    check("manifest-mismatch", |s| s.predicate.expires = Some(now() + chrono::Days::new(1)));
    check("digest-mismatch", |s| s.subject[0].digest.sha256.make_ascii_uppercase());
    check("host-too-old", |s| s.predicate.min_host.major = 99);
    check("statement", |s| s.statement_type.push('x'));
    check("statement", |s| s.predicate_type.push('x'));
    check("statement", |s| s.subject.push(s.subject[0].clone()));
    check("statement", |s| s.subject.clear());
}

#[test]
fn imports_must_be_what_the_statement_says() {
    use crate::plugin::testing::{component, manifest_text};
    let embed = crate::plugin::component::embed_manifest;
    let honest = plugin("p", 1);
    let sly =
        embed(&component(&["http", "process"], "remediation"), manifest_text("p", 1, &["http"]).as_bytes());
    let sly = sly.unwrap();
    assert!(Statement::for_component("p", &sly, now()).is_err());
    let envelope = forged(&honest, &key(1), |s| s.subject[0].digest.sha256 = Digest::of(&sly).hex());
    refused(&sly, &envelope, &policy(&[&key(1)], 1), "capability-mismatch");
}

#[test]
fn an_expired_release_is_refused() {
    use crate::plugin::testing::{component, manifest_text};
    let text = |end: &str| {
        manifest_text("p", 1, &["http"]).replace("release =", &format!("expires = {end}\nrelease ="))
    };
    for (end, code) in [("2026-06-01T12:00:00Z", Some("expired")), ("2026-06-01T12:00:01Z", None)] {
        let bytes = crate::plugin::component::embed_manifest(
            &component(&["http"], "remediation"),
            text(end).as_bytes(),
        );
        let bytes = bytes.unwrap();
        let result = outcome(&bytes, &signed(&bytes, &[&key(1)]), &policy(&[&key(1)], 1), None);
        assert_eq!(result.err(), code);
    }
}

#[test]
fn older_releases_are_refused_unless_allowed() {
    let (key, old, new) = (key(1), plugin("p", 1), plugin("p", 2));
    let policy = policy(&[&key], 1);
    let mut floor = Floor { release: 2, digest: Digest::of(&new), allowed: None };
    let envelope = signed(&old, &[&key]);
    assert_eq!(outcome(&old, &envelope, &policy, Some(&floor)).unwrap_err(), "rollback");
    floor.allowed = Some(Digest::of(&old));
    assert!(outcome(&old, &envelope, &policy, Some(&floor)).is_ok());
    assert!(outcome(&new, &signed(&new, &[&key]), &policy, Some(&floor)).is_ok());
    floor.digest = Digest::of(b"other bytes under release 2");
    assert_eq!(outcome(&new, &signed(&new, &[&key]), &policy, Some(&floor)).unwrap_err(), "rollback");
}

#[test]
fn every_changed_byte_is_refused() {
    let (key, bytes) = (key(1), plugin("web-fix", 1));
    let (envelope, policy) = (signed(&bytes, &[&key]), policy(&[&key], 1));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(outcome(&changed, &envelope, &policy, None).is_err(), "component byte {at}");
    }
    for at in 0..envelope.len() {
        for change in [1, 0x20, 0x80] {
            let mut changed = envelope.clone();
            changed[at] ^= change;
            assert!(outcome(&bytes, &changed, &policy, None).is_err(), "envelope byte {at} ^ {change}");
        }
    }
}

#[test]
fn refusals_name_the_file_and_the_reason() {
    let bytes = Bytes::from(plugin("p", 1));
    let envelope = signed(&bytes, &[&key(2)]);
    let candidate = Candidate { file: "dist/p-1.wasm", component: &bytes, envelope: &envelope };
    let reason = verify(&candidate, &policy(&[&key(1)], 1), None, now()).unwrap_err().reason();
    assert!(
        reason.contains("dist/p-1.wasm") && reason.contains(&key_id(&key(1).verifying_key())),
        "{reason}"
    );
}

#[test]
fn whose_a_key_is_is_said_by_the_operator_alone() {
    let (ours, theirs) = (key(1), key(2));
    let mut trusted = policy(&[&ours, &ours, &theirs], 1);
    let (ours, theirs) = (key_id(&ours.verifying_key()), key_id(&theirs.verifying_key()));
    let ids = [ours.clone(), theirs.clone(), "gone".to_owned()];
    let persons = |policy: &TrustPolicy| -> Vec<(String, Option<String>)> {
        policy.holders(&ids).into_iter().map(|signer| (signer.key, signer.person)).collect()
    };
    let nobody: Vec<_> = ids.iter().map(|id| (id.clone(), None)).collect();
    assert_eq!(persons(&trusted), nobody);
    trusted.keys[0].person = Some("ada".to_owned());
    trusted.keys[1].person = Some("ada".to_owned());
    let expected = |more: &[&str]| -> Vec<(String, Option<String>)> {
        let held = more.iter().map(|person| (ours.clone(), Some((*person).to_owned())));
        held.chain([(theirs.clone(), None), ("gone".to_owned(), None)]).collect()
    };
    assert_eq!(persons(&trusted), expected(&["ada"]));
    trusted.keys[0].person = Some("ben".to_owned());
    assert_eq!(persons(&trusted), expected(&["ada", "ben"]));
}

#[test]
fn a_schema_is_compiled_before_a_plugin_is_installed_and_not_again_before_it_is_needed() {
    let good = plugin("p", 1);
    let text = format!("{}[input]\ntype = \"strng\"\n", manifest_text("p", 1, &["http"]));
    let bytes = Bytes::from(embed_manifest(&good, text.as_bytes()).unwrap());
    let envelope = forged(&good, &key(1), |statement| {
        statement.subject[0].digest.sha256 = Digest::of(&bytes).hex();
        statement.predicate.manifest_sha256 = Digest::of(text.as_bytes()).hex();
    });
    refused(&bytes, &envelope, &policy(&[&key(1)], 1), "component");
    let candidate = Candidate { file: "p.wasm", component: &bytes, envelope: &envelope };
    let floor = Floor { release: 1, digest: Digest::of(&bytes), allowed: None };
    let again = verify_again(&candidate, &policy(&[&key(1)], 1), &floor, now()).unwrap();
    let input = &again.manifest().input;
    assert!(input.problem().unwrap().contains("strng"), "{:?}", input.problem());
    input.check(&serde_json::json!({})).unwrap_err();
}
