//! Base64 with one way to write each value.
//!
//! A lax reader would accept several spellings of one hash, and a changed byte could go unseen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Standard base64 with padding (RFC 4648, section 4).
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64; `None` for anything that [`to_base64`] would not have written: missing
/// padding, spare bits that are not zero, white space.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
