use std::time::Duration;

use serde_json::json;

use super::super::tests as road;
use super::*;
use crate::event::{Event, Fact, Outside, StepEnded, StepRetried, StepSkipped, payload};
use crate::run::State;

fn flow(steps: Vec<StepFlow>) -> Flow {
    Flow { steps, ..Flow::default() }
}

fn step(when: Option<&str>, on_failure: OnFailure) -> StepFlow {
    StepFlow { when: when.map(str::to_owned), retry: None, on_failure }
}

fn ended(step: u32, ending: &str, result: Option<Value>) -> Event {
    let outside = payload::StepEnded { result, error: Some("e".to_owned()), log: Vec::new() };
    let leaf = StepEnded { step, ending: ending.to_owned(), fuel: 1 };
    road::event(Fact::StepEnded(leaf, Outside::Kept(outside)))
}

/// A run that acts, of as many steps as the flow has.
fn acting(flow: Flow) -> Run {
    let mut created = road::created(false);
    if let Fact::RunCreated(leaf, Outside::Kept(outside)) = &mut created.fact {
        leaf.plugins = vec![leaf.plugins[0].clone(); flow.steps.len()];
        outside.flow = flow;
    }
    road::fold(&[created, road::planned(&["a"], false), road::permitted()]).unwrap()
}

#[test]
fn a_failure_stops_the_rest_unless_the_runbook_says_otherwise() {
    for (on_failure, ending, wanted) in [
        (OnFailure::Stop, "returned", Some(1)),
        (OnFailure::Stop, "plugin-error", None),
        (OnFailure::Undo, "plugin-error", None),
        (OnFailure::Continue, "plugin-error", Some(1)),
        (OnFailure::Continue, "halt", None),
    ] {
        let mut run = acting(flow(vec![step(None, on_failure), StepFlow::default()]));
        assert_eq!(run.next_step(), Some(0));
        run.apply(&ended(0, ending, None)).unwrap();
        assert_eq!(run.next_step(), wanted, "{on_failure:?} {ending}");
        assert_eq!(run.failed_to_be_undone().is_some(), on_failure == OnFailure::Undo, "{on_failure:?}");
    }
}

#[test]
fn a_failure_that_others_made_good_is_none() {
    let mut run = acting(flow(vec![step(None, OnFailure::Continue), StepFlow::default()]));
    run.apply(&ended(0, "plugin-error", None)).unwrap();
    assert!(run.failed_step().is_some(), "so far");
    run.apply(&ended(1, "returned", None)).unwrap();
    assert!(run.failed_step().is_none());
}

#[test]
fn conditions_see_how_the_steps_before_ended() {
    let flow = flow(vec![
        step(None, OnFailure::Continue),
        step(Some("steps[0].status == 'failed'"), OnFailure::Stop),
        step(Some("steps[1].result.details.tries > 2"), OnFailure::Stop),
        step(Some("labels.nobody == 'x'"), OnFailure::Stop),
    ]);
    let mut run = acting(flow);
    assert_eq!(run.will_want_step(1, None), Ok(None), "that depends");
    assert!(run.will_want_step(3, None).is_err(), "what cannot be told is never a yes");
    run.apply(&ended(0, "plugin-error", None)).unwrap();
    assert_eq!(run.wants_step(1, None), Ok(true));
    run.apply(&ended(1, "returned", Some(json!({ "summary": "s", "details": { "tries": 2 } })))).unwrap();
    assert_eq!(run.wants_step(2, None), Ok(false));
    let outside = payload::StepSkipped { message: "no".to_owned() };
    run.apply(&road::event(Fact::StepSkipped(StepSkipped { step: 2 }, Outside::Kept(outside)))).unwrap();
    assert_eq!((run.steps[2].ending.as_deref(), run.next_step()), (Some(SKIPPED), Some(3)));
    assert!(run.decisions.iter().any(|said| said.message == "step 3 is left out: no"), "{:?}", run.decisions);
}

#[test]
fn retries_are_counted_and_seen() {
    let retry = Retry {
        times: 2,
        backoff: Duration::from_secs(1),
        longest: Duration::from_secs(1),
        jitter: Duration::ZERO,
    };
    let mut run = acting(flow(vec![StepFlow { retry: Some(retry), ..StepFlow::default() }]));
    let due = run.created_at;
    let outside = payload::StepRetried { message: "503".to_owned() };
    let leaf = StepRetried { step: 0, retry: 1, due };
    run.apply(&road::event(Fact::StepRetried(leaf, Outside::Kept(outside)))).unwrap();
    assert_eq!((run.state, run.steps[0].retries, run.steps[0].retry_at), (State::Running, 1, Some(due)));
    assert_eq!(run.next_step(), Some(0));
}

#[test]
fn a_silent_flow_takes_no_room_and_a_loud_one_reads_back() {
    let retry = Retry {
        times: 2,
        backoff: Duration::from_millis(1500),
        longest: Duration::from_secs(9),
        jitter: Duration::ZERO,
    };
    let said = StepFlow { retry: Some(retry), on_failure: OnFailure::Undo, when: Some("true".to_owned()) };
    let loud = Flow { undo: Undo::WhenResolved, steps: vec![said], next: Some("n".to_owned()) };
    let text = serde_json::to_string(&loud).unwrap();
    assert!(text.contains("\"backoff\":1500") && text.contains("when-resolved"), "{text}");
    assert_eq!(serde_json::from_str::<Flow>(&text).unwrap(), loud);
    let quiet = serde_json::to_string(&acting(Flow::default())).unwrap();
    for name in ["flow", "undo", "retries", "retry_at"] {
        assert!(!quiet.contains(&format!("\"{name}\"")), "rows of before stay as they were: {quiet}");
    }
}
