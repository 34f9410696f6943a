//! What a fake host knows and remembers.

use std::time::Duration;

use serde_json::{Value, json};

use super::Recorded;
use super::script::Script;
use crate::log::Level;
use crate::{Error, Intent};

/// 2026-01-01T00:00:00Z in milliseconds since 1970.
const BEGAN_MS: u64 = 1_767_225_600_000;

/// The script, the record, and the run's own time and seed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) calls: Vec<Recorded>,
    pub(crate) logged: Vec<(Level, String)>,
    pub(crate) began_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) slept_ms: u64,
    pub(crate) seed: u64,
    pub(crate) planning: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            script: Script::default(),
            calls: Vec::new(),
            logged: Vec::new(),
            began_ms: BEGAN_MS,
            wall_ms: BEGAN_MS,
            slept_ms: 0,
            seed: 0,
            planning: false,
        }
    }
}

impl World {
    pub(crate) fn begin(&mut self, began: Duration) {
        self.began_ms = u64::try_from(began.as_millis()).unwrap_or(u64::MAX);
        self.wall_ms = self.began_ms;
    }

    pub(crate) fn reading(&mut self, call: &str, arguments: Value) -> Result<Value, Error> {
        let assumed = self.planning && call.contains(".await-") && self.calls.iter().any(Recorded::is_effect);
        let answer = if assumed {
            Ok(json!({ "met": true, "assumed": true, "last": "", "polls": 0 }))
        } else {
            self.script.answer(call, &arguments)
        };
        let call = call.to_owned();
        self.calls.push(Recorded { call, arguments, reason: None, idempotency_key: None, assume: None });
        answer
    }

    pub(crate) fn effect(&mut self, call: &str, arguments: Value, intent: Intent) -> Result<Value, Error> {
        let assume = intent.assume.map(|text| match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => panic!("what {call} assumes is not JSON: {error}"),
        });
        let answer = if self.planning {
            Ok(assume.clone().unwrap_or_else(|| empty_answer(call)))
        } else {
            self.script.answer(call, &arguments)
        };
        let (reason, idempotency_key) = (Some(intent.reason), intent.idempotency_key);
        self.calls.push(Recorded { call: call.to_owned(), arguments, reason, idempotency_key, assume });
        answer
    }

    pub(crate) fn log(&mut self, level: Level, message: &str) {
        self.logged.push((level, message.to_owned()));
    }

    pub(crate) fn sleep(&mut self, milliseconds: u32) {
        if !self.planning {
            self.slept_ms += u64::from(milliseconds);
            self.wall_ms += u64::from(milliseconds);
        }
    }

    /// The generator `SplitMix64`: fixed by the seed, and good enough for tests.
    pub(crate) fn random(&mut self, length: u32) -> Vec<u8> {
        let mut next = || {
            self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)).to_le_bytes()
        };
        let length = length as usize;
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
        bytes.truncate(length);
        bytes
    }
}

/// What the host assumes of an effect that states nothing: success, with an empty result.
fn empty_answer(call: &str) -> Value {
    match call.split_once('.') {
        Some(("http", _)) => json!({ "status": 200, "headers": [], "body": "" }),
        Some(("service", _)) => {
            json!({ "load": "loaded", "active": "active", "sub": "running", "invocation": "" })
        }
        Some(("file", "write")) => Value::Null,
        Some(("file", _)) => json!({ "files": 0, "bytes": 0 }),
        Some(("process", _)) => json!({ "code": 0, "stdout": "", "stderr": "", "truncated": false }),
        _ => Value::Null,
    }
}
