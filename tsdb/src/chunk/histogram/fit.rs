//! Whether a histogram may follow in a chunk: the same layout, or one that can be widened, and no reset.
//!
//! The rules are Prometheus's, since they decide which chunks there are.

use std::cmp::Ordering;

use crate::histogram::{CounterReset, Histogram, Kind, Side, Span};

/// How a histogram fits behind the last one of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fit {
    /// It has the chunk's buckets.
    Same,
    /// Both fit into this layout.
    Wider {
        /// Buckets of the positive side.
        positive: Vec<Span>,
        /// Buckets of the negative side.
        negative: Vec<Span>,
        /// Whether the chunk lacks some of them.
        chunk: bool,
        /// Whether the histogram lacks some of them.
        histogram: bool,
    },
    /// It needs a new chunk, whose header says this.
    New(CounterReset),
}

/// What the two layouts of a side have that the other has not.
#[derive(Clone, Copy, Default)]
struct Missing {
    in_chunk: bool,
    in_histogram: bool,
}

impl Fit {
    pub(super) fn of(header: CounterReset, last: &Histogram, next: &Histogram) -> Fit {
        let is_gauge = next.counter_reset == CounterReset::Gauge;
        if is_gauge != (header == CounterReset::Gauge) {
            return Fit::New(if is_gauge { CounterReset::Gauge } else { CounterReset::Unknown });
        }
        if next.counter_reset == CounterReset::Reset {
            return Fit::New(CounterReset::Reset);
        }
        if next.is_stale() {
            return Fit::Same;
        }
        let unknown = if is_gauge { CounterReset::Gauge } else { CounterReset::Unknown };
        if last.is_stale() {
            return Fit::New(unknown);
        }
        let kind = next.kind;
        if !is_gauge && kind.less(next.count, last.count) {
            return Fit::New(CounterReset::Reset);
        }
        if next.schema != last.schema || next.zero_threshold != last.zero_threshold {
            return Fit::New(unknown);
        }
        if next.bounds != last.bounds {
            return Fit::New(if is_gauge { CounterReset::Gauge } else { CounterReset::Reset });
        }
        if !is_gauge && kind.less(next.zero_count, last.zero_count) {
            return Fit::New(CounterReset::Reset);
        }
        let sides = [(&last.positive, &next.positive), (&last.negative, &next.negative)];
        let [positive, negative] = sides.map(|(last, next)| compare(last, next, kind, is_gauge));
        let (Some(positive), Some(negative)) = (positive, negative) else {
            return Fit::New(CounterReset::Reset);
        };
        let chunk = positive.in_chunk || negative.in_chunk;
        let histogram = positive.in_histogram || negative.in_histogram;
        if !chunk && !histogram {
            return Fit::Same;
        }
        let layout = |missing: Missing, last: &Side, next: &Side| match () {
            () if !chunk => last.spans.clone(),
            () if missing.in_histogram || (is_gauge && histogram) => last.union(next),
            () => next.spans.clone(),
        };
        Fit::Wider {
            positive: layout(positive, &last.positive, &next.positive),
            negative: layout(negative, &last.negative, &next.negative),
            chunk,
            histogram,
        }
    }
}

/// Compares the buckets of one side; `None` if one went down or vanished while it had observations, unless
/// this is a gauge.
fn compare(last: &Side, next: &Side, kind: Kind, is_gauge: bool) -> Option<Missing> {
    let mut missing = Missing::default();
    let (mut last, mut next) = (last.iter().peekable(), next.iter().peekable());
    loop {
        let order = match (last.peek(), next.peek()) {
            (None, None) => return Some(missing),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((ours, _)), Some((theirs, _))) => ours.cmp(theirs),
        };
        let before = if order.is_le() { last.next() } else { None };
        let now = if order.is_ge() { next.next() } else { None };
        match (before, now) {
            (Some((_, before)), Some((_, now))) if !is_gauge && kind.less(now, before) => return None,
            (Some((_, before)), None) if !is_gauge && !kind.is_zero(before) => return None,
            (Some(_), None) => missing.in_histogram = true,
            (None, Some(_)) => missing.in_chunk = true,
            _ => {}
        }
    }
}
