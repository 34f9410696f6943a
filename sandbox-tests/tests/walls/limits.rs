//! Bounds on what a guest can use up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use staunch::sandbox::{Ending, Limits, LogLevel, Mode, Report};

use super::harness::*;

/// A roomy run of a guest that has no grants.
async fn run(name: &str, limits: Limits) -> Report {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, name);
    let mut job = job(&prepared, "{}", &grants(&[]), &Arc::default());
    job.limits = limits;
    sandbox.execute(plan_permit(), job).await
}

fn roomy() -> Limits {
    Limits { fuel: 200_000_000, memory: 64 << 20, deadline: Duration::from_secs(20) }
}

fn trap(report: &Report) -> &'static str {
    match &report.ending {
        Ending::Trapped { code, .. } => code,
        other => panic!("not trapped: {other:?}"),
    }
}

#[tokio::test]
async fn the_honest_guest_passes() {
    let report = run("honest", roomy()).await;
    let Ending::Returned(result) = &report.ending else { panic!("{report:?}") };
    assert_eq!(result["summary"], "nothing to do");
    assert_eq!((result["changed"].as_bool(), result["details"].is_null()), (Some(false), true));
    assert!(report.fuel > 0 && report.fuel < 1_000, "{}", report.fuel);
}

#[tokio::test]
async fn an_endless_loop_runs_out_of_fuel() {
    let report = run("spin", Limits { fuel: 1_000_000, ..roomy() }).await;
    assert_eq!((trap(&report), report.fuel), ("fuel", 1_000_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_endless_loop_ends_at_its_deadline_and_others_run_meanwhile() {
    let began = Instant::now();
    let spinning =
        tokio::spawn(run("spin", Limits { fuel: u64::MAX, deadline: Duration::from_millis(300), ..roomy() }));
    // On the only worker thread there is: the ticks make room.
    let mut turns = 0;
    while !spinning.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        turns += 1;
    }
    assert_eq!(trap(&spinning.await.unwrap()), "deadline");
    assert!(turns > 3, "{turns}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn each_bound_ends_the_run_with_its_code() {
    for (guest, code) in [
        ("memory-bomb", "memory"),
        ("huge-memory", "memory"),
        ("table-bomb", "table"),
        ("recursion", "stack"),
        ("trap", "unreachable"),
        ("trap-in-start", "unreachable"),
        ("huge-result", "result"),
        ("garbage-details", "result"),
        ("garbage-text", "abi"),
        ("garbage-pointer", "abi"),
        ("garbage-variant", "abi"),
        ("huge-log-line", "hostcall"),
        ("random-flood", "random"),
    ] {
        let report = run(guest, roomy()).await;
        let Ending::Trapped { code: found, message } = &report.ending else { panic!("{guest}: {report:?}") };
        assert_eq!(*found, code, "{guest}: {message}");
        assert!(!message.is_empty());
    }
}

#[tokio::test]
async fn memory_is_counted_from_the_first_page() {
    let tight = Limits { memory: 128 << 10, ..roomy() };
    assert!(matches!(run("honest", tight).await.ending, Ending::Returned(_)));
    let too_tight = Limits { memory: 64 << 10, ..roomy() };
    assert_eq!(trap(&run("honest", too_tight).await), "memory");
}

#[tokio::test]
async fn a_log_flood_is_cut_counted_and_harmless() {
    let report = run("log-flood", roomy()).await;
    assert!(matches!(report.ending, Ending::Returned(_)), "{:?}", report.ending);
    let bytes: usize = report.log.iter().map(|line| line.message.len()).sum();
    assert!(bytes <= 64 << 10, "{bytes}");
    assert_eq!((report.log[0].level, report.log[0].message.len()), (LogLevel::Info, 4 << 10));
    assert_eq!(u32::try_from(report.log.len()).unwrap() + report.log_dropped, 100_001);
}

#[tokio::test]
async fn sleeping_costs_nothing_in_a_plan_and_ends_at_the_deadline_when_acting() {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "sleep");
    let began = Instant::now();
    let limits = Limits { deadline: Duration::from_millis(200), ..roomy() };
    let mut plan = job(&prepared, "{}", &grants(&[]), &Arc::default());
    plan.limits = limits;
    let report = sandbox.execute(plan_permit(), plan).await;
    assert!(matches!(report.ending, Ending::Returned(_)));
    let mut act = job(&prepared, "{}", &grants(&[]), &Arc::default());
    act.limits = limits;
    act.mode = acting(Vec::new());
    assert_eq!(trap(&sandbox.execute(act_permit(false), act).await), "deadline");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn calls_are_counted() {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "call-flood");
    let all = grants(&[("http", "send", "* **")]);
    let report =
        sandbox.execute(plan_permit(), job(&prepared, "http://a.example/", &all, &Arc::default())).await;
    assert_eq!((trap(&report), report.effects.len()), ("calls", 1_000));
    let none = grants(&[]);
    let book = Arc::new(Book::default());
    let report = sandbox.execute(plan_permit(), job(&prepared, "http://a.example/", &none, &book)).await;
    assert_eq!((trap(&report), book.lines().len()), ("calls", 1_000));
}

#[tokio::test]
async fn clock_and_randomness_are_the_runs_own() {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "own-things");
    let make = |seed: u8| {
        let mut job = job(&prepared, "{}", &grants(&[]), &Arc::default());
        job.seed = [seed; 32];
        job
    };
    let plan = sandbox.execute(plan_permit(), make(1)).await;
    let mut act = make(1);
    act.mode = acting(Vec::new());
    let act = sandbox.execute(act_permit(true), act).await;
    let other = sandbox.execute(plan_permit(), make(2)).await;
    assert_eq!((&plan.ending, plan.fuel), (&act.ending, act.fuel));
    assert_ne!(plan.ending, other.ending);
    assert_eq!(plan.fuel, other.fuel);
}

#[tokio::test]
async fn a_run_after_a_broken_one_starts_afresh() {
    let sandbox = sandbox();
    let bad = prepare(&sandbox, "memory-bomb");
    let good = prepare(&sandbox, "honest");
    for _ in 0..30 {
        let book = Arc::default();
        let report = sandbox.execute(plan_permit(), job(&bad, "{}", &grants(&[]), &book)).await;
        assert_eq!(trap(&report), "memory");
        let report = sandbox.execute(plan_permit(), job(&good, "{}", &grants(&[]), &book)).await;
        assert!(matches!(report.ending, Ending::Returned(_)));
    }
}

#[tokio::test]
async fn a_permit_is_good_for_its_run_and_its_mode() {
    let sandbox = sandbox();
    let prepared = prepare(&sandbox, "honest");
    let make = || job(&prepared, "{}", &grants(&[]), &Arc::default());
    let mut acting_on_a_plan_permit = make();
    acting_on_a_plan_permit.mode = acting(Vec::new());
    let mut other_run = make();
    other_run.run = staunch_core::id::RunId::from_bits(8);
    let mut replaying = make();
    replaying.mode = Mode::Replay;
    for (permit, job) in [
        (plan_permit(), acting_on_a_plan_permit),
        (act_permit(true), make()),
        (plan_permit(), other_run),
        (plan_permit(), replaying),
    ] {
        let report = sandbox.execute(permit, job).await;
        assert!(matches!(report.ending, Ending::NotPermitted(_)), "{report:?}");
    }
}

/// Also while other threads give memory back, which nobody can have meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_runs_at_once_wait_for_room() {
    let sandbox = Arc::new(sandbox());
    let prepared = prepare(&sandbox, "honest");
    let began = Instant::now();
    let runs = (0..30_000).map(|_| {
        let (sandbox, prepared) = (sandbox.clone(), prepared.clone());
        tokio::spawn(async move {
            let job = job(&prepared, "{}", &grants(&[]), &Arc::default());
            sandbox.execute(plan_permit(), job).await.ending
        })
    });
    for run in runs.collect::<Vec<_>>() {
        let ending = run.await.unwrap();
        assert!(matches!(ending, Ending::Returned(_)), "{ending:?}");
    }
    println!("30,000 fresh instances, called and dropped: {:?} each", began.elapsed() / 30_000);
}
