//! Connections that wait for their next request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use ipnet::IpNet;
use tokio::time::Instant;

use super::address::may_reach;

/// Servers close idle connections after two seconds and more; one that is younger can be trusted to be open.
const MAX_IDLE: Duration = Duration::from_millis(1_500);
/// After this a name is resolved anew.
const MAX_AGE: Duration = Duration::from_secs(60);
const MAX_PER_PLACE: usize = 64;
const MAX_PLACES: usize = 256;

/// A connection to an address that was checked.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) peer: IpAddr,
    pub(super) opened: Instant,
    /// The pool's generation when it was begun.
    pub(super) generation: u64,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Idle connections by place.
#[derive(Debug, Default)]
pub(super) struct Pool {
    places: Mutex<HashMap<Place, Vec<Idle>>>,
    generation: AtomicU64,
}

impl Pool {
    /// Counts up whenever what was connected to before may no longer be used.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Lets no connection be used again that was begun before.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.places.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// An open connection whose address the grant allows: another plugin's grant may have opened it.
    pub(super) fn take(&self, place: &Place, networks: &[IpNet]) -> Option<Connection> {
        let now = Instant::now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = places.get_mut(place)?;
        idle.retain(|idle| now - idle.since < MAX_IDLE && idle.connection.sender.is_ready());
        let generation = self.generation();
        idle.retain(|idle| idle.connection.generation == generation);
        let index = idle.iter().rposition(|idle| may_reach(idle.connection.peer, networks))?;
        Some(idle.swap_remove(index).connection)
    }

    /// Keeps a connection for the next request, if there is room.
    pub(super) fn put(&self, place: Place, connection: Connection) {
        let now = Instant::now();
        let stale = connection.generation != self.generation();
        if stale || now - connection.opened > MAX_AGE || !connection.sender.is_ready() {
            return;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MAX_PLACES {
            places.retain(|_, idle| idle.last().is_some_and(|idle| now - idle.since < MAX_IDLE));
        }
        if places.len() < MAX_PLACES || places.contains_key(&place) {
            let idle = places.entry(place).or_default();
            if idle.len() >= MAX_PER_PLACE {
                idle.remove(0);
            }
            idle.push(Idle { connection, since: now });
        }
    }
}
