use chrono::TimeDelta;
use proptest::prelude::*;

use super::super::tests::{approval, at, plan, waiting};
use super::super::{permit_by_quorum, quorum};
use super::*;
use crate::policy::runbook::{Comment, Deputies, Rung};
use crate::run::{Glass, Held, Passes, Run};

fn policy() -> Digest {
    Digest::of(b"policy")
}

/// Everybody has the role `operator`, but for `eve`, who has none, and `root`, who is administrator. `ada-laptop`
/// is another name of ada's; `zoe` comes with an outside identity; `lea` is a lead.
fn people() -> BTreeMap<String, PersonNow> {
    let known = |person: &str, role: &str| PersonNow {
        person: person.to_owned(),
        roles: RolesNow::Known(BTreeSet::from([role.to_owned()])),
    };
    let zoe = PersonNow { person: "zoe".to_owned(), roles: RolesNow::AsApproved };
    let people = [
        ("ada", known("ada", "operator")),
        ("ada-laptop", known("ada", "operator")),
        ("bob", known("bob", "operator")),
        ("cy", known("cy", "operator")),
        ("eve", known("eve", "reader")),
        ("lea", known("lea", "lead")),
        ("root", known("root", "administrator")),
        ("zoe", zoe),
    ];
    people.into_iter().map(|(name, now)| (name.to_owned(), now)).collect()
}

fn ask(gate: &Gate) -> Ask {
    Ask::new(gate, at(0))
}

fn gate(approvals: u32) -> Gate {
    Gate { approvals, expires: std::time::Duration::from_secs(100), ..Gate::default() }
}

fn facts<'a>(people: &'a BTreeMap<String, PersonNow>, signers: &'a [String]) -> QuorumFacts<'a> {
    QuorumFacts { plan: plan(), policy: policy(), starter: Some("bob"), signers, releasers: &[], people }
}

/// The code with which each approval fails to count, `-` where it counts.
fn codes(ask: &Ask, approvals: &[Approval], facts: &QuorumFacts<'_>) -> Vec<(String, Code)> {
    let quorum = quorum(ask, approvals, facts);
    assert_eq!(quorum.counted.len() + quorum.uncounted.len(), approvals.len());
    quorum.uncounted.into_iter().map(|not| (not.by, not.reason.code)).collect()
}

#[test]
fn an_approval_counts_for_its_plan_policy_time_person_and_role() {
    let (people, signers) = (people(), ["cy".to_owned()]);
    let facts = facts(&people, &signers);
    let ask = ask(&gate(1));
    let yes = |by| Approval { policy: Some(policy()), ..approval(by, plan()) };
    for (approval, wanted) in [
        (yes("ada"), None),
        (yes("root"), None),
        (approval("ada", plan()), None),
        (Approval { plan: Digest::of(b"another"), ..yes("ada") }, Some(Code::PlanChanged)),
        (Approval { policy: Some(Digest::of(b"old")), ..yes("ada") }, Some(Code::PlanChanged)),
        (Approval { at: at(99), ..yes("ada") }, None),
        (Approval { at: at(100), ..yes("ada") }, Some(Code::Expired)),
        (yes("eve"), Some(Code::Role)),
        (yes("gone"), Some(Code::Role)),
        (yes("bob"), Some(Code::Separation)),
        (yes("cy"), Some(Code::Separation)),
        (yes("zoe"), Some(Code::Role)),
        (Approval { roles: vec!["operator".to_owned()], ..yes("zoe") }, None),
        (Approval { roles: vec!["operator".to_owned()], ..yes("eve") }, Some(Code::Role)),
    ] {
        let got = codes(&ask, std::slice::from_ref(&approval), &facts);
        assert_eq!(got.first().map(|(_, code)| *code), wanted, "{approval:?}");
        assert_eq!(would_count(&ask, &[], &approval, &facts).err().map(|reason| reason.code), wanted);
    }
    let released = QuorumFacts { releasers: &["ada".to_owned()], ..facts };
    assert_eq!(codes(&ask, &[yes("ada")], &released), [("ada".to_owned(), Code::Separation)]);
    let loose = self::ask(&Gate { separation: Separation::None, ..gate(1) });
    assert_eq!(codes(&loose, &[yes("bob"), yes("cy")], &facts), []);
}

#[test]
fn one_person_counts_once_under_however_many_tokens() {
    let people = people();
    let facts = facts(&people, &[]);
    let ask = ask(&gate(2));
    let approvals = [approval("ada", plan()), approval("ada", plan()), approval("ada-laptop", plan())];
    let quorum = quorum(&ask, &approvals, &facts);
    assert_eq!((quorum.counted.as_slice(), quorum.missing()), (&["ada".to_owned()][..], 1));
    let why = quorum.granted().unwrap_err();
    assert_eq!(why.code, Code::Quorum);
    assert!(
        why.message.starts_with("1 of 2 approvals are missing; ada approved it already"),
        "{}",
        why.message
    );
    let starter = QuorumFacts { starter: Some("ada-laptop"), ..facts };
    assert_eq!(codes(&ask, &approvals[..1], &starter), [("ada".to_owned(), Code::Separation)]);
}

#[test]
fn two_approvals_at_the_same_microsecond_are_two_and_one_person_is_still_one() {
    let people = people();
    let facts = QuorumFacts { starter: None, ..facts(&people, &[]) };
    let ask = ask(&gate(2));
    let [ada, bob, laptop] = ["ada", "bob", "ada-laptop"].map(|by| approval(by, plan()));
    assert_eq!(ada.at, bob.at);
    for both in [[ada.clone(), bob.clone()], [bob, ada.clone()]] {
        let quorum = quorum(&ask, &both, &facts);
        assert_eq!((quorum.missing(), quorum.granted()), (0, Ok(())));
    }
    for twice in [[ada.clone(), laptop.clone()], [laptop, ada]] {
        let quorum = quorum(&ask, &twice, &facts);
        assert_eq!((quorum.missing(), quorum.counted.len(), quorum.uncounted.len()), (1, 1, 1));
    }
}

#[test]
fn a_question_can_be_answered_until_its_last_microsecond() {
    let people = people();
    let facts = QuorumFacts { starter: None, ..facts(&people, &[]) };
    let ask = ask(&gate(1));
    let instant = TimeDelta::microseconds(1);
    for (given, wanted) in [
        (ask.expires - instant, None),
        (ask.expires, Some(Code::Expired)),
        (ask.expires + instant, Some(Code::Expired)),
    ] {
        let given = Approval { at: given, ..approval("ada", plan()) };
        assert_eq!(would_count(&ask, &[], &given, &facts).err().map(|reason| reason.code), wanted);
    }
}

#[test]
fn who_was_removed_or_lost_the_role_after_approving_no_longer_counts() {
    let mut people = people();
    let ask = ask(&gate(1));
    let approvals = [Approval { roles: vec!["operator".to_owned()], ..approval("ada", plan()) }];
    assert_eq!(codes(&ask, &approvals, &facts(&people, &[])), []);
    people.get_mut("ada").unwrap().roles = RolesNow::Known(BTreeSet::from(["reader".to_owned()]));
    assert_eq!(codes(&ask, &approvals, &facts(&people, &[])), [("ada".to_owned(), Code::Role)]);
    people.remove("ada");
    assert_eq!(codes(&ask, &approvals, &facts(&people, &[])), [("ada".to_owned(), Code::Role)]);
}

#[test]
fn deputies_count_from_their_time_on_and_comments_where_they_are_wanted() {
    let people = people();
    let facts = QuorumFacts { starter: None, ..facts(&people, &[]) };
    let deputies = Deputies {
        after: std::time::Duration::from_secs(10),
        people: vec!["eve".to_owned()],
        roles: vec!["lead".to_owned()],
    };
    let ask = ask(&Gate { deputies: Some(deputies), comment: Comment::Required, ..gate(1) });
    for (by, second, comment, wanted) in [
        ("eve", 9, "ok", Some(Code::Role)),
        ("eve", 10, "ok", None),
        ("lea", 10, "ok", None),
        ("zoe", 10, "ok", Some(Code::Role)),
        ("ada", 1, "ok", None),
        ("ada", 1, "  ", Some(Code::CommentNeeded)),
    ] {
        let approval = Approval { at: at(second), comment: Some(comment.to_owned()), ..approval(by, plan()) };
        let got = codes(&ask, &[approval], &facts);
        assert_eq!(got.first().map(|(_, code)| *code), wanted, "{by} {second} {comment:?}");
    }
    let silent = approval("ada", plan());
    let said = Approval { comment: Some("looked".to_owned()), ..silent.clone() };
    assert_eq!(quorum(&ask, &[silent, said], &facts).counted, ["ada"], "a second try with a comment counts");
}

#[test]
fn a_ladder_tells_each_rung_once_and_ends_with_the_question() {
    let rung = |seconds, to: &str| Rung { after: std::time::Duration::from_secs(seconds), to: to.to_owned() };
    let ask =
        ask(&Gate { escalate: vec![rung(10, "chat"), rung(20, "second"), rung(20, "boss")], ..gate(1) });
    let due = |second, told| -> Vec<&str> {
        due_escalations(&ask, at(second), told).iter().map(|rung| rung.to.as_str()).collect()
    };
    assert_eq!(due(9, 0), [""; 0]);
    assert_eq!(due(10, 0), ["chat"]);
    assert_eq!(due(10, 1), [""; 0]);
    assert_eq!(due(20, 1), ["second", "boss"]);
    assert_eq!(due(20, 3), [""; 0]);
    assert_eq!(due(99, 0), ["chat", "second", "boss"], "what a restart passed over is told after it");
    assert_eq!(due(100, 0), [""; 0], "nobody is told of a question that is over");
    let next: Vec<_> = (0..4).map(|told| next_escalation(&ask, told).map(|at| at.timestamp())).collect();
    assert_eq!(next, [Some(10), Some(20), Some(20), None]);
}

#[test]
fn a_quorum_of_more_than_there_are_is_impossible() {
    let people = people();
    for (approvals, roles, signers, wanted) in [
        (5, &["operator"][..], &[][..], true),
        (6, &["operator"], &[], false),
        (5, &["operator"], &["bob"], false),
        (3, &["lead"], &[], true),
        (4, &["lead"], &[], false),
    ] {
        let gate = Gate { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..gate(approvals) };
        let signers: Vec<String> = signers.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(possible(&gate, &people, &signers).is_ok(), wanted, "{approvals} {roles:?} {signers:?}");
    }
    let nobody = possible(&gate(1), &BTreeMap::new(), &[]).unwrap_err();
    assert!(nobody.message.contains("nobody could give one"), "{}", nobody.message);
}

fn code_of(run: &Run, second: i64, facts: &QuorumFacts<'_>) -> Option<Code> {
    permit_by_quorum(run, at(second), facts).err().map(|reason| reason.code)
}

#[test]
fn a_permit_needs_the_quorum_now_and_an_open_question_in_nobodys_hands() {
    let people = people();
    let facts = facts(&people, &[]);
    let run = waiting(1, &[("ada", plan())]);
    let (permit, decision) = permit_by_quorum(&run, at(99), &facts).unwrap();
    assert!(permit.approved() && permit.plan() == plan() && decision.code == Code::Approved);
    assert_eq!(code_of(&run, 100, &facts), Some(Code::Expired));
    assert_eq!(code_of(&waiting(2, &[("ada", plan())]), 1, &facts), Some(Code::Quorum));
    let replanned = QuorumFacts { plan: Digest::of(b"new"), ..facts };
    assert_eq!(code_of(&run, 1, &replanned), Some(Code::PlanChanged));
    let held = Held { by: "cy".to_owned(), at: at(1), before: None };
    assert_eq!(code_of(&Run { held: Some(held), ..run.clone() }, 1, &facts), Some(Code::TakenOver));
    assert_eq!(code_of(&Run { ask: None, ..run }, 1, &facts), Some(Code::Quorum));
}

#[test]
fn a_broken_glass_passes_a_missing_quorum_for_the_plan_that_was_shown_alone() {
    let people = people();
    let facts = facts(&people, &[]);
    let broken = |passes, shown| {
        let glass = Glass {
            passes,
            plan: shown,
            by: "cy".to_owned(),
            at: at(1),
            reason: "the site is down".to_owned(),
            review: None,
        };
        Run { glass: vec![glass], ..waiting(2, &[("ada", plan())]) }
    };
    let (permit, decision) = permit_by_quorum(&broken(Passes::Quorum, Some(plan())), at(5), &facts).unwrap();
    assert!(permit.approved() && decision.code == Code::GlassBroken);
    assert!(decision.message.starts_with("cy broke the glass: 1 of 2"), "{}", decision.message);
    for (passes, shown) in [(Passes::Quorum, Some(Digest::of(b"old"))), (Passes::Freeze, Some(plan()))] {
        assert_eq!(code_of(&broken(passes, shown), 5, &facts), Some(Code::Quorum));
    }
    assert_eq!(code_of(&broken(Passes::Quorum, Some(plan())), 100, &facts), Some(Code::Expired));
}

fn any_approval() -> impl Strategy<Value = Approval> {
    let names = prop::sample::select(vec!["ada", "ada-laptop", "bob", "cy", "eve", "gone", "root", "zoe"]);
    (names, 0i64..120, any::<bool>(), any::<bool>()).prop_map(|(by, second, same_plan, comment)| Approval {
        at: at(second),
        plan: if same_plan { plan() } else { Digest::of(b"another") },
        comment: comment.then(|| "c".to_owned()),
        ..approval(by, plan())
    })
}

proptest! {
    #[test]
    fn another_approval_never_takes_away_and_one_that_does_not_count_changes_nothing(
        approvals in prop::collection::vec(any_approval(), 0..6),
        more in any_approval(),
        needed in 1u32..4,
        comment: bool,
    ) {
        let people = people();
        let facts = facts(&people, &[]);
        let comment = if comment { Comment::Required } else { Comment::Optional };
        let ask = ask(&Gate { comment, ..gate(needed) });
        let before = quorum(&ask, &approvals, &facts);
        let counts = would_count(&ask, &approvals, &more, &facts).is_ok();
        let with: Vec<Approval> = approvals.iter().cloned().chain([more]).collect();
        let after = quorum(&ask, &with, &facts);
        prop_assert_eq!(after.counted.len(), before.counted.len() + usize::from(counts));
        prop_assert_eq!(&after.counted[..before.counted.len()], &before.counted[..]);
        prop_assert!(after.missing() <= before.missing());
    }

    #[test]
    fn removing_a_person_never_helps(
        approvals in prop::collection::vec(any_approval(), 0..6),
        gone in prop::sample::select(vec!["ada", "bob", "root"]),
    ) {
        let mut people = people();
        let ask = ask(&gate(2));
        let before = quorum(&ask, &approvals, &facts(&people, &[])).missing();
        people.remove(gone);
        prop_assert!(quorum(&ask, &approvals, &facts(&people, &[])).missing() >= before);
    }

    #[test]
    fn the_same_rungs_are_told_however_often_one_looks(looks in prop::collection::vec(0i64..100, 1..20)) {
        let rung = |seconds| Rung { after: std::time::Duration::from_secs(seconds), to: format!("t{seconds}") };
        let ask = ask(&Gate { escalate: vec![rung(10), rung(20), rung(70)], ..gate(1) });
        let mut looks = looks;
        looks.sort_unstable();
        let mut told = Vec::new();
        for look in &looks {
            let due = due_escalations(&ask, at(0) + TimeDelta::seconds(*look), u32::try_from(told.len()).unwrap());
            told.extend(due.iter().map(|rung| rung.to.clone()));
        }
        let last = looks.last().copied().unwrap_or_default();
        prop_assert_eq!(told.len(), [10, 20, 70].iter().filter(|due| **due <= last).count());
    }
}
