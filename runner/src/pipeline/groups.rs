//! Groups: who their members are and how they do, looked at again and again while a limit may need to know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use staunch_core::limit::{Bearer, Group, MemberQuery, Members, Roll};
use staunch_core::run::ProbeAnswer;
use tokio::time::Instant;
use url::Url;

use super::shared::{Rules, Shared};
use crate::config::read_members;

/// What is known of a group: its roll, or why there is none.
pub(super) type Seen = Result<Arc<Roll>, String>;

/// Longest that one look at one member may take.
const LOOK: Duration = Duration::from_secs(5);

/// How many members are looked at at once.
const AT_ONCE: usize = 16;

/// When each group was looked at last.
#[derive(Debug, Default)]
pub(super) struct Looks(BTreeMap<String, Instant>);

impl Looks {
    /// Looks at the groups whose time it is, all of them at once.
    pub(super) async fn due(&mut self, shared: &Shared, rules: &Rules) {
        let groups = &rules.config.groups;
        self.0.retain(|name, _| groups.contains_key(name));
        shared.books.limits.keep_groups(|name| groups.contains_key(name));
        let now = Instant::now();
        let is_due = |group: &&Group| {
            let last = self.0.get(&group.name);
            last.is_none_or(|last| now.duration_since(*last) >= group.refresh)
        };
        let due: Vec<&Group> = groups.values().filter(is_due).collect();
        let looks = due.iter().map(|group| async {
            let seen = tokio::time::timeout(group.refresh, look(shared, rules, group)).await;
            let seen = seen.unwrap_or_else(|_| Err(format!("the look took longer than {:?}", group.refresh)));
            if let Err(why) = &seen {
                tracing::warn!(group.name = %group.name, "group {} is not known: {why}", group.name);
            }
            shared.saw_group(group, seen);
        });
        futures_util::future::join_all(looks).await;
        for group in due {
            self.0.insert(group.name.clone(), now);
        }
    }
}

async fn look(shared: &Shared, rules: &Rules, group: &Group) -> Seen {
    let at = shared.now();
    let members = match &group.members {
        Members::List(names) => names.clone(),
        Members::File(path) => members_in(path.clone()).await?,
        Members::Prometheus(query) => queried(shared, query).await?,
    };
    let healthy = match &group.healthy {
        Some(_) => Some(healthy(shared, rules, group, &members).await?),
        None => None,
    };
    // Runs have the canonical names of hosts as their targets.
    let canonical =
        |names: &BTreeSet<String>| names.iter().map(|n| rules.config.hosts.canonical(n)).collect();
    Ok(Arc::new(Roll {
        group: group.name.clone(),
        members: canonical(&members),
        healthy: healthy.as_ref().map(canonical),
        at,
        good_for: group.fresh_for,
    }))
}

/// The members that a query names.
async fn queried(shared: &Shared, query: &MemberQuery) -> Result<BTreeSet<String>, String> {
    let failed = |why: String| format!("the query to {}: {why}", query.url);
    let base = query.url.trim_end_matches('/');
    let url = Url::parse_with_params(&format!("{base}/api/v1/query"), [("query", query.query.as_str())]);
    let url = url.map_err(|error| failed(error.to_string()))?;
    let bearer = query.bearer.as_ref().map(Bearer::reveal);
    let (status, body) = shared.sandbox.ask_server(&url, bearer, LOOK).await.map_err(failed)?;
    query.members(status, &body).map_err(failed)
}

/// The members in a file, read where it does not hold anybody up.
async fn members_in(path: String) -> Result<BTreeSet<String>, String> {
    let read = tokio::task::spawn_blocking(move || {
        let text = read_members(path.as_ref()).map_err(|why| format!("{path} {why}"))?;
        Members::of_text(&text).map_err(|why| format!("the names in {path} {why}"))
    });
    read.await.unwrap_or_else(|error| Err(format!("the look broke: {error}")))
}

/// Those of the members whose probe passes; one that gives no answer is not healthy.
async fn healthy(
    shared: &Shared,
    rules: &Rules,
    group: &Group,
    members: &BTreeSet<String>,
) -> Result<BTreeSet<String>, String> {
    let mut probes = Vec::with_capacity(members.len());
    for member in members {
        let probe = group.probe(member).map_err(|error| format!("its probe: {}", error.message))?;
        probes.extend(probe.map(|probe| (member.clone(), probe)));
    }
    let looks = probes.into_iter().map(|(member, probe)| async move {
        let (answer, _) = shared.sandbox.probe(&probe, &rules.probes, None, LOOK).await;
        (answer == ProbeAnswer::Passed).then_some(member)
    });
    let found: Vec<Option<String>> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
    Ok(found.into_iter().flatten().collect())
}
