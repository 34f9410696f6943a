use serde_json::json;

use super::super::tests as road;
use super::*;
use crate::event::{
    EffectIntended, EffectSettled, Event, RunGivenUp, RunUndoing, StepEnded, UndoBegun, UndoEnded,
};
use crate::policy::OnFailure;
use crate::run::{Flow, StepFlow};

fn fact(fact: Fact) -> Event {
    road::event(fact)
}

/// A run of two steps that did both of their effects, with an undo of each.
fn done(flow: Flow) -> Run {
    let mut created = road::created(false);
    if let Fact::RunCreated(leaf, Outside::Kept(outside)) = &mut created.fact {
        leaf.plugins = vec![leaf.plugins[0].clone(); 2];
        outside.flow = flow;
    }
    let mut planned = road::planned(&["a"], false);
    if let Fact::RunPlanned(_, Outside::Kept(outside)) = &mut planned.fact {
        let step = outside.steps[0].clone();
        outside.steps = vec![step.clone(), step.clone()];
        outside.undo = vec![step.clone(), step];
    }
    let mut run = road::fold(&[created, planned, road::permitted()]).unwrap();
    for step in [0, 1] {
        act(&mut run, step).unwrap();
        run.apply(&ended(step, "returned")).unwrap();
    }
    run
}

fn act(run: &mut Run, step: u32) -> Result<(), super::super::IllegalTransition> {
    let mut intended = road::intended(0, "a");
    if let Fact::EffectIntended(EffectIntended { step: number, key, .. }, _) = &mut intended.fact {
        (*number, *key) = (step, format!("k{step}"));
    }
    run.apply(&intended)?;
    let mut settled = road::settled(0, EffectStatus::Done);
    if let Fact::EffectSettled(EffectSettled { step: number, .. }, _) = &mut settled.fact {
        *number = step;
    }
    run.apply(&settled)
}

fn ended(step: u32, ending: &str) -> Event {
    let result = (ending == "returned").then(|| json!({ "summary": format!("undid {step}") }));
    let outside = payload::StepEnded { result, error: Some("broke".to_owned()), log: Vec::new() };
    fact(Fact::StepEnded(StepEnded { step, ending: ending.to_owned(), fuel: 1 }, Outside::Kept(outside)))
}

fn undoing(waits: bool) -> Event {
    let leaf = RunUndoing {
        outcome: Outcome::NotFixed,
        verdict: Some(Verdict::NotFixed),
        code: Code::StillFailing,
        waits,
    };
    let outside = payload::RunUndoing { message: "m".to_owned(), why: "w".to_owned() };
    fact(Fact::RunUndoing(leaf, Outside::Kept(outside)))
}

fn over(state: UndoState) -> Event {
    let outside = payload::UndoEnded { message: "m".to_owned() };
    fact(Fact::UndoEnded(UndoEnded { state, code: Code::Undone }, Outside::Kept(outside)))
}

fn given_up(code: Code) -> Event {
    let outside = payload::RunGivenUp { message: "no more".to_owned(), by: None, comment: None };
    fact(Fact::RunGivenUp(RunGivenUp { code }, Outside::Kept(outside)))
}

fn wanting(undo: Undo) -> Flow {
    Flow { undo, ..Flow::default() }
}

#[test]
fn the_runbook_and_the_verdict_say_what_follows() {
    use AlertNow::{Firing, None as NoAlert, Over, Stale};
    let (fixed, not_fixed) = (Some(Verdict::Fixed), Some(Verdict::NotFixed));
    for (undo, verdict, alert, wanted) in [
        (Undo::WhenNotFixed, not_fixed, Firing, "now"),
        (Undo::WhenNotFixed, not_fixed, NoAlert, "now"),
        (Undo::WhenNotFixed, fixed, Over, "skip"),
        (Undo::WhenNotFixed, Some(Verdict::Unknown), Firing, "skip"),
        (Undo::WhenResolved, fixed, Firing, "later"),
        (Undo::WhenResolved, fixed, Over, "now"),
        (Undo::WhenResolved, not_fixed, Over, "now"),
        (Undo::WhenResolved, fixed, Stale, "skip"),
        (Undo::WhenResolved, fixed, NoAlert, "skip"),
        (Undo::Never, not_fixed, Firing, "skip"),
    ] {
        let word = match done(wanting(undo)).after_verdict(verdict, alert) {
            AfterVerdict::None => "none",
            AfterVerdict::Skip(_) => "skip",
            AfterVerdict::Now(_) => "now",
            AfterVerdict::Later(_) => "later",
        };
        assert_eq!(word, wanted, "{undo:?} {verdict:?} {alert:?}");
    }
}

#[test]
fn a_person_who_ended_the_run_is_not_overruled_by_an_undo() {
    for (code, undone) in [
        (Code::Cancelled, false),
        (Code::TakenOver, false),
        (Code::Rejected, false),
        (Code::NoLongerNeeded, true),
        (Code::Expired, true),
    ] {
        let mut run = done(wanting(Undo::WhenNotFixed));
        run.apply(&given_up(code)).unwrap();
        let after = run.after_verdict(Some(Verdict::NotFixed), AlertNow::Firing);
        assert_eq!(matches!(after, AfterVerdict::Now(_)), undone, "{code}");
    }
}

#[test]
fn a_step_that_failed_may_ask_for_it_whatever_the_verdict() {
    let steps = vec![StepFlow::default(), StepFlow { on_failure: OnFailure::Undo, ..StepFlow::default() }];
    let mut run = done(Flow { steps, ..Flow::default() });
    assert!(matches!(run.after_verdict(Some(Verdict::NotFixed), AlertNow::Firing), AfterVerdict::Skip(_)));
    run.steps[1].ending = Some("plugin-error".to_owned());
    assert!(matches!(run.after_verdict(Some(Verdict::Fixed), AlertNow::Firing), AfterVerdict::Now(_)));
}

#[test]
fn nothing_done_or_doubtful_is_not_taken_back() {
    let mut run = done(wanting(Undo::WhenNotFixed));
    run.steps[0].effects[0].status = EffectStatus::Unknown;
    let after = run.after_verdict(Some(Verdict::NotFixed), AlertNow::Firing);
    assert!(matches!(&after, AfterVerdict::Skip(reason) if reason.message.contains("doubt")), "{after:?}");
    for step in &mut run.steps {
        step.effects[0].status = EffectStatus::Failed;
    }
    let after = run.after_verdict(Some(Verdict::NotFixed), AlertNow::Firing);
    assert!(matches!(&after, AfterVerdict::Skip(reason) if reason.message.contains("nothing")), "{after:?}");
}

#[test]
fn steps_are_taken_back_in_reverse_and_the_outcome_stays_the_verdict() {
    let mut run = done(wanting(Undo::WhenNotFixed));
    assert!(act(&mut run, Run::undo_number(1)).is_err(), "nothing is taken back before it was decided");
    run.apply(&undoing(false)).unwrap();
    assert_eq!((run.state, run.verdict, run.outcome), (State::Undoing, Some(Verdict::NotFixed), None));
    assert!(act(&mut run, 0).is_err(), "the run itself does nothing more");
    for step in [1, 0] {
        assert_eq!(run.next_undo(), NextUndo::Step(step));
        assert_eq!(run.at_step(), Run::undo_number(step));
        act(&mut run, Run::undo_number(step)).unwrap();
        run.apply(&ended(Run::undo_number(step), "returned")).unwrap();
    }
    let wanted = Reason::new(Code::Undone, "undid 1001; undid 1000");
    assert_eq!(run.next_undo(), NextUndo::Over(UndoState::Done, wanted));
    run.apply(&over(UndoState::Done)).unwrap();
    run.apply(&road::ended(Outcome::NotFixed)).unwrap();
    let undo = run.undo.as_ref().unwrap();
    assert_eq!((undo.state, run.outcome), (UndoState::Done, Some(Outcome::NotFixed)));
    assert!(undo.effects().iter().all(|effect| effect.status == EffectStatus::Done));
    assert_eq!(run.effects().len(), 2, "the run's own effects are its own");
}

#[test]
fn one_step_that_cannot_be_taken_back_ends_it() {
    let mut run = done(wanting(Undo::WhenNotFixed));
    run.apply(&undoing(false)).unwrap();
    run.apply(&ended(Run::undo_number(1), "plugin-error")).unwrap();
    let NextUndo::Over(UndoState::Failed, reason) = run.next_undo() else { panic!("{:?}", run.next_undo()) };
    assert_eq!(reason, Reason::new(Code::PluginError, "step 2 is not taken back: broke"));
    run.apply(&over(UndoState::Failed)).unwrap();
    run.apply(&road::ended(Outcome::NotFixed)).unwrap();
    let statuses: Vec<_> = run.undo.unwrap().effects().iter().map(|effect| effect.status).collect();
    assert_eq!(statuses, [EffectStatus::Skipped, EffectStatus::Skipped]);
}

#[test]
fn what_parks_in_the_undo_goes_on_in_the_undo() {
    let mut run = done(wanting(Undo::WhenNotFixed));
    run.apply(&undoing(false)).unwrap();
    run.apply(&road::parked()).unwrap();
    assert_eq!(run.state, State::Parked);
    run.apply(&road::permitted()).unwrap();
    assert_eq!(run.state, State::Undoing);
    run.apply(&road::parked()).unwrap();
    run.apply(&given_up(Code::Expired)).unwrap();
    assert_eq!((run.state, run.given_up.is_some()), (State::Undoing, false));
    assert!(matches!(run.next_undo(), NextUndo::Over(UndoState::Skipped, _)));
    assert!(act(&mut run, Run::undo_number(1)).is_err(), "no effect after somebody ended it");
}

#[test]
fn an_undo_waits_for_the_end_of_the_alert_and_not_for_ever() {
    let mut run = done(wanting(Undo::WhenResolved));
    run.apply(&undoing(true)).unwrap();
    assert!(act(&mut run, Run::undo_number(1)).is_err());
    assert_eq!(run.undo_waits_no_more(AlertNow::Firing), None);
    assert!(run.undo_waits_no_more(AlertNow::Stale).unwrap().is_err());
    assert_eq!(run.undo_waits_no_more(AlertNow::Over), Some(Ok(())));
    let begun = fact(Fact::UndoBegun(UndoBegun {}, Outside::Kept(payload::UndoBegun {})));
    run.apply(&begun).unwrap();
    act(&mut run, Run::undo_number(1)).unwrap();
    assert!(run.apply(&begun).is_err(), "once");
}
