//! Validates messages that are not read while a request is scanned: exemplars and native histograms.
//!
//! Exemplars are counted and dropped, histograms are decoded one at a time where they are stored, but a sender must
//! hear of a malformed one at once. So their definitions lie here as tables, and one function walks any of them.
//! Source of the numbers: `types.proto` of Prometheus's remote write 1.0.

use super::wire::{Scanner, WireError, WireType};

/// One known field of a message.
struct Field {
    number: u32,
    name: &'static str,
    kind: Kind,
}

/// What a field's bytes must look like.
#[derive(Clone, Copy)]
enum Kind {
    Varint,
    Fixed64,
    String,
    Message(&'static [Field]),
    /// Repeated integers, packed or one at a time.
    Varints,
    /// Repeated doubles, packed or one at a time.
    Fixed64s,
}

const fn field(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind }
}

static LABEL: [Field; 2] =
    [field(1, "exemplars.labels.name", Kind::String), field(2, "exemplars.labels.value", Kind::String)];

static EXEMPLAR: [Field; 3] = [
    field(1, "exemplars.labels", Kind::Message(&LABEL)),
    field(2, "exemplars.value", Kind::Fixed64),
    field(3, "exemplars.timestamp", Kind::Varint),
];

static BUCKET_SPAN: [Field; 2] =
    [field(1, "histograms.span.offset", Kind::Varint), field(2, "histograms.span.length", Kind::Varint)];

static HISTOGRAM: [Field; 16] = [
    field(1, "histograms.count_int", Kind::Varint),
    field(2, "histograms.count_float", Kind::Fixed64),
    field(3, "histograms.sum", Kind::Fixed64),
    field(4, "histograms.schema", Kind::Varint),
    field(5, "histograms.zero_threshold", Kind::Fixed64),
    field(6, "histograms.zero_count_int", Kind::Varint),
    field(7, "histograms.zero_count_float", Kind::Fixed64),
    field(8, "histograms.negative_spans", Kind::Message(&BUCKET_SPAN)),
    field(9, "histograms.negative_deltas", Kind::Varints),
    field(10, "histograms.negative_counts", Kind::Fixed64s),
    field(11, "histograms.positive_spans", Kind::Message(&BUCKET_SPAN)),
    field(12, "histograms.positive_deltas", Kind::Varints),
    field(13, "histograms.positive_counts", Kind::Fixed64s),
    field(14, "histograms.reset_hint", Kind::Varint),
    field(15, "histograms.timestamp", Kind::Varint),
    field(16, "histograms.custom_values", Kind::Fixed64s),
];

/// Walks one `Exemplar` message to its end.
pub(super) fn validate_exemplar(message: Scanner<'_>) -> Result<(), WireError> {
    validate(message, &EXEMPLAR, "exemplars")
}

/// Walks one `Histogram` message to its end.
pub(super) fn validate_histogram(message: Scanner<'_>) -> Result<(), WireError> {
    validate(message, &HISTOGRAM, "histograms")
}

// The tables above nest three deep at most, and so does the recursion.
fn validate(
    mut message: Scanner<'_>,
    fields: &'static [Field],
    within: &'static str,
) -> Result<(), WireError> {
    while !message.is_empty() {
        let tag = message.tag(within)?;
        match fields.iter().find(|field| field.number == tag >> 3) {
            Some(field) => validate_field(&mut message, field, tag)?,
            None => message.skip(tag, within)?,
        }
    }
    Ok(())
}

fn validate_field(message: &mut Scanner<'_>, field: &'static Field, tag: u32) -> Result<(), WireError> {
    const VARINT: u32 = WireType::Varint.number();
    const FIXED64: u32 = WireType::Fixed64.number();
    const LEN: u32 = WireType::Len.number();
    let name = field.name;
    match (field.kind, tag & 7) {
        (Kind::Varint | Kind::Varints, VARINT) => message.varint(name).map(drop),
        (Kind::Fixed64 | Kind::Fixed64s, FIXED64) => message.fixed64(name).map(drop),
        (Kind::String, LEN) => message.string(name).map(drop),
        (Kind::Message(fields), LEN) => validate(message.len_delimited(name)?, fields, name),
        (Kind::Varints, LEN) => {
            let mut packed = message.len_delimited(name)?;
            while !packed.is_empty() {
                packed.varint(name)?;
            }
            Ok(())
        }
        (Kind::Fixed64s, LEN) => {
            let mut packed = message.len_delimited(name)?;
            while !packed.is_empty() {
                packed.fixed64(name)?;
            }
            Ok(())
        }
        (Kind::Varint | Kind::Varints, _) => message.wrong_wire_type(name, tag, WireType::Varint),
        (Kind::Fixed64 | Kind::Fixed64s, _) => message.wrong_wire_type(name, tag, WireType::Fixed64),
        (Kind::String | Kind::Message(_), _) => message.wrong_wire_type(name, tag, WireType::Len),
    }
}
