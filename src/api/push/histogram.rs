//! Decoding of one native histogram of a request.
//!
//! A request keeps histograms as places in its body; they become [`Histogram`]s one at a time, where they are
//! stored. So a request cannot make its receiver hold more than it has sent. Whoever decodes limits the
//! message's bytes first: a bucket may take one byte of it, and takes eight here.
//!
//! Message definition: `types.proto` of Prometheus.

use gyre_tsdb::histogram::{CounterReset, Histogram, Kind, Side, Span};

use super::wire::{Scanner, WireError, WireType};

/// A side of zero, as it travels: the counts of integer histograms are differences between neighbours.
#[derive(Default)]
struct RawSide {
    spans: Vec<Span>,
    deltas: Vec<u64>,
    counts: Vec<u64>,
}

impl RawSide {
    fn into_side(self, kind: Kind) -> Side {
        let counts = match kind {
            Kind::Float => self.counts,
            Kind::Integer => {
                let mut counts = self.deltas;
                let mut left = 0u64;
                for count in &mut counts {
                    left = left.wrapping_add(*count);
                    *count = left;
                }
                counts
            }
        };
        Side { spans: self.spans, counts }
    }
}

/// A count that is an integer or a float, whichever came last.
#[derive(Default)]
struct Count {
    kind: Kind,
    word: u64,
}

impl Count {
    /// The word, if it is of this kind.
    fn of(&self, kind: Kind) -> u64 {
        if self.kind == kind { self.word } else { 0 }
    }
}

/// Decodes a `Histogram` message; gives its time, milliseconds.
pub fn decode(message: &[u8]) -> Result<(i64, Histogram), WireError> {
    let mut message = Scanner::new(message);
    let mut t_ms = 0;
    let (mut count, mut zero_count) = (Count::default(), Count::default());
    let (mut positive, mut negative) = (RawSide::default(), RawSide::default());
    let mut bounds = Vec::new();
    let mut histogram = Histogram::default();
    while !message.is_empty() {
        let tag = message.tag("histograms")?;
        match tag >> 3 {
            1 => count = Count { kind: Kind::Integer, word: message.varint("count_int")? },
            2 => count = Count { kind: Kind::Float, word: message.fixed64("count_float")? },
            3 => histogram.sum = message.fixed64("sum")?,
            4 => histogram.schema = zigzag32(message.varint("schema")?),
            5 => histogram.zero_threshold = f64::from_bits(message.fixed64("zero_threshold")?),
            6 => zero_count = Count { kind: Kind::Integer, word: message.varint("zero_count_int")? },
            7 => zero_count = Count { kind: Kind::Float, word: message.fixed64("zero_count_float")? },
            8 => negative.spans.push(span(message.len_delimited("negative_spans")?)?),
            9 => deltas(&mut message, tag, &mut negative.deltas)?,
            10 => doubles(&mut message, tag, &mut negative.counts)?,
            11 => positive.spans.push(span(message.len_delimited("positive_spans")?)?),
            12 => deltas(&mut message, tag, &mut positive.deltas)?,
            13 => doubles(&mut message, tag, &mut positive.counts)?,
            // An enum travels as an int32; numbers that are not known say nothing.
            14 => histogram.counter_reset = counter_reset(message.varint("reset_hint")? as i32),
            15 => t_ms = message.varint("timestamp")? as i64,
            16 => doubles(&mut message, tag, &mut bounds)?,
            _ => message.skip(tag, "histograms")?,
        }
    }
    let kind = count.kind;
    Ok((
        t_ms,
        Histogram {
            kind,
            count: count.of(kind),
            zero_count: zero_count.of(kind),
            positive: positive.into_side(kind),
            negative: negative.into_side(kind),
            bounds: bounds.into_iter().map(f64::from_bits).collect(),
            ..histogram
        },
    ))
}

fn span(mut message: Scanner<'_>) -> Result<Span, WireError> {
    let mut span = Span::default();
    while !message.is_empty() {
        let tag = message.tag("span")?;
        match tag >> 3 {
            1 => span.offset = zigzag32(message.varint("span.offset")?),
            2 => span.length = message.varint("span.length")? as u32,
            _ => message.skip(tag, "span")?,
        }
    }
    Ok(span)
}

/// Repeated signed integers, packed or one at a time.
fn deltas(message: &mut Scanner<'_>, tag: u32, to: &mut Vec<u64>) -> Result<(), WireError> {
    let zigzag = |value: u64| (value >> 1) ^ (value & 1).wrapping_neg();
    if tag & 7 != WireType::Len.number() {
        to.push(zigzag(message.varint("deltas")?));
        return Ok(());
    }
    let mut packed = message.len_delimited("deltas")?;
    while !packed.is_empty() {
        to.push(zigzag(packed.varint("deltas")?));
    }
    Ok(())
}

/// Repeated doubles, packed or one at a time.
fn doubles(message: &mut Scanner<'_>, tag: u32, to: &mut Vec<u64>) -> Result<(), WireError> {
    if tag & 7 != WireType::Len.number() {
        to.push(message.fixed64("counts")?);
        return Ok(());
    }
    let mut packed = message.len_delimited("counts")?;
    while !packed.is_empty() {
        to.push(packed.fixed64("counts")?);
    }
    Ok(())
}

fn zigzag32(value: u64) -> i32 {
    let value = value as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn counter_reset(hint: i32) -> CounterReset {
    match hint {
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => CounterReset::Unknown,
    }
}

/// Appends the `Histogram` message of a histogram, which [`decode`] reads back.
pub fn encode(t_ms: i64, histogram: &Histogram, out: &mut Vec<u8>) {
    let Histogram { kind, positive, negative, .. } = histogram;
    let put_count = |out: &mut Vec<u8>, integer: u32, float: u32, word: u64| match kind {
        Kind::Integer => put_varint_field(out, integer, word),
        Kind::Float => put_fixed_field(out, float, word),
    };
    put_count(out, 1, 2, histogram.count);
    put_fixed_field(out, 3, histogram.sum);
    put_varint_field(out, 4, zigzag(i64::from(histogram.schema)));
    put_fixed_field(out, 5, histogram.zero_threshold.to_bits());
    put_count(out, 6, 7, histogram.zero_count);
    for (side, fields) in [(negative, [8, 9, 10]), (positive, [11, 12, 13])] {
        put_side(out, side, *kind, fields);
    }
    let hint = match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    put_varint_field(out, 14, hint);
    put_varint_field(out, 15, t_ms as u64);
    put_packed(out, 16, &histogram.bounds, |packed, bound| packed.extend(bound.to_bits().to_le_bytes()));
}

fn put_side(out: &mut Vec<u8>, side: &Side, kind: Kind, [spans, deltas, counts]: [u32; 3]) {
    for span in &side.spans {
        let mut message = Vec::new();
        put_varint_field(&mut message, 1, zigzag(i64::from(span.offset)));
        put_varint_field(&mut message, 2, u64::from(span.length));
        put_bytes_field(out, spans, &message);
    }
    match kind {
        Kind::Float => {
            put_packed(out, counts, &side.counts, |packed, count| packed.extend(count.to_le_bytes()))
        }
        Kind::Integer => {
            let mut left = 0u64;
            put_packed(out, deltas, &side.counts, |packed, count| {
                put_varint(packed, zigzag(count.wrapping_sub(left) as i64));
                left = *count;
            });
        }
    }
}

fn put_packed<T>(out: &mut Vec<u8>, field: u32, values: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    if values.is_empty() {
        return;
    }
    let mut packed = Vec::new();
    values.iter().for_each(|value| put(&mut packed, value));
    put_bytes_field(out, field, &packed);
}

fn put_bytes_field(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field << 3 | WireType::Len.number()));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, u64::from(field << 3 | WireType::Varint.number()));
    put_varint(out, value);
}

fn put_fixed_field(out: &mut Vec<u8>, field: u32, word: u64) {
    put_varint(out, u64::from(field << 3 | WireType::Fixed64.number()));
    out.extend_from_slice(&word.to_le_bytes());
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn side() -> impl Strategy<Value = Side> {
        let span = (any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length });
        (vec(span, 0..4), vec(any::<u64>(), 0..6)).prop_map(|(spans, counts)| Side { spans, counts })
    }

    fn histogram() -> impl Strategy<Value = Histogram> {
        let kind = prop_oneof![Just(Kind::Integer), Just(Kind::Float)];
        let hint = prop_oneof![
            Just(CounterReset::Unknown),
            Just(CounterReset::Reset),
            Just(CounterReset::NotReset),
            Just(CounterReset::Gauge)
        ];
        let words = (any::<u64>(), any::<u64>(), any::<u64>());
        // Not NaN, which equals nothing.
        let bounds = vec(-1e300..1e300, 0..4);
        (kind, hint, any::<i32>(), 0.0..1.0, words, side(), side(), bounds).prop_map(
            |(kind, counter_reset, schema, zero_threshold, words, positive, negative, bounds)| Histogram {
                kind,
                counter_reset,
                schema,
                zero_threshold,
                zero_count: words.0,
                count: words.1,
                sum: words.2,
                positive,
                negative,
                bounds: bounds.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn a_histogram_comes_back_from_its_message(t_ms: i64, histogram in histogram()) {
            let mut message = Vec::new();
            encode(t_ms, &histogram, &mut message);
            prop_assert_eq!(decode(&message).unwrap(), (t_ms, histogram));
        }
    }
}
