//! Ed25519 keys in PEM files: PKCS#8 for private ones, SPKI for public ones.
//!
//! A private key that others could read is refused: who signed with it could be anybody.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::clock::random;
use crate::plugin::dsse::key_id;

/// Longest key file in bytes; a PEM of Ed25519 has about 120.
const MAX_FILE: u64 = 8 << 10;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("key {}: it cannot be {operation}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("key {}: others may read it (mode {mode:04o}); mend with: chmod 600 '{}'", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Anybody could sign for it.
    #[error("key {}: a weak Ed25519 public key: a signature for it can be made without a private key", path.display())]
    Weak {
        /// The file.
        path: PathBuf,
    },
    /// The text is not such a key.
    #[error("key {}: not an Ed25519 {kind} key in PEM ({form}): {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
        /// `PKCS#8` or `SPKI`.
        form: &'static str,
        /// What the parser says.
        message: String,
    },
}

/// A new pair of files.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The private key's file, mode 0600.
    pub private: PathBuf,
    /// The public key's file.
    pub public: PathBuf,
    /// Hexadecimal SHA-256 of the public key's SPKI DER.
    pub key_id: String,
}

fn io<'a>(operation: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> KeyError + use<'a> {
    move |source| KeyError::Io { operation, path: path.to_owned(), source }
}

/// Makes a key pair: the private key in `file`, the public one beside it with the extension `pub`. Neither file
/// may exist already.
///
/// # Errors
/// When a file cannot be written.
pub fn generate(file: &Path) -> Result<KeyPair, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    random(&mut *seed);
    let key = SigningKey::from_bytes(&seed);
    let malformed =
        |kind, form, message: String| KeyError::Malformed { path: file.to_owned(), kind, form, message };
    // Without the public half: OpenSSL 3.0 does not read the form with it.
    let private = KeypairBytes { secret_key: key.to_bytes(), public_key: None }
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| malformed("private", "PKCS#8", error.to_string()))?;
    let public = key
        .verifying_key()
        .to_public_key_pem(LineEnding::LF)
        .map_err(|error| malformed("public", "SPKI", error.to_string()))?;
    let public_file = file.with_extension("pub");
    write_new(file, private.as_bytes(), 0o600)?;
    write_new(&public_file, public.as_bytes(), 0o644)?;
    Ok(KeyPair { private: file.to_owned(), public: public_file, key_id: key_id(&key.verifying_key()) })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io("created", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("written", path))
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let length = fs::metadata(path).map_err(io("read", path))?.len();
    if length > MAX_FILE {
        let message = format!("{length} bytes are more than a key has");
        return Err(KeyError::Malformed {
            path: path.to_owned(),
            kind: "private or public",
            form: "PEM",
            message,
        });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io("read", path))
}

/// Reads a private key.
///
/// # Errors
/// When the file is missing, open to others, or no Ed25519 key.
pub fn load_private(path: &Path) -> Result<SigningKey, KeyError> {
    let mode = fs::metadata(path).map_err(io("read", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    SigningKey::from_pkcs8_pem(&read(path)?).map_err(|error| KeyError::Malformed {
        path: path.to_owned(),
        kind: "private",
        form: "PKCS#8",
        message: error.to_string(),
    })
}

/// Reads a public key.
///
/// # Errors
/// When the file is missing, no Ed25519 key, or one of small order, for which anybody can sign.
pub fn load_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_public_key_pem(&read(path)?).map_err(|error| KeyError::Malformed {
        path: path.to_owned(),
        kind: "public",
        form: "SPKI",
        message: error.to_string(),
    })?;
    if key.is_weak() { Err(KeyError::Weak { path: path.to_owned() }) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_pair_reads_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("author.key");
        let pair = generate(&file).unwrap();
        let private = load_private(&pair.private).unwrap();
        assert_eq!(private.verifying_key(), load_public(&pair.public).unwrap());
        assert!(matches!(generate(&file), Err(KeyError::Io { operation: "created", .. })));
    }

    #[test]
    fn a_private_key_that_others_may_read_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("author.key");
        generate(&file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_private(&file).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains("0644"), "{error}");
    }

    #[test]
    fn refuses_public_keys_for_which_anybody_can_sign() {
        let dir = tempfile::tempdir().unwrap();
        // The points of order 1, 2, 4 and 8, as they are written.
        for (number, point) in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        ]
        .iter()
        .enumerate()
        {
            let file = dir.path().join(format!("{number}.pub"));
            let pairs = point.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
            let key = VerifyingKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
            write_new(&file, key.to_public_key_pem(LineEnding::LF).unwrap().as_bytes(), 0o644).unwrap();
            assert!(matches!(load_public(&file), Err(KeyError::Weak { .. })), "{point}");
        }
    }

    #[test]
    fn refuses_what_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        write_new(&file, b"nonsense", 0o600).unwrap();
        assert!(matches!(load_private(&file), Err(KeyError::Malformed { .. })));
        assert!(matches!(load_public(&file), Err(KeyError::Malformed { .. })));
        assert!(load_private(&dir.path().join("missing")).is_err());
    }
}
