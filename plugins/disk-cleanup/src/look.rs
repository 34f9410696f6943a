//! What each action would free, by readings alone.

use std::time::Duration;

use staunch_plugin::{Error, Host};

use crate::input::{Delete, Rotate, Truncate};

/// What an action would free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) files: u32,
    pub(crate) bytes: u64,
}

/// An empty file needs no rotation. What a rotation frees is the oldest rotated file, which falls off the end.
pub(crate) fn rotation(host: &Host, rotate: &Rotate) -> Result<Option<Estimate>, Error> {
    let current = host.file().stat(&rotate.path)?;
    if current.size == 0 {
        return Ok(None);
    }
    match host.file().stat(&format!("{}.{}", rotate.path, rotate.keep)) {
        Ok(oldest) => Ok(Some(Estimate { files: 1, bytes: oldest.allocated })),
        Err(error) if error.is_not_found() => Ok(Some(Estimate::default())),
        Err(error) => Err(error),
    }
}

/// A file that is short enough needs no truncation.
pub(crate) fn truncation(host: &Host, truncate: &Truncate) -> Result<Option<Estimate>, Error> {
    let file = host.file().stat(&truncate.path)?;
    let excess = file.size.saturating_sub(truncate.size.0);
    Ok((excess > 0).then(|| Estimate { files: 1, bytes: excess.min(file.allocated) }))
}

/// The files that a deletion would take: oldest first, without the `keep` newest, until `stop_at` is freed.
pub(crate) fn deletion(
    host: &Host,
    delete: &Delete,
    before: Duration,
    stop_at: u64,
) -> Result<Option<Estimate>, Error> {
    let mut files = host.file().list(&delete.directory)?;
    files.retain(|file| file.is_file() && matches(&delete.name, file.name()));
    files.sort_by_key(|file| file.modified);
    files.truncate(files.len().saturating_sub(delete.keep as usize));

    let mut estimate = Estimate::default();
    for file in files.iter().filter(|file| file.modified < before.as_secs()) {
        if estimate.bytes >= stop_at {
            break;
        }
        estimate.files += 1;
        estimate.bytes += file.allocated;
    }
    Ok((estimate.files > 0).then_some(estimate))
}

/// Whether a name fits a glob of `*` and `?`. It goes back to the last star only, so it is never exponential.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, n));
                g += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                g += 1;
                n += 1;
            }
            _ => {
                let Some((after, taken)) = star else {
                    return false;
                };
                star = Some((after, taken + 1));
                g = after + 1;
                n = taken + 1;
            }
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_match_names() {
        let cases = [
            ("*", "", true),
            ("*.log.*", "app.log.1", true),
            ("*.log.*", "app.log", false),
            ("app-?.gz", "app-1.gz", true),
            ("app-?.gz", "app-12.gz", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("", "a", false),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ];
        for (glob, name, fits) in cases {
            assert_eq!(matches(glob, name), fits, "{glob} {name}");
        }
    }
}
