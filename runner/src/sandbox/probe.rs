//! Probes: what the host itself looks at, before a run acts and after, under grants of the operator's own.
//!
//! A probe is a reading like any other: the same patterns, the same checks of addresses, the same bounds. Only
//! nobody but the host asks.

use std::time::Duration;

use staunch_core::effect::CallError;
use staunch_core::policy::ReadyProbe;
use staunch_core::policy::runbook::sequence::{FilledRequest, ReadyRequest, Walk};
use staunch_core::run::ProbeAnswer;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Sandbox;
use super::broker::{Failure, Function, Site};
use super::cap::http::{Read, Request, RequestRecord};
use super::cap::service::{Status, Unit};
use super::grants::{GrantError, Grants, PatternMap};

/// What probes are in refusals.
const OWNER: &str = "probes";

/// The capability that only probes have: `tcp: { connect: ['web-7:8080'] }`.
const TCP: &str = "tcp";

/// What one look gave.
#[derive(Debug)]
pub struct Looked {
    /// The answer.
    pub answer: ProbeAnswer,
    /// A sentence for people.
    pub detail: String,
    /// Whether nobody answered at all: whatever was asked hangs, refuses or is not there.
    pub silent: bool,
}

impl Looked {
    fn told(answer: ProbeAnswer, detail: String) -> Self {
        Self { answer, detail, silent: false }
    }
}

/// Whether a look that failed got no answer; one that was too much of one is an answer.
fn is_silent(failure: &Failure) -> bool {
    !matches!(failure.error.code.as_str(), "response-too-large" | "invalid-argument")
}

/// What probes may look at.
#[derive(Debug, Default)]
pub struct ProbeGrants {
    grants: Grants,
    /// `HOST:PORT`; `*` stands for any characters but `:`.
    tcp: Vec<(String, String)>,
}

impl ProbeGrants {
    /// Compiles `probes:` of the configuration.
    ///
    /// # Errors
    /// At the first unknown name or wrong pattern.
    pub fn compile(map: &PatternMap) -> Result<Self, GrantError> {
        let mut rest = map.clone();
        let mut tcp = Vec::new();
        for (function, patterns) in rest.remove(TCP).unwrap_or_default() {
            if function != "connect" {
                return Err(GrantError::UnknownFunction { capability: TCP.to_owned(), name: function });
            }
            for pattern in patterns {
                let bad = || GrantError::BadPattern {
                    capability: TCP.to_owned(),
                    function: "connect".to_owned(),
                    pattern: pattern.clone(),
                    problem: "HOST:PORT is valid".to_owned(),
                };
                let (host, port) = pattern.rsplit_once(':').ok_or_else(bad)?;
                if host.is_empty() || (port != "*" && port.parse::<u16>().is_err()) {
                    return Err(bad());
                }
                tcp.push((host.to_owned(), port.to_owned()));
            }
        }
        Ok(Self { grants: Grants::own(OWNER, &rest)?, tcp })
    }

    fn tcp(&self, address: &str) -> Result<(), String> {
        let allowed = address.rsplit_once(':').is_some_and(|(host, port)| {
            self.tcp.iter().any(|(wanted, number)| {
                (wanted == "*" || wanted.eq_ignore_ascii_case(host)) && (number == "*" || number == port)
            })
        });
        if allowed {
            return Ok(());
        }
        Err(format!("no grant allows it; to allow it: probes: {{ tcp: {{ connect: ['{address}'] }} }}"))
    }
}

impl Sandbox {
    /// As [`Sandbox::look_at`], for whom it does not matter whether anybody answered.
    pub async fn probe(
        &self,
        probe: &ReadyProbe,
        grants: &ProbeGrants,
        host: Option<&str>,
        within: Duration,
    ) -> (ProbeAnswer, String) {
        let looked = self.look_at(probe, grants, host, within).await;
        (looked.answer, looked.detail)
    }

    /// Looks once, for no longer than `within`. The answer comes with a sentence for people.
    ///
    /// `host` is the host that the run's target denotes: units are looked at there. Probes of plugins and of
    /// alerts are not the sandbox's to make, and give no answer here.
    pub async fn look_at(
        &self,
        probe: &ReadyProbe,
        grants: &ProbeGrants,
        host: Option<&str>,
        within: Duration,
    ) -> Looked {
        let deadline = Instant::now() + within;
        match probe {
            ReadyProbe::Http { url, method, status, body_contains } => {
                self.probe_http((method, url), (*status, body_contains.as_deref()), grants, deadline).await
            }
            ReadyProbe::Sequence { requests } => self.probe_sequence(requests, grants, deadline).await,
            ReadyProbe::Tcp { address } => probe_tcp(address, grants, deadline).await,
            ReadyProbe::Service { unit, state } => {
                self.probe_service((unit, state), grants, host, deadline).await
            }
            ReadyProbe::AlertResolved {} | ReadyProbe::Plugin {} => {
                Looked::told(ProbeAnswer::NoAnswer, "the host cannot look at this".to_owned())
            }
        }
    }

    async fn probe_http(
        &self,
        (method, url): (&str, &str),
        (status, body_contains): (Option<u16>, Option<&str>),
        grants: &ProbeGrants,
        deadline: Instant,
    ) -> Looked {
        let subject = format!("{method} {url}");
        let record = RequestRecord {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        };
        let response = match self.ask_http(record, &subject, grants, deadline).await {
            Ok(response) => response,
            Err(answer) => return answer,
        };
        let right_status = match status {
            Some(wanted) => response.status == wanted,
            None => (200..300).contains(&response.status),
        };
        let body = String::from_utf8_lossy(&response.body);
        let right_body = body_contains.is_none_or(|wanted| body.contains(wanted));
        let answer = if right_status && right_body { ProbeAnswer::Passed } else { ProbeAnswer::Failed };
        let about_body = if right_body { "" } else { ", and its body lacks what it must contain" };
        Looked::told(answer, format!("{subject} answered {}{about_body}", response.status))
    }

    /// Makes one request; its response, or what the probe answers that got none.
    async fn ask_http(
        &self,
        record: RequestRecord,
        subject: &str,
        grants: &ProbeGrants,
        deadline: Instant,
    ) -> Result<<Read as Function>::Output, Looked> {
        let read = Request::new(record).map(Read).map_err(|error| no_answer(subject, &error))?;
        self.look(&read, grants, deadline).await.map_err(|look| match look {
            Look::Refused(error) => no_answer(subject, &error),
            // A target that does not answer is broken: that is what a health check is for.
            Look::Failed(failure) => Looked {
                silent: is_silent(&failure),
                ..Looked::told(ProbeAnswer::Failed, format!("{subject}: {}", failure.error.message))
            },
        })
    }

    /// Request after request, each a reading of its own under the same grants.
    async fn probe_sequence(
        &self,
        requests: &[ReadyRequest],
        grants: &ProbeGrants,
        deadline: Instant,
    ) -> Looked {
        let mut walk = Walk::new(requests);
        let mut number = 0;
        while let Some(FilledRequest { method, url, headers }) = walk.request() {
            number += 1;
            // Not the address: a value that was taken out of an answer may be in it.
            let subject = format!("request {number} of {}", requests.len());
            let record = RequestRecord { method, url, headers, body: None, timeout_ms: None };
            let response = match self.ask_http(record, &subject, grants, deadline).await {
                Ok(response) => response,
                Err(answer) => return answer,
            };
            if let Err(why) = walk.answered(response.status, &response.headers, &response.body) {
                return Looked::told(ProbeAnswer::Failed, format!("{subject} {why}"));
            }
        }
        Looked::told(ProbeAnswer::Passed, format!("all {} requests of the sequence passed", requests.len()))
    }

    async fn probe_service(
        &self,
        (unit, wanted): (&str, &str),
        grants: &ProbeGrants,
        host: Option<&str>,
        deadline: Instant,
    ) -> Looked {
        let subject = format!("unit {unit}");
        if host.is_none() {
            let message = format!("{subject}: the run's target is no name of a host in `hosts:`");
            return Looked::told(ProbeAnswer::NoAnswer, message);
        }
        let status = match Unit::new(unit.to_owned()).map(Status) {
            Ok(status) => status,
            Err(error) => return no_answer(&subject, &error),
        };
        match self.look(&status, grants, deadline).await {
            Ok(status) => {
                let answer = if status.active == wanted { ProbeAnswer::Passed } else { ProbeAnswer::Failed };
                Looked::told(answer, format!("{subject} is {}", status.active))
            }
            Err(Look::Refused(error)) => no_answer(&subject, &error),
            // Without the service manager nothing is known of its units.
            Err(Look::Failed(failure)) => {
                Looked { silent: is_silent(&failure), ..no_answer(&subject, &failure.error) }
            }
        }
    }

    async fn look<F: Function>(
        &self,
        function: &F,
        grants: &ProbeGrants,
        deadline: Instant,
    ) -> Result<F::Output, Look> {
        let leave = function.authorise(&grants.grants).map_err(Look::Refused)?;
        let site = Site { world: &self.world, leave: &leave, deadline, key: None };
        match timeout_at(deadline, function.perform(site)).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(failure)) if failure.error.is_denial() => Err(Look::Refused(failure.error)),
            Ok(Err(failure)) => Err(Look::Failed(failure)),
            Err(_) => Err(Look::Failed(Failure::known("timeout", "no answer in time", true))),
        }
    }
}

/// Why a look gave nothing.
enum Look {
    Refused(CallError),
    Failed(Failure),
}

fn no_answer(subject: &str, error: &CallError) -> Looked {
    Looked::told(ProbeAnswer::NoAnswer, format!("{subject}: {}", error.message))
}

async fn probe_tcp(address: &str, grants: &ProbeGrants, deadline: Instant) -> Looked {
    if let Err(message) = grants.tcp(address) {
        return Looked::told(ProbeAnswer::NoAnswer, format!("tcp {address}: {message}"));
    }
    match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Looked::told(ProbeAnswer::Passed, format!("tcp {address} is open")),
        Ok(Err(error)) => {
            Looked { silent: true, ..Looked::told(ProbeAnswer::Failed, format!("tcp {address}: {error}")) }
        }
        Err(_) => Looked {
            silent: true,
            ..Looked::told(ProbeAnswer::Failed, format!("tcp {address}: no answer in time"))
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn map(capability: &str, function: &str, pattern: &str) -> PatternMap {
        let functions = BTreeMap::from([(function.to_owned(), vec![pattern.to_owned()])]);
        BTreeMap::from([(capability.to_owned(), functions)])
    }

    #[test]
    fn denies_connections_outside_its_grants() {
        let grants = ProbeGrants::compile(&map("tcp", "connect", "web-7:8080")).unwrap();
        assert!(grants.tcp("WEB-7:8080").is_ok());
        for address in ["web-7:81", "web-8:8080", "web-7", ""] {
            assert!(grants.tcp(address).is_err(), "{address}");
        }
        assert!(ProbeGrants::default().tcp("web-7:8080").is_err());
    }

    #[test]
    fn refuses_wrong_patterns_by_name() {
        for (function, pattern) in
            [("connect", "web-7"), ("connect", ":80"), ("connect", "a:99999"), ("listen", "a:1")]
        {
            assert!(ProbeGrants::compile(&map("tcp", function, pattern)).is_err(), "{function} {pattern}");
        }
    }
}
