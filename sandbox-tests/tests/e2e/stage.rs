//! What most of these tests need: a shop that breaks, and an installation whose runbooks restart it by one POST.

use sandbox_tests::installation::Installation;
use sandbox_tests::target::Target;

/// The alert that leads to a restart.
pub(crate) const ALERT: &str = "ShopDown";

/// A shop and an installation that may restart it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) target: Target,
    pub(crate) home: Installation,
}

impl Stage {
    /// Sets the stage without a runbook; `None` where the plugin is not built.
    pub(crate) fn bare() -> Option<Self> {
        let target = Target::broken();
        let mut home = Installation::with(&["http-request"])?;
        home.grants
            .push(format!("http-request: {{ http: {{ send: ['POST http://{}/**'] }} }}", target.address()));
        home.probes = format!("http: {{ read: ['GET http://{}/healthz'] }}", target.address());
        home.configure();
        Some(Self { target, home })
    }

    /// Sets the stage with one runbook `restart-shop` of this autonomy, verified by the shop's health.
    pub(crate) fn set(autonomy: &str) -> Option<Self> {
        Self::set_with(autonomy, "")
    }

    /// As [`Stage::set`], with further members of the runbook.
    pub(crate) fn set_with(autonomy: &str, more: &str) -> Option<Self> {
        let stage = Self::bare()?;
        let verify = stage.verify();
        stage.runbook("restart-shop", ALERT, autonomy, &format!("{more}{verify}"));
        Some(stage)
    }

    /// Writes a runbook that answers an alert by one POST.
    pub(crate) fn runbook(&self, name: &str, alert: &str, autonomy: &str, more: &str) {
        let url = format!("http://{}/restart/{{{{ labels.instance }}}}", self.target.address());
        self.home.runbook(
            name,
            &format!(
                "match: ['alertname=\"{alert}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: {autonomy}\n\
                 steps:\n  - plugin: http-request\n    input: {{ method: POST, url: '{url}' }}\n{more}"
            ),
        );
    }

    /// Probes of the shop's health, quick ones.
    pub(crate) fn verify(&self) -> String {
        format!(
            "verify:\n  within: 20s\n  stable_for: 0s\n  interval: 100ms\n  \
             probes:\n    - http: {{ url: 'http://{}/healthz', status: 200 }}\n",
            self.target.address()
        )
    }
}
