//! What the kernel says about a process: CPU time, memory, children.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// Length of one tick in `/proc/PID/stat`: Linux shows programs 100 a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

fn read(pid: u32, name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).with_context(|| path)
}

/// CPU time of a process, its threads, and the children that it has waited for.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let text = read(pid, "stat")?;
    parse_cpu_time(&text).with_context(|| format!("/proc/{pid}/stat: {text:?}"))
}

fn parse_cpu_time(stat: &str) -> anyhow::Result<Duration> {
    // The name stands in parentheses and may hold anything; `utime` is the twelfth field behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or_else(|| anyhow!("no name"))?;
    let times = fields.split_ascii_whitespace().skip(11).take(4).map(str::parse::<u32>);
    let ticks: u32 = times.collect::<Result<Vec<_>, _>>()?.iter().sum();
    Ok(TICK * ticks)
}

/// Memory of a process in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Resident, shared pages included.
    pub(crate) resident: f64,
    /// Of it anonymous.
    pub(crate) anonymous: f64,
    /// The most that was ever resident.
    pub(crate) peak: f64,
}

/// Memory of a process. Taken from `smaps_rollup`, which counts pages; `status` may lag by some of them.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let rollup = read(pid, "smaps_rollup")?;
    let status = read(pid, "status")?;
    Ok(Memory {
        resident: mebibytes(&rollup, "Rss:")?,
        anonymous: mebibytes(&rollup, "Anonymous:")?,
        peak: mebibytes(&status, "VmHWM:")?,
    })
}

fn mebibytes(text: &str, key: &str) -> anyhow::Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).ok_or_else(|| anyhow!("no {key}"))?;
    let number = line.trim().trim_end_matches("kB").trim();
    Ok(number.parse::<f64>().with_context(|| format!("{key} {line:?}"))? / 1024.0)
}

/// The first child of a process, if it has one.
pub(crate) fn child(pid: u32) -> Option<u32> {
    let text = read(pid, &format!("task/{pid}/children")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// What measurements depend on: processors, kernel, file system of `path`.
pub(crate) fn machine(path: &Path) -> Vec<(&'static str, String)> {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    vec![
        ("processors", format!("{cpus} x {}", model.trim_start_matches([' ', '\t', ':']))),
        ("kernel", kernel.trim().to_owned()),
        ("file system", file_system(path)),
    ]
}

/// The type of the file system that holds a path, after the longest mount point above it.
fn file_system(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind) = (words.next()?, words.next()?);
            path.starts_with(point).then(|| (point.len(), kind.to_owned()))
        })
        // Of two mounts at one place, the later one is in force.
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_counts_the_children_too() {
        let stat = "42 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 8 0";
        assert_eq!(parse_cpu_time(stat).unwrap(), Duration::from_millis(1_270));
        assert!(parse_cpu_time("42").is_err());
    }

    #[test]
    fn memory_of_this_process_is_known() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0.0);
    }
}
