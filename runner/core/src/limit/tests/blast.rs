//! Groups: percentages, and how many must stay healthy.

use super::*;

const WEB: [&str; 4] = ["a", "b", "c", "d"];

fn reserve(
    ledger: &mut Ledger,
    second: i64,
    ask: &Ask,
    limits: &Limits,
    population: Population<'_>,
) -> Result<Reservation, Refusal> {
    let global = GlobalLimits::default();
    ledger.reserve(at(second), &global, &ask.request(limits), population).map_err(|stop| match stop {
        Stop::Refused(refusal) => refusal,
        Stop::Asks(question) => panic!("{question}"),
    })
}

#[test]
fn a_percentage_is_of_the_group_and_never_more() {
    for (percent, members, most) in [(25, 4, 1), (25, 7, 1), (50, 4, 2), (100, 4, 4), (25, 3, 0), (99, 1, 0)]
    {
        assert_eq!(Share::Percent(percent).of(members), most, "{percent} % of {members}");
    }
    let limits = Limits { concurrent_targets: Some(Share::Percent(25)), ..Limits::default() };
    let web = roll(&WEB, None);
    let mut ledger = Ledger::default();
    reserve(&mut ledger, 0, &ask(1, "a"), &limits, Population::Known(&web)).unwrap();
    let other = Ask { runbook: "s", ..ask(2, "b") };
    let refusal = reserve(&mut ledger, 0, &other, &limits, Population::Known(&web)).unwrap_err();
    assert_eq!(
        refusal.message,
        "concurrent_targets: 1 of 1 targets (25% of the 4 members of web) are acted on already; again when a run ends"
    );
    reserve(&mut ledger, 0, &ask(3, "a"), &limits, Population::Known(&web)).unwrap();
    let few = roll(&["a", "b", "c"], None);
    let refusal =
        reserve(&mut Ledger::default(), 0, &ask(1, "a"), &limits, Population::Known(&few)).unwrap_err();
    assert!(refusal.message.contains("25% of the 3 members of web is no whole target"), "{refusal:?}");
}

#[test]
fn a_number_of_targets_needs_no_group() {
    let limits = Limits { concurrent_targets: Some(Share::Count(1)), ..Limits::default() };
    let mut ledger = Ledger::default();
    reserve(&mut ledger, 0, &ask(1, "a"), &limits, Population::NoGroup).unwrap();
    let refusal = reserve(&mut ledger, 0, &ask(2, "b"), &limits, Population::NoGroup).unwrap_err();
    assert_eq!((refusal.limit, refusal.code), (LimitName::ConcurrentTargets, Code::Limit));
    reserve(&mut ledger, 0, &Ask { runbook: "s", ..ask(3, "b") }, &limits, Population::NoGroup).unwrap();
}

#[test]
fn what_must_stay_healthy_leaves_out_what_is_acted_on() {
    let limits = Limits { at_least_healthy: Some(2), ..Limits::default() };
    let web = roll(&WEB, Some(&["b", "c", "d"]));
    let known = Population::Known(&web);
    let mut ledger = Ledger::default();
    reserve(&mut ledger, 0, &ask(1, "a"), &limits, known).unwrap();
    reserve(&mut ledger, 0, &ask(2, "b"), &limits, known).unwrap();
    let refusal = reserve(&mut ledger, 0, &ask(3, "c"), &limits, known).unwrap_err();
    assert_eq!(
        refusal.message,
        "at_least_healthy: 1 members of web would stay healthy, and 2 must; 3 of 4 are healthy now, 3 acted on"
    );
    ledger.release(at(1), &run(2));
    reserve(&mut ledger, 1, &ask(3, "c"), &limits, known).unwrap();
}

#[test]
fn an_unknown_or_old_population_refuses() {
    let percent = Limits { concurrent_targets: Some(Share::Percent(50)), ..Limits::default() };
    let healthy = Limits { at_least_healthy: Some(1), ..Limits::default() };
    let web = roll(&WEB, Some(&WEB));
    let unseen = roll(&WEB, None);
    let unknown = Population::Unknown { group: "web", why: "the query timed out" };
    for (limits, second, target, population, wanted) in [
        (&percent, 0, "a", Population::NoGroup, "concurrent_targets: the runbook names no group"),
        (
            &healthy,
            0,
            "a",
            unknown,
            "at_least_healthy: the members of web are not known: the query timed out",
        ),
        (
            &percent,
            61,
            "a",
            Population::Known(&web),
            "concurrent_targets: the members of web were last seen 1m1s ago, which is good for 1m",
        ),
        (
            &percent,
            0,
            "e",
            Population::Known(&web),
            "concurrent_targets: e is not one of the 4 members of web",
        ),
        (
            &healthy,
            0,
            "a",
            Population::Known(&unseen),
            "at_least_healthy: the health of web is not looked at",
        ),
    ] {
        let refusal =
            reserve(&mut Ledger::default(), second, &ask(1, target), limits, population).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (Code::PopulationUnknown, wanted));
    }
    reserve(&mut Ledger::default(), 60, &ask(1, "a"), &healthy, Population::Known(&web)).unwrap();
}
