//! The canonical form of a label set, and the checks a new series must pass.
//!
//! A shard finds a known series by the hash of the label bytes as sent, without looking into them. Only when that
//! finds nothing are the bytes parsed, here: validated against the tenant's limits and brought into the one form
//! by which equal label sets are equal bytes: the protobuf `Label` fields sorted by name, without empty values, with
//! minimal varints. Well-behaved senders send exactly this, so their raw bytes are the canonical bytes.
//!
//! The order of the checks, their reasons and their texts are Cortex's, since alerts are built on them.

use std::fmt::{self, Write};

use gyre_promql::gostd::quote;

use crate::api::push::wire::{Scanner, WireError, WireType};

/// The label that holds a series' metric name.
pub const METRIC_NAME: &[u8] = b"__name__";

/// Characters of a label set or a name that an error quotes. Cortex's number.
const QUOTED_CHARS_MAX: usize = 200;
/// Characters of a label set in the one error that is about its number of labels.
const MANY_LABELS_CHARS_MAX: usize = 1000;

/// What a tenant's label sets may look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelLimits {
    /// Labels in a series, the metric name included.
    pub names_per_series_max: usize,
    /// Bytes of a label's name.
    pub name_bytes_max: usize,
    /// Bytes of a label's value.
    pub value_bytes_max: usize,
    /// Bytes of all labels together, encoded as protobuf; 0 is no limit.
    pub labels_bytes_max: usize,
    /// Whether a series without a metric name is refused.
    pub enforce_metric_name: bool,
}

/// How the raw bytes relate to the canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canonical {
    /// The raw bytes are the canonical form; nothing was written.
    AsIs,
    /// The canonical form was written to the output buffer.
    Rewritten,
}

/// One label, borrowed from its encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawLabel<'a> {
    /// The name; not yet checked to be UTF-8.
    pub name: &'a [u8],
    /// The value; not yet checked to be UTF-8.
    pub value: &'a [u8],
}

/// Why a series was refused. The texts name the series, cut to a safe length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The label fields are no `Label` messages.
    #[error("sample invalid label: {fault}, in {field} {offset} bytes into the labels of metric {series}")]
    Malformed {
        /// What is wrong.
        fault: String,
        /// The field it is wrong in.
        field: &'static str,
        /// Bytes from the start of the series' label fields.
        offset: usize,
        /// The labels before the fault, quoted.
        series: String,
    },
    /// No `__name__`, or an empty one.
    #[error("sample missing metric name")]
    MissingMetricName,
    /// The metric name is not UTF-8.
    #[error("sample invalid metric name: {0}")]
    InvalidMetricName(String),
    /// More labels than the limit.
    #[error("series has too many labels (actual: {actual}, limit: {limit}) series: '{series}'")]
    TooManyLabels {
        /// Labels of the series, without those of empty value.
        actual: usize,
        /// Labels allowed.
        limit: usize,
        /// The series.
        series: String,
    },
    /// A label name that is empty or not UTF-8.
    #[error("sample invalid label: {name} metric {series}")]
    InvalidName {
        /// The name, quoted.
        name: String,
        /// The series, quoted.
        series: String,
    },
    /// A label value that is not UTF-8.
    #[error("sample invalid label value: {value} for label {name} metric {series}")]
    InvalidValue {
        /// The label's name, quoted.
        name: String,
        /// The value, quoted.
        value: String,
        /// The series, quoted.
        series: String,
    },
    /// A label name over the limit.
    #[error(
        "label name too long for metric (actual: {actual}, limit: {limit}) metric: {series} label name: {name}"
    )]
    NameTooLong {
        /// Bytes of the name.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
        /// The name, quoted.
        name: String,
        /// The series, quoted.
        series: String,
    },
    /// A label value over the limit.
    #[error(
        "label value too long for metric (actual: {actual}, limit: {limit}) metric: {series} label name: {name} \
         label value: {value}"
    )]
    ValueTooLong {
        /// Bytes of the value.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
        /// The label's name, quoted.
        name: String,
        /// The value, quoted.
        value: String,
        /// The series, quoted.
        series: String,
    },
    /// Two labels of one name.
    #[error("duplicate label name: {name} metric {series}")]
    DuplicateName {
        /// The name, quoted.
        name: String,
        /// The series, quoted.
        series: String,
    },
    /// All labels together are over the limit.
    #[error("labels size bytes exceeded for metric (actual: {actual}, limit: {limit}) metric: {series}")]
    LabelsTooLarge {
        /// Bytes of the labels.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
        /// The series, quoted.
        series: String,
    },
}

impl LabelError {
    /// The value of the `reason` label of `cortex_discarded_samples_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingMetricName => "missing_metric_name",
            Self::InvalidMetricName(_) => "metric_name_invalid",
            Self::TooManyLabels { .. } => "max_label_names_per_series",
            Self::Malformed { .. } | Self::InvalidName { .. } | Self::InvalidValue { .. } => "label_invalid",
            Self::NameTooLong { .. } => "label_name_too_long",
            Self::ValueTooLong { .. } => "label_value_too_long",
            Self::DuplicateName { .. } => "duplicate_label_names",
            Self::LabelsTooLarge { .. } => "labels_size_bytes_exceeded",
        }
    }
}

/// Validates a series' raw label fields and finds their canonical form.
///
/// `out` is cleared, and filled only when the canonical form differs from the raw bytes.
///
/// # Errors
/// The first violation, in Cortex's order of checks. `out` is left empty.
pub fn canonicalize(
    raw_label_fields: &[u8],
    limits: &LabelLimits,
    out: &mut Vec<u8>,
) -> Result<Canonical, LabelError> {
    out.clear();
    let labels = parse_sorted(raw_label_fields)?;
    validate(&labels, limits)?;
    out.reserve(raw_label_fields.len());
    for label in &labels {
        encode_label(label, out);
    }
    if out == raw_label_fields {
        out.clear();
        return Ok(Canonical::AsIs);
    }
    Ok(Canonical::Rewritten)
}

/// Iterates over raw label fields without checking more than their wire format.
pub fn raw_labels(fields: &[u8]) -> impl Iterator<Item = Result<RawLabel<'_>, WireError>> {
    let mut scanner = Scanner::new(fields);
    std::iter::from_fn(move || {
        if scanner.is_empty() {
            return None;
        }
        let label = next_label(&mut scanner);
        if label.is_err() {
            scanner = Scanner::new(&[]);
        }
        Some(label)
    })
}

fn next_label<'a>(fields: &mut Scanner<'a>) -> Result<RawLabel<'a>, WireError> {
    const NAME: u32 = 1 << 3 | WireType::Len.number();
    const VALUE: u32 = 2 << 3 | WireType::Len.number();
    let tag = fields.tag("labels")?;
    if tag != NAME {
        return fields.wrong_wire_type("labels", tag, WireType::Len);
    }
    let mut message = fields.len_delimited("labels")?;
    let mut label = RawLabel::default();
    while !message.is_empty() {
        match message.tag("labels")? {
            NAME => label.name = message.len_delimited("labels.name")?.rest(),
            VALUE => label.value = message.len_delimited("labels.value")?.rest(),
            other => match other >> 3 {
                1 => message.wrong_wire_type("labels.name", other, WireType::Len)?,
                2 => message.wrong_wire_type("labels.value", other, WireType::Len)?,
                _ => message.skip(other, "labels")?,
            },
        }
    }
    Ok(label)
}

fn parse_sorted(fields: &[u8]) -> Result<Vec<RawLabel<'_>>, LabelError> {
    let mut labels = Vec::with_capacity(16);
    for label in raw_labels(fields) {
        match label {
            // A label of empty value is the same as no label.
            Ok(label) if label.value.is_empty() => {}
            Ok(label) => labels.push(label),
            Err(WireError { offset, field, fault }) => {
                let series = quoted_series(&labels);
                return Err(LabelError::Malformed { fault: fault.to_string(), field, offset, series });
            }
        }
    }
    if !labels.is_sorted_by_key(|label| label.name) {
        labels.sort_by_key(|label| label.name);
    }
    Ok(labels)
}

fn validate(labels: &[RawLabel<'_>], limits: &LabelLimits) -> Result<(), LabelError> {
    if limits.enforce_metric_name {
        match labels.iter().find(|label| label.name == METRIC_NAME) {
            None => return Err(LabelError::MissingMetricName),
            Some(label) if str::from_utf8(label.value).is_err() => {
                return Err(LabelError::InvalidMetricName(quoted(label.value)));
            }
            Some(_) => {}
        }
    }
    if labels.len() > limits.names_per_series_max {
        let series = SeriesText(labels).to_string();
        let series = first_chars(series.as_bytes(), MANY_LABELS_CHARS_MAX);
        return Err(LabelError::TooManyLabels {
            actual: labels.len(),
            limit: limits.names_per_series_max,
            series: String::from_utf8_lossy(series).into_owned(),
        });
    }
    let mut last_name = None;
    let mut bytes = 0;
    for label in labels {
        validate_label(label, last_name, labels, limits)?;
        last_name = Some(label.name);
        bytes += label_message_len(label);
    }
    if limits.labels_bytes_max > 0 && bytes > limits.labels_bytes_max {
        let limit = limits.labels_bytes_max;
        return Err(LabelError::LabelsTooLarge { actual: bytes, limit, series: quoted_series(labels) });
    }
    Ok(())
}

fn validate_label(
    label: &RawLabel<'_>,
    last_name: Option<&[u8]>,
    labels: &[RawLabel<'_>],
    limits: &LabelLimits,
) -> Result<(), LabelError> {
    let name = || quoted(label.name);
    let series = || quoted_series(labels);
    if label.name.is_empty() || str::from_utf8(label.name).is_err() {
        return Err(LabelError::InvalidName { name: name(), series: series() });
    }
    if label.name.len() > limits.name_bytes_max {
        let (actual, limit) = (label.name.len(), limits.name_bytes_max);
        return Err(LabelError::NameTooLong { actual, limit, name: name(), series: series() });
    }
    let value = || quoted(label.value);
    if label.value.len() > limits.value_bytes_max {
        let (actual, limit) = (label.value.len(), limits.value_bytes_max);
        return Err(LabelError::ValueTooLong {
            actual,
            limit,
            name: name(),
            value: value(),
            series: series(),
        });
    }
    if str::from_utf8(label.value).is_err() {
        return Err(LabelError::InvalidValue { name: name(), value: value(), series: series() });
    }
    if last_name == Some(label.name) {
        return Err(LabelError::DuplicateName { name: name(), series: series() });
    }
    Ok(())
}

fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn string_field_len(text: &[u8]) -> usize {
    1 + varint_len(text.len()) + text.len()
}

fn label_message_len(label: &RawLabel<'_>) -> usize {
    string_field_len(label.name) + string_field_len(label.value)
}

fn encode_label(label: &RawLabel<'_>, out: &mut Vec<u8>) {
    out.push(0x0a);
    encode_varint(label_message_len(label), out);
    for (tag, text) in [(0x0a, label.name), (0x12, label.value)] {
        out.push(tag);
        encode_varint(text.len(), out);
        out.extend_from_slice(text);
    }
}

fn encode_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The first `max` characters of `bytes` (an invalid byte counts as one), as Go's `%.200q` cuts its argument.
pub fn first_chars(bytes: &[u8], max: usize) -> &[u8] {
    let mut end = 0;
    let mut left = max;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if left == 0 {
                return &bytes[..end];
            }
            end += character.len_utf8();
            left -= 1;
        }
        for _ in chunk.invalid() {
            if left == 0 {
                return &bytes[..end];
            }
            end += 1;
            left -= 1;
        }
    }
    bytes
}

fn quoted(text: &[u8]) -> String {
    quote(first_chars(text, QUOTED_CHARS_MAX))
}

/// The series of these label fields as errors quote it; malformed labels and those behind them are left out.
pub fn quote_series(fields: &[u8]) -> String {
    quoted_series(&raw_labels(fields).map_while(Result::ok).collect::<Vec<_>>())
}

fn quoted_series(labels: &[RawLabel<'_>]) -> String {
    quoted(SeriesText(labels).to_string().as_bytes())
}

/// Displays a label set as `name{label="value", ...}`. Stops early: texts are cut anyway, and a label set may be as
/// large as a request.
struct SeriesText<'a>(&'a [RawLabel<'a>]);

impl fmt::Display for SeriesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.iter().position(|label| label.name == METRIC_NAME);
        if let Some(name) = name {
            let value = first_chars(self.0[name].value, MANY_LABELS_CHARS_MAX);
            write!(f, "{}", String::from_utf8_lossy(value))?;
        }
        let mut others = self.0.iter().enumerate().filter(|(index, _)| Some(*index) != name).peekable();
        if others.peek().is_none() && name.is_some() {
            return Ok(());
        }
        f.write_char('{')?;
        // A label takes at least four characters, so this many fill the longest text.
        for (position, (_, label)) in others.take(MANY_LABELS_CHARS_MAX / 4).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            let label_name = String::from_utf8_lossy(first_chars(label.name, MANY_LABELS_CHARS_MAX));
            let value = quote(first_chars(label.value, MANY_LABELS_CHARS_MAX));
            write!(f, "{separator}{label_name}={value}")?;
        }
        f.write_char('}')
    }
}
