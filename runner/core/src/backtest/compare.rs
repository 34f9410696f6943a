//! The same alerts under two sets of policies: which of them are decided otherwise, and why.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Asked, Backtest, Decided, Heard, Judged, Rehearsed, Summary, World};
use crate::alert::Alert;
use crate::decision::{Code, Decision, Outcome, Stage};

/// An alert that is decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What comes of it under the first policies; `None`: they do not try it at this time.
    pub before: Option<Judged>,
    /// What comes of it under the second ones.
    pub after: Option<Judged>,
    /// What the first policies say about it and the second ones do not.
    pub no_longer: Vec<Decision>,
    /// What the second policies say about it and the first ones do not.
    pub instead: Vec<Decision>,
}

/// Two backtests side by side.
#[derive(Debug)]
pub struct Comparison<'a> {
    before: Backtest<'a>,
    after: Backtest<'a>,
    /// What the first policies come to.
    pub before_all: Summary,
    /// What the second policies come to.
    pub after_all: Summary,
    /// How many alerts are decided otherwise.
    pub different: u64,
}

impl<'a> Comparison<'a> {
    /// A comparison in which nothing has happened yet.
    #[must_use]
    pub fn new(before: World<'a>, after: World<'a>) -> Self {
        Self {
            before: Backtest::new(before),
            after: Backtest::new(after),
            before_all: Summary::default(),
            after_all: Summary::default(),
            different: 0,
        }
    }

    /// Hears an alert under both, and hands over what differs.
    pub fn hear(&mut self, at: DateTime<Utc>, alert: &Alert, sink: &mut dyn FnMut(&Alert, Difference)) {
        let mut before = listen(&mut self.before, &mut self.before_all, at, alert);
        let after = listen(&mut self.after, &mut self.after_all, at, alert);
        for (about, after) in after {
            let place = before.iter().position(|(other, judged)| {
                same_alert(other, &about) && (judged.heard, judged.at) == (after.heard, after.at)
            });
            let before = place.map(|place| before.remove(place).1);
            self.tell(&about, before, Some(after), sink);
        }
        for (about, judged) in before {
            self.tell(&about, Some(judged), None, sink);
        }
    }

    fn tell(
        &mut self,
        about: &Alert,
        before: Option<Judged>,
        after: Option<Judged>,
        sink: &mut dyn FnMut(&Alert, Difference),
    ) {
        if before.as_ref().map(outcome_of) == after.as_ref().map(outcome_of) {
            return;
        }
        self.different += 1;
        let only = |these: &Option<Judged>, those: &Option<Judged>| {
            let all = |judged: &Option<Judged>| -> Vec<Decision> {
                judged.as_ref().map(|judged| judged.decisions.clone()).unwrap_or_default()
            };
            let known = all(those);
            all(these)
                .into_iter()
                .filter(|said| !known.iter().any(|other| words(said) == words(other)))
                .collect()
        };
        let (no_longer, instead) = (only(&before, &after), only(&after, &before));
        sink(about, Difference { before, after, no_longer, instead });
    }
}

fn listen(
    backtest: &mut Backtest<'_>,
    all: &mut Summary,
    at: DateTime<Utc>,
    alert: &Alert,
) -> Vec<(Alert, Judged)> {
    let mut heard = Vec::with_capacity(1);
    backtest.hear(at, alert, &mut |about, judged| {
        all.note(&judged);
        heard.push((about.clone(), judged));
    });
    heard
}

fn same_alert(one: &Alert, other: &Alert) -> bool {
    one.fingerprint == other.fingerprint && one.source == other.source
}

/// What a decision says, whenever it was made.
fn words(said: &Decision) -> (Stage, &str, Outcome, Code, &str) {
    (said.stage, &said.subject, said.result, said.code, &said.message)
}

type Came<'j> = (&'j str, Option<&'j str>, Decided, Code, Option<&'j Asked>);

/// What came of an alert, without the words.
fn outcome_of(judged: &Judged) -> (Heard, Vec<Came<'_>>) {
    (judged.heard, judged.runbooks.iter().map(came).collect())
}

fn came(run: &Rehearsed) -> Came<'_> {
    (&run.runbook, run.target.as_deref(), run.decided, run.code, run.asked.as_ref())
}
