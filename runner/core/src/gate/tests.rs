use std::collections::BTreeMap;

use super::*;
use crate::limit::{LimitName, Refusal};
use crate::run::{Approval, Ask, Granted, State};

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

pub(crate) fn plan() -> Digest {
    Digest::of(b"plan")
}

pub(super) fn approval(by: &str, plan: Digest) -> Approval {
    Approval {
        by: by.to_owned(),
        at: at(1),
        plan,
        comment: None,
        subject: None,
        envelope: None,
        storm: None,
        roles: Vec::new(),
        policy: None,
    }
}

pub(crate) fn waiting(approvals: u32, by: &[(&str, Digest)]) -> Run {
    Run {
        id: RunId::from_bits(1),
        runbook: "r".to_owned(),
        policy: Digest::of(b""),
        mode: Mode::Act,
        irreversible: false,
        alert: None,
        target: Some("t".to_owned()),
        host: None,
        labels: BTreeMap::new().into(),
        verify: None,
        by: None,
        drill: None,
        state: State::Waiting,
        outcome: None,
        verdict: None,
        reason: None,
        steps: Vec::new(),
        flow: Default::default(),
        undo: None,
        plan: Some(plan()),
        planned_at: Some(at(0)),
        ask: Some(Ask {
            approvals,
            roles: vec!["operator".to_owned()],
            expires: at(100),
            separation: true,
            escalate: Vec::new(),
            deputies: None,
            comment: false,
        }),
        approvals: by.iter().map(|(by, plan)| approval(by, *plan)).collect(),
        told: 0,
        held: None,
        glass: Vec::new(),
        given_up: None,
        parked_at: None,
        approved: false,
        approved_until: None,
        granted_by: None,
        question: None,
        baseline: None,
        decisions: Vec::new(),
        created_at: at(0),
        started_at: None,
        acted_at: None,
        ended_at: None,
    }
}

#[test]
fn no_permit_alone_without_a_ruling_and_none_for_a_plan_only_run() {
    let mut run = waiting(1, &[]);
    assert!(permit_alone(&run, plan(), true).is_ok_and(|permit| !permit.approved()));
    assert_eq!(permit_alone(&run, plan(), false).unwrap_err().code, Code::Policy);
    run.mode = Mode::Plan;
    assert_eq!(permit_alone(&run, plan(), true).unwrap_err().code, Code::Observe);
}

#[test]
fn a_run_never_permitted_is_not_permitted_again() {
    let mut run = waiting(1, &[]);
    assert!(permit_again(&run).is_err());
    run.started_at = Some(at(5));
    assert!(permit_again(&run).is_ok());
    run.ended_at = Some(at(6));
    assert!(permit_again(&run).is_err());
}

#[test]
fn a_run_is_taken_up_again_only_while_its_approval_holds() {
    let mut run = waiting(1, &[]);
    run.started_at = Some(at(5));
    let people = people(&[]);
    let facts = facts(&people);
    assert!(
        permit_resumed(&run, at(1_000), &facts).is_ok_and(|permit| !permit.approved()),
        "nobody had to approve it"
    );
    (run.approved, run.approved_until) = (true, Some(at(100)));
    assert!(permit_resumed(&run, at(99), &facts).is_ok_and(|permit| permit.approved()));
    assert_eq!(permit_resumed(&run, at(100), &facts).unwrap_err().code, Code::Expired);
    run.ended_at = Some(at(6));
    assert_eq!(permit_resumed(&run, at(99), &facts).unwrap_err().code, Code::Internal);
}

#[test]
fn a_run_is_taken_up_again_only_while_those_who_approved_it_count() {
    let mut run = waiting(2, &[("ada", plan()), ("ben", plan())]);
    (run.approved, run.approved_until, run.started_at) = (true, Some(at(100)), Some(at(5)));
    run.granted_by = run.ask.take().map(|ask| Granted { ask, approvals: std::mem::take(&mut run.approvals) });
    let both = people(&["ada", "ben"]);
    assert!(permit_resumed(&run, at(50), &facts(&both)).is_ok_and(|permit| permit.approved()));
    let one = people(&["ada"]);
    let missing = permit_resumed(&run, at(50), &facts(&one)).unwrap_err();
    assert_eq!(missing.code, Code::Quorum);
    assert!(missing.message.contains("ben is no longer known here"), "{missing}");
}

/// These people, all of them operators.
fn people(names: &[&str]) -> BTreeMap<String, PersonNow> {
    let operator = |name: &str| {
        let roles = RolesNow::Known(["operator".to_owned()].into());
        (name.to_owned(), PersonNow { person: name.to_owned(), roles })
    };
    names.iter().copied().map(operator).collect()
}

fn facts(people: &BTreeMap<String, PersonNow>) -> QuorumFacts<'_> {
    QuorumFacts { plan: plan(), policy: Digest::of(b""), starter: None, signers: &[], releasers: &[], people }
}

#[test]
fn the_pre_gate_refuses_duplicates_what_is_out_of_service_and_what_is_over() {
    let full = Stop::Refused(Refusal {
        code: Code::Limit,
        limit: LimitName::PerTarget,
        message: "per_target: 1 of 1".to_owned(),
        free_at: None,
    });
    let free = PreGateFacts {
        target: Some("t"),
        unended: None,
        out_of_service: &[],
        alert_over: false,
        halted: None,
        windows: &[],
        breaker: None,
        limit: None,
    };
    let id = RunId::from_bits(1);
    let other = RunId::from_bits(2);
    let frozen = Decision::refuse(at(0), Stage::Window, "r", Code::Window, "frozen");
    assert!(pre_gate(at(0), &id, "r", &free).is_ok());
    for (facts, code) in [
        (PreGateFacts { unended: Some(&other), ..free }, Code::Busy),
        (PreGateFacts { out_of_service: &[("p", "revoked")], ..free }, Code::Standing),
        (PreGateFacts { alert_over: true, ..free }, Code::NoLongerNeeded),
        (PreGateFacts { halted: Some("stop"), ..free }, Code::Halt),
        (PreGateFacts { windows: std::slice::from_ref(&frozen), ..free }, Code::Window),
        (PreGateFacts { breaker: Some("open"), ..free }, Code::Breaker),
        (PreGateFacts { limit: Some(&full), ..free }, Code::Limit),
    ] {
        let refusals = pre_gate(at(0), &id, "r", &facts).unwrap_err();
        assert_eq!(refusals.iter().map(|d| d.code).collect::<Vec<_>>(), [code]);
    }
}
