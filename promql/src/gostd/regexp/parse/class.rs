//! Classes in brackets: `[a-z\\d[:alpha:]]`.

use regex_syntax::hir::ClassUnicode;

use super::{Parser, Result, error, first_char};
use crate::gostd::regexp::node::{Node, class_of};
use crate::gostd::regexp::{RegexErrorKind, class as named};

impl Parser<'_> {
    /// A class, from its opening bracket on.
    pub(super) fn bracket_class(&mut self) -> Result<Node> {
        let whole = self.rest();
        self.at += 1;
        let negated = self.peek() == Some(b'^');
        self.at += usize::from(negated);
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || self.peek() != Some(b']') {
            first = false;
            if let Some(named) = self.posix_class()? {
                class.union(&named);
                continue;
            }
            if let Some(escaped) = self.escaped_class()? {
                class.union(&escaped);
                continue;
            }
            let start = self.at;
            let low = self.class_char(whole)?;
            let mut high = low;
            if let [b'-', next, ..] = self.rest().as_bytes()
                && *next != b']'
            {
                self.at += 1;
                high = self.class_char(whole)?;
                if high < low {
                    return error(RegexErrorKind::InvalidCharRange, &self.pattern[start..self.at]);
                }
            }
            class.union(&self.folded(class_of(low, high)));
        }
        self.at += 1;
        if negated {
            class.negate();
        }
        Ok(match class.literal() {
            Some(bytes) => Node::Literal(first_char(&bytes)),
            None => Node::Class(class),
        })
    }

    /// `[:name:]` or `[:^name:]`; consumes nothing if this is not the start of one.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>> {
        let rest = self.rest();
        let Some(end) = rest.strip_prefix("[:").and_then(|body| body.find(":]")) else { return Ok(None) };
        let (name, whole) = (&rest[2..2 + end], &rest[..end + 4]);
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        match named::posix(name) {
            Some(class) => {
                self.at += whole.len();
                Ok(Some(self.signed(class, negated)))
            }
            None => error(RegexErrorKind::InvalidCharRange, whole),
        }
    }

    fn class_char(&mut self, whole: &str) -> Result<u32> {
        match self.peek() {
            None => error(RegexErrorKind::MissingBracket, whole),
            Some(b'\\') => self.escaped_char(),
            Some(_) => Ok(self.next_char().unwrap_or_default().into()),
        }
    }
}
