//! The whole road with the real senders: Prometheus sees the fault, Alertmanager says so, a signed plugin mends it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::Installation;
use sandbox_tests::outside::{free_port, program};
use sandbox_tests::poll::until;
use sandbox_tests::program::{Running, command};
use sandbox_tests::target::Target;
use serde_json::Value;

use super::stage::{ALERT, Stage};

/// What scraping, grouping and resolving may take together.
const PATIENCE: Duration = Duration::from_secs(90);

fn write(path: &Path, text: &str) -> PathBuf {
    fs::write(path, text).unwrap();
    path.to_owned()
}

/// Prometheus, scraping the shop every second and telling whoever listens there when it is down.
fn prometheus(program: &Path, home: &Installation, target: &Target, told: &str) -> Running {
    let folder = home.aside();
    write(
        &folder.join("rules.yml"),
        &format!(
            "groups:\n- name: shop\n  rules:\n  - alert: {ALERT}\n    expr: shop_up == 0\n    \
             labels: {{ severity: critical }}\n    annotations: {{ summary: 'The shop is down' }}\n"
        ),
    );
    let config = write(
        &folder.join("prometheus.yml"),
        &format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: shop\n  static_configs: [{{ targets: ['{}'] }}]\n\
             alerting:\n  alertmanagers:\n  - {told}\n",
            target.address()
        ),
    );
    let mut prometheus = command(program);
    prometheus.arg(format!("--config.file={}", config.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    prometheus.arg(format!("--web.listen-address=127.0.0.1:{}", free_port()));
    Running::start(prometheus, &folder.join("prometheus.log"))
}

/// Alertmanager, handing everything on to the daemon at once; where it listens.
fn alertmanager(program: &Path, home: &Installation, daemon: &Daemon) -> (Running, String) {
    let folder = home.aside();
    let config = write(
        &folder.join("alertmanager.yml"),
        &format!(
            "route: {{ receiver: staunch, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers:\n- name: staunch\n  webhook_configs:\n  - url: 'http://{}/v1/alerts/alertmanager'\n    \
             send_resolved: true\n    http_config: {{ authorization: {{ credentials: '{}' }} }}\n",
            daemon.address(),
            home.source_token
        ),
    );
    let address = format!("127.0.0.1:{}", free_port());
    let mut alertmanager = command(program);
    alertmanager.arg(format!("--config.file={}", config.display()));
    alertmanager.arg(format!("--storage.path={}", folder.join("alertmanager").display()));
    alertmanager.arg(format!("--web.listen-address={address}"));
    alertmanager.arg("--cluster.listen-address=");
    (Running::start(alertmanager, &folder.join("alertmanager.log")), address)
}

/// Waits for the one alert to come to this status, and gives it.
fn alert(stage: &Stage, daemon: &Daemon, status: &str) -> Value {
    let logs = || {
        ["prometheus.log", "alertmanager.log"]
            .map(|name| fs::read_to_string(stage.home.aside().join(name)).unwrap_or_default())
            .concat()
    };
    let found = sandbox_tests::poll::within_time(PATIENCE, || {
        let alerts = daemon.get("/v1/alerts").expect(200);
        alerts["items"].as_array().unwrap().iter().find(|alert| alert["status"] == status).cloned()
    });
    found.unwrap_or_else(|| {
        panic!("no alert is {status}; the daemon:\n{}\nthe senders:\n{}", daemon.said(), logs())
    })
}

/// From the alert to the end of the run that it led to, and to the end of the alert.
fn is_mended(stage: &Stage, daemon: &Daemon) {
    let firing = alert(stage, daemon, "firing");
    assert_eq!(firing["labels"]["alertname"], ALERT, "{firing:#}");
    let id = firing["runs"][0].as_str().unwrap_or_else(|| panic!("{firing:#}")).to_owned();
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(run["reason"]["code"], "verified");
    assert!(stage.target.is_well());
    let posts = stage.target.posts();
    assert_eq!(posts.len(), 1, "{posts:?}");
    assert_eq!(posts[0].path, format!("/restart/{}", stage.target.address()));
    let resolved = alert(stage, daemon, "resolved");
    assert_eq!(resolved["id"], firing["id"], "the same alert");
    assert_eq!(resolved["source"], firing["source"]);
    assert_eq!(stage.target.posts().len(), 1, "what is over starts nothing");
}

#[test]
fn real_prometheus_and_alertmanager_lead_to_a_fixed_run_and_a_resolved_alert() {
    let Some(prometheus_program) = program("prometheus", "prometheus") else { return };
    let Some(alertmanager_program) = program("prometheus-alertmanager", "prometheus-alertmanager") else {
        return;
    };
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let (_alertmanager, address) = alertmanager(&alertmanager_program, &stage.home, &daemon);
    let told = format!("{{ static_configs: [{{ targets: ['{address}'] }}] }}");
    let _prometheus = prometheus(&prometheus_program, &stage.home, &stage.target, &told);
    is_mended(&stage, &daemon);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn real_prometheus_may_send_without_an_alertmanager() {
    let Some(prometheus_program) = program("prometheus", "prometheus") else { return };
    let Some(stage) = Stage::set("automatic") else { return };
    let daemon = stage.home.serve();
    let told = format!(
        "{{ static_configs: [{{ targets: ['{}'] }}], authorization: {{ credentials: '{}' }} }}",
        daemon.address(),
        stage.home.prometheus_token
    );
    let _prometheus = prometheus(&prometheus_program, &stage.home, &stage.target, &told);
    is_mended(&stage, &daemon);
    // Prometheus tells of the end again and again, for a quarter of an hour.
    let repeats = || daemon.get("/v1/alerts").expect(200)["items"].as_array().map(Vec::len);
    until("there is one alert", PATIENCE, || (repeats() == Some(1)).then_some(()));
    assert_eq!(daemon.stop(), Some(0));
}
