//! Breakers in front of probes: one for each endpoint that probes look at.
//!
//! What counts is silence, not sickness: an endpoint that answers is well enough to be asked, whatever it says. A run
//! counts against the breaker when the endpoint never answered while its recovery was watched; while the breaker is
//! open, its probes give no answer, at once. Silence before the fix says nothing: it may be what the alert is about.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use staunch_core::breaker::{Grade, State};
use staunch_core::id::RunId;
use staunch_core::policy::ReadyProbe;
use staunch_core::policy::runbook::sequence::Walk;
use staunch_core::run::{ProbeAnswer, Run};
use url::Url;

use super::{Breakers, Change, Whose, changed, has_room, lock, of};
use crate::pipeline::shared::Shared;
use crate::pipeline::verification::LOOK;

/// What stands before the endpoint in the name of such a breaker; no plugin can be called so.
pub(super) const PROBE: &str = "probe:";

/// What runs have in common that count against it.
const SILENT: &str = "got no answer from it";

/// Longest endpoint, in bytes: further ones have no breaker.
const MOST_BYTES: usize = 512;

/// What a probe asks, as far as that can be silent; `None` where nobody is asked.
fn endpoint(probe: &ReadyProbe, host: Option<&str>) -> Option<String> {
    let endpoint = match probe {
        ReadyProbe::Http { url, .. } => origin(url)?,
        ReadyProbe::Sequence { requests } => origin(&Walk::new(requests).request()?.url)?,
        ReadyProbe::Tcp { address } => format!("tcp://{address}"),
        ReadyProbe::Service { .. } => format!("service://{}", host?),
        ReadyProbe::AlertResolved {} | ReadyProbe::Plugin {} => return None,
    };
    (endpoint.len() <= MOST_BYTES).then_some(endpoint)
}

fn origin(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.host().map(|_| url.origin().ascii_serialization())
}

/// The endpoint that a person means: as it is listed, or an address below it.
pub(super) fn named(text: &str) -> Option<String> {
    let other = |scheme| text.strip_prefix(scheme).is_some_and(|rest: &str| !rest.is_empty());
    let named = if other("tcp://") || other("service://") { Some(text.to_owned()) } else { origin(text) };
    named.filter(|endpoint| endpoint.len() <= MOST_BYTES)
}

impl Whose {
    fn probe(endpoint: String) -> Self {
        Self { plugin: PROBE.to_owned(), target: Some(endpoint) }
    }

    /// The endpoint, where it is the breaker of one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.target.as_deref().filter(|_| self.plugin == PROBE)
    }
}

/// The breakers of all endpoints that the probes of a run look at.
pub(super) fn of_run(run: &Run) -> impl Iterator<Item = Whose> {
    let probes = run.verify.iter().flat_map(|verify| &verify.probes);
    let endpoints: BTreeSet<String> =
        probes.filter_map(|probe| endpoint(probe, run.host.as_deref())).collect();
    endpoints.into_iter().map(Whose::probe)
}

impl Breakers {
    /// Lets a run look at an endpoint; where its breaker is half-open, the run takes the one trial, and a drill takes
    /// none.
    fn look(&self, now: DateTime<Utc>, run: &Run, whose: &Whose) -> Result<Option<Change>, String> {
        let mut table = lock(&self.table);
        let Some(breaker) = table.get_mut(whose) else { return Ok(None) };
        let closed = |why: String| format!("breaker {whose}: {why}");
        if run.drill.is_some() {
            return breaker.ask(now, &run.id).map(|_| None).map_err(|reason| closed(reason.message));
        }
        let before = breaker.state().clone();
        let (_, moved) = breaker.begin(now, &run.id).map_err(|reason| closed(reason.message))?;
        let why = moved.map_or_else(|| "a run tries".to_owned(), |moved| moved.why);
        Ok(changed(whose.clone(), &before, breaker, why))
    }

    /// Records whether an endpoint answered a run that watches it.
    fn looked(&self, now: DateTime<Utc>, run: &RunId, whose: &Whose, answered: bool) -> Option<Change> {
        let settings = self.settings();
        let mut table = lock(&self.table);
        // What answers and was never silent needs no memory.
        if !table.contains_key(whose) && (answered || !has_room(&mut table, &settings, now)) {
            return None;
        }
        let breaker = table.entry(whose.clone()).or_default();
        let before = breaker.state().clone();
        let grade = if answered { Grade::Good } else { Grade::Bad };
        let moved = breaker.record_as(&of(&settings, whose), now, (run, grade), SILENT);
        let why = moved.map_or_else(|| "the endpoint answered".to_owned(), |moved| moved.why);
        if before == *breaker.state() && !answered && matches!(before, State::Closed {}) {
            // No row of an ended run tells of silence: what a closed one remembers of it is an entry of its own.
            let (from, why) = (before.as_str(), format!("run {run} {SILENT}"));
            return Some(Change { whose: whose.clone(), from, why, by: None, breaker: breaker.clone() });
        }
        changed(whose.clone(), &before, breaker, why)
    }
}

/// Which endpoints answered while one run was watched, and which were asked.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Heard {
    asked: BTreeSet<Whose>,
    answered: BTreeSet<Whose>,
}

impl Shared {
    /// Looks once at what a probe of a run looks at, unless its breaker is open: then there is no answer. `heard` is
    /// what was heard since the watch began; none before it.
    pub(in crate::pipeline) async fn look_at(
        &self,
        run: &Run,
        probe: &ReadyProbe,
        heard: Option<&mut Heard>,
    ) -> (ProbeAnswer, String) {
        let whose = endpoint(probe, run.host.as_deref()).map(Whose::probe);
        let breakers = &self.books.breakers;
        match whose.as_ref().map(|whose| breakers.look(self.now(), run, whose)) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(change))) => self.note_probe(run, change).await,
            Some(Err(why)) => return (ProbeAnswer::NoAnswer, why),
        }
        let rules = self.rules();
        let looked = self.sandbox.look_at(probe, &rules.probes, run.host.as_deref(), LOOK).await;
        if let (Some(whose), Some(heard), None) = (whose, heard, &run.drill) {
            heard.asked.insert(whose.clone());
            if !looked.silent && heard.answered.insert(whose.clone()) {
                let change = breakers.looked(self.now(), &run.id, &whose, true);
                self.note_probes(run, change).await;
            }
        }
        (looked.answer, looked.detail)
    }

    /// Records, at the end of a watch, what never answered.
    pub(in crate::pipeline) async fn never_heard(&self, run: &Run, heard: &Heard) {
        for whose in heard.asked.difference(&heard.answered) {
            let change = self.books.breakers.looked(self.now(), &run.id, whose, false);
            self.note_probes(run, change).await;
        }
    }

    async fn note_probes(&self, run: &Run, change: Option<Change>) {
        if let Some(change) = change {
            self.note_probe(run, change).await;
        }
    }

    async fn note_probe(&self, run: &Run, change: Change) {
        if let Err(error) = self.scribe.submit(vec![change.line(&self.scribe, Some(run))]).await {
            // It holds nevertheless, until a restart: the verdict is worth more than the note.
            tracing::error!(run.id = %run.id, error = %error, "a breaker's change is not in the journal");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_one_endpoint_share_a_breaker() {
        let http = |url: &str| ReadyProbe::Http {
            url: url.to_owned(),
            method: "GET".to_owned(),
            status: None,
            body_contains: None,
        };
        for (probe, wanted) in [
            (http("http://Shop:80/healthz?x=1"), Some("http://shop")),
            (http("http://shop/other"), Some("http://shop")),
            (http("https://shop:8443/"), Some("https://shop:8443")),
            (http("nonsense"), None),
            (ReadyProbe::Tcp { address: "shop:22".to_owned() }, Some("tcp://shop:22")),
            (ReadyProbe::AlertResolved {}, None),
            (ReadyProbe::Plugin {}, None),
        ] {
            assert_eq!(endpoint(&probe, None).as_deref(), wanted, "{probe:?}");
        }
        let unit = ReadyProbe::Service { unit: "web.service".to_owned(), state: "active".to_owned() };
        assert_eq!(endpoint(&unit, Some("web-7")).as_deref(), Some("service://web-7"));
        assert_eq!(endpoint(&unit, None), None);
    }

    #[test]
    fn names_of_breakers_of_probes_are_read_as_they_are_written() {
        for (text, wanted) in [
            ("probe:http://shop:8080", Some("probe:http://shop:8080")),
            ("probe:http://shop:8080/healthz", Some("probe:http://shop:8080")),
            ("probe:tcp://shop:22", Some("probe:tcp://shop:22")),
            ("probe:service://web-7", Some("probe:service://web-7")),
            ("probe:", None),
            ("probe:tcp://", None),
            ("probe:shop", None),
        ] {
            assert_eq!(text.parse().ok().map(|whose: Whose| whose.to_string()).as_deref(), wanted, "{text}");
        }
        assert_eq!("p@t".parse::<Whose>().unwrap().endpoint(), None);
    }
}
