//! What one execution of a plugin may use.

use std::time::Duration;

use serde::Serialize;

use super::reader::Table;

/// Bounds of one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Units of wasmtime fuel, roughly one an instruction.
    pub fuel: u64,
    /// Linear memory of all its modules together, in bytes.
    pub memory_bytes: u64,
    /// Running time, in milliseconds; time spent waiting for people does not count.
    pub deadline_ms: u64,
}

/// The most that a manifest may ask for.
pub const MAX: Limits = Limits { fuel: 1_000_000_000_000, memory_bytes: 1 << 30, deadline_ms: 600_000 };

impl Default for Limits {
    fn default() -> Self {
        Self { fuel: 1_000_000_000, memory_bytes: 64 << 20, deadline_ms: 60_000 }
    }
}

impl Limits {
    /// The running time.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    pub(super) fn read(table: &Table<'_>) -> Self {
        table.only(&["fuel", "memory", "deadline"]);
        let default = Self::default();
        let memory = |text: &str| amount(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]);
        let deadline = |text: &str| amount(text, &[("ms", 1), ("s", 1_000), ("m", 60_000)]);
        Self {
            fuel: bounded(table, "fuel", table.unsigned("fuel"), MAX.fuel, "1 to 1_000_000_000_000")
                .unwrap_or(default.fuel),
            memory_bytes: unit(table, "memory", memory, MAX.memory_bytes, "\"64KiB\" to \"1GiB\"")
                .unwrap_or(default.memory_bytes),
            deadline_ms: unit(table, "deadline", deadline, MAX.deadline_ms, "\"1ms\" to \"10m\"")
                .unwrap_or(default.deadline_ms),
        }
    }
}

fn unit(
    table: &Table<'_>,
    key: &str,
    parse: impl Fn(&str) -> Option<u64>,
    most: u64,
    valid: &str,
) -> Option<u64> {
    let text = table.text(key)?;
    bounded(table, key, Some(parse(text).unwrap_or(0)), most, valid)
}

fn bounded(table: &Table<'_>, key: &str, value: Option<u64>, most: u64, valid: &str) -> Option<u64> {
    let value = value?;
    if value == 0 || value > most {
        table.problem_at(key, format!("`{}` must be {valid}", table.name(key)));
        return None;
    }
    Some(value)
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.trim_end();
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number.parse::<u64>().ok()?.checked_mul(*factor)
    })
}
