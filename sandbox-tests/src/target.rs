//! A small service on the loopback that breaks and can be restarted, and notes every request that reaches it.
//!
//! `GET /healthz` answers 200 when it is well and 500 when not, `GET /metrics` says `shop_up 1` or `0`, and every
//! POST makes it well, unless it was told to behave otherwise.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How long a held request waits at most for its release.
const HELD: Duration = Duration::from_secs(120);

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When its head and body were there.
    pub at: SystemTime,
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    /// Its headers, names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What a POST does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Makes the service well, and is answered with 200.
    Recover,
    /// Is answered with this status; the service stays as it is.
    Answer(u16),
    /// Waits for [`Target::release`], then recovers.
    Hold,
    /// Is answered by closing the connection.
    Reset,
    /// Is answered with this many bytes and 200.
    Flood(usize),
}

type Hook = Box<dyn Fn(&Seen) + Send + Sync>;
type Answers = Box<dyn Fn(&Seen) -> u16 + Send + Sync>;

struct State {
    well: bool,
    behaviour: Behaviour,
    released: bool,
    over: bool,
    /// The body of answers whose status was told.
    body: String,
    seen: Vec<Seen>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    hook: Mutex<Option<Hook>>,
    answers: Mutex<Option<Answers>>,
}

/// The service. It ends with its value.
pub struct Target {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Target {
    /// Starts it, broken.
    ///
    /// # Panics
    /// When the loopback cannot be bound.
    #[must_use]
    pub fn broken() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            well: false,
            behaviour: Behaviour::Recover,
            released: false,
            over: false,
            body: "as it was told".to_owned(),
            seen: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            hook: Mutex::new(None),
            answers: Mutex::new(None),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it well or breaks it.
    pub fn set_well(&self, well: bool) {
        self.state().well = well;
    }

    /// Whether it is well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.state().well
    }

    /// Says what POSTs do from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().behaviour = behaviour;
    }

    /// Says with which body POSTs are answered whose status was said.
    pub fn say(&self, body: &str) {
        body.clone_into(&mut self.state().body);
    }

    /// Lets everything that is held go on, now and later.
    pub fn release(&self) {
        self.state().released = true;
        self.shared.changed.notify_all();
    }

    /// Is called with every POST when it has come, before it is answered.
    pub fn on_post(&self, hook: impl Fn(&Seen) + Send + Sync + 'static) {
        *self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
    }

    /// Answers every POST with the status that this says; the service stays as it is.
    pub fn answer_posts(&self, answers: impl Fn(&Seen) -> u16 + Send + Sync + 'static) {
        *self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(answers));
    }

    /// Answers every POST with 200, and gets well only by one to this path.
    pub fn cure(&self, path: &'static str) {
        let shared = Arc::downgrade(&self.shared);
        self.answer_posts(move |seen| {
            if let Some(shared) = shared.upgrade().filter(|_| seen.path == path) {
                shared.state.lock().unwrap_or_else(PoisonError::into_inner).well = true;
            }
            200
        });
    }

    /// All requests that came, in the order in which they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// All POSTs that came, in the order in which they came.
    #[must_use]
    pub fn posts(&self) -> Vec<Seen> {
        self.state().seen.iter().filter(|seen| seen.method == "POST").cloned().collect()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let mut state = self.state();
        state.over = true;
        state.released = true;
        drop(state);
        self.shared.changed.notify_all();
        // The last connection lets the listener see that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.state.lock().unwrap_or_else(PoisonError::into_inner).over {
            return;
        }
        let shared = Arc::clone(shared);
        // A connection that breaks shows as a request that never came.
        std::thread::spawn(move || stream.and_then(|stream| serve(&stream, &shared)).ok());
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(HELD))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(seen) = request(&mut reader)? {
        let post = seen.method == "POST";
        if post && let Some(hook) = &*shared.hook.lock().unwrap_or_else(PoisonError::into_inner) {
            hook(&seen);
        }
        let path = seen.path.clone();
        let told = if post { told(shared, &seen) } else { None };
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.push(seen);
        let (status, body) = if let Some(status) = told {
            (status, state.body.clone())
        } else if post {
            if state.behaviour == Behaviour::Hold {
                let waiting = shared.changed.wait_timeout_while(state, HELD, |state| !state.released);
                state = waiting.unwrap_or_else(PoisonError::into_inner).0;
            }
            match state.behaviour {
                Behaviour::Recover | Behaviour::Hold => {
                    state.well = true;
                    (200, "restarted".to_owned())
                }
                Behaviour::Answer(status) => (status, state.body.clone()),
                Behaviour::Reset => return Ok(()),
                Behaviour::Flood(bytes) => (200, "x".repeat(bytes)),
            }
        } else if path == "/metrics" {
            (200, format!("# TYPE shop_up gauge\nshop_up {}\n", u8::from(state.well)))
        } else {
            (if state.well { 200 } else { 500 }, String::new())
        };
        drop(state);
        let mut stream = stream;
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// The status that a POST is answered with, if that was said.
fn told(shared: &Shared, seen: &Seen) -> Option<u16> {
    let answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers.as_ref().map(|answers| answers(seen))
}

/// Reads one request; `None` at the end of the connection.
fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Seen { at: SystemTime::now(), method, path, headers, body }))
}
