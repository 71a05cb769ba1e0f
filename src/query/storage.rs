//! A tenant's data as the engine's storage: what a plan says, wherever it lies.

use std::sync::{Arc, Mutex, PoisonError};

use futures_executor::block_on;
use gyre_promql::histogram::FloatHistogram;
use gyre_promql::labels::Labels;
use gyre_promql::storage::{
    SampleBuffer, SelectRequest, SeriesBatch, SeriesSet, Storage, StorageError, StorageErrorKind,
};
use gyre_ring::{HashSeed, Replica};
use gyre_tsdb::block::Ulid;
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::{Decoded, ReadError, SeriesBatch as ShardBatch};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::blocks::Unlisted;
use super::histograms::float_histogram;
use super::limits::{Fetched, FetchedSeries, QueryLimits};
use super::matchers;
use super::merged::MergedSource;
use super::source::Source;
use crate::actor::Gone;
use crate::archive::read::failure::{BlockFailure, warning};
use crate::replica::read::messages::MatcherOnWire;
use crate::replica::read::plan::{ReadPlan, SegmentSource};
use crate::replica::read::remote::Lost;
use crate::shard::read::{Select, TimeRange};
use crate::shard::supervisor::{ShardHandle, Shards};

/// What a query reads from.
pub struct ShardStorage {
    shards: Arc<Shards>,
    own: Replica,
    plan: ReadPlan,
    limits: QueryLimits,
    /// For what other nodes are asked.
    remote: RemoteAccess,
    fetched: FetchedSeries,
    /// What cannot be read because blocks are not listed, and is left out.
    unlisted: Mutex<Option<String>>,
    failed: Mutex<Option<Culprit>>,
}

/// What failed its reader.
#[derive(Clone, Debug)]
pub enum Culprit {
    /// A replica.
    Replica(Replica),
    /// A block.
    Block(BlockFailure),
    /// The list of blocks, which lacks these.
    List(Vec<Ulid>),
}

/// What reading at other nodes takes.
#[derive(Clone, Debug)]
pub struct RemoteAccess {
    /// The runtime of the tasks that receive.
    pub io: Handle,
    /// When nobody waits for it any more.
    pub deadline: Instant,
}

impl ShardStorage {
    /// The storage of one query.
    pub fn new(
        shards: Arc<Shards>,
        own: Replica,
        plan: ReadPlan,
        limits: QueryLimits,
        remote: RemoteAccess,
    ) -> Self {
        let (fetched, unlisted, failed) = (FetchedSeries::default(), Mutex::default(), Mutex::default());
        ShardStorage { shards, own, plan, limits, remote, fetched, unlisted, failed }
    }

    /// What failed its reader, if another plan can do better.
    pub fn culprit(&self) -> Option<Culprit> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failed.filter(|failed| self.plan.has_choice || !matches!(failed, Culprit::Replica(_)))
    }

    /// Different series that were read, if there is a limit.
    pub fn fetched(&self) -> u64 {
        self.fetched.count()
    }

    /// What is to be said of blocks that the answer is without.
    pub fn block_warnings(&self) -> Vec<String> {
        let unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lost = self.plan.blocks.query.as_ref().and_then(|query| warning(&query.lost()));
        unlisted.into_iter().chain(lost).collect()
    }

    /// A replica has dropped what these blocks have: another node's, or one of this node, whose blocks are in every list that
    /// there is.
    pub(super) fn check_released(&self, released: &[Ulid]) -> Result<(), StorageError> {
        let unknown = self.plan.blocks.unknown(released.iter().copied());
        if unknown.is_empty() {
            return Ok(());
        }
        let text = format!("the list of blocks lacks block {}", unknown[0]);
        self.note_failed(Culprit::List(unknown));
        Err(StorageError::new(StorageErrorKind::Unavailable, text))
    }

    /// An error if blocks that are not listed may be needed; a warning where the tenant wants an answer all the same.
    fn check_listed(&self, range: TimeRange) -> Result<(), StorageError> {
        let Some(Unlisted { reason, recent_from_ms, is_partial }) = &self.plan.blocks.unlisted else {
            return Ok(());
        };
        if range.min_ms >= *recent_from_ms {
            return Ok(());
        }
        let text = format!("blocks cannot be listed: {reason}");
        if !is_partial {
            return Err(StorageError::new(StorageErrorKind::Unavailable, text));
        }
        let mut unlisted = self.unlisted.lock().unwrap_or_else(PoisonError::into_inner);
        *unlisted = Some(format!("partial answer: blocks left out: {text}"));
        Ok(())
    }

    fn note_failed(&self, failed: Culprit) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
    }

    /// A block was not read.
    pub(super) fn block_failed(&self, failure: BlockFailure) -> StorageError {
        let text = failure.to_string();
        self.note_failed(Culprit::Block(failure));
        StorageError::new(StorageErrorKind::Unavailable, text)
    }

    /// A shard here is gone for now.
    pub(super) fn gone(&self, shard: &Arc<ShardHandle>, _: Gone) -> StorageError {
        self.note_failed(Culprit::Replica(self.own.clone()));
        StorageError::new(StorageErrorKind::Unavailable, self.shards.rebuild(shard).to_string())
    }

    /// A segment elsewhere was not read to its end.
    pub(super) fn lost(&self, replica: &Replica, lost: &Lost) -> StorageError {
        self.note_failed(Culprit::Replica(replica.clone()));
        StorageError::new(StorageErrorKind::Unavailable, lost.to_string())
    }

    /// The cluster's seed for series keys.
    pub(super) fn seed(&self) -> HashSeed {
        self.shards.layout().seed
    }

    /// Counts series by their keys.
    pub(super) fn fetched_keys(&self, keys: &[u128]) -> Result<(), StorageError> {
        self.fetched.add(keys.iter().map(|key| Fetched::Key(*key)), &self.limits).map_err(over)
    }

    /// Counts the series of a batch.
    pub(super) fn fetched_batch(&self, batch: &ShardBatch) -> Result<(), StorageError> {
        if self.limits.series_max == 0 {
            return Ok(());
        }
        let key = |series| self.seed().key(batch.labels(series).as_bytes()).0;
        self.fetched_keys(&batch.series().iter().map(key).collect::<Vec<_>>())
    }
}

/// A query that asks for more than it may have.
pub(super) fn over(text: String) -> StorageError {
    StorageError::new(StorageErrorKind::LimitReached, text)
}

impl Storage for ShardStorage {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        self.limits.check_length(request.mint_ms, request.maxt_ms).map_err(over)?;
        let matchers: Vec<_> = request.matchers.iter().map(matchers::one).collect();
        let on_wire = || request.matchers.iter().map(MatcherOnWire::from).collect();
        let range = TimeRange { min_ms: request.mint_ms, max_ms: request.maxt_ms };
        self.check_listed(range)?;
        self.check_released(&self.plan.named_here(&self.plan.blocks, range))?;
        let blocks = self.plan.blocks.query.as_ref().filter(|blocks| blocks.overlaps(range));
        // All shards search at the same time, here and elsewhere.
        let mut searches = Vec::with_capacity(self.plan.groups.len());
        for group in &self.plan.groups {
            let by_key = group.len() > 1 || blocks.is_some();
            let search = |source: &'a SegmentSource| match source {
                SegmentSource::Local(shard) => {
                    Search::Here(shard, shard.actor.ask(Select { matchers: matchers.clone(), by_key }))
                }
                SegmentSource::Remote(segment) => {
                    let RemoteAccess { io, deadline } = &self.remote;
                    Search::Done(Source::Remote(segment.select(io, on_wire(), range, by_key, *deadline)))
                }
            };
            searches.push(group.iter().map(search).collect::<Vec<_>>());
        }
        let in_blocks = blocks.map(|blocks| blocks.select(&matchers, range)).transpose();
        let in_blocks = in_blocks.map_err(|failure| self.block_failed(failure))?;
        let mut with_blocks: Vec<Source<'a>> = in_blocks
            .filter(|series| !series.is_empty())
            .map(|series| Source::Blocks(Box::new(series)))
            .into_iter()
            .collect();
        let mut parts = Vec::with_capacity(searches.len());
        for (index, group) in searches.into_iter().enumerate() {
            let is_alone = group.len() == 1 && with_blocks.is_empty();
            let mut sources = Vec::with_capacity(group.len());
            for search in group {
                let source = match search {
                    Search::Done(source) => source,
                    Search::Here(shard, search) => {
                        let series = block_on(search).map_err(|gone| self.gone(shard, gone))?;
                        if is_alone {
                            let fetched = series.iter().map(|series| Fetched::Number(index, *series));
                            self.fetched.add(fetched, &self.limits).map_err(over)?;
                        }
                        Source::Local { shard, series, range }
                    }
                };
                if !source.is_empty() {
                    sources.push(source);
                }
            }
            if !with_blocks.is_empty() {
                // Blocks may hold series of all shards. They come first, since they are older.
                with_blocks.append(&mut sources);
                continue;
            }
            match sources.pop() {
                Some(source) if is_alone => parts.push(Part::Single(source)),
                Some(source) => {
                    sources.push(source);
                    parts.push(Part::Merged(MergedSource::new(sources)));
                }
                None => {}
            }
        }
        if !with_blocks.is_empty() {
            parts.push(Part::Merged(MergedSource::new(with_blocks)));
        }
        Ok(Box::new(ShardSeries { storage: self, parts }))
    }
}

/// A search under way.
enum Search<'a, F> {
    Here(&'a Arc<ShardHandle>, F),
    Done(Source<'a>),
}

/// Series that were found, by shard, and not read yet.
struct ShardSeries<'a> {
    storage: &'a ShardStorage,
    parts: Vec<Part<'a>>,
}

enum Part<'a> {
    Single(Source<'a>),
    Merged(MergedSource<'a>),
}

impl<'a> SeriesSet<'a> for ShardSeries<'a> {
    fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch + 'a>>, StorageError> {
        while let Some(mut part) = self.parts.pop() {
            let batch: Option<Box<dyn SeriesBatch>> = match &mut part {
                Part::Single(source) => match source.next_batch(self.storage)? {
                    Some(batch) => {
                        if matches!(source, Source::Remote(_)) {
                            self.storage.fetched_batch(&batch)?;
                        }
                        Some(Box::new(ReadySeries::new(batch)))
                    }
                    None => None,
                },
                Part::Merged(merged) => merged.next_batch(self.storage)?,
            };
            if let Some(batch) = batch {
                // Shards take turns, so that all arbiters share the work.
                if !matches!(&part, Part::Single(source) if source.is_empty()) {
                    self.parts.insert(0, part);
                }
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// A batch on the engine's side.
pub(super) struct ReadySeries {
    batch: ShardBatch,
    scratch: Vec<u8>,
}

impl ReadySeries {
    /// A batch that is all there is of its series.
    pub(super) fn new(batch: ShardBatch) -> Self {
        ReadySeries { batch, scratch: Vec::new() }
    }
}

/// The labels of a series, as the engine has them.
pub(super) fn labels_of(batch: &ShardBatch, series: usize) -> Labels {
    // Sorted by name, and no name twice: the canonical form says so.
    Labels::from_sorted_iter(batch.labels(&batch.series()[series]).iter())
}

/// A series that cannot be read.
pub(super) fn read_failed(batch: &ShardBatch, series: usize, error: ReadError) -> StorageError {
    StorageError::new(StorageErrorKind::Internal, format!("series {}: {error}", labels_of(batch, series)))
}

/// Appends a stored histogram to those of the engine.
pub(super) fn push_histogram(
    times: &mut Vec<i64>,
    histograms: &mut Vec<Arc<FloatHistogram>>,
    t_ms: i64,
    sample: &Histogram,
) {
    times.push(t_ms);
    histograms.push(Arc::new(float_histogram(sample)));
}

impl SeriesBatch for ReadySeries {
    fn len(&self) -> usize {
        self.batch.series().len()
    }

    fn labels(&mut self, series: usize) -> Labels {
        labels_of(&self.batch, series)
    }

    fn read(
        &mut self,
        series: usize,
        mint_ms: i64,
        maxt_ms: i64,
        buffer: &mut SampleBuffer,
    ) -> Result<(), StorageError> {
        let data = &self.batch.series()[series];
        let (times, histograms) = (&mut buffer.histogram_timestamps, &mut buffer.histograms);
        let mut to = Decoded {
            times: &mut buffer.float_timestamps,
            values: &mut buffer.floats,
            histogram: &mut |t_ms, sample| push_histogram(times, histograms, t_ms, sample),
        };
        let decoded = self.batch.decode(data, (mint_ms, maxt_ms), &mut to, &mut self.scratch);
        decoded.map_err(|error| read_failed(&self.batch, series, error))
    }
}
