//! Cutting guests' texts to size.

/// Cuts `text` to at most `bytes`, at a character's border.
pub(super) fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let border = (0..=bytes).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(border);
    }
}
