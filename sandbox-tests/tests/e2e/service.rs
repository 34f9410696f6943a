//! Units of a real systemd: it runs in a container of its own, over the programs of this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use sandbox_tests::alerts::Firing;
use sandbox_tests::daemon::Daemon;
use sandbox_tests::installation::Installation;
use sandbox_tests::outside::{is_root, program};
use sandbox_tests::poll::{SOON, until, within_time};
use sandbox_tests::program::{Running, command};
use sandbox_tests::skip;
use serde_json::{Value, json};

/// How long the container may take to boot.
const BOOT: Duration = Duration::from_secs(60);

/// A systemd in a container.
struct Container {
    nspawn: Running,
    /// What the container and the test both see.
    shared: PathBuf,
}

impl Container {
    /// Boots it; `None`, with a visible skip, where the machine does not let it.
    fn boot(home: &Installation) -> Option<Self> {
        if !is_root() {
            skip("only root can boot a systemd in a container");
            return None;
        }
        let nspawn = program("systemd-nspawn", "systemd-container")?;
        let _dbus = program("dbus-daemon", "dbus")?;
        let root = home.aside().join("container");
        let shared = home.aside().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::create_dir(shared.join("dbus")).unwrap();
        furnish(&root);
        let mut boot = command(nspawn);
        boot.args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe"]);
        boot.arg(format!("--machine=staunch-test-{}", std::process::id()));
        boot.arg(format!("--directory={}", root.display()));
        boot.arg("--bind-ro=/usr");
        boot.arg(format!("--bind={}:/shared", shared.display()));
        boot.arg(format!("--bind={}:/run/dbus", shared.join("dbus").display()));
        boot.args(["--boot", "systemd.unit=staunch-test.target"]);
        let log = home.aside().join("container.log");
        let mut container = Self { nspawn: Running::start(boot, &log), shared };
        let socket = container.shared.join("dbus/system_bus_socket");
        let booted = within_time(BOOT, || {
            let over = !matches!(container.nspawn.0.try_wait(), Ok(None));
            let ready = UnixStream::connect(&socket).is_ok() && container.starts("web") == 1;
            (over || ready).then_some(ready)
        });
        if booted != Some(true) {
            let said = fs::read_to_string(&log).unwrap_or_default();
            skip(&format!("no systemd boots in a container here: {}", said.trim()));
            return None;
        }
        Some(container)
    }

    /// The address of its bus.
    fn bus(&self) -> String {
        format!("unix:path={}", self.shared.join("dbus/system_bus_socket").display())
    }

    /// How often a unit was started.
    fn starts(&self, unit: &str) -> usize {
        fs::read_to_string(self.shared.join(format!("{unit}.starts"))).unwrap_or_default().lines().count()
    }

    /// Whether a unit fails from now on.
    fn set_fault(&self, unit: &str, fault: bool) {
        let file = self.shared.join(format!("{unit}.fault"));
        if fault { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // That ends the container in order, and all of it.
        self.nspawn.signal(Signal::TERM);
        let _ended = within_time(SOON, || self.nspawn.0.try_wait().ok().flatten());
    }
}

/// What the unit `slow` does before it is active: long enough to lose the daemon in between.
const SLOW_START: &str = "ExecStartPre=/bin/sh -c 'echo starting >> /shared/slow.starting; sleep 1.2'\n";

/// The root of the container: this machine's `/usr`, and of the rest as little as there can be.
fn furnish(root: &Path) {
    for folder in ["usr", "etc/systemd/system", "var", "run", "tmp", "proc", "sys", "dev", "shared"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if Path::new("/usr").join(name).exists() {
            symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
    }
    for name in ["os-release", "passwd", "group", "nsswitch.conf"] {
        fs::copy(Path::new("/etc").join(name), root.join("etc").join(name)).unwrap();
    }
    fs::write(root.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::write(root.join("etc/hostname"), "web-7\n").unwrap();
    let unit = |name: &str, text: &str| fs::write(root.join("etc/systemd/system").join(name), text).unwrap();
    unit("staunch-test.target", "[Unit]\nWants=dbus.service web.service stubborn.service slow.service\n");
    for (name, before) in [("web", ""), ("stubborn", ""), ("slow", SLOW_START)] {
        // It notes its start, and fails while there is a reason to.
        unit(
            &format!("{name}.service"),
            &format!(
                "[Unit]\nDefaultDependencies=no\nAfter=dbus.service\n[Service]\nType=exec\n{before}\
                 ExecStart=/bin/sh -c 'echo started >> /shared/{name}.starts; \
                 while ! test -e /shared/{name}.fault; do sleep 0.1; done; exit 1'\n"
            ),
        );
    }
}

/// An installation that may restart both units, on the bus of the container.
fn stage() -> Option<(Installation, Container, Daemon)> {
    let mut home = Installation::with(&["restart-service"])?;
    let container = Container::boot(&home)?;
    let units = "['web.service', 'stubborn.service', 'slow.service']";
    home.grants.push(format!(
        "restart-service: {{ service: {{ status: {units}, await-active: {units}, restart: {units}, reset-failed: {units} }} }}"
    ));
    home.probes = format!("service: {{ status: {units} }}");
    home.configure();
    for name in ["web", "stubborn", "slow"] {
        home.runbook(
            &format!("restart-{name}"),
            &format!(
                "match: ['alertname=\"{name}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: automatic\n\
                 steps:\n  - plugin: restart-service\n    input: {{ unit: '{name}.service', wait: 2 }}\n\
                 verify:\n  within: 4s\n  stable_for: 1s\n  interval: 100ms\n  \
                 probes:\n    - service: {{ unit: '{name}.service', state: active }}\n"
            ),
        );
    }
    let daemon = serve(&home, &container);
    Some((home, container, daemon))
}

/// A daemon on the bus of the container.
fn serve(home: &Installation, container: &Container) -> Daemon {
    let mut serve = home.command(&["serve"]);
    serve.env("DBUS_SYSTEM_BUS_ADDRESS", container.bus());
    Daemon::start_as(home, serve)
}

fn statuses(run: &Value) -> Vec<String> {
    let effects = run["effects"].as_array().unwrap().iter();
    effects
        .map(|e| format!("{} {}", e["function"].as_str().unwrap(), e["status"].as_str().unwrap()))
        .collect()
}

/// Waits until a plan sees the unit as failed.
fn until_failed(daemon: &Daemon, unit: &str) {
    until("the unit has failed", SOON, || {
        let request = json!({ "runbook": format!("restart-{unit}"), "target": "web-7", "reason": "a look", "mode": "plan" });
        let run = daemon.post("/v1/runs", &request).expect(202);
        let run = daemon.outcome(run["id"].as_str().unwrap(), "observed");
        let plan = daemon.get(&format!("/v1/runs/{}/plan", run["id"].as_str().unwrap())).expect(200);
        let readings = plan["readings"].as_array().unwrap();
        readings.iter().any(|reading| reading["answer"].to_string().contains("\"failed\"")).then_some(())
    });
}

#[test]
fn a_failed_unit_of_a_real_systemd_in_nspawn_is_restarted() {
    let Some((_home, container, daemon)) = stage() else { return };
    let run = daemon.outcome(&daemon.run_of(&Firing::new("web", "web-7")), "cancelled");
    assert_eq!(run["reason"]["code"], "recovered-before-acting", "{run:#}");
    assert_eq!(container.starts("web"), 1, "what is well is left alone");

    container.set_fault("web", true);
    until_failed(&daemon, "web");
    container.set_fault("web", false);
    let again = Firing::new("web", "web-7").from("2026-05-04T10:00:00Z");
    let run = daemon.outcome(&daemon.run_of(&again), "fixed");
    assert_eq!(statuses(&run), ["reset-failed done", "restart done"], "{run:#}");
    assert_eq!(run["effects"][1]["target"], "web-7/service:web.service", "{run:#}");
    assert_eq!(container.starts("web"), 2);
}

#[test]
fn a_unit_that_fails_again_in_nspawn_is_not_called_fixed() {
    let Some((_home, container, daemon)) = stage() else { return };
    container.set_fault("stubborn", true);
    until_failed(&daemon, "stubborn");
    let run = daemon.outcome(&daemon.run_of(&Firing::new("stubborn", "web-7")), "not-fixed");
    assert!(container.starts("stubborn") >= 2, "it was tried: {run:#}");
}

#[test]
fn a_unit_that_is_not_granted_is_left_alone_in_nspawn() {
    let Some((home, container, daemon)) = stage() else { return };
    home.runbook(
        "other",
        "match: ['alertname=\"other\"']\ntarget: web-7\nautonomy: automatic\n\
         steps:\n  - plugin: restart-service\n    input: { unit: dbus.service }\n",
    );
    daemon.signal(Signal::HUP);
    daemon.until_said("are loaded again");
    let run = daemon.outcome(&daemon.run_of(&Firing::new("other", "web-7")), "refused");
    assert_eq!(run["reason"]["code"], "grant", "{run:#}");
    assert!(run["reason"]["message"].as_str().unwrap().contains("dbus.service"), "{run:#}");
    assert_eq!(container.starts("web"), 1);
}

#[test]
fn a_restart_that_was_under_way_at_a_power_cut_in_nspawn_is_not_repeated() {
    let Some((home, container, daemon)) = stage() else { return };
    let starting =
        || fs::read_to_string(container.shared.join("slow.starting")).unwrap_or_default().lines().count();
    until("the unit runs", SOON, || (container.starts("slow") == 1).then_some(()));
    container.set_fault("slow", true);
    until_failed(&daemon, "slow");
    container.set_fault("slow", false);
    let id = daemon.run_of(&Firing::new("slow", "web-7"));
    until("the restart is under way", SOON, || (starting() == 2).then_some(()));
    daemon.kill();
    let daemon = serve(&home, &container);
    let run = daemon.outcome(&id, "fixed");
    assert_eq!(statuses(&run), ["reset-failed done", "restart done"], "{run:#}");
    assert_eq!(container.starts("slow"), 2, "it was restarted twice");
    let journal = daemon.get(&format!("/v1/runs/{id}/journal")).expect(200);
    let of = |kind: &str| -> Vec<Value> {
        let items = journal["items"].as_array().unwrap().iter();
        items.filter(|entry| entry["leaf"]["kind"] == kind).map(|entry| entry["payload"].clone()).collect()
    };
    let intents = of("effect-intended");
    assert_eq!(intents.len(), 2, "{intents:#?}");
    assert_eq!(
        intents[1]["before"]["active"], "inactive",
        "what it was before is written down: {intents:#?}"
    );
    assert_eq!(of("effect-settled")[1]["comment"], "the host found that it happened");
}
