use std::collections::BTreeMap;

use serde_json::json;
use staunch_core::decision::Code;
use staunch_core::effect::EffectStatus;
use staunch_core::event::{self, payload};
use staunch_core::id::{Digest, RunId};
use staunch_core::plan::{PlannedEffect, StepPlan};
use staunch_core::run::{Ask, Mode};

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

fn call(function: &str, url: &str) -> Call {
    Call {
        capability: "http".into(),
        function: function.to_owned().into(),
        target: "http:h:80".into(),
        arguments: json!({ "url": url }).into(),
    }
}

/// A story of one run, an event a second.
#[derive(Default)]
struct Story {
    events: Vec<Event>,
    run: Option<Run>,
}

impl Story {
    /// A run that was planned to send these, and permitted.
    fn of(urls: &[&str]) -> Self {
        let mut story = Self::default();
        let leaf = event::RunCreated {
            runbook: "r".to_owned(),
            policy: Digest::of(b""),
            plugins: vec![("p".to_owned(), Digest::of(b"p"))],
            mode: Mode::Act,
            queued: false,
            irreversible: false,
            drill: false,
        };
        let outside = payload::RunCreated {
            target: None,
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
        story.tell(Fact::RunCreated(leaf, Outside::Kept(outside)));
        story.planned(urls, false);
        story.permitted();
        story
    }

    fn tell(&mut self, fact: Fact) {
        let second = i64::try_from(self.events.len()).unwrap();
        let event = Event { at: at(second), run: Some(RunId::from_bits(1)), alert: None, fact };
        match &mut self.run {
            None => self.run = Run::begin(&event),
            Some(run) => run.apply(&event).unwrap(),
        }
        self.events.push(event);
    }

    fn planned(&mut self, urls: &[&str], asked: bool) {
        let effects = urls.iter().map(|url| PlannedEffect {
            call: call("send", url),
            reason: String::new(),
            assumed: Answer::Ok(Value::Null.into()),
            repeat: Repeat::Once,
        });
        let step = StepPlan {
            plugin: "p".to_owned(),
            plugin_digest: Digest::of(b"p"),
            input: json!({}).into(),
            effects: effects.collect(),
            readings: Vec::new(),
        };
        let ask = || Ask {
            approvals: 1,
            roles: Vec::new(),
            expires: at(9_000),
            separation: true,
            escalate: Vec::new(),
            deputies: None,
            comment: false,
        };
        let plan = Digest::of(urls.concat().as_bytes());
        let leaf = event::RunPlanned { plan, effects: 1, ask: asked, policy: Digest::of(b"") };
        let outside = payload::RunPlanned {
            steps: vec![step],
            asked: asked.then(ask),
            decisions: Vec::new(),
            log: Vec::new(),
            changes: Vec::new(),
            undo: Vec::new(),
        };
        self.tell(Fact::RunPlanned(leaf, Outside::Kept(outside)));
    }

    fn permitted(&mut self) {
        let leaf = event::RunPermitted { plan: Digest::of(b""), approved: true };
        self.tell(Fact::RunPermitted(leaf, Outside::Kept(payload::RunPermitted {})));
    }

    fn parked(&mut self) {
        let outside = payload::RunParked { message: String::new(), question: None, asked: None };
        let leaf = event::RunParked { code: Code::ReadingChanged, step: 0 };
        self.tell(Fact::RunParked(leaf, Outside::Kept(outside)));
    }

    fn read(&mut self, url: &str, answer: i32, fuel: u64) {
        let leaf = event::ReadingMade {
            step: 0,
            capability: "http".into(),
            function: "read".into(),
            fuel,
            polls: 1,
        };
        let outside =
            payload::ReadingMade { call: call("read", url), answer: Answer::Ok(json!(answer).into()) };
        self.tell(Fact::ReadingMade(leaf, Outside::Kept(outside)));
    }

    fn intended(&mut self, effect: u32, url: &str, key: &str, fuel: u64) {
        let leaf = event::EffectIntended {
            step: 0,
            effect,
            capability: "http".into(),
            function: "send".into(),
            key: key.to_owned(),
            repeat: Repeat::Repeatable,
            planned: true,
            fuel,
        };
        let before = Some(json!("before"));
        let outside = payload::EffectIntended { call: call("send", url), reason: String::new(), before };
        self.tell(Fact::EffectIntended(leaf, Outside::Kept(outside)));
    }

    fn settled(&mut self, effect: u32, status: EffectStatus) {
        let answer = (status == EffectStatus::Done).then(|| Answer::Ok(json!("done").into()));
        let outside = payload::EffectSettled { answer, by: None, comment: None };
        let leaf = event::EffectSettled { step: 0, effect, status };
        self.tell(Fact::EffectSettled(leaf, Outside::Kept(outside)));
    }

    fn retried(&mut self, retry: u32) {
        let outside = payload::StepRetried { message: String::new() };
        let leaf = event::StepRetried { step: 0, retry, due: at(0) };
        self.tell(Fact::StepRetried(leaf, Outside::Kept(outside)));
    }

    fn changed(&mut self, calls: u32) {
        let leaf =
            event::ReadingChanged { step: 0, calls, capability: "http".into(), function: "read".into() };
        let (before, now) = (Answer::Ok(json!(1).into()), Answer::Ok(json!(2).into()));
        let outside = payload::ReadingChanged { call: call("read", "x"), before, now };
        self.tell(Fact::ReadingChanged(leaf, Outside::Kept(outside)));
    }

    fn history(&self) -> History {
        History::of(&self.events, self.run.as_ref().unwrap(), 0)
    }

    fn past(&self, now: i64, resends: &[Resend]) -> Past {
        self.history().past(&self.run.as_ref().unwrap().steps[0], at(now), resends)
    }
}

/// The calls as `url/index`.
fn listed(calls: &[Recorded]) -> Vec<String> {
    let name = |call: &Recorded| {
        let index = call.index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        format!("{}/{index}", call.call.arguments["url"].as_str().unwrap())
    };
    calls.iter().map(name).collect()
}

#[test]
fn what_was_done_is_replayed_in_order_and_old_readings_are_told_apart() {
    let mut story = Story::of(&["a", "b"]);
    story.read("r", 1, 90);
    story.intended(0, "a", "key-a", 80);
    story.settled(0, EffectStatus::Done);
    story.read("s", 1, 70);
    for (now, old) in [(63, 0), (64, 1), (65, 2), (66, 2), (67, 3)] {
        let past = story.past(now, &[]);
        assert_eq!(listed(&past.replay), ["r/-", "a/0", "s/-"]);
        assert_eq!((past.resume.old, past.resume.epoch, past.resume.outside), (old, 0, 0), "at {now}");
        assert!(past.resume.done.is_empty() && past.resume.again.is_none());
    }
}

#[test]
fn every_sending_of_an_effect_is_one_call_and_is_counted() {
    let mut story = Story::of(&["a"]);
    story.read("r", 1, 90);
    story.intended(0, "a", "key-a", 80);
    story.settled(0, EffectStatus::Unknown);
    story.intended(0, "a", "key-a", 80);
    let doubt = story.history().doubt(0).unwrap();
    assert_eq!((doubt.sends, doubt.repeat, doubt.before), (2, Repeat::Repeatable, Some(json!("before"))));
    let stuck = story.past(10, &[]);
    assert_eq!(
        (listed(&stuck.replay), stuck.replay[1].answer.is_none()),
        (vec!["r/-".to_owned(), "a/0".to_owned()], true)
    );
    let resend = Resend { step: 0, effect: 0, undone: true };
    let past = story.past(10, &[resend]);
    assert_eq!(listed(&past.replay), ["r/-"]);
    let again = past.resume.again.unwrap();
    assert_eq!((again.index, again.sends, again.undone, again.call), (0, 2, true, call("send", "a")));
    story.settled(0, EffectStatus::Done);
    assert!(story.history().doubt(0).is_none(), "what is known is in no doubt");
}

#[test]
fn behind_a_changed_reading_what_was_done_is_kept_and_nothing_else() {
    let mut story = Story::of(&["a", "b"]);
    story.read("r", 1, 90);
    story.read("s", 1, 85);
    story.intended(0, "a", "key-a", 80);
    story.settled(0, EffectStatus::Done);
    story.intended(1, "b", "key-b", 70);
    story.settled(1, EffectStatus::Failed);
    story.changed(1);
    story.parked();
    story.planned(&["c", "a"], true);
    let past = story.past(20, &[]);
    assert_eq!(listed(&past.replay), ["r/-"]);
    assert_eq!(
        listed(&past.resume.done),
        ["a/1"],
        "in the place of the new plan; what failed may be tried again"
    );
    assert_eq!((past.resume.epoch, past.resume.outside), (1, 1), "b was tried and is outside the plan now");

    // What is done under the new plan has another key, though it has the place of an earlier effect.
    story.permitted();
    story.read("s", 2, 85);
    story.intended(0, "c", "key-c", 60);
    story.settled(0, EffectStatus::Done);
    let past = story.past(20, &[]);
    assert_eq!(listed(&past.replay), ["r/-", "s/-", "c/0"]);
    assert_eq!(listed(&past.resume.done), ["a/1"]);
}

#[test]
fn nothing_is_replayed_behind_what_was_removed() {
    let mut story = Story::of(&["a"]);
    story.read("r", 1, 90);
    story.read("s", 1, 85);
    story.read("t", 1, 80);
    let place = story.events.len() - 2;
    if let Fact::ReadingMade(_, outside) = &mut story.events[place].fact {
        *outside = Outside::Removed;
    }
    assert_eq!(listed(&story.past(20, &[]).replay), ["r/-"]);
}

#[test]
fn a_step_that_is_tried_again_does_its_last_effect_again_and_no_other() {
    let mut story = Story::of(&["a", "b"]);
    story.read("r", 1, 90);
    for (effect, url) in [(0, "a"), (1, "b"), (2, "outside")] {
        story.intended(effect, url, &format!("key-{url}"), 80);
        story.settled(effect, EffectStatus::Done);
    }
    story.retried(1);
    let past = story.past(20, &[]);
    assert!(past.replay.is_empty(), "the plugin is asked anew from its beginning");
    assert_eq!(listed(&past.resume.done), ["a/0", "b/1"]);
    assert_eq!(past.resume.sent_again, [(2, call("send", "outside"))], "with its number, and so its key");
    assert_eq!(past.resume.epoch, 0, "the keys are those of the same plan");

    // The second try comes to the first effect outside the plan and fails there: a power cut replays it.
    story.intended(2, "outside", "key-outside", 80);
    story.settled(2, EffectStatus::Failed);
    let past = story.past(20, &[]);
    assert_eq!(listed(&past.replay), ["outside/2"]);
    assert_eq!(
        (listed(&past.resume.done), past.resume.sent_again.len()),
        (vec!["a/0".to_owned(), "b/1".to_owned()], 0)
    );

    // The third try sends that again, and what came before it stays done.
    story.retried(2);
    let past = story.past(20, &[]);
    assert_eq!((past.replay.len(), listed(&past.resume.done).len(), past.resume.sent_again.len()), (0, 2, 1));
}

#[test]
fn what_takes_a_step_back_has_a_history_of_its_own() {
    let mut story = Story::of(&["a"]);
    story.intended(0, "a", "key-a", 80);
    story.settled(0, EffectStatus::Done);
    let answers = story.history();
    let answers: Vec<_> = answers.answers().collect();
    assert_eq!(answers, [(0, &Answer::Ok(json!("done").into()))]);
    let run = story.run.as_ref().unwrap();
    let undo = History::of(&story.events, run, Run::undo_number(0));
    assert!(undo.past(&run.steps[0], at(20), &[]).replay.is_empty());
}
