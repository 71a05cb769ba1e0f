//! Bucket layouts: spans to indexes and back.
//!
//! Indexes are 64 bits wide here, since the offsets of a hostile histogram add up to more than fits into 32.

use super::{Kind, Side, Span};

/// The indexes of the buckets of a layout, ascending if no offset but the first is negative.
pub(crate) fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> + Clone + '_ {
    let mut next = 0;
    spans.iter().flat_map(move |span| {
        let begin = next + i64::from(span.offset);
        next = begin + i64::from(span.length);
        begin..next
    })
}

/// The layout of ascending indexes that were valid in some layout.
pub(crate) fn spans_of(indexes: impl Iterator<Item = i64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut next = 0;
    for index in indexes {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            // Gaps fit, as those of the layouts did from which the indexes come.
            _ => spans.push(Span { offset: (index - next) as i32, length: 1 }),
        }
        next = index + 1;
    }
    spans
}

impl Side {
    /// `(index, count)` of all buckets, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, u64)> + Clone + '_ {
        indexes(&self.spans).zip(self.counts.iter().copied())
    }

    /// The same counts in a layout that has all of this one's buckets; further ones are empty.
    pub(crate) fn spread(&self, spans: &[Span]) -> Side {
        let mut own = self.iter().peekable();
        let count_of = |index| own.next_if(|(at, _)| *at == index).map_or(0, |(_, count)| count);
        Side { spans: spans.to_vec(), counts: indexes(spans).map(count_of).collect() }
    }

    /// Whether both have the same buckets with observations.
    pub(crate) fn same_data(&self, other: &Side, kind: Kind) -> bool {
        let filled = |side: &Side| side.iter().filter(|(_, count)| !kind.is_zero(*count)).collect::<Vec<_>>();
        self == other || filled(self) == filled(other)
    }

    /// The layout that has the buckets of both.
    pub(crate) fn union(&self, other: &Side) -> Vec<Span> {
        let (mut ours, mut theirs) = (indexes(&self.spans).peekable(), indexes(&other.spans).peekable());
        spans_of(std::iter::from_fn(move || {
            let next = ours.peek().into_iter().chain(theirs.peek()).min().copied()?;
            ours.next_if_eq(&next);
            theirs.next_if_eq(&next);
            Some(next)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: i32, length: u32) -> Span {
        Span { offset, length }
    }

    #[test]
    fn spans_and_indexes_describe_the_same_buckets() {
        let spans = [span(-2, 2), span(3, 1), span(1, 0), span(1, 2)];
        assert_eq!(indexes(&spans).collect::<Vec<_>>(), [-2, -1, 3, 6, 7]);
        assert_eq!(spans_of(indexes(&spans)), [span(-2, 2), span(3, 1), span(2, 2)]);
    }

    #[test]
    fn a_wider_layout_has_empty_buckets_where_there_were_none() {
        let narrow = Side { spans: vec![span(0, 2), span(2, 1)], counts: vec![6, 3, 2] };
        let other = Side { spans: vec![span(-1, 1), span(1, 3)], counts: vec![1; 4] };
        let both = narrow.union(&other);
        assert_eq!(both, [span(-1, 6)]);
        let wide = narrow.spread(&both);
        assert_eq!(wide.counts, [0, 6, 3, 0, 0, 2][..]);
        assert!(narrow.same_data(&wide, Kind::Integer));
        assert!(!narrow.same_data(&other, Kind::Integer));
    }
}
