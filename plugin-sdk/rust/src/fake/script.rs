//! What a fake host answers, and which entry answers a call.

use serde_json::Value;

use crate::Error;

/// One answer of the script.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    call: String,
    /// Found among the call's arguments; `null` asks for nothing.
    arguments: Value,
    answer: Result<Value, Error>,
    always: bool,
    used: bool,
}

impl Entry {
    pub(crate) fn new(call: &str, arguments: Value, answer: Result<Value, Error>) -> Self {
        Self { call: call.to_owned(), arguments, answer, always: false, used: false }
    }

    pub(crate) fn always(mut self) -> Self {
        self.always = true;
        self
    }

    fn describe(&self) -> String {
        if self.arguments.is_null() { self.call.clone() } else { format!("{} {}", self.call, self.arguments) }
    }
}

/// The answers, in the order in which they were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    entries: Vec<Entry>,
}

impl Script {
    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The answer of the first entry that fits and is not used up.
    ///
    /// # Panics
    /// If there is none: the test's script and its plugin disagree.
    pub(crate) fn answer(&mut self, call: &str, arguments: &Value) -> Result<Value, Error> {
        let fits = |entry: &&mut Entry| {
            entry.call == call && (entry.always || !entry.used) && contains(arguments, &entry.arguments)
        };
        let Some(entry) = self.entries.iter_mut().find(fits) else {
            panic!(
                "the script has no answer for {call} {arguments}; what it still holds: {}",
                self.left().join(", ")
            );
        };
        entry.used = true;
        entry.answer.clone()
    }

    /// The entries that answered nothing yet.
    pub(crate) fn left(&self) -> Vec<String> {
        self.entries.iter().filter(|entry| !entry.used).map(Entry::describe).collect()
    }
}

/// Whether all members of `wanted` are in `value`, at every depth. `null` asks for nothing; a list must be as
/// long and fit place by place.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (_, Value::Null) => true,
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| contains(value.get(name).unwrap_or(&Value::Null), wanted))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len()
                && value.iter().zip(wanted).all(|(value, wanted)| contains(value, wanted))
        }
        (value, wanted) => value == wanted,
    }
}
