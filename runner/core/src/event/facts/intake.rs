//! What comes in: deliveries and their alerts.

macro_rules! facts_of_intake {
    ([$next:ident $(, $rest:ident)*] $($before:tt)*) => { $next! { [$($rest),*] $($before)*

    /// A source delivered a body.
    Delivered = "delivered" {
        leaf {
            /// The source's name in the configuration.
            source: String,
            /// Digest of the body.
            body_digest: Digest,
            /// How many alerts it held.
            alerts: u32,
        }
        payload {
            /// The body, as text where it is UTF-8.
            body: String,
        }
    }
    /// A delivery was refused: not authentic, malformed, too large.
    DeliveryRefused = "delivery-refused" {
        leaf {
            /// The source's name in the configuration, if it is one.
            source: Option<String>,
            /// The problem's code.
            code: String,
        }
        payload {
            /// The problem in a sentence.
            message: String,
        }
    }
    /// An alert fires for the first time, or again after it was over.
    AlertReceived = "alert-received" {
        leaf {
            /// The source's name in the configuration.
            source: String,
            /// Firing or resolved.
            status: Status,
            /// How bad.
            severity: Severity,
        }
        payload {
            /// The alert.
            alert: Arc<Alert>,
            /// What was decided about it at once.
            decisions: Vec<Decision>,
            /// The runs that were made for it.
            runs: Vec<RunId>,
        }
    }
    /// The same firing was delivered again.
    AlertRepeated = "alert-repeated" {
        leaf {}
        payload {
            /// What was decided about it now.
            decisions: Vec<Decision>,
            /// The runs that were made for it now.
            runs: Vec<RunId>,
        }
    }
    /// A window or silence ended, and a match that was lost to it was tried again.
    AlertTakenUp = "alert-taken-up" {
        leaf {}
        payload {
            /// What was decided about it now.
            decisions: Vec<Decision>,
            /// The runs that were made for it now.
            runs: Vec<RunId>,
        }
    }
    /// The alert is over.
    AlertResolved = "alert-resolved" {
        leaf {
            /// When, by the sender.
            ends_at: Option<DateTime<Utc>>,
        }
        payload {}
    }
    /// The alert was not heard of for too long.
    AlertStale = "alert-stale" { leaf {} payload {} }

    } };
}
