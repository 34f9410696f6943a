//! Tiles: the paths and contents of `c2sp.org/tlog-tiles`.

use std::fmt;

/// Levels of the tree in one tile.
pub const TILE_HEIGHT: u8 = 8;
/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

/// The highest row of tiles that C2SP allows.
const MAX_ROW: u8 = 63;

/// What one path under the log's root names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TilePath {
    /// `tile/<row>/<index>[.p/<width>]`: hashes of subtrees of level `row * 8`.
    Hashes {
        /// Row of tiles above the leaves; 0 holds leaf hashes.
        row: u8,
        /// Place in the row.
        index: u64,
        /// Hashes in it, 1 to 256; fewer than 256 make a partial tile.
        width: u16,
    },
    /// `tile/entries/<index>[.p/<width>]`: leaves, each with its length before it.
    Entries {
        /// Place of the bundle.
        index: u64,
        /// Entries in it, 1 to 256.
        width: u16,
    },
}

impl TilePath {
    /// Reads a path; `None` for anything but the one way to write it.
    pub fn parse(path: &str) -> Option<Self> {
        let (row, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((number, width)) => {
                (number, parse_decimal(width)?.try_into().ok().filter(|w| (1..TILE_WIDTH).contains(w))?)
            }
        };
        let index = parse_index(number)?;
        if row == "entries" {
            return Some(Self::Entries { index, width });
        }
        let row = parse_decimal(row)?.try_into().ok().filter(|row| *row <= MAX_ROW)?;
        Some(Self::Hashes { row, index, width })
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (index, width) = match self {
            Self::Hashes { row, index, width } => {
                write!(f, "tile/{row}/")?;
                (*index, *width)
            }
            Self::Entries { index, width } => {
                f.write_str("tile/entries/")?;
                (*index, *width)
            }
        };
        f.write_str(&render_index(index))?;
        if width < TILE_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
    }
}

/// Every tile and bundle of a tree of `size` leaves, the last of each row partial where it is not full.
pub fn tile_paths(size: u64) -> impl Iterator<Item = TilePath> {
    let width_of = u64::from(TILE_WIDTH);
    let row_of = move |hashes: u64| {
        (0..hashes.div_ceil(width_of)).map(move |index| {
            let left = hashes - index * width_of;
            // At most 256 by the comparison, so the conversion cannot fail.
            (index, u16::try_from(left.min(width_of)).unwrap_or(TILE_WIDTH))
        })
    };
    let hashes = (0..8_u8).flat_map(move |row| {
        row_of(size >> (TILE_HEIGHT * row)).map(move |(index, width)| TilePath::Hashes { row, index, width })
    });
    hashes.chain(row_of(size).map(|(index, width)| TilePath::Entries { index, width }))
}

/// A number in a path: groups of three digits, all but the last after an `x`, so that no directory
/// holds more than a thousand names. 1234067 is `x001/x234/067`.
pub fn render_index(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// Reads [`render_index`]; `None` for anything that it would not have written.
pub fn parse_index(text: &str) -> Option<u64> {
    let mut index = 0_u64;
    let mut groups = text.split('/').peekable();
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    (render_index(index) == text).then_some(index)
}

/// A decimal number without sign or leading zeros.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Why the bytes of an entry bundle were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes end within a length or an entry.
    #[error("entry {entry} is cut short at byte {offset}")]
    Short {
        /// Which entry of the bundle, from 0.
        entry: usize,
        /// Where it begins.
        offset: usize,
    },
    /// An entry is longer than the length before it can say.
    #[error("a leaf has {length} bytes, more than {max}", max = super::MAX_LEAF_BYTES)]
    Long {
        /// Its length in bytes.
        length: usize,
    },
}

/// Appends one leaf to a bundle: its length in two bytes, big-endian, then itself.
///
/// # Errors
/// [`BundleError::Long`] above 65,535 bytes.
pub fn push_bundle_entry(bundle: &mut Vec<u8>, leaf: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(leaf.len()).map_err(|_| BundleError::Long { length: leaf.len() })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Ok(())
}

/// The leaves of a bundle.
///
/// # Errors
/// [`BundleError::Short`] when the bytes do not end with an entry.
pub fn entries_of_bundle(bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let short = BundleError::Short { entry: entries.len(), offset: bundle.len() - rest.len() };
        let (length, after) = rest.split_first_chunk::<2>().ok_or(short)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(short)?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}
