//! `[limits]`: what one execution of a plugin may use.

use std::time::Duration;

use super::reader::Table;
use crate::sandbox::Limits;
use crate::sandbox::engine::MAX_MEMORY;

const MAX_FUEL: u64 = 1_000_000_000_000;
const MAX_DEADLINE_MS: u64 = 600_000;

/// Reads the table; what is absent has the sandbox's default.
pub(super) fn read(table: &Table<'_>) -> Limits {
    table.only(&["fuel", "memory", "deadline"]);
    let default = Limits::default();
    let memory = |text: &str| amount(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]);
    let deadline = |text: &str| amount(text, &[("ms", 1), ("s", 1_000), ("m", 60_000)]);
    let most_memory = u64::try_from(MAX_MEMORY).unwrap_or(u64::MAX);
    let memory_words = format!("\"64KiB\" to \"{}MiB\"", MAX_MEMORY >> 20);
    let memory = unit(table, "memory", memory, most_memory, &memory_words);
    Limits {
        fuel: bounded(table, "fuel", table.unsigned("fuel"), MAX_FUEL, "1 to 1_000_000_000_000")
            .unwrap_or(default.fuel),
        memory: memory.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default.memory),
        deadline: unit(table, "deadline", deadline, MAX_DEADLINE_MS, "\"1ms\" to \"10m\"")
            .map_or(default.deadline, Duration::from_millis),
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
