//! Other people's programs, as Debian packages them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::program::{command, finish_within};
use crate::skip;

/// How long getting a package may take.
const GETTING: Duration = Duration::from_secs(240);

/// The path of a program; where it is missing and this is root's Debian, its package is installed; else `None`,
/// with a visible skip.
#[must_use]
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    if let Some(path) = find(name) {
        return Some(path);
    }
    if is_root() && find("apt-get").is_some() {
        let mut apt = command("apt-get");
        apt.args(["install", "--yes", "--no-install-recommends", package]);
        // Its daemon is not wanted: the tests start their own.
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        let finished = finish_within(&mut apt, GETTING);
        if let Some(path) = find(name) {
            return Some(path);
        }
        skip(&format!(
            "{name} is not here, and `apt-get install {package}` failed: {}",
            finished.stderr.trim()
        ));
        return None;
    }
    skip(&format!("{name} is not here; Debian's package {package} has it"));
    None
}

/// Whether this is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The path of a program.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// A port of the loopback that was free a moment ago, for programs that cannot say which one they took.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
