//! The `schedule:` of a runbook: a cron expression beside the runbook's other keys, or a mapping of its own.

use std::time::Duration;

use chrono_tz::Tz;

use super::read::Reading;
use crate::policy::reader::Fields;
use crate::policy::yaml::{Node, Tree};
use crate::schedule::{CATCH_UP, Calendar, CatchUp, Overlap, Schedule};
use crate::zone;

/// The keys that stand beside `schedule: '...'` in the runbook.
pub(super) const BESIDE: [&str; 6] =
    ["time_zone", "jitter", "catch_up", "catch_up_most", "overlap", "blackout"];

const KEYS: [&str; 7] = ["cron", "time_zone", "jitter", "catch_up", "catch_up_most", "overlap", "blackout"];

/// The most windows that one schedule names.
const MOST_BLACKOUTS: usize = 32;

/// The most occurrences that may be caught up.
const MOST_CAUGHT_UP: i64 = 1_000;

impl Reading<'_> {
    pub(super) fn schedule(&mut self, runbook: Fields<'_>) -> Option<Schedule> {
        let beside: Vec<_> = BESIDE.iter().filter_map(|key| runbook.entry(key)).collect();
        let Some(entry) = runbook.entry("schedule") else {
            for entry in beside {
                self.reader.error(entry.at, format!("{:?} is for runbooks with a \"schedule\"", entry.key));
            }
            return None;
        };
        if let Some(other) = runbook.entry("match") {
            self.reader.error(other.at, "a runbook has either \"match\" or \"schedule\"");
        }
        if !matches!(entry.node.tree, Tree::Map(_)) {
            return self.fields_of_schedule(runbook, &entry.node);
        }
        for other in beside {
            let message = format!("{:?} stands inside of \"schedule\", beside \"cron\"", other.key);
            self.reader.error(other.at, message);
        }
        let fields = self.reader.fields(&entry.node, "schedule", &KEYS);
        let cron = self.reader.required(fields, "cron", "schedule")?;
        self.fields_of_schedule(fields, cron)
    }

    fn fields_of_schedule(&mut self, fields: Fields<'_>, cron: &Node) -> Option<Schedule> {
        let zone = self.optional(fields, "time_zone", |this, node| {
            let name = this.reader.text(node, "time_zone")?;
            zone::parse(name).map_err(|message| this.reader.error(node.at, message)).ok()
        });
        let text = self.reader.text(cron, "schedule");
        let calendar = text.and_then(|text| {
            let calendar = Calendar::read(text, zone.unwrap_or(Tz::UTC));
            calendar.map_err(|message| self.reader.error(cron.at, format!("schedule: {message}"))).ok()
        });
        let jitter = self.optional(fields, "jitter", |this, node| {
            let jitter = this.reader.duration(node, "jitter")?;
            let gap = calendar.as_ref().and_then(Calendar::shortest_gap);
            if gap.is_some_and(|gap| jitter >= gap) {
                let gap = crate::policy::duration::print(gap.unwrap_or_default());
                let message = format!("jitter must be shorter than the time between two runs, {gap}");
                this.reader.error(node.at, message);
            }
            Some(jitter)
        });
        let words = [("skip", Overlap::Skip), ("queue", Overlap::Queue)];
        let overlap =
            self.optional(fields, "overlap", |this, node| this.reader.word(node, "overlap", &words));
        let overlap = overlap.unwrap_or(Overlap::Skip);
        let catch_up = self.catch_up(fields, overlap);
        let blackout = self.optional(fields, "blackout", |this, node| {
            let names = this.reader.texts(node, "blackout")?;
            if names.len() > MOST_BLACKOUTS {
                this.reader.error(node.at, format!("blackout may name at most {MOST_BLACKOUTS} windows"));
            }
            Some(names)
        });
        Some(Schedule {
            calendar: calendar?,
            jitter: jitter.unwrap_or(Duration::ZERO),
            catch_up,
            overlap,
            blackout: blackout.unwrap_or_default(),
        })
    }

    fn catch_up(&mut self, fields: Fields<'_>, overlap: Overlap) -> CatchUp {
        let most = self
            .optional(fields, "catch_up_most", |this, node| {
                this.reader.integer(node, "catch_up_most", 1, MOST_CAUGHT_UP)
            })
            .and_then(|most| u32::try_from(most).ok());
        let all = CatchUp::All { most: most.unwrap_or(CATCH_UP) };
        let words = [("none", CatchUp::None), ("last", CatchUp::Last), ("all", all)];
        let word = self.optional(fields, "catch_up", |this, node| this.reader.word(node, "catch_up", &words));
        let catch_up = word.unwrap_or(CatchUp::None);
        if let (Some(entry), true) = (fields.entry("catch_up_most"), catch_up != all) {
            self.reader.error(entry.at, "\"catch_up_most\" is for \"catch_up: all\"");
        }
        if let (Some(entry), CatchUp::All { .. }, Overlap::Skip) =
            (fields.entry("catch_up"), catch_up, overlap)
        {
            let message = "\"catch_up: all\" needs \"overlap: queue\": with skip only one of them would run";
            self.reader.error(entry.at, message);
        }
        catch_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::runbook::read;

    fn schedule(text: &str) -> Result<Schedule, String> {
        let text = format!("runbook: a\nsteps: [{{ plugin: p }}]\n{text}\n");
        match read("r.yaml", &text) {
            Ok((runbook, warnings)) => {
                assert_eq!(warnings, []);
                Ok(runbook.schedule.unwrap())
            }
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }

    #[test]
    fn stands_beside_the_other_keys_or_in_a_mapping() {
        let plain = schedule("schedule: '0 3 * * 1-5'").unwrap();
        assert_eq!((plain.calendar.zone(), plain.jitter, plain.blackout.len()), (Tz::UTC, Duration::ZERO, 0));
        assert_eq!((plain.catch_up, plain.overlap), (CatchUp::None, Overlap::Skip));
        let rest = "time_zone: Europe/Berlin, jitter: 10m, catch_up: all, catch_up_most: 5, overlap: queue, \
            blackout: [audit]";
        let beside = rest.replace(", ", "\n");
        let beside = schedule(&format!("schedule: '0 3 * * 1-5'\n{beside}")).unwrap();
        let inside = schedule(&format!("schedule: {{ cron: '0 3 * * 1-5', {rest} }}")).unwrap();
        for schedule in [beside, inside] {
            assert_eq!(schedule.calendar.source(), "0 3 * * 1-5");
            assert_eq!(schedule.calendar.zone(), Tz::Europe__Berlin);
            assert_eq!(schedule.jitter, Duration::from_secs(600));
            assert_eq!((schedule.catch_up, schedule.overlap), (CatchUp::All { most: 5 }, Overlap::Queue));
            assert_eq!(schedule.blackout, ["audit"]);
        }
    }

    #[test]
    fn problems_are_told_with_their_places() {
        for (text, wanted) in [
            ("schedule: '0 3 * *'", "r.yaml:3:11: schedule: \"0 3 * *\" has 4 fields"),
            ("schedule: '0 3 * * *'\nmatch: ['a=\"b\"']", "r.yaml:4:1: a runbook has either"),
            ("schedule: '0 3 * * *'\ntime_zone: Berlin", "r.yaml:4:12: \"Berlin\" is no IANA time zone"),
            ("schedule: '0 * * * *'\njitter: 1h", "r.yaml:4:9: jitter must be shorter"),
            ("schedule: '0 * * * *'\ncatch_up: all", "needs \"overlap: queue\""),
            ("schedule: '0 * * * *'\ncatch_up_most: 3", "is for \"catch_up: all\""),
            ("schedule: '0 * * * *'\ncatch_up: some", "valid are none, last, all"),
            ("schedule: { cron: '0 * * * *' }\njitter: 1m", "stands inside of \"schedule\""),
            ("schedule: { crn: '0 * * * *' }", "did you mean \"cron\"?"),
            ("jitter: 1m", "r.yaml:3:1: \"jitter\" is for runbooks with a \"schedule\""),
        ] {
            let problems = schedule(text).unwrap_err();
            assert!(problems.contains(wanted), "{text}: {problems}");
        }
    }
}
