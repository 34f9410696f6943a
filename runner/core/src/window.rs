//! Windows: maintenance, change freezes and business hours, as `windows.yaml` has them.
//!
//! A window only ever takes away: maintenance and a freeze refuse automation, business hours make it ask. Where
//! several cover a run, the strictest holds. Never here: what is done about a refusal, and the clock.
//!
//! When each window is open is looked up in an [`Outlook`], which holds for each the span that is open or comes
//! next. It is a cache and no more: where it does not reach, the answer is computed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use regex::Regex;

use crate::decision::{Code, Decision, Outcome, Stage};
use crate::policy::facts::Autonomy;
use crate::policy::matcher::Matcher;

mod read;
mod recurrence;

pub use recurrence::{MOST_COUNTED, Recurrence};

/// The file that windows stand in.
pub const FILE: &str = "windows.yaml";

/// The most windows.
pub const MOST_WINDOWS: usize = 256;

/// A time span: `from` belongs to it, `until` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

impl Span {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && at < self.until
    }
}

/// What a window does to the runs that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Automation and notification are suppressed while it is open.
    Maintenance,
    /// While it is open, only what is marked safe acts.
    Freeze,
    /// It lowers autonomy to what is said for inside, and for outside, of it: `approve`, or no change.
    BusinessHours {
        /// The most autonomy while it is open.
        inside: Autonomy,
        /// The most autonomy while it is not.
        outside: Autonomy,
    },
}

impl Kind {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Freeze => "freeze",
            Self::BusinessHours { .. } => "business-hours",
        }
    }
}

/// When a window is open.
#[derive(Debug, Clone)]
enum When {
    Absolute(Span),
    Recurring(Recurrence),
}

impl When {
    fn span(&self, now: DateTime<Utc>) -> Option<Span> {
        match self {
            Self::Absolute(span) => (now < span.until).then_some(*span),
            Self::Recurring(recurrence) => recurrence.span(now),
        }
    }
}

/// Names with `*` for any part of a segment and `**` for anything.
#[derive(Debug, Clone)]
struct Globs(Vec<Regex>);

impl Globs {
    fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.is_match(name))
    }
}

/// Which runs a window covers. What is not said covers all.
#[derive(Debug, Clone, Default)]
struct Cover {
    matchers: Vec<Matcher>,
    targets: Option<Globs>,
    runbooks: Option<Globs>,
    plugins: Option<Globs>,
}

impl Cover {
    /// A run without a target could be about any.
    fn covers(&self, subject: &Subject<'_>) -> bool {
        let target = |globs: &Globs| subject.target.is_none_or(|target| globs.fit(target));
        let plugins = |globs: &Globs| subject.plugins.iter().any(|plugin| globs.fit(plugin));
        self.runbooks.as_ref().is_none_or(|globs| globs.fit(subject.runbook))
            && self.targets.as_ref().is_none_or(target)
            && self.plugins.as_ref().is_none_or(plugins)
            && self.matchers.iter().all(|matcher| matcher.matches(subject.labels))
    }
}

/// One window.
#[derive(Debug, Clone)]
pub struct Window {
    /// Its name.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// What it does.
    pub kind: Kind,
    when: When,
    cover: Cover,
    except: Option<Globs>,
}

/// What a window may cover: a run, or one that is about to be.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The labels of its alert, or of the request that starts it.
    pub labels: &'a BTreeMap<String, String>,
    /// Its canonical target. `None` where it has none: then every window over targets covers it.
    pub target: Option<&'a str>,
    /// Its runbook.
    pub runbook: &'a str,
    /// The plugins of its steps.
    pub plugins: &'a [&'a str],
    /// Whether its runbook says `safe: true`.
    pub safe: bool,
}

/// A window that has a say about a run now.
#[derive(Debug, Clone, Copy)]
pub struct InForce<'w> {
    /// The window.
    pub window: &'w Window,
    /// Whether it is open; business hours have a say outside of it, too.
    pub inside: bool,
    /// Why the run passes the freeze all the same.
    pub passes: Option<&'static str>,
    /// When this ends, or is to be looked at again. `None`: never.
    pub until: Option<DateTime<Utc>>,
}

/// All windows of an installation.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    windows: Vec<Window>,
}

/// For each window the span that is open, or comes next, as seen from one instant on. Good until any of them
/// ends; older or younger questions are answered too, only slower.
#[derive(Debug, Clone)]
pub struct Outlook {
    seen_at: DateTime<Utc>,
    spans: Vec<Option<Span>>,
}

impl Outlook {
    /// Whether the answers for `now` come from here. When not, the shell makes a new one.
    #[must_use]
    pub fn reaches(&self, now: DateTime<Utc>) -> bool {
        self.seen_at <= now && self.spans.iter().flatten().all(|span| now < span.until)
    }
}

impl Windows {
    /// The windows, in the order of the file.
    #[must_use]
    pub fn all(&self) -> &[Window] {
        &self.windows
    }

    /// A window by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Window> {
        self.windows.iter().find(|window| window.name == name)
    }

    /// What is open, or comes next, from now on. Some microseconds to a millisecond a window.
    #[must_use]
    pub fn outlook(&self, now: DateTime<Utc>) -> Outlook {
        Outlook { seen_at: now, spans: self.windows.iter().map(|window| window.when.span(now)).collect() }
    }

    fn span(&self, outlook: &Outlook, index: usize, now: DateTime<Utc>) -> Option<Span> {
        match outlook.spans.get(index) {
            Some(None) if outlook.seen_at <= now => None,
            Some(Some(span)) if outlook.seen_at <= now && now < span.until => Some(*span),
            _ => self.windows[index].when.span(now),
        }
    }

    /// The windows that have a say about a run now, in the order of the file.
    #[must_use]
    pub fn in_force(&self, outlook: &Outlook, now: DateTime<Utc>, subject: &Subject<'_>) -> Vec<InForce<'_>> {
        let each = self.windows.iter().enumerate();
        each.filter_map(|(index, window)| window.say(self.span(outlook, index, now), now, subject)).collect()
    }

    /// The first of the named windows that is open at an instant, whatever it covers: for calendars of schedules.
    #[must_use]
    pub fn open_at(&self, names: &[String], at: DateTime<Utc>) -> Option<&Window> {
        let named = self.windows.iter().filter(|window| names.contains(&window.name));
        named.into_iter().find(|window| window.when.span(at).is_some_and(|span| span.holds(at)))
    }

    /// When a window opens or closes next: what was suppressed is then looked at again.
    #[must_use]
    pub fn next_change(&self, outlook: &Outlook, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let spans = (0..self.windows.len()).filter_map(|index| self.span(outlook, index, now));
        spans.map(|span| if span.from > now { span.from } else { span.until }).min()
    }
}

impl Window {
    fn say(&self, span: Option<Span>, now: DateTime<Utc>, subject: &Subject<'_>) -> Option<InForce<'_>> {
        let inside = span.is_some_and(|span| span.holds(now));
        let speaks = match self.kind {
            Kind::Maintenance | Kind::Freeze => inside,
            Kind::BusinessHours { inside: most, .. } if inside => most < Autonomy::Automatic,
            Kind::BusinessHours { outside, .. } => outside < Autonomy::Automatic,
        };
        if !speaks || !self.cover.covers(subject) {
            return None;
        }
        let excepted = self.except.as_ref().is_some_and(|globs| globs.fit(subject.runbook));
        let passes = match self.kind {
            Kind::Freeze if subject.safe => Some("the runbook is marked safe"),
            Kind::Freeze if excepted => Some("the window excepts the runbook"),
            Kind::Freeze | Kind::Maintenance | Kind::BusinessHours { .. } => None,
        };
        let until = span.map(|span| if inside { span.until } else { span.from });
        Some(InForce { window: self, inside, passes, until })
    }
}

/// What the windows together say about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The most autonomy that they leave; `None` where one of them refuses.
    pub autonomy: Option<Autonomy>,
    /// Whether people and other systems are not told about the run: a maintenance window covers it.
    pub mute: bool,
    /// One decision a window; a single one when none has a say.
    pub decisions: Vec<Decision>,
}

/// What windows in force say about a run of `runbook`. `broken_glass` is who passes freezes, with a reason that
/// stands in the journal; maintenance cannot be passed so.
#[must_use]
pub fn rule(
    now: DateTime<Utc>,
    runbook: &str,
    in_force: &[InForce<'_>],
    broken_glass: Option<&str>,
) -> Ruling {
    let mut ruling = Ruling { autonomy: Some(Autonomy::Automatic), mute: false, decisions: Vec::new() };
    for say in in_force {
        let Window { name, kind, .. } = say.window;
        let until = say.until.map_or_else(String::new, |until| format!(" until {}", until.format("%FT%TZ")));
        let decision = match (kind, say.passes, broken_glass) {
            (Kind::Freeze, Some(why), _) => {
                Decision::pass(now, Stage::Window, runbook, format!("{why} and passes the freeze {name}"))
            }
            (Kind::Freeze, None, Some(by)) => {
                let message = format!("{by} broke the glass: it passes the freeze {name}");
                Decision::new(now, Stage::Window, runbook, Outcome::Pass, Code::GlassBroken, message)
            }
            (Kind::BusinessHours { .. }, ..) => {
                ruling.autonomy = ruling.autonomy.map(|autonomy| autonomy.min(Autonomy::Approve));
                let side = if say.inside { "inside" } else { "outside" };
                let message = format!("people must approve {side} of {name}{until}");
                Decision::ask(now, Stage::Window, runbook, Code::Window, message)
            }
            (Kind::Maintenance | Kind::Freeze, ..) => {
                ruling.autonomy = None;
                ruling.mute |= *kind == Kind::Maintenance;
                let message = format!("the {} window {name} covers it{until}", kind.as_str());
                Decision::refuse(now, Stage::Window, runbook, Code::Window, message)
            }
        };
        ruling.decisions.push(decision);
    }
    if in_force.is_empty() {
        ruling.decisions.push(Decision::pass(now, Stage::Window, runbook, "no window covers it"));
    }
    ruling
}

#[cfg(test)]
mod tests;
