use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::{
    EffectIntended, EffectSettled, Outside, RunCreated, RunEnded, RunParked, RunPermitted, RunPlanned,
    RunPlanning, RunProbed, RunResumed, RunVerifying, StepEnded,
};
use crate::plan::PlannedEffect;

pub(super) fn event(fact: Fact) -> Event {
    Event {
        at: DateTime::from_timestamp_micros(1_000_000).unwrap(),
        run: Some(RunId::from_bits(1)),
        alert: None,
        fact,
    }
}

pub(super) fn created(queued: bool) -> Event {
    let leaf = RunCreated {
        runbook: "r".to_owned(),
        policy: Digest::of(b""),
        plugins: vec![("p".to_owned(), Digest::of(b"p"))],
        mode: Mode::Act,
        queued,
        irreversible: false,
        drill: false,
    };
    let outside = payload::RunCreated {
        target: Some("t".to_owned()),
        host: None,
        inputs: vec![json!({}).into()],
        labels: BTreeMap::new().into(),
        verify: None,
        by: None,
        comment: None,
        decisions: Vec::new(),
        flow: Default::default(),
        drill: None,
    };
    event(Fact::RunCreated(leaf, Outside::Kept(outside)))
}

fn call(url: &str) -> Call {
    Call {
        capability: "http".into(),
        function: "send".into(),
        target: "http:h:80".into(),
        arguments: json!({"url": url}).into(),
    }
}

pub(super) fn planned(urls: &[&str], asked: bool) -> Event {
    let effects = urls.iter().map(|url| PlannedEffect {
        call: call(url),
        reason: "r".to_owned(),
        assumed: Answer::Ok(Value::Null.into()),
        repeat: Repeat::Once,
    });
    let steps = vec![StepPlan {
        plugin: "p".to_owned(),
        plugin_digest: Digest::of(b"p"),
        input: json!({}).into(),
        effects: effects.collect(),
        readings: Vec::new(),
    }];
    let gate = crate::policy::Gate { expires: std::time::Duration::from_secs(8), ..Default::default() };
    let ask = asked.then(|| Ask::new(&gate, DateTime::from_timestamp_micros(1_000_000).unwrap()));
    let plan = Digest::of(urls.join(" ").as_bytes());
    let leaf = RunPlanned { plan, effects: 1, ask: asked, policy: Digest::of(b"") };
    let outside = payload::RunPlanned {
        steps,
        asked: ask,
        decisions: Vec::new(),
        log: Vec::new(),
        changes: Vec::new(),
        undo: Vec::new(),
    };
    event(Fact::RunPlanned(leaf, Outside::Kept(outside)))
}

pub(super) fn intended(effect: u32, url: &str) -> Event {
    let leaf = EffectIntended {
        step: 0,
        effect,
        capability: "http".into(),
        function: "send".into(),
        key: "k".to_owned(),
        repeat: Repeat::Once,
        planned: true,
        fuel: 1,
    };
    let outside = payload::EffectIntended { call: call(url), reason: "r".to_owned(), before: None };
    event(Fact::EffectIntended(leaf, Outside::Kept(outside)))
}

pub(super) fn settled(effect: u32, status: EffectStatus) -> Event {
    let outside =
        payload::EffectSettled { answer: Some(Answer::Ok(Value::Null.into())), by: None, comment: None };
    event(Fact::EffectSettled(EffectSettled { step: 0, effect, status }, Outside::Kept(outside)))
}

pub(super) fn ended(outcome: Outcome) -> Event {
    let outside =
        payload::RunEnded { message: "m".to_owned(), by: None, comment: None, decisions: Vec::new() };
    let leaf = RunEnded { outcome, verdict: None, code: Code::Completed };
    event(Fact::RunEnded(leaf, Outside::Kept(outside)))
}

pub(super) fn permitted() -> Event {
    let leaf = RunPermitted { plan: Digest::of(b"a b"), approved: false };
    event(Fact::RunPermitted(leaf, Outside::Kept(payload::RunPermitted {})))
}

pub(super) fn parked() -> Event {
    let outside = payload::RunParked { message: "m".to_owned(), question: None, asked: None };
    event(Fact::RunParked(RunParked { code: Code::Unplanned, step: 0 }, Outside::Kept(outside)))
}

pub(super) fn fold(events: &[Event]) -> Result<Run, IllegalTransition> {
    let mut run = Run::begin(&events[0]).unwrap();
    for event in &events[1..] {
        run.apply(event)?;
    }
    Ok(run)
}

pub(super) fn approved(plan: Digest) -> Event {
    let approval = Approval {
        by: "ada".to_owned(),
        at: DateTime::from_timestamp_micros(1).unwrap(),
        plan,
        comment: None,
        subject: None,
        envelope: None,
        roles: Vec::new(),
        policy: None,
        storm: None,
    };
    let leaf = crate::event::RunApproved { plan, policy: Digest::of(b"") };
    event(Fact::RunApproved(leaf, Outside::Kept(payload::RunApproved { approval })))
}

#[test]
fn walks_the_whole_road() {
    let run = fold(&[
        created(true),
        event(Fact::RunPlanning(RunPlanning {}, Outside::Kept(payload::RunPlanning {}))),
        planned(&["a", "b"], true),
        permitted(),
        intended(0, "a"),
        settled(0, EffectStatus::Done),
        ended(Outcome::Unknown),
    ])
    .unwrap();
    let statuses: Vec<_> = run.effects().iter().map(|effect| effect.status).collect();
    assert_eq!(statuses, [EffectStatus::Done, EffectStatus::Skipped]);
    assert_eq!((run.state, run.outcome), (State::Ended, Some(Outcome::Unknown)));
}

#[test]
fn nothing_acts_without_a_permit_and_no_permit_without_a_plan() {
    assert!(fold(&[created(false), intended(0, "a")]).is_err());
    assert!(fold(&[created(false), permitted()]).is_err());
    assert!(fold(&[created(false), planned(&["a"], true), intended(0, "a")]).is_err());
}

#[test]
fn a_terminal_state_is_never_overwritten() {
    let mut run = fold(&[created(false), ended(Outcome::Cancelled)]).unwrap();
    let before = run.clone();
    for event in [ended(Outcome::Fixed), planned(&["a"], true), permitted(), parked(), intended(0, "a")] {
        assert!(run.apply(&event).is_err());
        assert_eq!(run, before);
    }
}

#[test]
fn another_plan_voids_approvals() {
    let approved = approved(Digest::of(b"a"));
    let same =
        fold(&[created(false), planned(&["a"], true), approved.clone(), planned(&["a"], true)]).unwrap();
    assert_eq!(same.approvals.len(), 1);
    let other = fold(&[created(false), planned(&["a"], true), approved, planned(&["b"], true)]).unwrap();
    assert!(other.approvals.is_empty());
}

#[test]
fn what_was_done_stays_listed_whatever_the_new_plan_holds() {
    let road = [created(false), planned(&["a", "b"], false), permitted(), intended(0, "a")];
    let mut run = fold(&road).unwrap();
    let changed = crate::event::ReadingChanged {
        step: 0,
        calls: 0,
        capability: "http".into(),
        function: "read".into(),
    };
    let outside = payload::ReadingChanged {
        call: call("r"),
        before: Answer::Ok(Value::Null.into()),
        now: Answer::Ok(json!(1).into()),
    };
    for event in [
        settled(0, EffectStatus::Done),
        event(Fact::ReadingChanged(changed, Outside::Kept(outside))),
        parked(),
        planned(&["b", "c"], true),
    ] {
        run.apply(&event).unwrap();
    }
    let listed: Vec<_> = run.steps[0]
        .effects
        .iter()
        .map(|effect| (effect.call.clone().unwrap(), effect.status, effect.assumed.is_some()))
        .collect();
    let wanted = [
        ("b", EffectStatus::Planned, true),
        ("c", EffectStatus::Planned, true),
        ("a", EffectStatus::Done, false),
    ];
    assert_eq!(listed, wanted.map(|(url, status, planned)| (call(url), status, planned)));
    assert!(run.touched_the_world());
    // Another plan may hold it again, in another place; it is listed once.
    run.apply(&planned(&["c", "a"], true)).unwrap();
    let statuses: Vec<_> = run.effects().iter().map(|effect| effect.status).collect();
    assert_eq!(statuses, [EffectStatus::Planned, EffectStatus::Done]);
}

#[test]
fn an_intended_effect_is_in_doubt_until_it_is_settled() {
    let road = [created(false), planned(&["a", "b"], false), permitted(), intended(0, "a")];
    let mut run = fold(&road).unwrap();
    assert_eq!(run.in_doubt(), [(0, 0)]);
    assert!(run.touched_the_world());
    run.apply(&settled(0, EffectStatus::Failed)).unwrap();
    assert!(run.in_doubt().is_empty() && !run.touched_the_world());
}

proptest! {
    #[test]
    fn fold_of_the_written_events_is_the_run_in_memory(choices in prop::collection::vec(0usize..20, 0..40)) {
        let mut with_undo = planned(&["a"], false);
        if let Fact::RunPlanned(_, Outside::Kept(outside)) = &mut with_undo.fact {
            outside.undo.clone_from(&outside.steps);
        }
        let in_undo = |mut event: Event| {
            match &mut event.fact {
                Fact::EffectIntended(leaf, _) => leaf.step = UNDO_STEPS,
                Fact::EffectSettled(leaf, _) => leaf.step = UNDO_STEPS,
                _ => {}
            }
            event
        };
        let undoing = |waits| {
            let leaf = crate::event::RunUndoing {
                outcome: Outcome::NotFixed,
                verdict: Some(Verdict::NotFixed),
                code: Code::StillFailing,
                waits,
            };
            let outside = payload::RunUndoing { message: "m".to_owned(), why: "w".to_owned() };
            event(Fact::RunUndoing(leaf, Outside::Kept(outside)))
        };
        let retried = crate::event::StepRetried { step: 0, retry: 1, due: created(true).at };
        let skipped = payload::StepSkipped { message: "m".to_owned() };
        let over = crate::event::UndoEnded { state: UndoState::Done, code: Code::Undone };
        let menu = [
            with_undo,
            in_undo(intended(0, "a")),
            in_undo(settled(0, EffectStatus::Done)),
            undoing(false),
            undoing(true),
            event(Fact::StepRetried(retried, Outside::Kept(payload::StepRetried { message: "m".to_owned() }))),
            event(Fact::StepSkipped(crate::event::StepSkipped { step: 0 }, Outside::Kept(skipped))),
            event(Fact::UndoEnded(over, Outside::Kept(payload::UndoEnded { message: "m".to_owned() }))),
            event(Fact::RunPlanning(RunPlanning {}, Outside::Kept(payload::RunPlanning {}))),
            planned(&["a", "b"], true),
            planned(&["a", "b"], false),
            permitted(),
            intended(0, "a"),
            intended(2, "c"),
            settled(0, EffectStatus::Unknown),
            parked(),
            event(Fact::RunResumed(RunResumed {}, Outside::Kept(payload::RunResumed {}))),
            event(Fact::RunVerifying(RunVerifying {}, Outside::Kept(payload::RunVerifying {}))),
            event(Fact::RunProbed(
                RunProbed { baseline: true, answers: vec![ProbeAnswer::Failed] },
                Outside::Kept(payload::RunProbed { details: vec!["d".to_owned()] }),
            )),
            event(Fact::StepEnded(
                StepEnded { step: 0, ending: "returned".to_owned(), fuel: 1 },
                Outside::Kept(payload::StepEnded { result: None, error: None, log: Vec::new() }),
            )),
        ];
        let first = created(true);
        let mut run = Run::begin(&first).unwrap();
        let mut written = vec![first.encode([0; 16]).unwrap()];
        for choice in choices {
            if run.apply(&menu[choice]).is_ok() {
                written.push(menu[choice].encode([0; 16]).unwrap());
            }
        }
        let read: Vec<Event> = written
            .iter()
            .map(|entry| Event::decode(&entry.leaf, entry.payload.as_ref().map(|(_, bytes)| &bytes[..])).unwrap())
            .collect();
        prop_assert_eq!(fold(&read).unwrap(), run);
    }
}
