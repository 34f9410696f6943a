//! What holds runs back or brings them about: schedules, silences, breakers, halts.

macro_rules! facts_of_guards {
    ([$next:ident $(, $rest:ident)*] $($before:tt)*) => { $next! { [$($rest),*] $($before)*

    /// A runbook has a schedule from now on, or another one, or none any more.
    ScheduleSet = "schedule-set" {
        leaf {
            /// The runbook.
            runbook: String,
            /// The expression and its zone; none when it has no schedule any more.
            calendar: Option<String>,
            /// Times after this one run.
            from: DateTime<Utc>,
        }
        payload {}
    }
    /// A time of a schedule came, and a run was made for it.
    OccurrenceDue = "occurrence-due" {
        leaf {
            /// The runbook.
            runbook: String,
            /// Which time, and when it starts.
            occurrence: Occurrence,
            /// The run that was made for it.
            made: RunId,
        }
        payload {}
    }
    /// A time of a schedule passed without a run.
    OccurrenceMissed = "occurrence-missed" {
        leaf {
            /// The runbook.
            runbook: String,
            /// Which time, and when it would have started.
            occurrence: Occurrence,
            /// Why.
            code: Code,
        }
        payload {
            /// Why, in a sentence.
            message: String,
        }
    }
    /// A person made a silence.
    SilenceCreated = "silence-created" {
        leaf {
            /// Its id.
            id: SilenceId,
            /// Its first instant.
            starts_at: DateTime<Utc>,
            /// The first instant after it.
            ends_at: DateTime<Utc>,
        }
        payload {
            /// Which labels, in Alertmanager's syntax.
            matchers: Vec<String>,
            /// Who made it.
            by: String,
            /// Why.
            comment: String,
        }
    }
    /// A person ended a silence before its time.
    SilenceExpired = "silence-expired" {
        leaf {
            /// Its id.
            id: SilenceId,
        }
        payload {
            /// Who ended it.
            by: String,
        }
    }
    /// The state of a circuit breaker changed.
    BreakerChanged = "breaker-changed" {
        leaf {
            /// The plugin.
            plugin: String,
            /// The state that it left: `closed`, `open`, `half-open`.
            from: String,
            /// The state that it is in.
            to: String,
            /// The run whose beginning or end changed it.
            of_run: Option<RunId>,
        }
        payload {
            /// The target; `None`: the plugin's own breaker.
            target: Option<String>,
            /// Why.
            why: String,
            /// Who, where a person did it.
            by: Option<String>,
            /// The breaker as it is now.
            breaker: Breaker,
        }
    }
    /// Somebody threw the kill switch. Durable before they are told so.
    Halted = "halted" {
        leaf {
            /// Its id.
            halt: HaltId,
            /// What kind of thing it covers.
            scope: ScopeKind,
        }
        payload {
            /// What it covers.
            scope: Scope,
            /// Why.
            reason: String,
            /// Who.
            by: String,
        }
    }
    /// A halt is no longer in force.
    HaltReleased = "halt-released" {
        leaf {
            /// Its id.
            halt: HaltId,
        }
        payload {
            /// Who released it.
            by: String,
            /// Why.
            reason: Option<String>,
        }
    }
    /// The file that halts everything was seen.
    HaltFileSeen = "halt-file-seen" {
        leaf {}
        payload {
            /// Its first line.
            reason: Option<String>,
        }
    }
    /// The file that halts everything is gone.
    HaltFileGone = "halt-file-gone" { leaf {} payload {} }

    } };
}
