//! Strings.
//!
//! Prometheus's encoder has two ways: label sets are written with the escapes that JSON requires, everything else with
//! `<`, `>`, `&` and two line separators escaped as well, as Go's encoder does by default.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a string with the escapes that JSON requires.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text, |byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    out.push(b'"');
}

/// Writes a string that may be put into HTML, as Go writes strings by default.
pub fn write_html_safe_string(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find(['\u{2028}', '\u{2029}']) {
        let (before, separator) = rest.split_at(at);
        write_escaped(out, before, is_plain);
        out.extend_from_slice(if separator.starts_with('\u{2028}') { b"\\u2028" } else { b"\\u2029" });
        rest = &separator['\u{2028}'.len_utf8()..];
    }
    write_escaped(out, rest, is_plain);
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, text: &str, is_plain: impl Fn(u8) -> bool) {
    let mut rest = text.as_bytes();
    // Nearly all texts are plain. Looking at every byte, without stopping, is done for many bytes at a time.
    if rest.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        return out.extend_from_slice(rest);
    }
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        rest = &rest[at + 1..];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both(text: &str) -> [String; 2] {
        [write_string, write_html_safe_string].map(|write| {
            let mut out = Vec::new();
            write(&mut out, text);
            String::from_utf8(out).unwrap()
        })
    }

    #[test]
    fn only_the_html_safe_form_escapes_angle_brackets_and_separators() {
        assert_eq!(
            both("a<b>&\u{2028}ü\u{2029}"),
            ["\"a<b>&\u{2028}ü\u{2029}\"".to_owned(), r#""a\u003cb\u003e\u0026\u2028ü\u2029""#.to_owned()]
        );
    }

    #[test]
    fn control_characters_quotes_and_backslashes_are_escaped_in_both() {
        let expected = concat!(r#""\"\\\n\r\t\u0000\u0008\u001f"#, "\u{7f}\"").to_owned();
        assert_eq!(both("\"\\\n\r\t\0\u{8}\u{1f}\u{7f}"), [expected.clone(), expected]);
    }

    proptest! {
        #[test]
        fn every_string_reads_back(text in any::<String>()) {
            for quoted in both(&text) {
                prop_assert_eq!(&serde_json::from_str::<String>(&quoted).unwrap(), &text);
            }
        }
    }
}
