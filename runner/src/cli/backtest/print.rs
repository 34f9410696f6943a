//! How a backtest is printed: JSON as it goes, or a table and the numbers.

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};
use staunch_core::alert::Alert;
use staunch_core::backtest::{Assumed, Comparison, Counts, Difference, Heard, Judged, NOT_ASKED, Summary};
use staunch_core::decision::Decision;
use staunch_core::policy::duration;

use super::super::output::{Output, safe};

/// The lines that a table has unless all are wanted.
const FIRST: usize = 50;

/// What is told of an alert.
#[derive(Serialize)]
struct About<'a> {
    id: Option<&'a str>,
    source: &'a str,
    fingerprint: &'a str,
    title: Option<&'a str>,
    labels: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> From<&'a Alert> for About<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self {
            id: alert.id.as_ref().map(staunch_core::id::AlertId::as_str),
            source: &alert.source,
            fingerprint: &alert.fingerprint,
            title: alert.title.as_deref(),
            labels: &alert.labels,
        }
    }
}

#[derive(Serialize)]
struct JudgedLine<'a> {
    alert: About<'a>,
    judged: &'a Judged,
}

#[derive(Serialize)]
struct DifferenceLine<'a> {
    alert: About<'a>,
    difference: &'a Difference,
}

/// Where a backtest is printed.
pub(super) struct Printer<'o> {
    output: &'o Output,
    summary_only: bool,
    most: usize,
    lines: usize,
    table: Vec<Value>,
    stream: Box<dyn Write + 'o>,
}

impl<'o> Printer<'o> {
    pub(super) fn new(output: &'o Output, summary_only: bool, all: bool) -> Self {
        let most = if all { usize::MAX } else { FIRST };
        let stream = Box::new(output.stream());
        Self { output, summary_only, most, lines: 0, table: Vec::new(), stream }
    }

    /// Begins the list of this name.
    pub(super) fn begin(&mut self, list: &str) {
        if self.output.is_json() {
            let head = if self.summary_only { "{".to_owned() } else { format!("{{\"{list}\":[") };
            self.write(head.as_bytes());
        }
    }

    /// A reader that has gone away (`| head`) is no error worth a word.
    fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    fn json_line<T: Serialize>(&mut self, line: &T) {
        let comma: &[u8] = if self.lines == 0 { b"\n" } else { b",\n" };
        self.lines += 1;
        self.write(comma);
        let bytes = serde_json::to_vec(line).expect("lines hold only what JSON can hold");
        self.write(&bytes);
    }

    /// What came of an alert.
    pub(super) fn judged(&mut self, about: &Alert, judged: &Judged) {
        if self.summary_only {
            return;
        }
        if self.output.is_json() {
            return self.json_line(&JudgedLine { alert: about.into(), judged });
        }
        for row in rows(about, judged) {
            self.row(row);
        }
    }

    /// An alert that is decided otherwise.
    pub(super) fn difference(&mut self, about: &Alert, difference: &Difference) {
        if self.summary_only {
            return;
        }
        if self.output.is_json() {
            return self.json_line(&DifferenceLine { alert: about.into(), difference });
        }
        let Difference { before, after, no_longer, instead } = difference;
        let at = before.as_ref().or(after.as_ref()).map(|judged| judged.at);
        let why = [("-", no_longer), ("+", instead)];
        let why = why.iter().flat_map(|(sign, said)| said.iter().map(move |said| (*sign, said)));
        let why = why.filter(|(_, said)| !said.message.starts_with("not planned"));
        self.row(json!({
            "at": at,
            "alert": named(about),
            "before": outcome(before.as_ref()),
            "after": outcome(after.as_ref()),
            "why": why.map(|(sign, said)| format!("{sign} {}", in_short(said))).collect::<Vec<_>>().join("; "),
        }));
    }

    fn row(&mut self, row: Value) {
        self.lines += 1;
        if self.table.len() < self.most {
            self.table.push(row);
        }
    }

    /// The numbers.
    pub(super) fn end(mut self, assumed: &Assumed, summary: &Summary) {
        if self.output.is_json() {
            return self.close(assumed, &json!({ "summary": summary }));
        }
        let columns = [
            ("AT", "/at"),
            ("ALERT", "/alert"),
            ("RUNBOOK", "/runbook"),
            ("TARGET", "/target"),
            ("DECIDED", "/decided"),
            ("CODE", "/code"),
            ("WHY", "/why"),
        ];
        self.print_table(&columns);
        self.output.listing(&counted(summary), &COUNTS);
        self.output.note(&sentence(summary));
        self.notes(assumed);
    }

    /// The numbers of a comparison.
    pub(super) fn compared(mut self, assumed: &Assumed, comparison: &Comparison<'_>) {
        let Comparison { before_all, after_all, different, .. } = comparison;
        if self.output.is_json() {
            let numbers = json!({ "different": different, "before": before_all, "after": after_all });
            return self.close(assumed, &json!({ "summary": numbers }));
        }
        let columns =
            [("AT", "/at"), ("ALERT", "/alert"), ("BEFORE", "/before"), ("AFTER", "/after"), ("WHY", "/why")];
        self.print_table(&columns);
        let of = |name: &str, summary: &Summary| {
            let mut row = counts("(all)", &summary.decided);
            if let Value::Object(members) = &mut row {
                members.insert("runbook".to_owned(), json!(name));
            }
            row
        };
        self.output.listing(&[of("before", before_all), of("after", after_all)], &COUNTS);
        self.output.note(&format!("{different} of {} alerts are decided otherwise", after_all.alerts));
        self.notes(assumed);
    }

    fn print_table(&mut self, columns: &[(&str, &str)]) {
        if self.summary_only || self.table.is_empty() {
            return;
        }
        self.output.listing(&self.table, columns);
        if self.lines > self.table.len() {
            let more = self.lines - self.table.len();
            self.output
                .note(&format!("There are {more} more lines: --all prints them, --output json has all."));
        }
        self.output.data("");
    }

    fn notes(&self, assumed: &Assumed) {
        let approved = if assumed.approved { "people approve at once" } else { "nobody answers" };
        let took = duration::print(assumed.runs_take);
        self.output.note(&format!("Assumed: each run that acts takes {took} and ends well; {approved}."));
        for (what, why) in NOT_ASKED {
            self.output.note(&format!("Not asked: {what} ({why})."));
        }
    }

    fn close(mut self, assumed: &Assumed, numbers: &Value) {
        let not_asked: Vec<Value> =
            NOT_ASKED.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect();
        let assumed =
            json!({ "runs_take": duration::print(assumed.runs_take), "approved": assumed.approved });
        let end = if self.summary_only { "" } else { "\n]," };
        let tail = format!(
            "{end}\"summary\":{},\"assumed\":{assumed},\"not_asked\":{}}}\n",
            numbers["summary"],
            json!(not_asked)
        );
        self.write(tail.as_bytes());
        drop(self.stream.flush());
    }
}

const COUNTS: [(&str, &str); 6] = [
    ("RUNBOOK", "/runbook"),
    ("ACT", "/act"),
    ("ASK", "/ask"),
    ("OBSERVE", "/observe"),
    ("REFUSE", "/refuse"),
    ("REFUSED BY", "/refused_by"),
];

fn counts(runbook: &str, counts: &Counts) -> Value {
    let by: Vec<String> = counts.refused_by.iter().map(|(code, count)| format!("{code} {count}")).collect();
    json!({
        "runbook": runbook,
        "act": counts.act,
        "ask": counts.ask,
        "observe": counts.observe,
        "refuse": counts.refuse,
        "refused_by": if by.is_empty() { None } else { Some(by.join(", ")) },
    })
}

fn counted(summary: &Summary) -> Vec<Value> {
    let each = summary.runbooks.iter().map(|(runbook, one)| counts(runbook, one));
    each.chain([counts("(all)", &summary.decided)]).collect()
}

fn sentence(summary: &Summary) -> String {
    format!(
        "{} alerts: {} new, {} repeats, {} resolved; {} tried again after a window or silence; {} matched, {} unmatched",
        summary.alerts,
        summary.new,
        summary.repeats,
        summary.resolved,
        summary.taken_up,
        summary.matched,
        summary.unmatched
    )
}

/// How people know an alert.
fn named(alert: &Alert) -> &str {
    let name = alert.labels.get("alertname").or(alert.title.as_ref());
    name.map_or(alert.fingerprint.as_str(), String::as_str)
}

fn rows(about: &Alert, judged: &Judged) -> Vec<Value> {
    let head = |runbook: Option<&str>, target: Option<&str>, decided: &str, code: Option<&str>, why: &str| {
        json!({
            "at": judged.at, "alert": named(about), "runbook": runbook, "target": target,
            "decided": decided, "code": code, "why": why,
        })
    };
    if judged.runbooks.is_empty() {
        let said = judged.decisions.iter().find(|said| said.code.as_str() == judged.decided.as_str());
        let why = said.map_or("", |said| said.message.as_str());
        return vec![head(None, None, judged.decided.as_str(), None, why)];
    }
    let again = if judged.heard == Heard::New { "" } else { "tried again: " };
    let of = |run: &staunch_core::backtest::Rehearsed| {
        let why = format!("{again}{}", run.message);
        let code = Some(run.code.as_str());
        head(Some(&run.runbook), run.target.as_deref(), run.decided.as_str(), code, &why)
    };
    judged.runbooks.iter().map(of).collect()
}

/// What came of an alert, in a cell.
fn outcome(judged: Option<&Judged>) -> String {
    let Some(judged) = judged else { return "not tried".to_owned() };
    if judged.runbooks.is_empty() {
        return judged.decided.as_str().to_owned();
    }
    let of = |run: &staunch_core::backtest::Rehearsed| {
        let asked = run.asked.as_ref().map_or_else(String::new, |asked| {
            format!(" {} of {} within {}", asked.approvals, asked.roles.join("/"), asked.expires)
        });
        format!("{} {} ({}{asked})", run.runbook, run.decided.as_str(), run.code)
    };
    judged.runbooks.iter().map(of).collect::<Vec<_>>().join(", ")
}

fn in_short(said: &Decision) -> String {
    safe(&format!("{} {}: {}", said.stage, said.subject, said.message))
}
