//! One door: plan, cover, policy, halt, intent, outcome.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use staunch::sandbox::{Ending, Grants, Job, Verdict};
use staunch_core::effect::{EffectStatus, Repeat};

use super::harness::*;

#[tokio::test]
async fn a_plan_does_nothing_and_acting_does_exactly_the_plan() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("done")).await;
    let prepared = prepare(&sandbox, "send");
    let allowed = grants(&[("http", "send", &format!("POST {}**", target.address))]);
    let book = Arc::new(Book::default());
    let plan = sandbox.execute(plan_permit(), job(&prepared, &target.address, &allowed, &book)).await;
    assert!(matches!(plan.ending, Ending::Returned(_)), "{plan:?}");
    assert!(target.requests().is_empty() && book.lines().is_empty());
    assert_eq!(plan.effects[0].call.target, format!("http:127.0.0.1:{}", target.port));
    assert_eq!((plan.effects[0].status, &plan.effects[0].key), (EffectStatus::Planned, &None));
    assert_eq!(plan.effects[0].reason, "because it is broken");

    let (_, act) = plan_and_act(&sandbox, || job(&prepared, &target.address, &allowed, &book)).await;
    let Ending::Returned(result) = &act.ending else { panic!("{act:?}") };
    assert_eq!(result["summary"], "done");
    assert_eq!(act.effects[0].call, plan.effects[0].call);
    assert_eq!(book.lines(), ["intend 0 send unplanned=false", "settle 0 Done"]);
    let requests = target.requests();
    assert_eq!(requests.len(), 1);
    let key = act.effects[0].key.clone().unwrap();
    assert!(requests[0].contains(&format!("idempotency-key: {key}\r\n")), "{}", requests[0]);
    assert_eq!((key.len(), act.effects[0].repeat), (52, Repeat::Once));
}

#[tokio::test]
async fn an_effect_without_a_grant_is_answered_and_journaled() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("done")).await;
    let prepared = prepare(&sandbox, "send");
    let book = Arc::new(Book::default());
    let (plan, act) = plan_and_act(&sandbox, || job(&prepared, &target.address, &grants(&[]), &book)).await;
    for report in [plan, act] {
        let Ending::Failed(error) = &report.ending else { panic!("{report:?}") };
        assert!(error.is_denial() && error.message.contains("guest"), "{error:?}");
        assert!(report.effects.is_empty() && report.denials.len() == 1);
    }
    assert_eq!(book.lines(), ["denied send", "denied send"]);
    assert!(target.requests().is_empty());
}

async fn unplanned(approved: bool, verdict: Option<Verdict>) -> (Ending, Vec<String>, usize) {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("done")).await;
    let prepared = prepare(&sandbox, "send-twice");
    let allowed = grants(&[("http", "send", &format!("POST {}**", target.address))]);
    let book = Arc::new(Book::default());
    let make = || job(&prepared, &target.address, &allowed, &book);
    let (mut effects, _) = sandbox.execute(plan_permit(), make()).await.into_plan();
    effects.truncate(1);
    *book.verdict.lock().unwrap() = verdict;
    let report = sandbox.execute(act_permit(approved), Job { mode: acting(effects), ..make() }).await;
    (report.ending, book.lines(), target.requests().len())
}

#[tokio::test]
async fn an_effect_outside_an_approved_plan_parks_the_run() {
    let (ending, lines, requests) = unplanned(true, None).await;
    let Ending::Parked { call, .. } = ending else { panic!("{ending:?}") };
    assert_eq!(call.function, "send");
    assert_eq!((lines.len(), requests), (2, 1));
}

#[tokio::test]
async fn in_an_automatic_run_policy_judges_an_effect_outside_the_plan() {
    let (ending, lines, requests) = unplanned(false, None).await;
    assert!(matches!(ending, Ending::Returned(_)));
    assert_eq!((lines[2].as_str(), requests), ("intend 1 send unplanned=true", 2));
    let (ending, lines, requests) = unplanned(false, Some(Verdict::Deny("no".to_owned()))).await;
    assert!(matches!(ending, Ending::Failed(_)));
    assert_eq!((lines, requests), (vec!["denied send".to_owned(); 2], 0));
    let (ending, lines, requests) = unplanned(false, Some(Verdict::Park("irreversible".to_owned()))).await;
    assert!(matches!(ending, Ending::Parked { .. }));
    assert_eq!((lines.len(), requests), (0, 0));
}

async fn act_with(prepare_book: impl Fn(&Book)) -> (Ending, Vec<String>, usize) {
    act_at(Manner::ok("done"), "", prepare_book).await
}

async fn act_at(manner: Manner, granted: &str, prepare_book: impl Fn(&Book)) -> (Ending, Vec<String>, usize) {
    let sandbox = sandbox();
    let target = Target::start(manner).await;
    let prepared = prepare(&sandbox, "send");
    let allowed = grants(&[("http", "send", &format!("POST {}**{granted}", target.address))]);
    let book = Arc::new(Book::default());
    let make = || job(&prepared, &target.address, &allowed, &book);
    let (effects, _) = sandbox.execute(plan_permit(), make()).await.into_plan();
    prepare_book(&book);
    let report = sandbox.execute(act_permit(true), Job { mode: acting(effects), ..make() }).await;
    (report.ending, book.lines(), target.requests().len())
}

#[tokio::test]
async fn a_halted_run_gets_no_further_effect() {
    let (ending, lines, requests) = act_with(|book| book.halted.store(true, Ordering::SeqCst)).await;
    assert_eq!(ending, Ending::Halted("maintenance".to_owned()));
    assert_eq!((lines.len(), requests), (0, 0));
}

#[tokio::test]
async fn a_halt_between_intent_and_effect_still_counts() {
    let (ending, lines, requests) = act_with(|book| *book.halt_at.lock().unwrap() = Some(0)).await;
    assert_eq!(ending, Ending::Halted("maintenance".to_owned()));
    assert_eq!(
        (lines, requests),
        (vec!["intend 0 send unplanned=false".to_owned(), "settle 0 Denied".to_owned()], 0)
    );
}

#[tokio::test]
async fn a_halt_before_the_intent_leaves_no_intent() {
    let (ending, lines, requests) = act_with(|book| *book.refuse_from.lock().unwrap() = Some(0)).await;
    assert_eq!(ending, Ending::Halted("maintenance".to_owned()));
    assert_eq!((lines.len(), requests), (0, 0));
}

#[tokio::test]
async fn a_halt_between_two_sends_leaves_the_first_one_in_doubt() {
    let refused = |book: &Book| *book.refuse_from.lock().unwrap() = Some(1);
    let halted = |book: &Book| *book.halt_at.lock().unwrap() = Some(1);
    let sent = ["intend 0 send unplanned=false", "settle 0 Unknown"];
    let (ending, lines, requests) = act_at(Manner::Reset, " idempotent", refused).await;
    assert!(matches!(ending, Ending::InDoubt { index: 0, .. }), "{ending:?}");
    assert_eq!((lines, requests), (sent.map(str::to_owned).to_vec(), 1));
    let (ending, lines, requests) = act_at(Manner::Reset, " idempotent", halted).await;
    assert!(matches!(ending, Ending::InDoubt { index: 0, .. }), "{ending:?}");
    assert_eq!((lines, requests), ([sent, sent].concat().into_iter().map(str::to_owned).collect(), 1));
}

#[tokio::test]
async fn nothing_is_done_that_cannot_be_written_down() {
    let (ending, lines, requests) = act_with(|book| book.broken.store(true, Ordering::SeqCst)).await;
    assert_eq!(ending, Ending::LedgerUnavailable("the disk is full".to_owned()));
    assert_eq!((lines.len(), requests), (0, 0));
}

#[tokio::test]
async fn host_bound_effects_need_a_target_that_is_a_host() {
    let sandbox = sandbox();
    let room = tempfile::tempdir().unwrap();
    let path = room.path().canonicalize().unwrap().join("log");
    std::fs::write(&path, "much").unwrap();
    let path = path.to_str().unwrap();
    let prepared = prepare(&sandbox, "truncate");
    let allowed = grants(&[("file", "truncate", path)]);
    let book = Arc::new(Book::default());
    let mut hostless = job(&prepared, path, &allowed, &book);
    hostless.host = None;
    let report = sandbox.execute(plan_permit(), hostless).await;
    let Ending::Failed(error) = &report.ending else { panic!("{report:?}") };
    assert_eq!(error.code, "target-unknown");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "much");
    let (plan, act) = plan_and_act(&sandbox, || job(&prepared, path, &allowed, &book)).await;
    assert_eq!(plan.effects[0].call.target, format!("local/file:{path}"));
    assert_eq!(act.effects[0].status, EffectStatus::Done);
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
}

#[tokio::test]
async fn keys_tell_effects_apart_and_stay_the_same() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("done")).await;
    let prepared = prepare(&sandbox, "send-twice");
    let allowed = grants(&[("http", "send", &format!("POST {}**", target.address))]);
    let book = Arc::new(Book::default());
    let keys = |report: staunch::sandbox::Report| -> Vec<String> {
        report.effects.into_iter().map(|effect| effect.key.unwrap()).collect()
    };
    let make = || job(&prepared, &target.address, &allowed, &book);
    let (_, first) = plan_and_act(&sandbox, make).await;
    let (_, second) = plan_and_act(&sandbox, make).await;
    let (_, other_step) = plan_and_act(&sandbox, || Job { step: 1, ..make() }).await;
    let (first, second, other_step) = (keys(first), keys(second), keys(other_step));
    assert_eq!(first, second);
    assert_ne!(first[0], first[1]);
    assert_ne!(first, other_step);
}

#[tokio::test]
async fn a_call_that_makes_no_sense_is_journaled_and_replayed() {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "send");
    let allowed = grants(&[("http", "send", "POST http://**")]);
    let book = Arc::new(Book::default());
    let make = || job(&prepared, "no address at all", &allowed, &book);
    let (_, act) = plan_and_act(&sandbox, make).await;
    let Ending::Failed(error) = &act.ending else { panic!("{act:?}") };
    assert_eq!(error.code, "invalid-argument");
    assert_eq!(book.lines(), ["denied send", "denied send"], "once in the plan, once when acting");
    let mut recorded = book.recorded.lock().unwrap().clone();
    assert_eq!(recorded[0], recorded[1]);
    recorded.truncate(1);
    let replayed = Job { mode: acting(Vec::new()), replay: recorded.clone(), ..make() };
    let again = sandbox.execute(act_permit(true), replayed).await;
    assert_eq!((&again.ending, again.fuel), (&act.ending, act.fuel));
    assert_eq!(book.lines().len(), 2, "a replayed call is not written down again");
    let other =
        Job { mode: acting(Vec::new()), replay: recorded, ..job(&prepared, "ftp://x", &allowed, &book) };
    let other = sandbox.execute(act_permit(true), other).await;
    assert!(matches!(other.ending, Ending::Diverged { .. }), "{other:?}");
}

#[tokio::test]
async fn a_plan_refuses_a_hidden_address_that_the_grant_does_not_name() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("inside")).await;
    let prepared = prepare(&sandbox, "send");
    let book = Arc::new(Book::default());
    let plan = async |address: &str, pattern: &str| {
        let allowed = grants(&[("http", "send", pattern)]);
        sandbox.execute(plan_permit(), job(&prepared, address, &allowed, &book)).await
    };
    for address in [target.address.clone(), format!("http://localhost:{}/", target.port)] {
        let report = plan(&address, "POST http://**").await;
        let Ending::Failed(error) = &report.ending else { panic!("{address}: {report:?}") };
        assert!(error.is_denial() && report.effects.is_empty(), "{address}: {report:?}");
        let report = plan(&address, "POST http://** @127.0.0.0/8").await;
        assert_eq!(report.effects.len(), 1, "{address}: {report:?}");
    }
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn a_manifest_tightens_what_a_grant_lets_be_repeated() {
    for (tightened, sent, repeat) in [(false, 3, Repeat::Repeatable), (true, 1, Repeat::Once)] {
        let sandbox = sandbox();
        let target = Target::start(Manner::Reset).await;
        let prepared = prepare(&sandbox, "send");
        let map = patterns(&[("http", "send", &format!("POST {}** idempotent", target.address))]);
        let mut allowed = Grants::own("guest", &map).unwrap();
        if tightened {
            allowed = allowed.sent_once(&[("http".to_owned(), ["send".to_owned()].into())].into());
        }
        let (allowed, book) = (Arc::new(allowed), Arc::new(Book::default()));
        let make = || job(&prepared, &target.address, &allowed, &book);
        let (plan, act) = plan_and_act(&sandbox, make).await;
        assert!(matches!(act.ending, Ending::InDoubt { .. }), "{act:?}");
        assert_eq!((plan.effects[0].repeat, act.effects[0].repeat), (repeat, repeat));
        assert_eq!(target.requests().len(), sent);
    }
}

#[tokio::test]
async fn a_key_of_the_plugin_is_mixed_into_the_hosts_and_never_used_alone() {
    let sandbox = sandbox();
    let target = Target::start(Manner::ok("done")).await;
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walls/guests/");
    let text = |name: &str| std::fs::read_to_string(format!("{guests}{name}.wat")).unwrap();
    let plain = text("send").replace("  ;;@prelude", &text("prelude"));
    let head = "(local.set $left (i32.const 1))";
    let mut keys = Vec::new();
    for (own, step) in [(None, 0), (Some("order-7"), 0), (Some("order-8"), 0), (Some("order-7"), 1)] {
        let wat = match own {
            None => plain.clone(),
            Some(key) => {
                let stored = format!(
                    "{head} (i32.store8 (i32.const 564) (i32.const 1)) (i32.store (i32.const 568) (i32.const 2096)) \
                     (i32.store (i32.const 572) (i32.const {}))",
                    key.len()
                );
                let data = format!("(data (i32.const 2096) \"{key}\")\n  ;; request");
                plain.replace(head, &stored).replacen(";; request", &data, 1)
            }
        };
        let bytes = component_of(&wat, "remediator");
        let compiled = wasmtime::component::Component::new(sandbox.engine(), &bytes).unwrap();
        let prepared = sandbox.prepare(staunch_core::id::Digest::of(&bytes), &compiled).unwrap();
        let allowed = grants(&[("http", "send", &format!("POST {}**", target.address))]);
        let book = Arc::new(Book::default());
        let (_, act) =
            plan_and_act(&sandbox, || Job { step, ..job(&prepared, &target.address, &allowed, &book) }).await;
        let key = act.effects[0].key.clone().unwrap();
        let request = target.requests().pop().unwrap();
        assert!(request.contains(&format!("idempotency-key: {key}\r\n")), "{request}");
        assert!(own.is_none_or(|own| !request.contains(own)), "{request}");
        assert!(!keys.contains(&key), "{own:?} in step {step} has the key of another effect");
        keys.push(key);
    }
}
