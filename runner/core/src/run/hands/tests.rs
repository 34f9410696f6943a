use proptest::prelude::*;

use super::super::tests::{
    approved, created, ended, event, fold, intended, parked, permitted, planned, settled,
};
use super::*;
use crate::effect::EffectStatus;
use crate::event::{Event, GlassBroken, JustificationReviewed, Outside, RunGivenBack, RunTakenOver, payload};
use crate::run::Outcome;

fn taken(by: &str) -> Event {
    let outside = payload::RunTakenOver { by: by.to_owned(), comment: Some("on it".to_owned()) };
    event(Fact::RunTakenOver(RunTakenOver {}, Outside::Kept(outside)))
}

fn given() -> Event {
    let outside = payload::RunGivenBack { by: "ada".to_owned(), comment: None };
    event(Fact::RunGivenBack(RunGivenBack {}, Outside::Kept(outside)))
}

fn broken(passes: Passes, plan: Option<Digest>) -> Event {
    let outside = payload::GlassBroken { by: "ada".to_owned(), reason: "the site is down".to_owned() };
    event(Fact::GlassBroken(GlassBroken { passes, plan }, Outside::Kept(outside)))
}

fn reviewed(glass: u32, by: &str) -> Event {
    let outside = payload::JustificationReviewed { by: by.to_owned(), comment: None };
    let leaf = JustificationReviewed { glass, justified: true };
    event(Fact::JustificationReviewed(leaf, Outside::Kept(outside)))
}

#[test]
fn a_run_taken_over_does_nothing_until_it_is_given_back_and_asked_anew() {
    let plan = Digest::of(b"a b");
    let mut run = fold(&[created(false), planned(&["a", "b"], true), approved(plan), taken("ada")]).unwrap();
    assert_eq!(run.reason.as_ref().unwrap().to_string(), "taken-over: ada took it over: on it");
    let before = run.clone();
    for event in [approved(plan), permitted(), taken("bob")] {
        assert!(run.apply(&event).is_err(), "{event:?}");
        assert_eq!(run, before);
    }
    run.apply(&given()).unwrap();
    assert!(run.held.is_none() && run.reason.is_none());
    assert!(run.approvals.is_empty() && run.planned_at.is_none(), "the world changed: asked anew");
    assert!(run.apply(&given()).is_err(), "what nobody has cannot be given back");
}

#[test]
fn what_was_under_way_is_written_down_while_a_person_has_the_run() {
    let road = [created(false), planned(&["a", "b"], false), permitted(), intended(0, "a"), taken("ada")];
    let mut run = fold(&road).unwrap();
    assert!(run.apply(&intended(1, "b")).is_err(), "no further effect");
    assert!(run.apply(&given()).is_err(), "not while the plugin still runs");
    run.apply(&settled(0, EffectStatus::Done)).unwrap();
    run.apply(&parked()).unwrap();
    run.apply(&given()).unwrap();
    assert_eq!(run.state, State::Parked);
    let mut over = fold(&[created(false), taken("ada"), ended(Outcome::Cancelled)]).unwrap();
    assert!(over.apply(&taken("bob")).is_err() && over.apply(&given()).is_err());
}

#[test]
fn a_justification_is_owed_until_a_second_person_reviewed_it_even_after_the_end() {
    let road = [
        created(false),
        broken(Passes::Freeze, None),
        planned(&["a"], true),
        broken(Passes::Quorum, Some(Digest::of(b"a"))),
        ended(Outcome::Cancelled),
    ];
    let mut run = fold(&road).unwrap();
    assert_eq!(run.passes_freezes(), Some("ada"));
    assert_eq!(run.justifications_owed().map(|(number, _)| number).collect::<Vec<_>>(), [0, 1]);
    assert!(run.apply(&reviewed(0, "ada")).is_err(), "nobody reviews what they did themselves");
    assert!(run.apply(&reviewed(2, "bob")).is_err(), "there is no third");
    run.apply(&reviewed(1, "bob")).unwrap();
    assert!(run.apply(&reviewed(1, "cy")).is_err(), "a review stands");
    assert_eq!(run.justifications_owed().map(|(number, _)| number).collect::<Vec<_>>(), [0]);
    assert_eq!((run.state, run.outcome), (State::Ended, Some(Outcome::Cancelled)));
}

#[test]
fn the_glass_over_a_quorum_is_broken_for_one_plan_and_only_where_people_are_asked() {
    let shown = Some(Digest::of(b"a"));
    assert!(fold(&[created(false), broken(Passes::Quorum, None)]).is_err());
    assert!(fold(&[created(false), planned(&["a"], false), broken(Passes::Quorum, shown)]).is_err());
    assert!(fold(&[created(false), planned(&["b"], true), broken(Passes::Quorum, shown)]).is_err());
    let road = [created(false), planned(&["a"], true), broken(Passes::Quorum, shown), planned(&["b"], true)];
    let run = fold(&road).unwrap();
    assert_eq!(run.passes_quorum(), None, "another plan is another question");
    let many = std::iter::once(created(false)).chain(vec![broken(Passes::Freeze, None); MOST_GLASS + 1]);
    assert!(fold(&many.collect::<Vec<_>>()).is_err());
}

proptest! {
    #[test]
    fn no_effect_is_intended_while_a_person_has_the_run(choices in prop::collection::vec(0usize..9, 0..40)) {
        let menu = [
            planned(&["a", "b"], true),
            planned(&["a", "b"], false),
            approved(Digest::of(b"a b")),
            permitted(),
            intended(0, "a"),
            settled(0, EffectStatus::Done),
            parked(),
            taken("ada"),
            given(),
        ];
        let mut run = fold(&[created(false)]).unwrap();
        for choice in choices {
            let held = run.held.is_some();
            if run.apply(&menu[choice]).is_ok() {
                prop_assert!(!(held && matches!(choice, 2..=4)));
            }
        }
    }
}
