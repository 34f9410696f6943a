//! Which bytes are run: the file at the granted path, or, where the grant pins a digest, a sealed copy of
//! exactly the bytes that were hashed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest as _, Sha256};
use staunch_core::id::Digest;

use crate::sandbox::broker::Failure;

const MAX_PINNED: u64 = 256 << 20;

/// A program that can be started.
#[derive(Debug)]
pub(super) struct Image {
    program: String,
    /// Nobody can change it any more; it lives until the program has been started.
    sealed: Option<File>,
}

impl Image {
    pub(super) async fn open(program: &str, pin: Option<Digest>) -> Result<Self, Failure> {
        let program = program.to_owned();
        let Some(pin) = pin else { return Ok(Self { program, sealed: None }) };
        let task = tokio::task::spawn_blocking(move || seal(&program, pin).map(|file| (program, file)));
        match task.await {
            Ok(sealed) => sealed.map(|(program, file)| Self { program, sealed: Some(file) }),
            Err(_) => Err(Failure::known("io", "the host failed while it read the program", true)),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        match &self.sealed {
            // By the host's own number: the one that opens it is a child of the host.
            Some(file) => PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())),
            None => PathBuf::from(&self.program),
        }
    }
}

fn seal(program: &str, pin: Digest) -> Result<File, Failure> {
    let io = |error: std::io::Error| Failure::known("io", format!("cannot read {program}: {error}"), false);
    let file = File::open(program).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::known("not-found", format!("{program} does not exist"), false)
        }
        _ => io(error),
    })?;
    let mut source = file.take(MAX_PINNED + 1);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 know no executable flag, and make every such file executable.
    let copy = memfd_create("staunch-program", flags | MemfdFlags::EXEC)
        .or_else(|_| memfd_create("staunch-program", flags));
    let mut copy = File::from(copy.map_err(|errno| io(errno.into()))?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut first = true;
    loop {
        let count = source.read(&mut buffer).map_err(io)?;
        let bytes = &buffer[..count];
        if first && bytes.starts_with(b"#!") {
            let message = format!(
                "{program} is a script: its digest does not pin what its interpreter does; grant the interpreter's program instead"
            );
            return Err(Failure::known("not-permitted", message, false));
        }
        first = false;
        if count == 0 {
            break;
        }
        hasher.update(bytes);
        copy.write_all(bytes).map_err(io)?;
    }
    if source.limit() == 0 {
        return Err(Failure::known(
            "not-permitted",
            format!("{program} has more than {MAX_PINNED} bytes"),
            false,
        ));
    }
    let found = Digest::from_bytes(hasher.finalize().into());
    if found != pin {
        let message =
            format!("{program} is not the program that was granted: it has digest {found}, pinned is {pin}");
        return Err(Failure::known("access-denied", message, false));
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&copy, seals).map_err(|errno| io(errno.into()))?;
    Ok(copy)
}
