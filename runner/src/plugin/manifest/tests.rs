use super::*;

const GOOD: &str = r#"[plugin]
name = "restart-service"
version = "1.2.0"
kind = "remediation"
description = "Restarts one systemd unit and waits until it is active."
language = "rust"
release = 7
effects = "reversible"
expires = 2030-01-01T00:00:00Z

[capabilities.service]
restart = ["*.service"]
start = ["*.service"]

[repeat.service]
start = "once"

[limits]
fuel = 500_000_000
memory = "64MiB"
deadline = "60s"

[input]
type = "object"
required = ["unit"]
properties.unit = { type = "string", maxLength = 256 }
"#;

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse("plugin.toml", text.as_bytes())
}

#[test]
fn reads_every_key() {
    let manifest = parse(GOOD).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.release), ("restart-service", 7));
    assert_eq!((manifest.kind, manifest.effects), (PluginKind::Remediation, Effects::Reversible));
    assert_eq!(manifest.capabilities["service"]["restart"], ["*.service"]);
    assert_eq!(
        manifest.limits,
        Limits { fuel: 500_000_000, memory: 64 << 20, deadline: std::time::Duration::from_secs(60) }
    );
    assert_eq!(manifest.expires.unwrap().to_rfc3339(), "2030-01-01T00:00:00+00:00");
    assert_eq!(manifest.digest, Digest::of(GOOD.as_bytes()));
    assert!(manifest.asks_for_effects());
    manifest.input.check(&serde_json::json!({"unit": "web.service"})).unwrap();
    assert!(manifest.input.check(&serde_json::json!({})).is_err());
}

#[test]
fn tightens_and_never_loosens_repeat_classes() {
    let manifest = parse(GOOD).unwrap();
    assert_eq!(manifest.repeat("service", "start"), Repeat::Once);
    assert_eq!(manifest.repeat("service", "stop"), Repeat::Repeatable);
    assert_eq!(manifest.repeat("service", "restart"), Repeat::Once);
    assert_eq!(manifest.repeat("service", "no-such"), Repeat::Once);
}

/// `from` in the good manifest replaced by `to` gives exactly one problem, at `place`, that says `says`.
fn refuses(from: &str, to: &str, place: &str, says: &str) {
    assert!(GOOD.contains(from), "{from}");
    let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems.len(), 1, "{to}: {text}");
    assert!(text.starts_with(&format!("plugin.toml:{place}: ")), "{to}: {text}");
    assert!(text.contains(says), "{to}: {text}");
}

#[test]
fn refuses_each_broken_rule_with_its_place() {
    for (from, to, place, says) in [
        ("language", "lang", "1:1", "`plugin.language` is missing"),
        (
            "release = 7",
            "release = 7\nrelaese = 8",
            "8:1",
            "unknown key `plugin.relaese`; valid here: name, version",
        ),
        ("[limits]", "[limit]", "18:2", "unknown key `limit`; valid here: plugin, capabilities"),
        ("restart-service", "Restart", "2:8", "no plugin name"),
        ("1.2.0", "1.2", "3:11", "no semantic version"),
        ("remediation", "remedy", "4:8", "valid: remediation, connector and check"),
        ("\"rust\"", "\"cobol\"", "6:12", "valid: rust, python"),
        ("release = 7", "release = -7", "7:11", "between 0 and"),
        ("release = 7", "release = \"7\"", "7:11", "must be a whole number, not a string"),
        ("reversible", "read-only", "8:11", "read-only plugin cannot ask"),
        ("2030-01-01T00:00:00Z", "2030-01-01", "9:11", "date-time with an offset"),
        (
            "capabilities.service",
            "capabilities.services",
            "11:15",
            "unknown capability `services`; valid: http, file",
        ),
        ("restart = [", "reboot = [", "12:1", "no function `reboot`; valid: status"),
        ("restart = [\"*.service\"]", "restart = []", "12:1", "needs 1 to 256 patterns"),
        ("restart = [\"*.service\"]", "restart = [\"\"]", "12:12", "a pattern has 1 to"),
        ("restart = [\"*.service\"]", "restart = \"*\"", "12:11", "must be an array of strings"),
        ("\"once\"", "\"twice\"", "16:9", "only tighten"),
        ("500_000_000", "0", "19:8", "must be 1 to"),
        ("500_000_000", "1_000_000_000_001", "19:8", "must be 1 to"),
        ("64MiB", "2GiB", "20:10", "\"256MiB\""),
        ("64MiB", "64MB", "20:10", "\"256MiB\""),
        ("60s", "11m", "21:12", "\"10m\""),
        ("\"object\"", "\"objekt\"", "23:1", "not a JSON Schema"),
        ("maxLength = 256", "maxLength = nan", "26:51", "JSON has none"),
        ("name = ", "name ", "2:6", ""),
    ] {
        // A missing `[plugin]` key and the key that was meant give two problems; the others one.
        if from == "language" || to.contains("service]") || to.contains("services") || to.contains("nan") {
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        } else {
            refuses(from, to, place, says);
        }
    }
}

#[test]
fn names_the_plugin_that_takes_its_place() {
    assert_eq!(parse(GOOD).unwrap().replaced_by, None);
    let with =
        |name: &str| parse(&GOOD.replacen("release = 7", &format!("release = 7\nreplaced_by = {name}"), 1));
    assert_eq!(with("\"better\"").unwrap().replaced_by.as_deref(), Some("better"));
    for wrong in ["\"restart-service\"", "\"No Name\"", "\"\""] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(
            error.contains("plugin.toml:8:15: ") && error.contains("the name of another plugin"),
            "{error}"
        );
    }
}

#[test]
fn refuses_requests_for_what_everyone_has() {
    let error = parse(
        &GOOD
            .replace("[capabilities.service]", "[capabilities.log]\nwrite = [\"*\"]\n[capabilities.service]"),
    );
    assert!(error.unwrap_err().to_string().contains("`log` needs no request"));
}

#[test]
fn reports_all_problems_at_once_in_order() {
    let error = parse(&GOOD.replace("7", "\"x\"").replace("60s", "0s").replace("1.2.0", "x")).unwrap_err();
    let lines: Vec<usize> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 7, 21]);
}

#[test]
fn refuses_what_is_too_large_or_no_text() {
    let huge = format!("{GOOD}#{}", "x".repeat(MAX_BYTES));
    assert!(parse(&huge).unwrap_err().to_string().contains("larger than"));
    let error = Manifest::parse("f", b"[plugin]\nname = \"\xff\"").unwrap_err();
    assert!(error.to_string().contains("not UTF-8 from byte 17"));
    let deep = format!("[input]\na = {}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(parse(&deep).is_err());
}

#[test]
fn names_are_bounded() {
    assert!(is_name("a") && is_name(&"a".repeat(63)) && is_name("a-1"));
    for name in ["", "1a", "-a", "A", "a_b", "a/b", "ä", &"a".repeat(64)] {
        assert!(!is_name(name), "{name}");
    }
}
