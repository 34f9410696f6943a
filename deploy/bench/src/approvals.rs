//! Many people decide about one run at the same moment: it is done once or not at all, and the journal says whose
//! word it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::alerts;
use crate::api::Session;
use crate::client::{Connection, delete, post};
use crate::daemon::Daemon;
use crate::installation::{Installation, PLUGIN};
use crate::options::Cli;
use crate::report::{Report, progress};
use crate::stats::Quantiles;
use crate::workshop::Workshop;

/// How many people decide at once.
const PEOPLE: usize = 50;

/// How long a run may take to wait, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Approve,
    Reject,
    Halt,
}

/// How the decisions about one run came out.
#[derive(Debug, Default)]
struct Told {
    /// Requests at the target.
    requests: u64,
    /// Effects that the journal intends.
    intended: u64,
    /// Approvals and rejections that were accepted.
    won: u64,
    /// Approvals among them.
    approved: u64,
    /// Whether the journal names exactly one person, for what was accepted.
    named: bool,
    /// Answers that are neither a yes nor a conflict.
    strange: u64,
    /// From the common start to each answer.
    answered: Vec<Duration>,
}

pub(crate) async fn run(cli: &Cli, workshop: &Workshop, report: &mut Report) -> anyhow::Result<()> {
    let installation = Installation::ready(workshop, "approvals", &[PLUGIN.to_owned()]).await?;
    let members = format!(
        "match: ['alertname=\"{}\"']\ntarget: '{{{{ labels.instance }}}}'\nautonomy: approve\n\
         gate: {{ approvals: 1, roles: [operator], expires: 1h }}\n",
        alerts::NAME
    );
    installation.runbook(workshop, PLUGIN, &members)?;
    let daemon = Daemon::start(&installation).await?;
    let people = people(&daemon).await?;
    let rounds = cli.many(20, 3);
    for (name, deeds) in
        [("approvals", &[Deed::Approve][..]), ("mixed", &[Deed::Approve, Deed::Reject, Deed::Halt][..])]
    {
        progress(&format!("   {rounds} times {PEOPLE} at once, {name}"));
        let mut told = Vec::new();
        for round in 0..rounds {
            let one = decide(workshop, &daemon, &people, deeds, round).await;
            told.push(one.map_err(|error| daemon.blame(error))?);
        }
        tell(name, deeds, &told, report);
    }
    report.stopped(daemon.stop().await?);
    Ok(())
}

fn tell(name: &str, deeds: &[Deed], told: &[Told], report: &mut Report) {
    let sum = |of: fn(&Told) -> u64| told.iter().map(of).sum::<u64>();
    let count = |of: fn(&Told) -> bool| u64::try_from(told.iter().filter(|one| of(one)).count()).unwrap_or(0);
    let rounds = count(|_| true);
    report.count(format!("one winner, {name}"), count(|one| one.won == 1), rounds);
    report.count(format!("the journal says who won, {name}"), count(|one| one.named), rounds);
    let approved = sum(|one| one.approved);
    if deeds == [Deed::Approve] {
        report.count(format!("executions, {name}"), sum(|one| one.requests), rounds);
    } else {
        report.count(format!("executions as approved, {name}"), sum(|one| one.requests), approved);
    }
    report.count(format!("runs executed more than once, {name}"), count(|one| one.requests > 1), 0);
    report.count(format!("effects intended, {name}"), sum(|one| one.intended), approved);
    // Neither a yes nor a conflict.
    report.count(format!("strange answers, {name}"), sum(|one| one.strange), 0);
    let answered = Quantiles::of(told.iter().flat_map(|one| one.answered.iter().copied()).collect());
    report.figure(format!("start to an answer, p50, {name}"), answered.p50, "ms", None);
    report.figure(format!("start to an answer, most, {name}"), answered.max, "ms", None);
}

/// Tokens of as many operators as decide.
async fn people(daemon: &Daemon) -> anyhow::Result<Vec<String>> {
    let mut connection = Connection::open(daemon.road().address).await?;
    let mut tokens = Vec::with_capacity(PEOPLE);
    for number in 0..PEOPLE {
        let body = format!(r#"{{"name":"operator-{number}","roles":["operator"]}}"#);
        let made = connection.exchange(&post("/v1/tokens", daemon.token(), &body)).await?.json(201)?;
        tokens.push(made["token"].as_str().context("a token has no text")?.to_owned());
    }
    Ok(tokens)
}

/// Has everybody decide about a new run at once, and waits for its end.
async fn decide(
    workshop: &Workshop,
    daemon: &Daemon,
    people: &[String],
    deeds: &[Deed],
    round: u64,
) -> anyhow::Result<Told> {
    let number = workshop.target.numbers(1)?.start;
    let mut session = daemon.api().open().await?;
    let runs = daemon.road().send(number).await?;
    let run = runs.first().context("the alert started no run")?;
    let plan = waiting(&mut session, run).await?;
    let start = Arc::new(Barrier::new(people.len()));
    let mut deciding = JoinSet::new();
    for (person, token) in people.iter().enumerate() {
        let turn = person + usize::try_from(round).unwrap_or_default();
        let deed = *deeds.get(turn % deeds.len()).context("there is nothing to do")?;
        let request = request(deed, run, &plan, token);
        let mut connection = Connection::open(daemon.road().address).await?;
        let start = Arc::clone(&start);
        deciding.spawn(async move {
            start.wait().await;
            let began = Instant::now();
            let status = connection.exchange(&request).await?.status;
            anyhow::Ok((deed, status, began.elapsed()))
        });
    }
    let mut told = Told::default();
    while let Some(decided) = deciding.join_next().await {
        let (deed, status, took) = decided.context("a person")??;
        told.answered.push(took);
        let won = status == 200 && deed != Deed::Halt;
        told.won += u64::from(won);
        told.approved += u64::from(won && deed == Deed::Approve);
        told.strange += u64::from(!matches!((deed, status), (Deed::Halt, 201) | (_, 200 | 409)));
    }
    release_all(daemon, &mut session).await?;
    session.ended(run, PATIENCE).await?;
    let journal = session.journal(run).await?;
    told.intended = count(journal.iter().filter(|(kind, _)| kind == "effect-intended"));
    let word = if told.approved > 0 { "run-approved" } else { "run-ended" };
    told.named = count(journal.iter().filter(|(kind, by)| kind == word && by.is_some())) == 1;
    told.requests = workshop.target.tally(number..number + 1).requests;
    Ok(told)
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}

/// Waits until a run asks people; the digest of its plan.
async fn waiting(session: &mut Session, run: &str) -> anyhow::Result<String> {
    let run = session.until(run, "waiting", PATIENCE).await?;
    Ok(run["plan"]["digest"].as_str().context("the run has no plan")?.to_owned())
}

fn request(deed: Deed, run: &str, plan: &str, token: &str) -> Vec<u8> {
    match deed {
        Deed::Approve => post(
            &format!("/v1/runs/{run}/approve"),
            token,
            &format!(r#"{{"plan":"{plan}","comment":"yes"}}"#),
        ),
        Deed::Reject => post(&format!("/v1/runs/{run}/reject"), token, r#"{"comment":"no"}"#),
        Deed::Halt => {
            let body = format!(r#"{{"scope":{{"runbook":"{PLUGIN}"}},"reason":"the bench races"}}"#);
            post("/v1/halts", token, &body)
        }
    }
}

/// Ends all halts, so that what was approved comes to its end.
async fn release_all(daemon: &Daemon, session: &mut Session) -> anyhow::Result<()> {
    let mut connection = Connection::open(daemon.road().address).await?;
    let halts = session.get("/v1/halts?limit=500").await?;
    let in_force =
        halts["items"].as_array().into_iter().flatten().filter(|halt| halt["released_at"].is_null());
    for id in in_force.filter_map(|halt| halt["id"].as_str()) {
        connection.exchange(&delete(&format!("/v1/halts/{id}"), daemon.token())).await?.expect(200)?;
    }
    Ok(())
}
