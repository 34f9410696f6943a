//! Components as bytes: finding the embedded manifest, and putting another one in its place. So ten plugins of
//! different names are made of one without compiling anything.
//!
//! Format: a preamble of eight bytes, then sections of an id byte, a length (LEB128) and that many bytes; section 0
//! begins with a name (WebAssembly binary format, section 5.5).

use std::ops::Range;

use anyhow::{Context as _, bail};

/// The section that holds the bytes of `plugin.toml`.
const SECTION: &[u8] = b"staunch:manifest";

const PREAMBLE: usize = 8;

/// Where the manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The whole section, id and length included.
    pub(crate) section: Range<usize>,
    /// The manifest's own bytes.
    pub(crate) manifest: Range<usize>,
}

/// Finds the embedded manifest.
pub(crate) fn find(component: &[u8]) -> anyhow::Result<Place> {
    if component.get(..4) != Some(b"\0asm") {
        bail!("not WebAssembly");
    }
    let mut at = PREAMBLE;
    while let Some(id) = component.get(at) {
        let (length, body) = number(component, at + 1)?;
        let end = body + length;
        if *id == 0 {
            let (name_length, name) = number(component, body)?;
            if component.get(name..name + name_length) == Some(SECTION) {
                return Ok(Place { section: at..end, manifest: name + name_length..end });
            }
        }
        at = end;
    }
    bail!("no manifest is embedded: `staunch plugin build` does that")
}

/// The same component under another name.
pub(crate) fn renamed(component: &[u8], old: &str, new: &str) -> anyhow::Result<Vec<u8>> {
    let place = find(component)?;
    let manifest = component.get(place.manifest).context("the manifest lies behind the end")?;
    let manifest = std::str::from_utf8(manifest).context("the manifest is not text")?;
    let (line, wanted) = (format!("name = \"{old}\""), format!("name = \"{new}\""));
    if !manifest.contains(&line) {
        bail!("the manifest has no line {line:?}");
    }
    let manifest = manifest.replacen(&line, &wanted, 1);
    let mut body = Vec::with_capacity(manifest.len() + SECTION.len() + 4);
    write_number(&mut body, SECTION.len());
    body.extend_from_slice(SECTION);
    body.extend_from_slice(manifest.as_bytes());
    let mut copy = Vec::with_capacity(component.len() + new.len());
    copy.extend_from_slice(component.get(..place.section.start).unwrap_or_default());
    copy.push(0);
    write_number(&mut copy, body.len());
    copy.extend_from_slice(&body);
    copy.extend_from_slice(component.get(place.section.end..).unwrap_or_default());
    Ok(copy)
}

/// An unsigned LEB128 number, and where it ends.
fn number(bytes: &[u8], start: usize) -> anyhow::Result<(usize, usize)> {
    let mut value = 0_usize;
    for index in 0..5 {
        let byte = *bytes.get(start + index).context("the component ends in the middle of a section")?;
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, start + index + 1));
        }
    }
    bail!("a section's length is no 32-bit number")
}

fn write_number(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(manifest: &str) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.extend_from_slice(&[1, 3, 9, 9, 9, 0]);
        let mut body = Vec::new();
        write_number(&mut body, SECTION.len());
        body.extend_from_slice(SECTION);
        body.extend_from_slice(manifest.as_bytes());
        write_number(&mut bytes, body.len());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&[2, 1, 7]);
        bytes
    }

    #[test]
    fn a_new_name_changes_nothing_else() {
        let padding = "x".repeat(300);
        let before = component(&format!("[plugin]\nname = \"a\"\n# {padding}"));
        let after = renamed(&before, "a", "another-name").unwrap();
        assert_eq!(after, component(&format!("[plugin]\nname = \"another-name\"\n# {padding}")));
        assert_eq!(&before[find(&before).unwrap().manifest][..8], b"[plugin]");
    }

    #[test]
    fn what_holds_no_manifest_is_refused() {
        assert!(find(b"\0asm\x0d\0\x01\0").is_err());
        assert!(find(b"#!/bin/sh").is_err());
        assert!(find(b"\0asm\x0d\0\x01\0\x00\xff").is_err());
    }
}
