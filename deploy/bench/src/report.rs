//! What comes out: figures beside their bars, counts that must be right, and the same as JSON.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::options::Part;
use crate::proc;
use crate::workshop::Workshop;

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// It should not be more.
    AtMost(f64),
    /// It should not be less.
    AtLeast(f64),
}

impl Bar {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(bar) => value <= bar,
            Self::AtLeast(bar) => value >= bar,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(bar) => format!("<= {bar}"),
            Self::AtLeast(bar) => format!(">= {bar}"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    bar: Option<String>,
    within: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Count {
    name: String,
    got: u64,
    expected: u64,
    right: bool,
}

#[derive(Debug, Serialize)]
struct Section {
    name: &'static str,
    about: &'static str,
    figures: Vec<Figure>,
    counts: Vec<Count>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    machine: serde_json::Map<String, serde_json::Value>,
    parts: &'a [Section],
    wrong: &'a [String],
}

/// All that was found.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Vec<(&'static str, String)>,
    sections: Vec<Section>,
    wrong: Vec<String>,
}

impl Report {
    pub(crate) fn new(workshop: &Workshop) -> anyhow::Result<Self> {
        let machine = proc::machine(workshop.folder());
        for (name, value) in &machine {
            line(&format!("{name:<14}{value}"))?;
        }
        Ok(Self { machine, sections: Vec::new(), wrong: Vec::new() })
    }

    /// Begins a part.
    pub(crate) fn begin(&mut self, part: Part) {
        progress(&format!("== {}: {}", part.name(), part.about()));
        let (name, about) = (part.name(), part.about());
        self.sections.push(Section {
            name,
            about,
            figures: Vec::new(),
            counts: Vec::new(),
            notes: Vec::new(),
        });
    }

    /// A figure, with its bar if it has one.
    pub(crate) fn figure(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        bar: Option<Bar>,
    ) {
        let (within, bar) = (bar.map(|bar| bar.met(value)), bar.map(Bar::text));
        if let Some(section) = self.sections.last_mut() {
            section.figures.push(Figure { name: name.into(), value, unit, bar, within });
        }
    }

    /// A count that must be right.
    pub(crate) fn count(&mut self, name: impl Into<String>, got: u64, expected: u64) {
        let (name, right) = (name.into(), got == expected);
        let Some(section) = self.sections.last_mut() else { return };
        if !right {
            self.wrong.push(format!("{}: {name}: {got} instead of {expected}", section.name));
        }
        section.counts.push(Count { name, got, expected, right });
    }

    /// Something to know about the figures.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        if let Some(section) = self.sections.last_mut() {
            section.notes.push(text.into());
        }
    }

    /// A daemon was asked to stop; one that does not by itself, or not with success, is wrong.
    pub(crate) fn stopped(&mut self, cleanly: bool) {
        if !cleanly {
            self.count("daemons that stop cleanly", 0, 1);
        }
    }

    /// The part could not be done to its end.
    pub(crate) fn broken(&mut self, error: &anyhow::Error) {
        let name = self.sections.last().map_or("setup", |section| section.name);
        self.wrong.push(format!("{name}: not done to the end: {error:#}"));
        self.note(format!("not done to the end: {error:#}"));
    }

    /// Requests at the target that nobody asked for.
    pub(crate) fn strays(&mut self, strays: u64) {
        if strays > 0 {
            self.wrong.push(format!("{strays} requests at the target belong to no alert"));
        }
    }

    /// Prints the part that was done last.
    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let Some(section) = self.sections.last() else { return Ok(()) };
        line(&format!("\n{} ({})", section.name, section.about))?;
        for figure in &section.figures {
            let bar = match (&figure.bar, figure.within) {
                (Some(bar), Some(true)) => format!("{bar:>10}  within"),
                (Some(bar), _) => format!("{bar:>10}  MISSED"),
                (None, _) => String::new(),
            };
            let row = format!("  {:<50}{:>12} {:<7}{bar}", figure.name, number(figure.value), figure.unit);
            line(row.trim_end())?;
        }
        for count in &section.counts {
            let verdict = if count.right { "right" } else { "WRONG" };
            line(&format!(
                "  {:<50}{:>12} {:<7}{:>10}  {verdict}",
                count.name, count.got, "", count.expected
            ))?;
        }
        for note in &section.notes {
            line(&format!("  note: {note}"))?;
        }
        Ok(())
    }

    /// Says how it went; whether every count was right.
    pub(crate) fn finish(self, json: Option<&Path>) -> anyhow::Result<bool> {
        if let Some(path) = json {
            let machine =
                self.machine.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
            let document = Document { machine, parts: &self.sections, wrong: &self.wrong };
            let mut text = serde_json::to_vec_pretty(&document).context("the figures as JSON")?;
            text.push(b'\n');
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        let missed =
            self.sections.iter().flat_map(|section| &section.figures).filter(|f| f.within == Some(false));
        line(&format!("\n{} bars missed, {} counts wrong", missed.count(), self.wrong.len()))?;
        for wrong in &self.wrong {
            line(&format!("  WRONG {wrong}"))?;
        }
        Ok(self.wrong.is_empty())
    }
}

/// A number with about three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1_000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// A line of the result, on stdout.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).context("stdout")
}

/// What is being done, on stderr.
pub(crate) fn progress(text: &str) {
    // Whoever closed stderr does not want to know.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_include_their_own_value() {
        assert!(Bar::AtMost(0.5).met(0.5) && !Bar::AtMost(0.5).met(0.51));
        assert!(Bar::AtLeast(5_000.0).met(5_000.0) && !Bar::AtLeast(5_000.0).met(4_999.0));
    }

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        assert_eq!([0.4321, 43.21, 4321.9].map(number), ["0.432", "43.2", "4322"]);
    }
}
