<<<<<<< HEAD
//! Ed25519 keys in PEM files: PKCS#8 for private ones, SPKI for public ones.
//!
//! A private key that others could read is refused: who signed with it could be anybody.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
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
    let malformed = |kind, form, message: String| KeyError::Malformed { path: file.to_owned(), kind, form, message };
    let private = key
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
        return Err(KeyError::Malformed { path: path.to_owned(), kind: "private or public", form: "PEM", message });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io("read", path))
=======
//! Ed25519 keys in files: made, written, read, named.
//!
//! Private keys are PKCS#8 PEM with mode 0600, public ones SPKI PEM; a key's id is the hex SHA-256 of its SPKI
//! DER. OpenSSL reads and writes both.
//!
//! Never: uses a private key that others can read, or overwrites one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest key file that is read.
const MAX_KEY_BYTES: u64 = 16 * 1024;

/// Why a key could not be made, written or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The operating system gave no randomness.
    #[error("no randomness for a new key: {0}")]
    Randomness(String),
    /// The file.
    #[error("could not {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others can read a private key.
    #[error("{} has mode {mode:04o}, so that others may read it; mend with: chmod 600 '{}'", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is no key of the kind asked for.
    #[error("{} is not an Ed25519 {expected}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// A point for which anyone can make signatures.
    #[error("{} holds a weak public key", path.display())]
    Weak {
        /// The file.
        path: PathBuf,
    },
    /// A public key that cannot be written down.
    #[error("the public key cannot be encoded")]
    Encoding,
}

impl KeyError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

/// A new key from the operating system's randomness.
///
/// # Errors
/// [`KeyError::Randomness`].
pub fn generate() -> Result<SigningKey, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut seed[..]).map_err(|error| KeyError::Randomness(error.to_string()))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// A public key's id: 64 hex digits.
///
/// # Errors
/// [`KeyError::Encoding`].
pub fn key_id(key: &VerifyingKey) -> Result<String, KeyError> {
    let der = key.to_public_key_der().map_err(|_| KeyError::Encoding)?;
    Ok(Sha256::digest(der.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A public key as SPKI PEM.
///
/// # Errors
/// [`KeyError::Encoding`].
pub fn public_pem(key: &VerifyingKey) -> Result<String, KeyError> {
    key.to_public_key_pem(LineEnding::LF).map_err(|_| KeyError::Encoding)
}

/// Writes a private key to a new file with mode 0600.
///
/// # Errors
/// [`KeyError::Io`], also when the file is there already.
pub fn write_private(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    // Without the public half: the form with it is one that OpenSSL 3.0 does not read.
    let bytes = KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    let pem = bytes.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Encoding)?;
    write_new(path, 0o600, pem.as_bytes())
}

/// Writes a public key to a new file with mode 0644.
///
/// # Errors
/// [`KeyError::Io`], also when the file is there already; [`KeyError::Encoding`].
pub fn write_public(path: &Path, key: &VerifyingKey) -> Result<(), KeyError> {
    write_new(path, 0o644, public_pem(key)?.as_bytes())
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), KeyError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(KeyError::io("create", path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(KeyError::io("write", path))
>>>>>>> journal
}

/// Reads a private key.
///
/// # Errors
<<<<<<< HEAD
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
=======
/// [`KeyError::Mode`] when anyone but its owner can touch the file, [`KeyError::Form`] when it is no PKCS#8
/// PEM of an Ed25519 key, [`KeyError::Io`] when it cannot be read.
pub fn load_private(path: &Path) -> Result<SigningKey, KeyError> {
    let mode =
        fs::metadata(path).map_err(KeyError::io("read the private key", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    let pem = Zeroizing::new(read(path, "read the private key")?);
    SigningKey::from_pkcs8_pem(&pem)
        .map_err(|_| KeyError::Form { path: path.to_owned(), expected: "private key (PKCS#8 PEM)" })
>>>>>>> journal
}

/// Reads a public key.
///
/// # Errors
<<<<<<< HEAD
/// When the file is missing, or no Ed25519 key.
pub fn load_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    VerifyingKey::from_public_key_pem(&read(path)?).map_err(|error| KeyError::Malformed {
        path: path.to_owned(),
        kind: "public",
        form: "SPKI",
        message: error.to_string(),
    })
=======
/// [`KeyError::Form`] when it is no SPKI PEM of an Ed25519 key, [`KeyError::Weak`], [`KeyError::Io`].
pub fn load_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    let pem = read(path, "read the public key")?;
    let key = VerifyingKey::from_public_key_pem(&pem)
        .map_err(|_| KeyError::Form { path: path.to_owned(), expected: "public key (SPKI PEM)" })?;
    if key.is_weak() { Err(KeyError::Weak { path: path.to_owned() }) } else { Ok(key) }
}

fn read(path: &Path, operation: &'static str) -> Result<String, KeyError> {
    let too_long = || io::Error::from(io::ErrorKind::FileTooLarge);
    let length = fs::metadata(path).map(|file| file.size());
    match length {
        Ok(length) if length > MAX_KEY_BYTES => Err(KeyError::io(operation, path)(too_long())),
        Ok(_) => fs::read_to_string(path).map_err(KeyError::io(operation, path)),
        Err(error) => Err(KeyError::io(operation, path)(error)),
    }
>>>>>>> journal
}

#[cfg(test)]
mod tests {
    use super::*;

<<<<<<< HEAD
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
    fn refuses_what_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        write_new(&file, b"nonsense", 0o600).unwrap();
        assert!(matches!(load_private(&file), Err(KeyError::Malformed { .. })));
        assert!(matches!(load_public(&file), Err(KeyError::Malformed { .. })));
        assert!(load_private(&dir.path().join("missing")).is_err());
=======
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn keys_are_read_back_and_keep_their_id() {
        let (folder, key) = (folder(), generate().unwrap());
        let (private, public) = (folder.path().join("k.pem"), folder.path().join("k.pub"));
        write_private(&private, &key).unwrap();
        write_public(&public, &key.verifying_key()).unwrap();
        assert_eq!(load_private(&private).unwrap(), key);
        assert_eq!(load_public(&public).unwrap(), key.verifying_key());
        assert_eq!(key_id(&key.verifying_key()).unwrap().len(), 64);
        assert_eq!(fs::metadata(&private).unwrap().mode() & 0o777, 0o600);
    }

    /// The key of RFC 8410, section 10: `openssl pkey -in KEY -pubout -outform DER | sha256sum` has this id.
    #[test]
    fn the_key_of_the_standard_is_read() {
        let folder = folder();
        let private = folder.path().join("k.pem");
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        write_new(&private, 0o600, pem.as_bytes()).unwrap();
        let key = load_private(&private).unwrap();
        let expected = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        assert_eq!(public_pem(&key.verifying_key()).unwrap(), expected);
        let again = folder.path().join("again.pem");
        write_private(&again, &key).unwrap();
        assert_eq!(fs::read_to_string(again).unwrap(), pem);
    }

    #[test]
    fn refuses_a_private_key_that_others_can_read() {
        let (folder, key) = (folder(), generate().unwrap());
        let path = folder.path().join("k.pem");
        write_private(&path, &key).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load_private(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains("k.pem"), "{error}");
        }
    }

    #[test]
    fn names_the_file_that_is_no_key() {
        let folder = folder();
        let path = folder.path().join("k.pem");
        assert!(load_private(&path).unwrap_err().to_string().contains("k.pem"));
        write_new(&path, 0o600, b"nonsense").unwrap();
        assert!(matches!(load_private(&path), Err(KeyError::Form { .. })));
        assert!(matches!(load_public(&path), Err(KeyError::Form { .. })));
        assert!(matches!(write_private(&path, &generate().unwrap()), Err(KeyError::Io { .. })));
>>>>>>> journal
    }
}
