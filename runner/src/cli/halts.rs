//! `halt`, `release`, `halts`: by the daemon when one holds the journal, else into the journal itself; and when the
//! daemon does not answer, by the file that halts everything.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use staunch_core::halt::{Halt, HaltError, Scope, reason};
use staunch_core::id::HaltId;

use super::args::{Connection, HaltArgs, HaltsArgs, MOST_LISTED, Part, ReleaseArgs};
use super::client::{Client, Listed};
use super::local::{self, HALT_FILE};
use super::output::Output;
use super::{Done, Failure};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::Config;
use crate::http::shapes;
use crate::journal::MAX_PAGE;
use crate::pipeline::halts::{
    FILE_ID, FileHalt, HaltRequest, MAX_IN_FORCE, Which, find_file, halt_line, list_halts, release_line,
};
use crate::pipeline::scribe::Scribe;
use crate::pipeline::{Cursor, Listing, views};

/// Who halts from the shell of the daemon's own machine, without a token.
const HOST: &str = "host";

/// How long the daemon may take to halt before the file does it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who takes a command.
enum Taker {
    /// The journal itself: no daemon holds it.
    Journal(Config, Scribe),
    /// The daemon; with the configuration when it is on this machine.
    Daemon(Option<Config>),
}

async fn taker(connection: &Connection) -> Result<Taker, Failure> {
    if connection.url.is_some() {
        return Ok(Taker::Daemon(None));
    }
    let config = local::config(&connection.config)?;
    Ok(match local::scribe(&config).await? {
        Some(scribe) => Taker::Journal(config, scribe),
        None => Taker::Daemon(Some(config)),
    })
}

fn unwritten(error: &dyn std::error::Error) -> Failure {
    Failure::Unreachable(chain(error))
}

fn wrong(error: &HaltError) -> Failure {
    Failure::Usage(format!("--{}: {error}", error.field()))
}

fn scope(text: &str) -> Result<Scope, Failure> {
    text.parse().map_err(|error| wrong(&error))
}

/// `halt`
pub(super) async fn halt(args: &HaltArgs, connection: &Connection, output: &Output) -> Done {
    let request = HaltRequest {
        scope: scope(&args.scope)?,
        reason: reason(&args.reason).map_err(|error| wrong(&error))?,
    };
    let halted = match taker(connection).await? {
        Taker::Journal(_, scribe) => {
            let done = halt_offline(&scribe, request).await;
            scribe.journal().shutdown().await;
            done?
        }
        Taker::Daemon(config) => {
            let body = json!({ "scope": request.scope, "reason": request.reason });
            let client = Client::within(connection, PATIENCE)?;
            match (client.post("/v1/halts", &body).await, config) {
                (Err(Failure::Unreachable(why)), Some(config)) => {
                    halt_by_file(&config, &request, &why, output)?
                }
                (Err(Failure::Unreachable(why)), None) => {
                    let advice =
                        "on the daemon's own machine, `staunch halt` without --url works without HTTP";
                    return Err(Failure::Unreachable(format!("{why}\n{advice}")));
                }
                (answer, _) => answer?,
            }
        }
    };
    if output.is_json() {
        output.json(&halted);
        return Ok(());
    }
    let text = |name: &str| halted.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
    output.data(&text("id"));
    if halted.get("note").is_some() {
        output.note(&text("note"));
    }
    if text("id") != FILE_ID {
        output.note(&format!("halted: {}; end it with `staunch release {}`", args.scope, text("id")));
    }
    Ok(())
}

async fn halt_offline(scribe: &Scribe, request: HaltRequest) -> Result<Value, Failure> {
    let count = scribe.journal().count_views(views::HALT, views::IN_FORCE).await;
    let count = count.map_err(|error| unwritten(&error))?;
    if request.scope != Scope::All && count >= MAX_IN_FORCE as u64 {
        return Err(Failure::Refused(format!(
            "{count} halts are in force already; release some, or halt all"
        )));
    }
    let (line, halt) = halt_line(scribe, request, HOST);
    scribe.commit(vec![line]).await.map_err(|error| unwritten(&error))?;
    Ok(json!(halt))
}

/// Halts everything by the file: the daemon is there and does not answer.
fn halt_by_file(
    config: &Config,
    request: &HaltRequest,
    why: &str,
    output: &Output,
) -> Result<Value, Failure> {
    if request.scope != Scope::All {
        return Err(Failure::Unreachable(format!(
            "{why}\nwithout an answer only everything can be halted: `staunch halt --scope all --reason ...`"
        )));
    }
    let path = config.data.join(HALT_FILE);
    write_file(&path, &request.reason)
        .map_err(|error| Failure::Unreachable(format!("{why}\n{}: {error}", path.display())))?;
    let shown = path.display();
    output.note(&format!(
        "{why}\nThe file {shown} is written instead: while it is there, the daemon lets nothing act. \
         Remove it to end the halt. The request may have reached the daemon as well: see `staunch halts`."
    ));
    let now = Clock::machine().now();
    let file = FileHalt { path, reason: Some(request.reason.clone()), since: Some(now) };
    Ok(shapes::file_halt(&file))
}

/// That the file is there is what counts; on a full disk it may stay empty.
fn write_file(path: &Path, reason: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path)?;
    drop(file.write_all(format!("{reason}\n").as_bytes()));
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    file.sync_all().and_then(|()| std::fs::File::open(folder)?.sync_all())
}

/// `halts`
pub(super) async fn list(args: &HaltsArgs, connection: &Connection, output: &Output) -> Done {
    let listed = match taker(connection).await? {
        Taker::Journal(config, scribe) => {
            let listed = list_offline(&config, &scribe, args).await;
            scribe.journal().shutdown().await;
            listed?
        }
        Taker::Daemon(_) => {
            let state = [("state", Some(args.state.clone()))];
            Client::new(connection)?.list("/v1/halts", &state, &args.part).await?
        }
    };
    let columns = [
        ("ID", "/id"),
        ("SCOPE", "/scope"),
        ("REASON", "/reason"),
        ("BY", "/by"),
        ("CREATED", "/created_at"),
        ("RELEASED", "/released_at"),
    ];
    output.part(&listed, &columns);
    Ok(())
}

async fn list_offline(config: &Config, scribe: &Scribe, args: &HaltsArgs) -> Result<Listed, Failure> {
    let known = Which::WORDS.iter().find(|(word, _)| *word == args.state);
    let which = known.map_or(Which::InForce, |(_, which)| *which);
    let file = find_file(&config.data.join(HALT_FILE));
    let file = file.filter(|_| which != Which::Released && args.part.after.is_none());
    let (halts, next) = halts_offline(scribe, which, &args.part).await?;
    let items = file.iter().map(shapes::file_halt).chain(halts.iter().map(|halt| json!(halt)));
    Ok(Listed { items: items.collect(), next })
}

async fn halts_offline(
    scribe: &Scribe,
    which: Which,
    part: &Part,
) -> Result<(Vec<Halt>, Option<String>), Failure> {
    let wrong = || Failure::Usage("--after: not what an earlier listing said".to_owned());
    let mut after =
        part.after.as_deref().map(|text| Cursor::among::<HaltId>(text).ok_or_else(wrong)).transpose()?;
    let mut halts = Vec::new();
    loop {
        let limit = u32::try_from(part.most() - halts.len()).unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let listing = Listing { state: which.state(), after, limit, ..Listing::default() };
        let page = list_halts(scribe.journal(), listing).await.map_err(|error| unwritten(&error))?;
        halts.extend(page.items);
        if page.next.is_none() || halts.len() >= part.most() {
            return Ok((halts, page.next.map(|next| next.to_string())));
        }
        after = page.next;
    }
}

/// All of a list.
const WHOLE: Part = Part { limit: MOST_LISTED, after: None, all: true };

/// `release`
pub(super) async fn release(args: &ReleaseArgs, connection: &Connection, output: &Output) -> Done {
    let why = args.reason.as_deref().map(reason).transpose().map_err(|error| wrong(&error))?;
    let scope = scope(&args.scope)?;
    let released = match taker(connection).await? {
        Taker::Journal(config, scribe) => {
            let done = release_offline(&config, &scribe, args, &scope, why).await;
            scribe.journal().shutdown().await;
            done?
        }
        Taker::Daemon(_) => release_by_daemon(&Client::new(connection)?, args, &scope, why).await?,
    };
    if output.is_json() {
        output.json(&Value::Array(released));
        return Ok(());
    }
    for halt in &released {
        let id = halt.get("id").and_then(Value::as_str).unwrap_or("-");
        output.data(id);
        output.note(&format!("{id} is released"));
    }
    Ok(())
}

fn none_in_force(scope: &Scope, file: bool) -> Failure {
    let file = if file { "; the file HALT in the data folder halts all: remove it" } else { "" };
    Failure::Refused(format!("no halt of scope {scope} is in force; `staunch halts` lists them{file}"))
}

async fn release_by_daemon(
    client: &Client,
    args: &ReleaseArgs,
    scope: &Scope,
    why: Option<String>,
) -> Result<Vec<Value>, Failure> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(why) = &why {
        query.append_pair("reason", why);
    }
    let query = query.finish();
    let ids = match &args.id {
        Some(id) => vec![id.clone()],
        None => {
            let listed = client.list("/v1/halts", &[], &WHOLE).await?;
            let id = |halt: &Value| Some(halt.get("id")?.as_str()?.to_owned());
            let wanted = listed.items.iter().filter(|halt| halt.get("scope") == Some(&json!(scope)));
            let (file, ids): (Vec<_>, Vec<_>) = wanted.filter_map(id).partition(|id| id == FILE_ID);
            if ids.is_empty() {
                return Err(none_in_force(scope, !file.is_empty()));
            }
            ids
        }
    };
    let mut released = Vec::with_capacity(ids.len());
    for id in ids {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        released.push(client.delete(&format!("/v1/halts/{id}?{query}")).await?);
    }
    Ok(released)
}

async fn release_offline(
    config: &Config,
    scribe: &Scribe,
    args: &ReleaseArgs,
    scope: &Scope,
    why: Option<String>,
) -> Result<Vec<Value>, Failure> {
    let (in_force, _) = halts_offline(scribe, Which::InForce, &WHOLE).await?;
    let path = config.data.join(HALT_FILE);
    let wanted: Vec<Halt> = match args.id.as_deref() {
        Some(FILE_ID) if path.exists() => {
            let message = format!("this halt is the file {}: remove the file to end it", path.display());
            return Err(Failure::Refused(message));
        }
        Some(id) => in_force.into_iter().filter(|halt| halt.id.as_str() == id).collect(),
        None => in_force.into_iter().filter(|halt| halt.scope == *scope).collect(),
    };
    if wanted.is_empty() {
        return Err(match &args.id {
            Some(id) => Failure::Refused(format!("there is no halt in force {id:?}")),
            None => none_in_force(scope, path.exists()),
        });
    }
    let (lines, released): (Vec<_>, Vec<_>) =
        wanted.into_iter().map(|halt| release_line(scribe, halt, HOST, why.clone())).unzip();
    scribe.commit(lines).await.map_err(|error| unwritten(&error))?;
    Ok(released.iter().map(|halt| json!(halt)).collect())
}
