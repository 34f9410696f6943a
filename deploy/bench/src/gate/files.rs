//! Policies as a large installation has them: many runbooks of which few are close to an alert, guardrails of all
//! teams in one file, and windows of which some are open and some cover the run.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::installation::{Installation, PLUGIN};
use crate::workshop::Workshop;

/// How many runbooks there are.
pub(super) const RUNBOOKS: u64 = 500;

/// How many policies guardrails.cedar holds.
pub(super) const POLICIES: u64 = 200;

/// How many windows there are.
pub(super) const WINDOWS: u64 = 10;

/// Writes all of it into an installation.
pub(super) fn write(installation: &Installation, workshop: &Workshop) -> anyhow::Result<()> {
    let folder = installation.folder.join("policies");
    std::fs::remove_file(folder.join(format!("runbooks/{PLUGIN}.yaml"))).context("the runbook")?;
    for number in 0..RUNBOOKS {
        installation.runbook(workshop, &name(number), &runbook(number))?;
    }
    std::fs::write(folder.join("guardrails.cedar"), guardrails()).context("guardrails.cedar")?;
    std::fs::write(folder.join("windows.yaml"), windows()).context("windows.yaml")?;
    let mut config = std::fs::read_to_string(installation.config()).context("the configuration")?;
    config.push_str("\nlimits: { per_target: 30 per 10m, actions: 900000 per 10m, concurrent: 1000 }\n");
    std::fs::write(installation.config(), config).context("the configuration")
}

/// The name of a runbook.
pub(super) fn name(number: u64) -> String {
    format!("bench-{number:03}")
}

/// Every second one asks two people.
fn runbook(number: u64) -> String {
    let gate = match number % 2 {
        0 => "autonomy: automatic\n",
        _ => "autonomy: approve\ngate: { approvals: 2, roles: [operator], expires: 1h }\n",
    };
    format!(
        "description: One of many.\n\
         match: ['alertname=\"Bench{number:03}\"', 'severity=~\"critical|error\"', 'zone!=\"lab\"']\n\
         target: '{{{{ labels.instance }}}}'\n{gate}\
         limits: {{ per_target: 20 per 10m, per_plugin: 900000 per 10m, concurrent: 100, \
         cooldown: {{ after_failure: 1s }} }}\n"
    )
}

/// Three that permit, and one kind of prohibition after the other, each for another runbook, label or target: none
/// of them forbids what is decided here, and each has to be looked at.
fn guardrails() -> String {
    let mut text = "@id(\"with-approval\")\n\
         permit (principal is Runbook, action == Action::\"act-with-approval\", resource is Plugin);\n\
         @id(\"alone\")\n\
         permit (principal is Runbook, action == Action::\"act-alone\", resource is Plugin)\n\
         unless { context.irreversible };\n\
         @id(\"effects\")\n\
         permit (principal is Plugin, action == Action::\"effect\", resource is Capability);\n"
        .to_owned();
    for number in 3..POLICIES {
        let body = match number % 5 {
            0 => format!(
                "forbid (principal == Runbook::\"other-{number}\", action == Action::\"act-alone\", resource);"
            ),
            1 => format!(
                "forbid (principal, action == Action::\"act-alone\", resource)\n\
                 when {{ context.labels.hasTag(\"team\") && context.labels.getTag(\"team\") == \"t{number}\" }};"
            ),
            2 => format!(
                "forbid (principal, action == Action::\"act-with-approval\", resource == Plugin::\"p{number}\")\n\
                 when {{ context.manual }};"
            ),
            3 => format!(
                "forbid (principal, action == Action::\"effect\", resource == Capability::\"http\")\n\
                 when {{ context.effect_target like \"http:db{number}.*\" }};"
            ),
            _ => format!(
                "permit (principal == Runbook::\"other-{number}\", action in [Action::\"act-alone\", \
                 Action::\"act-with-approval\"], resource)\n\
                 when {{ context.effects_count <= {number} && context.target like \"web-{number}-*\" }};"
            ),
        };
        writeln!(text, "@id(\"rule-{number}\")\n{body}").unwrap_or_default();
    }
    text
}

/// Closed ones, open ones for others, and an open freeze that excepts these runbooks.
fn windows() -> String {
    let mut text = "windows:\n  \
         - { name: freeze, kind: freeze, from: '2026-01-01T00:00:00Z', until: '2098-01-01T00:00:00Z', \
         except: ['bench-*'] }\n"
        .to_owned();
    for number in 1..WINDOWS {
        let when = match number % 3 {
            0 => "from: '2026-01-01T00:00:00Z', until: '2098-01-01T00:00:00Z'".to_owned(),
            1 => format!(
                "time_zone: Europe/Berlin, start: '2026-01-05T0{number}:00', duration: 2h, \
                 recurrence: 'FREQ=WEEKLY;BYDAY=MO,WE'"
            ),
            _ => format!(
                "time_zone: America/New_York, start: '2026-01-0{number}T22:00', duration: 5h, \
                 recurrence: 'FREQ=MONTHLY;BYDAY=1SU'"
            ),
        };
        let kind = ["maintenance", "freeze"][usize::from(number % 2 == 0)];
        writeln!(
            text,
            "  - {{ name: w{number}, kind: {kind}, {when}, targets: ['db-{number}-*'], \
             match: ['team=\"t{number}\"'] }}"
        )
        .unwrap_or_default();
    }
    text
}
