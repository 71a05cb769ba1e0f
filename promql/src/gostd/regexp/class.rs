//! Named sets of characters: `\d`, `[:alpha:]`, `\p{Greek}`.
//!
//! In Go the Perl and POSIX sets are ASCII only, with or without case folding of letters outside of it.

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

use super::node::class_of;

fn union_of(ranges: &[(char, char)]) -> ClassUnicode {
    let mut class = ClassUnicode::empty();
    for &(low, high) in ranges {
        class.union(&class_of(low.into(), high.into()));
    }
    class
}

/// The set behind `\d`, `\s`, `\w`, and whether the letter (`D`, `S`, `W`) negates it.
pub(super) fn perl(letter: u8) -> Option<(ClassUnicode, bool)> {
    let class = match letter.to_ascii_lowercase() {
        b'd' => union_of(&[('0', '9')]),
        // Without the vertical tab, which is in [[:space:]].
        b's' => union_of(&[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')]),
        b'w' => union_of(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        _ => return None,
    };
    Some((class, letter.is_ascii_uppercase()))
}

/// The set behind the name in `[:name:]`.
pub(super) fn posix(name: &str) -> Option<ClassUnicode> {
    let ranges: &[(char, char)] = match name {
        "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
        "alpha" => &[('A', 'Z'), ('a', 'z')],
        "ascii" => &[('\0', '\x7f')],
        "blank" => &[('\t', '\t'), (' ', ' ')],
        "cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "digit" => &[('0', '9')],
        "graph" => &[('!', '~')],
        "lower" => &[('a', 'z')],
        "print" => &[(' ', '~')],
        "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "space" => &[('\t', '\r'), (' ', ' ')],
        "upper" => &[('A', 'Z')],
        "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some(union_of(ranges))
}

/// The set behind the name in `\p{name}`: a general category or a script, nothing else that Unicode knows.
pub(super) fn unicode(name: &str) -> Option<ClassUnicode> {
    if name.is_empty()
        || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '))
    {
        return None;
    }
    let canonical: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    match canonical.as_str() {
        "any" => return Some(class_of(0, char::MAX.into())),
        "ascii" => return Some(class_of(0, 0x7f)),
        "assigned" => {
            let mut unassigned = unicode("Cn")?;
            unassigned.negate();
            return Some(unassigned);
        }
        _ => {}
    }
    ["gc", "sc"].into_iter().find_map(|property| {
        let hir = regex_syntax::parse(&format!("\\p{{{property}={canonical}}}")).ok()?;
        match hir.into_kind() {
            HirKind::Class(Class::Unicode(class)) => Some(class),
            _ => None,
        }
    })
}
