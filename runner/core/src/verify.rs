//! The verdict: what the probes say, over time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::run::{ProbeAnswer, Verdict};

/// Watches the probes of one run until there is a verdict.
///
/// `fixed`: all passed for `stable_for`, and at least one failed in the baseline. `not-fixed`: one fails when
/// the time is over. Otherwise `unknown`. A verdict without a probe is `unknown`.
#[derive(Debug, Clone)]
pub struct Watch {
    began: DateTime<Utc>,
    within: TimeDelta,
    stable_for: TimeDelta,
    failed_before: bool,
    all_passed_since: Option<DateTime<Utc>>,
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub code: crate::decision::Code,
}

impl Watch {
    /// A watch that begins now.
    #[must_use]
    pub fn new(
        began: DateTime<Utc>,
        within: TimeDelta,
        stable_for: TimeDelta,
        baseline: Option<&[ProbeAnswer]>,
    ) -> Self {
        let failed_before = baseline.is_some_and(|answers| answers.contains(&ProbeAnswer::Failed));
        Self { began, within, stable_for, failed_before, all_passed_since: None }
    }

    /// Takes in one look at all probes; a judgement ends the watch.
    pub fn observe(&mut self, now: DateTime<Utc>, answers: &[ProbeAnswer]) -> Option<Judgement> {
        use crate::decision::Code;
        if answers.is_empty() {
            return Some(Judgement { verdict: Verdict::Unknown, code: Code::NoProbe });
        }
        if answers.iter().all(|answer| *answer == ProbeAnswer::Passed) {
            let since = *self.all_passed_since.get_or_insert(now);
            if now - since >= self.stable_for {
                return Some(if self.failed_before {
                    Judgement { verdict: Verdict::Fixed, code: Code::Verified }
                } else {
                    Judgement { verdict: Verdict::Unknown, code: Code::NotFailingBefore }
                });
            }
        } else {
            self.all_passed_since = None;
        }
        if now - self.began < self.within {
            return None;
        }
        Some(if answers.contains(&ProbeAnswer::Failed) {
            Judgement { verdict: Verdict::NotFixed, code: Code::StillFailing }
        } else {
            Judgement { verdict: Verdict::Unknown, code: Code::NoAnswer }
        })
    }

    /// How long until something can change: the next moment at which the same answers would give a judgement.
    #[must_use]
    pub fn next_deadline(&self) -> DateTime<Utc> {
        let end = self.began + self.within;
        self.all_passed_since.map_or(end, |since| end.min(since + self.stable_for))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Code;
    use ProbeAnswer::{Failed, NoAnswer, Passed};

    fn judge(baseline: &[ProbeAnswer], looks: &[(i64, &[ProbeAnswer])]) -> Option<(Verdict, Code)> {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut watch = Watch::new(at(0), TimeDelta::seconds(60), TimeDelta::seconds(10), Some(baseline));
        looks
            .iter()
            .find_map(|(second, answers)| watch.observe(at(*second), answers))
            .map(|j| (j.verdict, j.code))
    }

    #[test]
    fn fixed_needs_a_failure_before_and_stability_after() {
        let ok: &[ProbeAnswer] = &[Passed];
        assert_eq!(judge(&[Failed], &[(0, ok), (9, ok)]), None);
        assert_eq!(judge(&[Failed], &[(0, ok), (10, ok)]), Some((Verdict::Fixed, Code::Verified)));
        assert_eq!(judge(&[Passed], &[(0, ok), (10, ok)]), Some((Verdict::Unknown, Code::NotFailingBefore)));
        assert_eq!(
            judge(&[NoAnswer], &[(0, ok), (10, ok)]),
            Some((Verdict::Unknown, Code::NotFailingBefore))
        );
        assert_eq!(
            judge(&[Failed], &[(0, ok), (5, &[Failed]), (6, ok), (15, ok)]),
            None,
            "flapping starts anew"
        );
    }

    #[test]
    fn not_fixed_needs_positive_evidence_at_the_end() {
        assert_eq!(judge(&[Failed], &[(59, &[Failed])]), None);
        assert_eq!(
            judge(&[Failed], &[(60, &[Passed, Failed])]),
            Some((Verdict::NotFixed, Code::StillFailing))
        );
        assert_eq!(judge(&[Failed], &[(60, &[Passed, NoAnswer])]), Some((Verdict::Unknown, Code::NoAnswer)));
    }

    #[test]
    fn no_probe_is_never_fixed() {
        assert_eq!(judge(&[], &[(0, &[])]), Some((Verdict::Unknown, Code::NoProbe)));
    }
}
