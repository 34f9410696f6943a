//! Recorded alerts under policies: how many a second the command decides, from its start to its end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use crate::alerts;
use crate::installation::{Installation, PLUGIN};
use crate::options::Cli;
use crate::process;
use crate::report::{Bar, Report, progress};
use crate::stats::median;
use crate::workshop::Workshop;

/// How many runbooks, each with a plugin of its own, answer to the alerts.
const RUNBOOKS: u64 = 10;

/// One alert of so many has no runbook.
const STRANGER: u64 = 5;

/// Seconds from one alert to the next: about 6,000 a day.
const APART: u64 = 15;

/// How many targets the alerts are about, in turn.
const TARGETS: u64 = 1_000;

/// The first second of the recorded time: 2026-01-01.
const BEGINNING: u64 = 1_767_225_600;

/// How long a backtest may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often each figure is taken.
const ROUNDS: usize = 3;

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let mut plugins = vec![PLUGIN.to_owned()];
    plugins.extend((2..=RUNBOOKS).map(|number| format!("{PLUGIN}-{number}")));
    progress("   installing ten plugins");
    let installation = Installation::ready(workshop, "backtest", &plugins).await?;
    let config = installation.config();
    let mut file = std::fs::OpenOptions::new().append(true).open(&config).context("the configuration")?;
    writeln!(file, "limits: {{ per_target: 1 per 10m, actions: 60 per 10m }}")
        .context("the configuration")?;
    progress("   deciding");
    let recorded = installation.folder.join("recorded.jsonl");
    let numbers = cli.many(200_000, 20_000);
    // A trace is some kilobytes, and all of them are read here.
    let traces = numbers / 10;
    let parts = [("numbers only", numbers, &["--summary"][..]), ("with every trace as JSON", traces, &[])];
    for (name, count, more) in parts {
        std::fs::write(&recorded, lines(count, &plugins)).context("the recorded alerts")?;
        let mut rates = Vec::new();
        let mut said = Value::Null;
        for _ in 0..ROUNDS {
            let mut command = installation.command(&["backtest", "--output", "json", "--alerts"]);
            command.arg(&recorded).args(more);
            let began = Instant::now();
            let stdout = process::succeed(command, PATIENCE).await?;
            let took = began.elapsed().as_secs_f64();
            #[expect(clippy::cast_precision_loss, reason = "a count of alerts")]
            rates.push(count as f64 / took);
            said = serde_json::from_str(&stdout).context("the backtest's output")?;
        }
        report.figure(
            format!("alerts decided a second, {name}"),
            median(rates),
            "1/s",
            Some(Bar::AtLeast(20_000.0)),
        );
        let counted = |pointer: &str| said.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        report.count(format!("alerts heard, {name}"), counted("/summary/alerts"), count);
        report.count(
            format!("alerts without a runbook, {name}"),
            counted("/summary/unmatched"),
            count / STRANGER,
        );
        report.count(format!("acted, {name}"), counted("/summary/decided/act"), count - count / STRANGER);
    }
    Ok(())
}

/// Normalised alerts, one a line.
fn lines(count: u64, plugins: &[String]) -> String {
    let mut text = String::new();
    for number in 0..count {
        let place = usize::try_from(number / STRANGER).unwrap_or_default() % plugins.len();
        let name = match (number % STRANGER, place) {
            (0, _) => "Nobody",
            (_, 0) => alerts::NAME,
            (_, place) => plugins[place].as_str(),
        };
        let instance = alerts::instance(number % TARGETS);
        let second = BEGINNING + number * APART;
        let (day, rest) = (second / 86_400 - BEGINNING / 86_400, second % 86_400);
        // Days are counted from the beginning of a year of months with 28 days: the order is all that matters.
        let (month, day) = (day / 28 % 12 + 1, day % 28 + 1);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        writeln!(
            text,
            r#"{{"id":null,"source":"bench","fingerprint":"{number:016x}","status":"firing","severity":"critical","title":"{instance} does not answer","description":"{instance} of job bench has not answered for 2 minutes","service":null,"target":"{instance}","labels":{{"alertname":"{name}","instance":"{instance}","job":"bench","severity":"critical","zone":"eu-west-1a"}},"annotations":{{"summary":"{instance} does not answer"}},"starts_at":"2026-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z","ends_at":null,"links":[],"raw_digest":"sha256:{:064x}"}}"#,
            number
        )
        .unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_an_alert_and_one_of_five_is_for_nobody() {
        let plugins = vec![PLUGIN.to_owned(), "other".to_owned()];
        let text = lines(20, &plugins);
        let read: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        assert_eq!(read.len(), 20);
        assert_eq!(read.iter().filter(|alert| name(alert) == "Nobody").count(), 4);
        assert_eq!((name(&read[1]), name(&read[6])), (alerts::NAME.to_owned(), "other".to_owned()));
        assert_eq!(read[19]["starts_at"], "2026-01-01T00:04:45Z");
    }
}
