//! What a shard hands out to queries: series numbers first, then batches of series.
//!
//! Each message is a slice of work: queries never hold up appends for longer than a batch of series takes
//! to copy, a fraction of a millisecond.

use actix::{Handler, Message, MessageResult};
use gyre_tsdb::labels::Labels;
use gyre_tsdb::{Matcher, SeriesBatch, SeriesRef};

use super::actor::ShardActor;

/// Series copied for one [`Read`].
pub const SERIES_PER_READ: usize = 256;

/// A range of time, both ends included, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first millisecond.
    pub min_ms: i64,
    /// The last millisecond.
    pub max_ms: i64,
}

/// The series that satisfy all matchers.
#[derive(Clone, Message)]
#[rtype(result = "Vec<SeriesRef>")]
pub struct Select {
    /// The matchers.
    pub matchers: Vec<Matcher>,
    /// Whether the series must come in order of their keys, to be merged with those of other segments.
    pub by_key: bool,
}

impl Handler<Select> for ShardActor {
    type Result = MessageResult<Select>;

    fn handle(&mut self, Select { matchers, by_key }: Select, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        let mut series = head.select(&matchers);
        if by_key {
            series.sort_unstable_by_key(|series| head.key(*series));
        }
        MessageResult(series)
    }
}

/// Copies series, at most [`SERIES_PER_READ`].
#[derive(Message)]
#[rtype(result = "SeriesBatch")]
pub struct Read {
    /// Which.
    pub series: Vec<SeriesRef>,
    /// Samples of interest.
    pub range: TimeRange,
}

impl Handler<Read> for ShardActor {
    type Result = MessageResult<Read>;

    fn handle(&mut self, Read { series, range }: Read, _: &mut Self::Context) -> Self::Result {
        let mut batch = SeriesBatch::default();
        for series in series {
            self.parts.head.read(series, range.min_ms, range.max_ms, &mut batch);
        }
        MessageResult(batch)
    }
}

/// All label names in use.
#[derive(Clone, Copy, Message)]
#[rtype(result = "Vec<String>")]
pub struct LabelNames(pub TimeRange);

impl Handler<LabelNames> for ShardActor {
    type Result = MessageResult<LabelNames>;

    fn handle(&mut self, LabelNames(range): LabelNames, _: &mut Self::Context) -> Self::Result {
        let names = self.parts.head.label_names(range.min_ms, range.max_ms);
        MessageResult(names.map(str::to_owned).collect())
    }
}

/// All values of a label.
#[derive(Clone, Message)]
#[rtype(result = "Vec<String>")]
pub struct LabelValues {
    /// The label.
    pub name: String,
    /// Only of series with samples in here.
    pub range: TimeRange,
}

impl Handler<LabelValues> for ShardActor {
    type Result = MessageResult<LabelValues>;

    fn handle(&mut self, LabelValues { name, range }: LabelValues, _: &mut Self::Context) -> Self::Result {
        let values = self.parts.head.label_values(&name, range.min_ms, range.max_ms);
        MessageResult(values.map(str::to_owned).collect())
    }
}

/// The label sets of some series, at most [`SERIES_PER_READ`].
#[derive(Message)]
#[rtype(result = "LabelSets")]
pub struct ReadLabels {
    /// Which.
    pub series: Vec<SeriesRef>,
    /// Only of those with samples in here; `None`: of all.
    pub range: Option<TimeRange>,
}

/// Series looked at for one [`Overlapping`]: about a millisecond at most.
pub const SERIES_PER_LOOK: usize = 1024;

/// Those of some series, at most [`SERIES_PER_LOOK`], that may have samples in a range of time.
#[derive(Message)]
#[rtype(result = "Vec<SeriesRef>")]
pub struct Overlapping {
    /// Which.
    pub series: Vec<SeriesRef>,
    /// When.
    pub range: TimeRange,
}

impl Handler<Overlapping> for ShardActor {
    type Result = MessageResult<Overlapping>;

    fn handle(
        &mut self,
        Overlapping { mut series, range }: Overlapping,
        _: &mut Self::Context,
    ) -> Self::Result {
        series.retain(|series| self.parts.head.overlaps(*series, range.min_ms, range.max_ms));
        MessageResult(series)
    }
}

/// Canonical label sets, one behind the other.
#[derive(Debug, Default)]
pub struct LabelSets {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl LabelSets {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Labels<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let bytes = &self.bytes[start..end];
            start = end;
            Labels::trusted(bytes)
        })
    }
}

impl<'a> FromIterator<&'a [u8]> for LabelSets {
    /// Label sets in their canonical form.
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(canonical: T) -> Self {
        let mut sets = LabelSets::default();
        for labels in canonical {
            sets.bytes.extend_from_slice(labels);
            sets.ends.push(sets.bytes.len());
        }
        sets
    }
}

impl Handler<ReadLabels> for ShardActor {
    type Result = MessageResult<ReadLabels>;

    fn handle(&mut self, ReadLabels { series, range }: ReadLabels, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        let mut sets = LabelSets::default();
        for series in series {
            if range.is_none_or(|range| head.overlaps(series, range.min_ms, range.max_ms)) {
                head.put_labels(series, &mut sets.bytes);
                sets.ends.push(sets.bytes.len());
            }
        }
        MessageResult(sets)
    }
}

/// What is known of a series by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberedSeries {
    /// Its canonical labels; none if they were lost to damage.
    Labels(Vec<u8>),
    /// It was [forgotten](super::forget): all of it is in blocks.
    Gone,
}

/// Canonical labels of some series, at most [`SERIES_PER_READ`], whatever samples they have.
#[derive(Message)]
#[rtype(result = "Vec<NumberedSeries>")]
pub struct LabelsOf(pub Vec<u32>);

impl Handler<LabelsOf> for ShardActor {
    type Result = MessageResult<LabelsOf>;

    fn handle(&mut self, LabelsOf(series): LabelsOf, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        let labels = series.into_iter().map(SeriesRef).map(|series| {
            let mut bytes = Vec::new();
            if head.is_gone(series) {
                return NumberedSeries::Gone;
            }
            if head.is_known(series) {
                head.put_labels(series, &mut bytes);
            }
            NumberedSeries::Labels(bytes)
        });
        MessageResult(labels.collect())
    }
}
