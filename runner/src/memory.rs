//! What the process holds: how its allocator behaves, and what is given back once only the start needed it.
//!
//! The allocator's settings are measured (`make bench`, part `idle`): without them a daemon at rest holds three times
//! as much.

use std::io;
use std::path::Path;
use std::time::Duration;

use libmimalloc_sys::{mi_collect, mi_option_set};
use rustix::mm::{Advice, madvise};

/// How long after its start the daemon is taken to be at rest.
const START: Duration = Duration::from_secs(1);

/// Options of `mimalloc.h` that the binding does not name: whether memory is committed before it is used, and how many
/// milliseconds free memory is kept.
const ARENA_EAGER_COMMIT: i32 = 4;
const PURGE_DELAY: i32 = 15;

/// How long free memory is kept once the daemon has started, in milliseconds: the allocator's own choice.
const KEEP_FREE: i64 = 1000;

/// Sets the allocator up: memory is committed as it is used, so that what is free can be given back. To be called
/// before anything is allocated.
pub extern "C" fn set_up() {
    #[expect(unsafe_code, reason = "the allocator's settings have no safe binding")]
    // SAFETY: the function takes any option at any time, and is there to be called before the first allocation.
    unsafe {
        mi_option_set(ARENA_EAGER_COMMIT, 0);
        mi_option_set(PURGE_DELAY, KEEP_FREE);
    }
}

/// Gives back what reading the configuration left behind, in few pieces; what is freed from then on until the start is
/// over is given back at once, since what stays would come to lie between.
pub fn configuration_is_read() {
    collect(0);
}

/// Gives back what this thread freed while the daemon started, and lets free memory be kept from now on.
pub fn start_is_over() {
    collect(KEEP_FREE);
}

/// Gives free memory back now, and what is freed later after a delay in milliseconds.
fn collect(delay: i64) {
    #[expect(unsafe_code, reason = "the allocator's own calls have no safe binding")]
    // SAFETY: as above; the first only looks for free memory of this thread and of threads that are gone.
    unsafe {
        mi_collect(true);
        mi_option_set(PURGE_DELAY, delay);
    }
}

/// Gives back the program's pages after a while: most of those that are mapped by then were needed to start, and what
/// is needed again is mapped again from the page cache.
pub async fn give_back_code() {
    tokio::time::sleep(START).await;
    if let Err(error) = give_back_own_code() {
        tracing::debug!(%error, "the pages of the program that only its start needed stay mapped");
    }
}

fn give_back_own_code() -> io::Result<()> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, length) in maps.lines().filter_map(|line| code_of(line, &program)) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        #[expect(unsafe_code, reason = "advice about memory is unsafe by nature")]
        // SAFETY: the mapping is private, of a file that cannot be written while it is executed, and is not writable
        // itself, so that its pages hold what the file holds and come back as they were.
        unsafe {
            madvise(start, length, Advice::LinuxDontNeed)?;
        }
    }
    Ok(())
}

/// Where the code of the program lies, if this line of `maps` (proc(5)) tells of some. Never what is only read: the
/// linker changed parts of that before it was made so.
fn code_of(line: &str, program: &Path) -> Option<(usize, usize)> {
    let mut fields = line.splitn(6, ' ').map(str::trim);
    let (range, access) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    if access != "r-xp" || Path::new(path) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_code_is_given_back() {
        let program = Path::new("/usr/bin/staunch");
        let line = |access: &str, path: &str| {
            format!("55d000-560000 {access} 009b0000 fe:00 5385775                    {path}")
        };
        assert_eq!(code_of(&line("r-xp", "/usr/bin/staunch"), program), Some((0x55_d000, 0x3000)));
        for access in ["r--p", "rw-p", "r-xs", "rwxp"] {
            assert_eq!(code_of(&line(access, "/usr/bin/staunch"), program), None, "{access}");
        }
        assert_eq!(code_of(&line("r-xp", "/usr/lib/libc.so.6"), program), None);
        assert_eq!(code_of("7ffd000-7ffe000 r-xp 00000000 00:00 0                  [vdso]", program), None);
        assert_eq!(code_of("", program), None);
    }

    fn smaps() -> String {
        std::fs::read_to_string("/proc/self/smaps").unwrap()
    }

    /// How much of the program's code is mapped, in KiB (`smaps` of proc(5)).
    fn mapped_code(smaps: &str) -> u64 {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let lines = smaps.lines().skip_while(|line| code_of(line, &program).is_none());
        let resident = lines.filter_map(|line| line.strip_prefix("Rss:")).next().unwrap();
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn what_is_given_back_is_not_mapped_and_still_runs() {
        // Counting maps code itself, so it is done once before.
        mapped_code(&smaps());
        let before = smaps();
        give_back_own_code().unwrap();
        let after = smaps();
        let (before, after) = (mapped_code(&before), mapped_code(&after));
        assert!(after < before, "{after} of {before} KiB are left");
    }
}
