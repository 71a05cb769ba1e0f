//! What a shard hands out to queries: series numbers first, then batches of series.
//!
//! Each message is a slice of work: queries never hold up appends for longer than a batch of series takes
//! to copy, about a millisecond.

use std::collections::BTreeSet;

use actix::{Handler, Message, MessageResult};
use gyre_tsdb::{Matcher, SeriesBatch, SeriesRef};

use super::actor::ShardActor;

/// Series copied for one [`Read`].
pub const SERIES_PER_READ: usize = 1024;

/// A range of time, both ends included, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first millisecond.
    pub min_ms: i64,
    /// The last millisecond.
    pub max_ms: i64,
}

/// The series that satisfy all matchers.
#[derive(Message)]
#[rtype(result = "Vec<SeriesRef>")]
pub struct Select {
    /// The matchers.
    pub matchers: Vec<Matcher>,
}

impl Handler<Select> for ShardActor {
    type Result = MessageResult<Select>;

    fn handle(&mut self, Select { matchers }: Select, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.head.select(&matchers))
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

/// A question about labels: of which series, and which samples make them count.
#[derive(Clone)]
pub struct LabelScope {
    /// One of these sets of matchers must be satisfied; none at all means every series.
    pub any_of: Vec<Vec<Matcher>>,
    /// Only series with samples in here.
    pub range: TimeRange,
}

impl ShardActor {
    fn in_scope(&self, scope: &LabelScope) -> Vec<SeriesRef> {
        let head = &self.parts.head;
        let mut series: Vec<SeriesRef> = match &scope.any_of[..] {
            [] => head.select(&[]),
            sets => sets.iter().flat_map(|matchers| head.select(matchers)).collect(),
        };
        series.sort_unstable();
        series.dedup();
        series.retain(|series| head.overlaps(*series, scope.range.min_ms, scope.range.max_ms));
        series
    }

    /// Whether all series that there are count.
    fn is_everything(&self, scope: &LabelScope) -> bool {
        scope.any_of.is_empty() && scope.range.min_ms == i64::MIN && scope.range.max_ms == i64::MAX
    }
}

/// Label names in use.
#[derive(Clone, Message)]
#[rtype(result = "BTreeSet<String>")]
pub struct LabelNames(pub LabelScope);

impl Handler<LabelNames> for ShardActor {
    type Result = MessageResult<LabelNames>;

    fn handle(&mut self, LabelNames(scope): LabelNames, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        if self.is_everything(&scope) {
            return MessageResult(head.label_names().map(str::to_owned).collect());
        }
        let mut names = BTreeSet::new();
        for series in self.in_scope(&scope) {
            for (name, _) in head.labels(series) {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        }
        MessageResult(names)
    }
}

/// Values of a label.
#[derive(Clone, Message)]
#[rtype(result = "BTreeSet<String>")]
pub struct LabelValues {
    /// The label.
    pub name: String,
    /// Of which series.
    pub scope: LabelScope,
}

impl Handler<LabelValues> for ShardActor {
    type Result = MessageResult<LabelValues>;

    fn handle(&mut self, LabelValues { name, scope }: LabelValues, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        if self.is_everything(&scope) {
            return MessageResult(head.label_values(&name).map(str::to_owned).collect());
        }
        let mut values = BTreeSet::new();
        for series in self.in_scope(&scope) {
            if let Some((_, value)) = head.labels(series).find(|(n, _)| *n == name)
                && !values.contains(value)
            {
                values.insert(value.to_owned());
            }
        }
        MessageResult(values)
    }
}

/// Canonical label sets of series.
#[derive(Clone, Message)]
#[rtype(result = "Vec<Vec<u8>>")]
pub struct LabelSets {
    /// Of which series.
    pub scope: LabelScope,
    /// At most so many.
    pub limit: usize,
}

impl Handler<LabelSets> for ShardActor {
    type Result = MessageResult<LabelSets>;

    fn handle(&mut self, LabelSets { scope, limit }: LabelSets, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        let series = self.in_scope(&scope);
        let encode = |series: &SeriesRef| gyre_tsdb::labels::encode(head.labels(*series));
        MessageResult(series.iter().take(limit).map(encode).collect())
    }
}
