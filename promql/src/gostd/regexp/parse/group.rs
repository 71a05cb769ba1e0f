//! Groups and flags: `(...)`, `(?P<name>...)`, `(?i:...)`, `(?i)`.

use super::{NESTING_DEPTH_MAX, Parser, Result, error};
use crate::gostd::regexp::RegexErrorKind;
use crate::gostd::regexp::node::Node;

impl Parser<'_> {
    /// A group, or flags for the rest of the enclosing one.
    pub(super) fn group(&mut self, nodes: &mut Vec<Node>) -> Result<()> {
        let outer_flags = self.flags;
        let capture = if self.rest().starts_with("(?") {
            match self.named_group()? {
                Some(name) => Some(Some(name)),
                None if self.group_flags()? => None,
                None => return Ok(()),
            }
        } else {
            self.at += 1;
            Some(None)
        };
        let capture = capture.map(|name| {
            self.captures += 1;
            (self.captures, name)
        });
        self.depth += 1;
        if self.depth > NESTING_DEPTH_MAX {
            return error(RegexErrorKind::NestingDepth, self.pattern);
        }
        let node = self.alternation()?;
        if self.peek() != Some(b')') {
            return error(RegexErrorKind::MissingParen, self.pattern);
        }
        self.at += 1;
        self.depth -= 1;
        self.flags = outer_flags;
        nodes.push(match capture {
            Some((index, name)) => Node::Capture { index, name, node: Box::new(node) },
            None => node,
        });
        Ok(())
    }

    /// The head of `(?P<name>...)` or `(?<name>...)`, if this is one.
    fn named_group(&mut self) -> Result<Option<Box<str>>> {
        let rest = self.rest();
        let head = if rest.len() > 4 && rest.starts_with("(?P<") {
            4
        } else if rest.len() > 3 && rest.starts_with("(?<") {
            3
        } else {
            return Ok(None);
        };
        let Some(end) = rest.find('>') else {
            return error(RegexErrorKind::InvalidNamedCapture, rest);
        };
        let name = rest.get(head..end).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            return error(RegexErrorKind::InvalidNamedCapture, &rest[..=end]);
        }
        self.at += end + 1;
        Ok(Some(name.into()))
    }

    /// `(?flags)` or the head of `(?flags:...)`; tells whether a group was opened.
    fn group_flags(&mut self) -> Result<bool> {
        let start = self.at;
        self.at += 2;
        let mut flags = self.flags;
        let (mut value, mut flag_seen) = (true, false);
        while let Some(rune) = self.next_char() {
            match rune {
                'i' => flags.fold_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                'U' => flags.swap_greed = value,
                '-' if value => {
                    value = false;
                    flag_seen = false;
                    continue;
                }
                ':' | ')' if value || flag_seen => {
                    self.flags = flags;
                    return Ok(rune == ':');
                }
                _ => return error(RegexErrorKind::InvalidPerlOp, &self.pattern[start..self.at]),
            }
            flag_seen = true;
        }
        error(RegexErrorKind::InvalidPerlOp, &self.pattern[start..])
    }
}
