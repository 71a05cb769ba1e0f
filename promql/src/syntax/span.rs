//! Byte positions in the query text.

/// A half-open range of byte offsets into the query text (Prometheus's `PositionRange`).
///
/// Error texts and annotations name only its start, as `line:column`, both counted from 1; columns count bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range from `start` up to, not including, `end`.
    pub fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// From the start of `self` to the end of `last`.
    pub fn to(self, last: Span) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// The start as `line:column`; `unknown position` for an empty query, `invalid position` outside the query.
    pub fn start_position(self, query: &str) -> String {
        if query.is_empty() {
            return "unknown position".to_owned();
        }
        let Some(before) = query.as_bytes().get(..self.start as usize) else {
            return "invalid position".to_owned();
        };
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        format!("{}:{}", line, before.len() - line_start + 1)
    }
}
