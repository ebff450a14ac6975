//! Bytes that should be text, as a JVM reads them (`new String(bytes, UTF_8)`): what is no UTF-8 becomes U+FFFD.

use std::borrow::Cow;

/// The text of `bytes`. As `String::from_utf8_lossy`, but for the bytes of a surrogate: they become one U+FFFD together,
/// not one each.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replaced(bytes)),
    }
}

fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        rest = &rest[chunk.valid().len()..];
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[surrogate(rest).unwrap_or(chunk.invalid().len())..];
        }
    }
    text
}

/// How many bytes of a surrogate stand in front.
fn surrogate(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => Some(3),
        [0xed, 0xa0..=0xbf, ..] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As OpenJDK 17 read the same bytes.
    #[test]
    fn as_a_jvm_reads_it() {
        for (bytes, text) in [
            (&b"plain"[..], "plain"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"\xc0\xafx", "\u{fffd}\u{fffd}x"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xf0\x9f\x98A", "\u{fffd}A"),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80\xed\xbf\xbf", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0A", "\u{fffd}A"),
            (b"\xed\xa0", "\u{fffd}"),
            (b"\xedA", "\u{fffd}A"),
            (b"\xed\xed\x9f\xbf", "\u{fffd}\u{d7ff}"),
        ] {
            assert_eq!(lossy(bytes), text, "{bytes:x?}");
        }
    }
}
