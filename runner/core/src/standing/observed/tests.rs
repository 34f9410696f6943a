use serde_json::json;

use super::*;
use crate::decision::{Code, Reason};
use crate::effect::Repeat;
use crate::event::{self, Event, Fact, Outside};
use crate::id::Digest;
use crate::run::{EffectRecord, Held};
use crate::standing::tests::at;

const HOUR: Duration = Duration::from_secs(3_600);

/// A run at `web-7` whose one effect restarts a unit.
fn restart(number: u128, unit: &str, status: EffectStatus) -> Run {
    let leaf = event::RunCreated {
        runbook: "r".to_owned(),
        policy: Digest::of(b""),
        plugins: vec![("p".to_owned(), Digest::of(b"p"))],
        mode: Mode::Act,
        queued: false,
        irreversible: false,
        drill: false,
    };
    let fact = Fact::RunCreated(leaf, Outside::Removed);
    let created = Event { at: at(0), run: Some(RunId::from_bits(number)), alert: None, fact };
    let mut run = Run::begin(&created).unwrap();
    run.target = Some("web-7".to_owned());
    run.steps[0].effects.push(EffectRecord {
        call: Some(Call {
            capability: "service".into(),
            function: "restart".into(),
            target: format!("web-7/service:{unit}").into(),
            arguments: json!({ "unit": unit }).into(),
        }),
        reason: String::new(),
        repeat: Repeat::Once,
        assumed: None,
        key: None,
        status,
    });
    run
}

fn observed() -> Run {
    let run = restart(1, "web.service", EffectStatus::Planned);
    Run { outcome: Some(Outcome::Observed), ended_at: Some(at(0)), ..run }
}

/// A run of a person that did this at that minute.
fn manual(unit: &str, minute: i64) -> Run {
    let run = restart(2, unit, EffectStatus::Done);
    Run { by: Some("ada".to_owned()), started_at: Some(at(minute)), ended_at: Some(at(minute)), ..run }
}

#[test]
fn a_plan_is_compared_with_what_people_did_within_the_time() {
    let approved = Run { by: None, approved: true, ..manual("web.service", 5) };
    let alone = Run { by: None, ..manual("web.service", 5) };
    let elsewhere = Run { target: Some("web-8".to_owned()), ..manual("web.service", 5) };
    let nothing_done = Run { steps: Vec::new(), ..manual("web.service", 5) };
    let held = Some(Held { by: "ada".to_owned(), at: at(7), before: None });
    let taken = Run { held, ..restart(3, "web.service", EffectStatus::Planned) };
    for (others, now, wanted) in [
        (vec![], 30, None),
        (vec![], 60, Some(Agreement::NobodyActed)),
        (vec![manual("web.service", 5)], 6, Some(Agreement::Agreed)),
        (vec![manual("db.service", 5)], 6, Some(Agreement::Differed)),
        (vec![manual("db.service", 5), manual("web.service", 9)], 10, Some(Agreement::Agreed)),
        (vec![manual("web.service", 61)], 70, Some(Agreement::NobodyActed)),
        (vec![approved], 6, Some(Agreement::Agreed)),
        (vec![alone], 70, Some(Agreement::NobodyActed)),
        (vec![elsewhere], 70, Some(Agreement::NobodyActed)),
        (vec![nothing_done], 70, Some(Agreement::NobodyActed)),
        (vec![taken], 8, Some(Agreement::Differed)),
    ] {
        let compared = compare(&observed(), &others, HOUR, at(now));
        assert_eq!(compared.result, wanted, "{others:#?}");
        let acted = wanted.is_some_and(|wanted| wanted != Agreement::NobodyActed);
        assert_eq!(compared.acted.is_some(), acted, "{compared:?}");
    }
}

#[test]
fn only_what_observing_kept_from_acting_is_compared() {
    assert!(is_observed(&observed()));
    assert!(!is_observed(&Run { mode: Mode::Plan, ..observed() }), "a person wanted a plan");
    assert!(!is_observed(&Run { by: Some("ada".to_owned()), ..observed() }));
    let refused = Some(Reason::new(Code::Policy, ""));
    assert!(!is_observed(&Run { outcome: Some(Outcome::Refused), reason: refused, ..observed() }));
}

#[test]
fn comparisons_are_counted_by_how_they_came_out() {
    let of = |result| Compared { result, ..compare(&observed(), &[], HOUR, at(1)) };
    let runs = vec![of(None), of(Some(Agreement::Agreed)), of(Some(Agreement::Differed)), of(None)];
    let counted = Observed::of(runs);
    assert_eq!((counted.agreed, counted.differed, counted.nobody_acted, counted.open), (1, 1, 0, 2));
}
