//! The target: an HTTP server in this process that notes when each alert's request arrives, how often, and under
//! which idempotency key. Being in the process that sends the alerts, it reads the same clock.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::alerts;

/// How many alerts one process can number.
const CAPACITY: usize = 400_000;

/// Waiting rooms; alerts on their way at the same time rarely share one.
const ROOMS: usize = 64;

/// The target, as those who send alerts see it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    book: Arc<Book>,
}

#[derive(Debug)]
struct Book {
    began: Instant,
    /// The next number to be given out.
    next: AtomicU64,
    /// Arrivals by number: nanoseconds since `began`, 0 for none yet.
    times: Box<[AtomicU64]>,
    counts: Box<[AtomicU32]>,
    total: AtomicU64,
    strays: AtomicU64,
    keys: Mutex<Vec<(u64, String)>>,
    rooms: [Notify; ROOMS],
}

/// What arrived of a range of alerts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Requests.
    pub(crate) requests: u64,
    /// Alerts with exactly one request.
    pub(crate) once: u64,
    /// Alerts with more than one.
    pub(crate) repeated: u64,
    /// Different idempotency keys.
    pub(crate) keys: std::collections::BTreeSet<String>,
    /// Requests that carried one.
    pub(crate) with_key: u64,
}

impl Target {
    /// Listens on a free port of the loopback.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the target's port")?;
        let address = listener.local_addr().context("the target's address")?;
        let book = Arc::new(Book {
            began: Instant::now(),
            next: AtomicU64::new(1),
            times: (0..CAPACITY).map(|_| AtomicU64::new(0)).collect(),
            counts: (0..CAPACITY).map(|_| AtomicU32::new(0)).collect(),
            total: AtomicU64::new(0),
            strays: AtomicU64::new(0),
            keys: Mutex::default(),
            rooms: std::array::from_fn(|_| Notify::new()),
        });
        let noted = Arc::clone(&book);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&noted)))),
                    // Too many open files, most likely: closing connections will help.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Ok(Self { address, book })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Numbers for new alerts.
    pub(crate) fn numbers(&self, count: u64) -> anyhow::Result<Range<u64>> {
        let first = self.book.next.fetch_add(count, Ordering::Relaxed);
        if usize::try_from(first + count).map_or(true, |end| end > CAPACITY) {
            bail!("more than {CAPACITY} alerts in one measurement");
        }
        Ok(first..first + count)
    }

    /// All requests so far.
    pub(crate) fn total(&self) -> u64 {
        self.book.total.load(Ordering::Acquire)
    }

    /// Requests that belong to no alert of ours.
    pub(crate) fn strays(&self) -> u64 {
        self.book.strays.load(Ordering::Acquire)
    }

    /// When the first request of an alert arrived.
    pub(crate) fn arrival(&self, number: u64) -> Option<Instant> {
        let time = self.book.times.get(usize::try_from(number).ok()?)?.load(Ordering::Acquire);
        (time != 0).then(|| self.book.began + Duration::from_nanos(time))
    }

    /// Waits for the request of an alert.
    pub(crate) async fn wait(&self, number: u64, within: Duration) -> Option<Instant> {
        let room = self.book.rooms.get(usize::try_from(number).ok()? % ROOMS)?;
        let waiting = async {
            loop {
                let notified = room.notified();
                if let Some(time) = self.arrival(number) {
                    return time;
                }
                notified.await;
            }
        };
        tokio::time::timeout(within, waiting).await.ok()
    }

    /// Waits until so many requests have come since there were `before`; whether they have. Gives up when nothing
    /// comes for `patience`.
    pub(crate) async fn wait_total(&self, total: u64, patience: Duration) -> bool {
        let (mut last, mut since) = (self.total(), Instant::now());
        loop {
            let now = self.total();
            if now >= total {
                return true;
            }
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The last arrival among these alerts.
    pub(crate) fn last_arrival(&self, numbers: Range<u64>) -> Option<Instant> {
        numbers.filter_map(|number| self.arrival(number)).max()
    }

    /// What arrived of these alerts.
    pub(crate) fn tally(&self, numbers: Range<u64>) -> Tally {
        let mut tally = Tally::default();
        for number in numbers.clone() {
            let count = usize::try_from(number).ok().and_then(|index| self.book.counts.get(index));
            let count = count.map_or(0, |count| count.load(Ordering::Acquire));
            tally.requests += u64::from(count);
            tally.once += u64::from(count == 1);
            tally.repeated += u64::from(count > 1);
        }
        let keys = self.book.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, key) in keys.iter().filter(|(number, _)| numbers.contains(number)) {
            tally.with_key += 1;
            tally.keys.insert(key.clone());
        }
        tally
    }
}

impl Book {
    fn note(&self, request: &Request<Incoming>) {
        let time = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let number = alerts::number(request.uri().path()).filter(|_| request.method() == Method::POST);
        let slot = number.and_then(|number| usize::try_from(number).ok()).filter(|slot| *slot < CAPACITY);
        let (Some(number), Some(slot)) = (number, slot) else {
            self.strays.fetch_add(1, Ordering::AcqRel);
            return;
        };
        if let (Some(first), Some(count)) = (self.times.get(slot), self.counts.get(slot)) {
            // Only the first one counts as the arrival; another one shows in the count.
            first.compare_exchange(0, time, Ordering::AcqRel, Ordering::Acquire).ok();
            count.fetch_add(1, Ordering::AcqRel);
        }
        if let Some(key) = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()) {
            self.keys.lock().unwrap_or_else(PoisonError::into_inner).push((number, key.to_owned()));
        }
        self.total.fetch_add(1, Ordering::AcqRel);
        if let Some(room) = self.rooms.get(slot % ROOMS) {
            room.notify_waiters();
        }
    }
}

async fn serve(stream: TcpStream, book: Arc<Book>) {
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request: Request<Incoming>| {
        let book = Arc::clone(&book);
        async move {
            book.note(&request);
            // The connection can be used again only when the body has been read.
            drop(request.into_body().collect().await);
            let mut answer = Response::new(Empty::<Bytes>::new());
            *answer.status_mut() = StatusCode::OK;
            Ok::<_, Infallible>(answer)
        }
    });
    // A connection that breaks shows as a request that never came.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
