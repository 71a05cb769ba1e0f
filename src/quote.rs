//! Go's quoted strings.
//!
//! Error texts that clients and alert rules of Prometheus and Cortex know are made with Go's `%q` verb; these
//! functions print what it prints, invalid UTF-8 included.

use std::fmt::{self, Write};

/// Displays bytes as Go's `%q` does: in double quotes, with Go's escapes.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                write_escaped(f, character)?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    match character {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        '\u{07}' => f.write_str("\\a"),
        '\u{08}' => f.write_str("\\b"),
        '\u{0c}' => f.write_str("\\f"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        '\u{0b}' => f.write_str("\\v"),
        ' '..='~' => f.write_char(character),
        '\0'..='\u{7f}' => write!(f, "\\x{:02x}", character as u32),
        _ if is_printable(character) => f.write_char(character),
        '\u{80}'..='\u{ffff}' => write!(f, "\\u{:04x}", character as u32),
        _ => write!(f, "\\U{:08x}", character as u32),
    }
}

// The standard library knows which characters are printable but tells it only through `escape_debug`. A leading
// letter keeps it from escaping combining marks, which Go prints.
fn is_printable(character: char) -> bool {
    let mut text = [b'a', 0, 0, 0, 0];
    let length = character.encode_utf8(&mut text[1..]).len();
    str::from_utf8(&text[..=length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

/// The first `max` characters of `bytes` (an invalid byte counts as one), as Go's `%.200q` cuts its argument.
pub fn first_chars(bytes: &[u8], max: usize) -> &[u8] {
    let mut end = 0;
    let mut left = max;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if left == 0 {
                return &bytes[..end];
            }
            end += character.len_utf8();
            left -= 1;
        }
        for _ in chunk.invalid() {
            if left == 0 {
                return &bytes[..end];
            }
            end += 1;
            left -= 1;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expectations: Go's documentation of `strconv.Quote` and its escapes.
    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        for (raw, quoted) in [
            (&b"up"[..], r#""up""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("grüße, 世界".as_bytes(), "\"grüße, 世界\""),
            ("e\u{301}".as_bytes(), "\"e\u{301}\""),
            ("\u{a0}\u{200b}".as_bytes(), r#""\u00a0\u200b""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
            (b"ok\xff\xfe!", r#""ok\xff\xfe!""#),
        ] {
            assert_eq!(Quoted(raw).to_string(), quoted);
        }
    }

    #[test]
    fn cutting_counts_characters_and_never_splits_one() {
        assert_eq!(first_chars("äöü".as_bytes(), 2), "äö".as_bytes());
        assert_eq!(first_chars(b"abc", 3), b"abc");
        assert_eq!(first_chars(b"a\xff\xffb", 2), b"a\xff");
        assert_eq!(first_chars(b"abc", 0), b"");
    }
}
