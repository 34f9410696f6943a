//! What a guest may import and export.

use std::sync::Arc;

use staunch::sandbox::{Ending, Export, SandboxError};
use staunch_core::id::Digest;
use wasmtime::component::Component;

use super::harness::*;

#[test]
fn an_import_that_is_no_capability_does_not_link() {
    let sandbox = sandbox();
    let text = "(module
      (import \"test:guests/outside@1.0.0\" \"escape\" (func $escape))
      (memory (export \"memory\") 1)
      (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export \"staunch:plugin/remediation@1.0.0#remediate\") (param i32 i32) (result i32)
        (call $escape) (i32.const 0)))";
    let bytes = component_of(text, "stranger");
    let compiled = Component::new(sandbox.engine(), &bytes).unwrap();
    let error = sandbox.prepare(Digest::of(&bytes), &compiled).unwrap_err();
    assert!(matches!(error, SandboxError::Link { .. }));
    assert!(error.to_string().contains("test:guests/outside@1.0.0"), "{error}");
}

#[tokio::test]
async fn an_export_that_is_not_there_cannot_be_called() {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "honest");
    assert!(prepared.exports(Export::Remediate) && !prepared.exports(Export::Undo));
    let mut job = job(&prepared, "{}", &grants(&[]), &Arc::default());
    job.export = Export::Undo;
    let report = sandbox.execute(plan_permit(), job).await;
    assert!(matches!(report.ending, Ending::Trapped { code: "export", .. }), "{report:?}");
}

#[tokio::test]
async fn verification_only_looks() {
    let sandbox = sandbox();
    let prepared = prepare_world(&sandbox, "verify-acts", "verifier");
    let book = Arc::new(Book::default());
    let allowed = grants(&[("service", "restart", "web.service")]);
    let mut job = job(&prepared, "{}", &allowed, &book);
    job.export = Export::Verify;
    let report = sandbox.execute(plan_permit(), job).await;
    let Ending::Failed(error) = &report.ending else { panic!("{report:?}") };
    assert!(error.is_denial() && error.message.contains("may only look"), "{error:?}");
    assert!(report.effects.is_empty());
    assert_eq!(book.lines(), ["denied restart"]);
}

#[tokio::test]
async fn wasi_is_there_and_leads_nowhere() {
    let sandbox = sandbox();
    let mut endings = Vec::new();
    for guest in ["wasi", "wasi-exit", "wasi-socket"] {
        let prepared = prepare_world(&sandbox, guest, "wasi");
        let make = || job(&prepared, "{}", &grants(&[]), &Arc::default());
        let (first, second) = plan_and_act(&sandbox, make).await;
        assert_eq!((&first.ending, first.fuel), (&second.ending, second.fuel), "{guest}");
        if guest == "wasi" {
            let lines: Vec<&str> = first.log.iter().map(|line| line.message.as_str()).collect();
            assert_eq!(lines, ["hello from wasi", "again"]);
        }
        endings.push(first.ending);
    }
    assert!(matches!(endings[0], Ending::Returned(_)), "{endings:?}");
    assert!(matches!(endings[1], Ending::Trapped { code: "exit", .. }), "{endings:?}");
    let Ending::Trapped { message, .. } = &endings[2] else { panic!("{endings:?}") };
    assert!(message.contains("instance-network"), "{message}");
}

#[test]
fn a_component_is_prepared_once() {
    let sandbox = sandbox();
    let first = prepare(&sandbox, "honest");
    assert!(Arc::ptr_eq(&first, &prepare(&sandbox, "honest")));
    sandbox.forget(&first.digest());
    assert!(!Arc::ptr_eq(&first, &prepare(&sandbox, "honest")));
}
