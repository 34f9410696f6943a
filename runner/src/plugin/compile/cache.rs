//! The cache of compiled code: a directory that only its owner may enter, and a MAC over every entry.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use staunch_core::id::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

use super::{CompileError, Generation};

const KEY_FILE: &str = "compile.key";
const DIRECTORY: &str = "compiled";
const KEY_BYTES: usize = 32;
const MAX_ENTRIES: usize = 256;

/// Compiled code on disk.
pub(super) struct Cache {
    directory: PathBuf,
    key: Zeroizing<[u8; KEY_BYTES]>,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CompileError {
    move |source| CompileError::Cache { doing, path: path.display().to_string(), source }
}

impl Cache {
    /// Opens the cache of a data directory; makes directory and key when they are missing.
    pub(super) fn open(data: &Path) -> Result<Self, CompileError> {
        let directory = data.join(DIRECTORY);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(failed("create", &directory))?;
        only_owner(&directory).map_err(failed("use", &directory))?;
        let path = data.join(KEY_FILE);
        let key = match make_key(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(&path),
            made => made,
        };
        Ok(Self { directory, key: key.map_err(failed("use", &path))? })
    }

    /// The code of a component, when it is there and is what this host compiled.
    pub(super) fn load(&self, engine: &Engine, generation: &Generation, digest: Digest) -> Option<Component> {
        let path = self.path(generation, digest, "cwasm");
        let mut file = File::open(&path).ok()?;
        let tag = fs::read(self.path(generation, digest, "mac")).ok()?;
        let loaded = self
            .mac(generation, digest, &mut file)
            .and_then(|mac| mac.verify_slice(&tag).map_err(|_| io::Error::other("its MAC is wrong")))
            .and_then(|()| map(engine, &file));
        match loaded {
            Ok(component) => Some(component),
            Err(error) => {
                let file = path.display();
                tracing::warn!(error = %error, "compiled code in {file} is refused and compiled anew");
                None
            }
        }
    }

    /// Keeps code, durably, and removes what no engine of this program will load again.
    pub(super) fn store(
        &self,
        generation: &Generation,
        digest: Digest,
        code: &[u8],
    ) -> Result<(), CompileError> {
        self.sweep(generation);
        let path = self.path(generation, digest, "cwasm");
        let mac = self.mac(generation, digest, code).map_err(failed("authenticate", &path))?;
        self.write(&path, code)?;
        self.write(&self.path(generation, digest, "mac"), &mac.finalize().into_bytes())
    }

    fn path(&self, generation: &Generation, digest: Digest, extension: &str) -> PathBuf {
        self.directory.join(format!("{generation}-{}.{extension}", digest.hex()))
    }

    /// The MAC of an entry. It covers which entry it is, so that one cannot stand in for another.
    fn mac(
        &self,
        generation: &Generation,
        digest: Digest,
        mut code: impl io::Read,
    ) -> io::Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).map_err(io::Error::other)?;
        mac.update(b"staunch compiled code v1\0");
        mac.update(generation.0.as_bytes());
        mac.update(digest.as_bytes());
        let mut buffer = [0; 16 << 10];
        loop {
            match code.read(&mut buffer)? {
                0 => return Ok(mac),
                length => mac.update(&buffer[..length]),
            }
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CompileError> {
        let mut file =
            tempfile::NamedTempFile::new_in(&self.directory).map_err(failed("write in", &self.directory))?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed("write", path))?;
        file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed("sync", &self.directory))
    }

    /// Removes entries of other generations, then the oldest until there is room. A file that stays does no
    /// harm, so failures are passed over.
    fn sweep(&self, generation: &Generation) {
        let prefix = format!("{generation}-");
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if !is_entry(&path) {
                continue;
            }
            if !entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _stays = fs::remove_file(&path);
            } else if path.extension().is_some_and(|extension| extension == "cwasm") {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                kept.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
        kept.sort();
        let surplus = (kept.len() + 1).saturating_sub(MAX_ENTRIES);
        for (_, path) in kept.iter().take(surplus) {
            let _stays = fs::remove_file(path);
            let _stays = fs::remove_file(path.with_extension("mac"));
        }
    }
}

fn is_entry(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cwasm" || extension == "mac")
}

/// Maps the very file whose MAC was checked, by its descriptor: whatever now has its name does not matter.
#[expect(unsafe_code, reason = "loading native code is unsafe by nature")]
fn map(engine: &Engine, file: &File) -> io::Result<Component> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: the MAC under this host's own key says that the file's bytes came from `precompile_component` of
    // the same engine settings and versions, and only the owner of the directory, the daemon, can change them.
    unsafe { Component::deserialize_file(engine, path) }
        .map_err(|error| io::Error::other(format!("{error:#}")))
}

fn make_key(path: &Path) -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    crate::clock::random(key.as_mut_slice());
    file.write_all(key.as_slice())?;
    file.sync_all()?;
    Ok(key)
}

fn read_key(path: &Path) -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    only_owner(path)?;
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let mut file = File::open(path)?;
    if file.metadata()?.size() != KEY_BYTES as u64 {
        let advice = format!("it must have {KEY_BYTES} bytes; remove it, and everything is compiled anew");
        return Err(io::Error::new(io::ErrorKind::InvalidData, advice));
    }
    file.read_exact(key.as_mut_slice())?;
    Ok(key)
}

fn only_owner(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if own && metadata.mode() & 0o077 == 0 && !metadata.is_symlink() {
        return Ok(());
    }
    let advice = format!(
        "it must belong to the daemon's user and to nobody else; now: user {}, mode {:o}",
        metadata.uid(),
        metadata.mode() & 0o777
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, advice))
}
