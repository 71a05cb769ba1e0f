//! Decoding of remote write 1.0: `prometheus.WriteRequest` read in place.
//!
//! This is the hottest code of the write path, so it copies nothing: series point at their raw label bytes in the
//! decompressed body, and the shard finds a known series by the hash of those bytes. What lies inside a label is
//! looked at only when a series is new ([`crate::tenant::canonical`]). All else in the request is checked here, and a
//! malformed request is refused as a whole, with the place of its fault.
//!
//! Message definitions: `remote.proto` and `types.proto` of Prometheus.

use std::fmt;
use std::ops::Range;

pub use super::batch::{HistogramSlice, MetadataEntry, Sample, SeriesSlice, WriteBatch};
use super::pool::BatchPool;
use super::schema::{validate_exemplar, validate_histogram};
use super::snappy::{self, SnappyError};
use super::wire::{Scanner, WireError, WireType};

/// Series in one request. The smallest useful series takes some 30 bytes, so this is never met by a sender that
/// keeps to the size limit, only by one that sends empty shells.
pub const SERIES_PER_REQUEST_MAX: usize = 2_000_000;
/// Samples in one request. A real sample takes some 18 bytes, an empty shell 2.
pub const SAMPLES_PER_REQUEST_MAX: usize = 6_000_000;
/// Native histograms in one request. A real one takes some 60 bytes, an empty shell 2.
pub const HISTOGRAMS_PER_REQUEST_MAX: usize = 1_000_000;
/// Metadata entries in one request.
pub const METADATA_PER_REQUEST_MAX: usize = 200_000;

/// Where in a request a fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between the fields of the request itself.
    Request,
    /// In the series of this index.
    Series(usize),
    /// In the metadata entry of this index.
    Metadata(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => write!(f, "request"),
            Self::Series(index) => write!(f, "timeseries[{index}]"),
            Self::Metadata(index) => write!(f, "metadata[{index}]"),
        }
    }
}

/// Why a request could not be decoded. None of these is worth a retry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body could not be decompressed.
    #[error(transparent)]
    Snappy(#[from] SnappyError),
    /// The decompressed body is no `WriteRequest`.
    #[error("invalid write request: {place}.{field}: {fault}, at byte {offset}", fault = .error.fault, field = .error.field, offset = .error.offset)]
    Wire {
        /// The part of the request.
        place: Place,
        /// The fault.
        error: WireError,
    },
    /// More elements than any sender needs.
    #[error("write request has more than {max} {what}")]
    TooMany {
        /// The kind of element.
        what: &'static str,
        /// Elements allowed.
        max: usize,
    },
}

impl WriteBatch {
    /// Decompresses and decodes a request of at most `decompressed_bytes_max`, which must be below 2 GiB (label
    /// fields may be appended to the body once, and offsets are 32 bits wide).
    pub fn decode(
        pool: &BatchPool,
        compressed: &[u8],
        decompressed_bytes_max: u64,
    ) -> Result<Self, DecodeError> {
        let max = decompressed_bytes_max.min(u64::from(u32::MAX) / 2);
        let mut batch = Self::empty(pool);
        snappy::decompress_into(compressed, max, &mut batch.body)?;
        batch.scan()?;
        Ok(batch)
    }

    /// Decodes an uncompressed request.
    pub fn decode_plain(pool: &BatchPool, message: &[u8]) -> Result<Self, DecodeError> {
        let max = u64::from(u32::MAX) / 2;
        let declared = message.len() as u64;
        if declared > max {
            return Err(SnappyError::TooLarge { declared, max }.into());
        }
        let mut batch = Self::empty(pool);
        batch.body.clear();
        batch.body.extend_from_slice(message);
        batch.scan()?;
        Ok(batch)
    }

    fn scan(&mut self) -> Result<(), DecodeError> {
        let mut reader = Reader {
            series: &mut self.series,
            samples: &mut self.samples,
            histograms: &mut self.histograms,
            metadata: &mut self.metadata,
            exemplars: 0,
            scattered: Vec::new(),
        };
        reader.request(Scanner::new(&self.body))?;
        self.dropped_exemplars = reader.exemplars;
        for Scattered { series, message } in std::mem::take(&mut reader.scattered) {
            self.gather_labels(series, message);
        }
        Ok(())
    }

    /// Appends the label fields of a series, which lie apart within `message`, one behind the other to the body.
    fn gather_labels(&mut self, series: usize, message: Range<usize>) {
        let start = self.body.len();
        let mut at = message.start;
        while at < message.end {
            let mut scanner = Scanner::at(&self.body[at..message.end], at);
            // The first pass has read the same bytes without a fault.
            let Ok(tag) = scanner.tag("labels").and_then(|tag| scanner.skip(tag, "labels").map(|()| tag))
            else {
                break;
            };
            let next = scanner.offset();
            if tag == LABELS {
                self.body.extend_from_within(at..next);
            }
            at = next;
        }
        self.series[series].labels = start as u32..self.body.len() as u32;
    }
}

const fn tag(number: u32, wire: WireType) -> u32 {
    number << 3 | wire.number()
}

const TIMESERIES: u32 = tag(1, WireType::Len);
const METADATA: u32 = tag(3, WireType::Len);
const LABELS: u32 = tag(1, WireType::Len);
const SAMPLES: u32 = tag(2, WireType::Len);
const EXEMPLARS: u32 = tag(3, WireType::Len);
const HISTOGRAMS: u32 = tag(4, WireType::Len);
const SAMPLE_VALUE: u32 = tag(1, WireType::Fixed64);
const SAMPLE_TIMESTAMP: u32 = tag(2, WireType::Varint);
const METADATA_TYPE: u32 = tag(1, WireType::Varint);
const METADATA_FAMILY: u32 = tag(2, WireType::Len);
const METADATA_HELP: u32 = tag(4, WireType::Len);
const METADATA_UNIT: u32 = tag(5, WireType::Len);

/// A series whose label fields do not lie together, and the place of its message in the body.
struct Scattered {
    series: usize,
    message: Range<usize>,
}

/// The arena being filled by one pass over a request.
struct Reader<'a> {
    series: &'a mut Vec<SeriesSlice>,
    samples: &'a mut Vec<Sample>,
    histograms: &'a mut Vec<HistogramSlice>,
    metadata: &'a mut Vec<MetadataEntry>,
    exemplars: u64,
    /// Stays empty (and unallocated) for every known sender.
    scattered: Vec<Scattered>,
}

impl Reader<'_> {
    fn request(&mut self, mut message: Scanner<'_>) -> Result<(), DecodeError> {
        let in_request = |error| DecodeError::Wire { place: Place::Request, error };
        while !message.is_empty() {
            match message.tag("timeseries").map_err(in_request)? {
                TIMESERIES => {
                    let index = self.series.len();
                    if index == SERIES_PER_REQUEST_MAX {
                        return Err(DecodeError::TooMany { what: "series", max: SERIES_PER_REQUEST_MAX });
                    }
                    let series = message.len_delimited("timeseries").map_err(in_request)?;
                    self.timeseries(series)
                        .map_err(|error| DecodeError::Wire { place: Place::Series(index), error })?;
                    if self.samples.len() > SAMPLES_PER_REQUEST_MAX {
                        return Err(DecodeError::TooMany { what: "samples", max: SAMPLES_PER_REQUEST_MAX });
                    }
                }
                METADATA => {
                    let index = self.metadata.len();
                    if index == METADATA_PER_REQUEST_MAX {
                        return Err(DecodeError::TooMany {
                            what: "metadata entries",
                            max: METADATA_PER_REQUEST_MAX,
                        });
                    }
                    let entry = message.len_delimited("metadata").map_err(in_request)?;
                    let entry = metadata_entry(entry)
                        .map_err(|error| DecodeError::Wire { place: Place::Metadata(index), error })?;
                    self.metadata.push(entry);
                }
                other => match other >> 3 {
                    1 => message.wrong_wire_type("timeseries", other, WireType::Len),
                    3 => message.wrong_wire_type("metadata", other, WireType::Len),
                    _ => message.skip(other, "unknown field"),
                }
                .map_err(in_request)?,
            }
        }
        // No more than one too many were kept, so there is time until the end.
        if self.histograms.len() > HISTOGRAMS_PER_REQUEST_MAX {
            return Err(DecodeError::TooMany { what: "histograms", max: HISTOGRAMS_PER_REQUEST_MAX });
        }
        Ok(())
    }

    fn timeseries(&mut self, mut message: Scanner<'_>) -> Result<(), WireError> {
        let whole = message;
        let first_sample = self.samples.len();
        let mut labels = message.offset()..message.offset();
        let mut is_scattered = false;
        while !message.is_empty() {
            let start = message.offset();
            match message.tag("labels")? {
                LABELS => {
                    message.len_delimited("labels")?;
                    if labels.is_empty() {
                        labels.start = start;
                    } else if labels.end != start {
                        is_scattered = true;
                    }
                    message.skip_short(LABELS as u8);
                    labels.end = message.offset();
                }
                SAMPLES => {
                    let sample = sample(message.len_delimited("samples")?)?;
                    // One past the limit is enough for the caller to see it, and bounds the memory.
                    if self.samples.len() <= SAMPLES_PER_REQUEST_MAX {
                        self.samples.push(sample);
                    }
                }
                EXEMPLARS => {
                    validate_exemplar(message.len_delimited("exemplars")?)?;
                    self.exemplars += 1;
                }
                HISTOGRAMS => self.histogram(message.len_delimited("histograms")?)?,
                other => match other >> 3 {
                    1 => message.wrong_wire_type("labels", other, WireType::Len)?,
                    2 => message.wrong_wire_type("samples", other, WireType::Len)?,
                    3 => message.wrong_wire_type("exemplars", other, WireType::Len)?,
                    4 => message.wrong_wire_type("histograms", other, WireType::Len)?,
                    _ => message.skip(other, "unknown field")?,
                },
            }
        }
        if is_scattered {
            let message = whole.offset()..whole.offset() + whole.rest().len();
            self.scattered.push(Scattered { series: self.series.len(), message });
        }
        self.series.push(SeriesSlice {
            labels: labels.start as u32..labels.end as u32,
            samples: first_sample as u32..self.samples.len() as u32,
        });
        Ok(())
    }
}

impl Reader<'_> {
    // Out of the way of floats, which are most of what comes.
    #[cold]
    fn histogram(&mut self, message: Scanner<'_>) -> Result<(), WireError> {
        validate_histogram(message)?;
        let begin = message.offset();
        // As with samples, one past the limit is enough.
        if self.histograms.len() <= HISTOGRAMS_PER_REQUEST_MAX {
            self.histograms.push(HistogramSlice {
                series: self.series.len() as u32,
                message: begin as u32..(begin + message.rest().len()) as u32,
            });
        }
        Ok(())
    }
}

fn sample(mut message: Scanner<'_>) -> Result<Sample, WireError> {
    let mut sample = Sample::default();
    while !message.is_empty() {
        match message.tag("samples")? {
            SAMPLE_VALUE => sample.v_bits = message.fixed64("samples.value")?,
            SAMPLE_TIMESTAMP => sample.t_ms = message.varint("samples.timestamp")? as i64,
            other => match other >> 3 {
                1 => message.wrong_wire_type("samples.value", other, WireType::Fixed64)?,
                2 => message.wrong_wire_type("samples.timestamp", other, WireType::Varint)?,
                _ => message.skip(other, "samples")?,
            },
        }
    }
    Ok(sample)
}

fn metadata_entry(mut message: Scanner<'_>) -> Result<MetadataEntry, WireError> {
    let nothing = message.offset() as u32..message.offset() as u32;
    let mut entry = MetadataEntry {
        metric_type: 0,
        metric_family: nothing.clone(),
        help: nothing.clone(),
        unit: nothing,
    };
    let text = |message: &mut Scanner<'_>, field| {
        let length = message.string(field)?.len();
        let end = message.offset();
        Ok((end - length) as u32..end as u32)
    };
    while !message.is_empty() {
        match message.tag("type")? {
            // An enum travels as an int32: a wider number is cut to its low half, as every reader does.
            METADATA_TYPE => entry.metric_type = message.varint("type")? as i32,
            METADATA_FAMILY => entry.metric_family = text(&mut message, "metric_family_name")?,
            METADATA_HELP => entry.help = text(&mut message, "help")?,
            METADATA_UNIT => entry.unit = text(&mut message, "unit")?,
            other => match other >> 3 {
                1 => message.wrong_wire_type("type", other, WireType::Varint)?,
                2 => message.wrong_wire_type("metric_family_name", other, WireType::Len)?,
                4 => message.wrong_wire_type("help", other, WireType::Len)?,
                5 => message.wrong_wire_type("unit", other, WireType::Len)?,
                _ => message.skip(other, "unknown field")?,
            },
        }
    }
    Ok(entry)
}
