//! How much one message may hold.

/// Bounds on one message; what is over a bound is refused, never cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body.
    pub body: usize,
    /// Alerts in one message.
    pub alerts: usize,
    /// Arrays and objects inside each other.
    pub depth: usize,
    /// JSON values of any kind: each costs memory even when nothing reads it.
    pub values: usize,
    /// Labels of one alert.
    pub labels: usize,
    /// Annotations of one alert.
    pub annotations: usize,
    /// Bytes of a label's or annotation's name.
    pub name: usize,
    /// Bytes of a label's value, a fingerprint, a service or a target.
    pub label_value: usize,
    /// Bytes of an annotation's value, a title or a description.
    pub text: usize,
    /// Bytes of a link. A longer one is left out: a link is a comfort, not worth losing an alert.
    pub link: usize,
    /// Links of one alert.
    pub links: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: Self::BODY,
            alerts: 1_000,
            depth: 32,
            values: 262_144,
            labels: 64,
            annotations: 64,
            name: 256,
            label_value: 4 * 1024,
            text: 16 * 1024,
            link: 8 * 1024,
            links: 16,
        }
    }
}

impl Limits {
    /// Bytes of a body, unless the source says otherwise: 4 MiB.
    pub const BODY: usize = 4 * 1024 * 1024;
    /// The most that a source may allow itself: 64 MiB.
    pub const BODY_CEILING: usize = 64 * 1024 * 1024;
}
