//! Resuming from the journal.

use std::sync::Arc;

use staunch::sandbox::{Again, Ending, Job, Mode, Resume};
use staunch_core::effect::Answer;
use staunch_core::permit::{Permit, RehearsalPermit};

use super::harness::*;

struct Stage {
    sandbox: staunch::sandbox::Sandbox,
    target: Target,
    book: Arc<Book>,
    prepared: Arc<staunch::sandbox::Prepared>,
    allowed: Arc<staunch::sandbox::Grants>,
}

impl Stage {
    async fn new() -> Self {
        let sandbox = sandbox();
        let target = Target::start(Manner::ok("done")).await;
        let prepared = prepare(&sandbox, "read-send");
        let allowed = grants(&[
            ("http", "send", &format!("POST {}**", target.address)),
            ("http", "read", &format!("GET {}**", target.address)),
        ]);
        Self { sandbox, target, book: Arc::default(), prepared, allowed }
    }

    fn job(&self) -> Job {
        job(&self.prepared, &self.target.address, &self.allowed, &self.book)
    }
}

#[tokio::test]
async fn an_interrupted_run_goes_on_without_repeating_anything() {
    let stage = Stage::new().await;
    let (effects, _) = stage.sandbox.execute(plan_permit(), stage.job()).await.into_plan();
    stage.book.recorded.lock().unwrap().clear();
    let whole =
        stage.sandbox.execute(act_permit(true), Job { mode: acting(effects.clone()), ..stage.job() }).await;
    assert!(matches!(whole.ending, Ending::Returned(_)), "{whole:?}");
    let recorded = stage.book.recorded.lock().unwrap().clone();
    assert_eq!(recorded.len(), 3);
    for done in 0..=recorded.len() {
        let before = stage.target.requests().len();
        let job = Job { mode: acting(effects.clone()), replay: recorded[..done].to_vec(), ..stage.job() };
        let resumed = stage.sandbox.execute(act_permit(true), job).await;
        assert_eq!((&resumed.ending, resumed.fuel), (&whole.ending, whole.fuel), "{done}");
        assert_eq!(stage.target.requests().len() - before, recorded.len() - done, "{done}");
        assert_eq!(resumed.effects[0].key, whole.effects[0].key);
        assert_eq!(resumed.effects[0].replayed, done >= 2);
    }
}

#[tokio::test]
async fn an_auditor_replays_without_touching_the_world() {
    let stage = Stage::new().await;
    let (effects, _) = stage.sandbox.execute(plan_permit(), stage.job()).await.into_plan();
    stage.book.recorded.lock().unwrap().clear();
    let whole = stage.sandbox.execute(act_permit(true), Job { mode: acting(effects), ..stage.job() }).await;
    let recorded = stage.book.recorded.lock().unwrap().clone();
    let before = stage.target.requests().len();
    let replay = |replay| Job { mode: Mode::Replay, replay, ..stage.job() };
    let again =
        stage.sandbox.execute(Permit::Rehearsal(RehearsalPermit::new()), replay(recorded.clone())).await;
    assert_eq!((again.ending, again.fuel), (whole.ending, whole.fuel));
    let short = stage
        .sandbox
        .execute(Permit::Rehearsal(RehearsalPermit::new()), replay(recorded[..2].to_vec()))
        .await;
    assert!(matches!(short.ending, Ending::Diverged { expected: None, .. }), "{short:?}");
    assert_eq!(stage.target.requests().len(), before);
}

#[tokio::test]
async fn another_call_or_other_fuel_is_a_divergence() {
    let stage = Stage::new().await;
    let plan = stage.sandbox.execute(plan_permit(), stage.job()).await;
    assert!(matches!(plan.ending, Ending::Returned(_)), "{plan:?}");
    let recorded = stage.book.recorded.lock().unwrap().clone();
    let mut other_fuel = recorded.clone();
    other_fuel[0].fuel += 1;
    let mut other_call = recorded.clone();
    let other = format!("{}x", other_call[0].call.target);
    other_call[0].call.target = other.into();
    let mut other_answer = recorded;
    other_answer[0].answer =
        Some(staunch_core::effect::Answer::Ok(serde_json::Value::from("garbage").into()));
    for (replay, diverges) in [(other_fuel, true), (other_call, true), (other_answer, false)] {
        let report = stage.sandbox.execute(plan_permit(), Job { replay, ..stage.job() }).await;
        assert_eq!(matches!(report.ending, Ending::Diverged { .. }), diverges, "{report:?}");
        assert!(!matches!(report.ending, Ending::Returned(_)));
    }
}

#[tokio::test]
async fn a_replay_stops_at_an_effect_in_doubt() {
    let stage = Stage::new().await;
    let (effects, _) = stage.sandbox.execute(plan_permit(), stage.job()).await.into_plan();
    stage.book.recorded.lock().unwrap().clear();
    let acted = Job { mode: acting(effects.clone()), ..stage.job() };
    stage.sandbox.execute(act_permit(true), acted).await;
    let mut recorded = stage.book.recorded.lock().unwrap().clone();
    recorded.truncate(2);
    recorded[1].answer = None;
    let job = Job { mode: acting(effects), replay: recorded, ..stage.job() };
    let report = stage.sandbox.execute(act_permit(true), job).await;
    assert!(matches!(report.ending, Ending::InDoubt { index: 0, .. }), "{report:?}");
}

/// The calls of a whole run, and its plan.
async fn recorded(
    stage: &Stage,
) -> (Vec<staunch_core::plan::PlannedEffect>, Vec<staunch_core::plan::Recorded>) {
    let (effects, _) = stage.sandbox.execute(plan_permit(), stage.job()).await.into_plan();
    stage.book.recorded.lock().unwrap().clear();
    let acted = Job { mode: acting(effects.clone()), ..stage.job() };
    stage.sandbox.execute(act_permit(true), acted).await;
    let recorded = stage.book.recorded.lock().unwrap().clone();
    stage.book.recorded.lock().unwrap().clear();
    (effects, recorded)
}

#[tokio::test]
async fn old_readings_are_made_again_and_young_ones_are_not() {
    let stage = Stage::new().await;
    let (effects, recorded) = recorded(&stage).await;
    for old in 0..=2 {
        let before = stage.target.requests().len();
        let resume = Resume { old, ..Resume::default() };
        let job =
            Job { mode: acting(effects.clone()), replay: recorded[..2].to_vec(), resume, ..stage.job() };
        let resumed = stage.sandbox.execute(act_permit(true), job).await;
        assert!(matches!(resumed.ending, Ending::Returned(_)), "{resumed:?}");
        let requests = stage.target.requests();
        let methods: Vec<_> =
            requests[before..].iter().map(|request| request.split(' ').next().unwrap()).collect();
        // The last one is the reading behind what was replayed; the effect is never sent again.
        assert_eq!(methods, ["GET"].repeat(1 + old.min(1)), "{old}");
    }
}

#[tokio::test]
async fn an_old_reading_that_answers_otherwise_ends_the_execution_before_anything_is_done() {
    let stage = Stage::new().await;
    let (effects, mut recorded) = recorded(&stage).await;
    recorded.truncate(1);
    let Some(Answer::Ok(answer)) = &mut recorded[0].answer else { panic!("{recorded:?}") };
    Arc::make_mut(answer)["body"] = "other".into();
    let before = stage.target.requests().len();
    let resume = Resume { old: 1, ..Resume::default() };
    let job = Job { mode: acting(effects.clone()), replay: recorded.clone(), resume, ..stage.job() };
    let report = stage.sandbox.execute(act_permit(true), job).await;
    let Ending::ReadingChanged { calls: 0, call, before: was, now } = &report.ending else {
        panic!("{report:?}")
    };
    assert_eq!(call.function, "read");
    assert!(format!("{was:?}").contains("other") && format!("{now:?}").contains("done"));
    assert_eq!(stage.target.requests().len() - before, 1, "the reading and nothing else");
    // A target that is not there any more answers otherwise, too.
    let Some(Answer::Ok(answer)) = &mut recorded[0].answer else { panic!("{recorded:?}") };
    Arc::make_mut(answer)["body"] = "done".into();
    let revoked = grants(&[("http", "send", &format!("POST {}**", stage.target.address))]);
    let resume = Resume { old: 1, ..Resume::default() };
    let job = Job { mode: acting(effects), replay: recorded, resume, grants: revoked, ..stage.job() };
    let report = stage.sandbox.execute(act_permit(true), job).await;
    assert!(matches!(report.ending, Ending::ReadingChanged { .. }), "{report:?}");
}

#[tokio::test]
async fn what_was_done_before_a_new_plan_is_planned_as_done_and_never_done_again() {
    let stage = Stage::new().await;
    let (effects, recorded) = recorded(&stage).await;
    let before = stage.target.requests().len();
    let resume = Resume { done: vec![recorded[1].clone()], epoch: 1, ..Resume::default() };
    let plan = stage.sandbox.execute(plan_permit(), Job { resume: resume.clone(), ..stage.job() }).await;
    assert!(plan.effects.len() == 1 && plan.effects[0].replayed, "{plan:?}");
    let job = || Job { mode: acting(effects.clone()), resume: resume.clone(), ..stage.job() };
    let report = stage.sandbox.execute(act_permit(true), job()).await;
    assert!(matches!(report.ending, Ending::Returned(_)), "{report:?}");
    let posts =
        stage.target.requests()[before..].iter().filter(|request| request.starts_with("POST")).count();
    assert_eq!(posts, 0);
    // And an execution that goes on from the middle of that one meets it in the same place.
    let readings = stage.book.recorded.lock().unwrap().clone();
    let first = readings[readings.len() - 2..].to_vec();
    for calls in 0..=2 {
        let resumed =
            stage.sandbox.execute(act_permit(true), Job { replay: first[..calls].to_vec(), ..job() }).await;
        assert_eq!((&resumed.ending, resumed.fuel), (&report.ending, report.fuel), "{calls}");
    }
    let posts =
        stage.target.requests()[before..].iter().filter(|request| request.starts_with("POST")).count();
    assert_eq!(posts, 0);
}

#[tokio::test]
async fn an_effect_in_doubt_is_sent_again_only_where_that_is_harmless() {
    for (idempotent, undone, sends, wanted) in
        [(true, false, 1, 1), (false, true, 1, 1), (false, false, 1, 0), (true, false, 2, 1)]
    {
        let mut stage = Stage::new().await;
        let clause = if idempotent { " idempotent" } else { "" };
        stage.allowed = grants(&[
            ("http", "send", &format!("POST {}**{clause}", stage.target.address)),
            ("http", "read", &format!("GET {}**", stage.target.address)),
        ]);
        let (effects, recorded) = recorded(&stage).await;
        let posts = || {
            stage
                .target
                .requests()
                .into_iter()
                .filter(|request| request.starts_with("POST"))
                .collect::<Vec<_>>()
        };
        let first = posts();
        let again = Again { index: 0, call: recorded[1].call.clone(), sends, undone };
        let resume = Resume { again: Some(again), ..Resume::default() };
        let job = Job { mode: acting(effects), replay: recorded[..1].to_vec(), resume, ..stage.job() };
        let report = stage.sandbox.execute(act_permit(true), job).await;
        let sent = posts();
        assert_eq!(sent.len() - first.len(), wanted, "{report:?}");
        assert!(sent.iter().all(|request| *request == first[0]), "it has the same key: {sent:?}");
        assert_eq!(matches!(report.ending, Ending::InDoubt { index: 0, .. }), wanted == 0, "{report:?}");
    }
}
