//! String literals: reading Prometheus's three kinds of quotes, and Go's `%q`.

use std::fmt::Write as _;
use std::sync::OnceLock;

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

use super::GoString;

/// `strconv.Quote` of bytes that may not be UTF-8.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    write_quoted(&mut out, bytes);
    out
}

/// Appends [`quote`] to `out`.
pub fn write_quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        // Runs of plain characters, the common case, are copied whole.
        while let Some(at) = rest.find(|c: char| !matches!(c, ' '..='~') || matches!(c, '"' | '\\')) {
            out.push_str(&rest[..at]);
            let special = rest[at..].chars().next().unwrap_or_default();
            push_escaped(out, special, '"');
            rest = &rest[at + special.len_utf8()..];
        }
        out.push_str(rest);
        for byte in chunk.invalid() {
            push_formatted(out, format_args!("\\x{byte:02x}"));
        }
    }
    out.push('"');
}

/// `strconv.QuoteRune`, which is `%q` of a rune: `'x'`.
pub fn quote_rune(rune: char) -> String {
    let mut out = String::from("'");
    push_escaped(&mut out, rune, '\'');
    out.push('\'');
    out
}

/// `%#U` of a rune: `U+0063 'c'`.
pub fn unicode_notation(rune: char) -> String {
    let mut out = format!("U+{:04X}", u32::from(rune));
    if is_print(rune) {
        push_formatted(&mut out, format_args!(" '{rune}'"));
    }
    out
}

fn push_formatted(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a String cannot fail");
}

fn push_escaped(out: &mut String, rune: char, quote: char) {
    match rune {
        '\\' => out.push_str("\\\\"),
        _ if rune == quote => {
            out.push('\\');
            out.push(quote);
        }
        _ if is_print(rune) => out.push(rune),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        '\0'..=' ' | '\x7f' => push_formatted(out, format_args!("\\x{:02x}", u32::from(rune))),
        '\u{80}'..='\u{ffff}' => push_formatted(out, format_args!("\\u{:04x}", u32::from(rune))),
        _ => push_formatted(out, format_args!("\\U{:08x}", u32::from(rune))),
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_print(rune: char) -> bool {
    static PRINTABLE: OnceLock<ClassUnicode> = OnceLock::new();
    if rune.is_ascii() {
        return matches!(rune, ' '..='~');
    }
    contains(PRINTABLE.get_or_init(|| class(r"[\pL\pM\pN\pP\pS]")), rune)
}

/// Go's `unicode.IsLetter` or `unicode.IsDigit`.
pub(super) fn is_letter_or_digit(rune: char) -> bool {
    static LETTERS: OnceLock<ClassUnicode> = OnceLock::new();
    if rune.is_ascii() {
        return rune.is_ascii_alphanumeric();
    }
    contains(LETTERS.get_or_init(|| class(r"[\pL\p{Nd}]")), rune)
}

fn class(constant_pattern: &str) -> ClassUnicode {
    let hir = regex_syntax::parse(constant_pattern).expect("a constant, valid pattern");
    match hir.into_kind() {
        HirKind::Class(Class::Unicode(class)) => class,
        other => unreachable!("a class of characters became {other:?}"),
    }
}

fn contains(class: &ClassUnicode, rune: char) -> bool {
    let ranges = class.ranges();
    let after = ranges.partition_point(|range| range.start() <= rune);
    after > 0 && ranges[after - 1].end() >= rune
}

/// The value of a string literal with its quotes (`"`, `'` or `` ` ``); `None` if it is not one.
pub fn unquote(literal: &str) -> Option<GoString> {
    let quote = *literal.as_bytes().first()?;
    if literal.len() < 2 || literal.as_bytes().last() != Some(&quote) || !matches!(quote, b'"' | b'\'' | b'`')
    {
        return None;
    }
    let body = &literal[1..literal.len() - 1];
    if quote == b'`' {
        return (!body.contains('`')).then(|| body.into());
    }
    let special = |&byte: &u8| matches!(byte, b'\\' | b'\n') || byte == quote;
    if !body.as_bytes().iter().any(special) {
        return Some(body.into());
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'\n' => return None,
            _ if byte == quote => return None,
            b'\\' => unescape(after, quote, &mut out)?,
            _ => {
                out.push(byte);
                after
            }
        };
    }
    Some(out.into())
}

/// Decodes what follows a backslash, appends its value to `out` and returns the rest.
fn unescape<'a>(text: &'a [u8], quote: u8, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (&kind, rest) = text.split_first()?;
    let (count, radix) = match kind {
        b'x' => (2, 16),
        b'u' => (4, 16),
        b'U' => (8, 16),
        b'0'..=b'7' => (3, 8),
        _ => {
            out.push(match kind {
                b'a' => 0x07,
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                b'\\' => b'\\',
                _ if kind == quote => quote,
                _ => return None,
            });
            return Some(rest);
        }
    };
    let digits = if radix == 8 { text } else { rest };
    let mut value: u32 = 0;
    for &byte in digits.get(..count)? {
        value = value.checked_mul(radix)?.checked_add(char::from(byte).to_digit(radix)?)?;
    }
    match kind {
        b'u' | b'U' => out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes()),
        // One byte, possibly not UTF-8 on its own.
        _ => out.push(u8::try_from(value).ok()?),
    }
    Some(&digits[count..])
}
