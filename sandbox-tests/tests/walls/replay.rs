//! Resuming from the journal.

use std::sync::Arc;

use staunch::sandbox::{Ending, Job, Mode};
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
    other_call[0].call.target.push('x');
    let mut other_answer = recorded;
    other_answer[0].answer = Some(staunch_core::effect::Answer::Ok("garbage".into()));
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
