//! Certificates of authorities that https targets may be vouched for by, beside those of the system.

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The largest file of certificates, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The certificate of an authority.
pub type Root = CertificateDer<'static>;

/// A file of certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is too large.
    #[error("{} is larger than {MAX_FILE} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It holds no certificate.
    #[error("{} holds no certificate: PEM with `-----BEGIN CERTIFICATE-----` is valid", .0.display())]
    Empty(PathBuf),
    /// A certificate of it is none.
    #[error("certificate {number} of {} cannot be used: {message}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        message: String,
    },
}

/// Reads the certificates of a PEM file.
///
/// # Errors
/// When there is none in it, or one of them cannot vouch for anybody.
pub fn read_roots(path: &Path) -> Result<Vec<Root>, RootError> {
    let unreadable = |source| RootError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(RootError::TooLarge(path.to_owned()));
    }
    let text = std::fs::read(path).map_err(unreadable)?;
    let mut roots = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(&text).enumerate() {
        let bad = |message: String| RootError::Bad { path: path.to_owned(), number: index + 1, message };
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        // As it will be when it is used: a certificate that says nothing is found here.
        RootCertStore::empty().add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
        roots.push(certificate);
    }
    if roots.is_empty() { Err(RootError::Empty(path.to_owned())) } else { Ok(roots) }
}
