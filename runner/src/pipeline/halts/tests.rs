use std::future::Future as _;
use std::task::{Context, Poll, Waker};

use super::*;

fn switch() -> (tempfile::TempDir, KillSwitch) {
    let folder = tempfile::tempdir().unwrap();
    let switch = KillSwitch::new(folder.path().join("HALT"));
    (folder, switch)
}

fn halt(bits: u128, scope: &str) -> Halt {
    Halt {
        id: HaltId::from_bits(bits),
        scope: scope.parse().unwrap(),
        reason: "a bad release".to_owned(),
        by: "ada".to_owned(),
        created_at: DateTime::UNIX_EPOCH,
        released_at: None,
        released_by: None,
        release_reason: None,
    }
}

const SUBJECT: Subject<'_> =
    Subject { runbook: "r", plugins: &["p", "q"], target: Some("t"), aliases: &["alias"] };

#[test]
fn says_who_halted_what_and_why() {
    let (_folder, switch) = switch();
    assert!(switch.is_clear() && switch.why(&SUBJECT).is_none());
    switch.restore(halt(1, "plugin=other"));
    assert!(switch.why(&SUBJECT).is_none());
    switch.restore(halt(2, "plugin=q"));
    switch.restore(halt(3, "target=alias"));
    let why = switch.why(&SUBJECT).unwrap();
    assert!(why.starts_with("plugin=q is halted by ada (halt_"), "{why}");
    assert!(why.ends_with("a bad release; and 1 more halt"), "{why}");
    assert_eq!(switch.in_force(), 3);
    switch.change(|halts| halts.take(&HaltId::from_bits(2)));
    assert!(switch.why(&SUBJECT).unwrap().starts_with("target=alias"));
}

#[test]
fn the_file_halts_everything_while_it_is_there() {
    let (folder, switch) = switch();
    let file = folder.path().join("HALT");
    let mut changes = switch.changes();
    std::fs::write(&file, "\n  the building burns \nmore\n").unwrap();
    switch.look();
    assert!(changes.has_changed().unwrap());
    let why = switch.why(&SUBJECT).unwrap();
    assert!(why.contains("HALT halts all: the building burns"), "{why}");
    assert_eq!(switch.file().unwrap().path, file);
    changes.borrow_and_update();
    std::fs::remove_file(&file).unwrap();
    switch.look();
    assert!(changes.has_changed().unwrap());
    assert!(switch.is_clear() && switch.file().is_none() && switch.why(&SUBJECT).is_none());
}

#[test]
fn a_file_that_cannot_be_looked_for_halts() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    // A file is no folder: whether there is anything below it cannot be told by looking.
    let switch = KillSwitch::new(plain.join("x".repeat(300)));
    assert!(switch.why(&SUBJECT).is_some());
}

/// An intent that was let pass is durable before whoever halts is answered, and none passes after.
#[tokio::test]
async fn nobody_is_answered_while_an_intent_is_on_its_way() {
    let (_folder, switch) = switch();
    let pass = switch.pass().await;
    assert!(switch.why(&SUBJECT).is_none());
    switch.change(|halts| halts.put(halt(1, "all")));
    let mut barrier = std::pin::pin!(switch.barrier());
    let mut context = Context::from_waker(Waker::noop());
    assert!(barrier.as_mut().poll(&mut context).is_pending());
    assert!(switch.why(&SUBJECT).is_some(), "it holds at once");
    drop(pass);
    assert_eq!(barrier.as_mut().poll(&mut context), Poll::Ready(()));
    let _pass = switch.pass().await;
    assert!(switch.why(&SUBJECT).is_some());
}
