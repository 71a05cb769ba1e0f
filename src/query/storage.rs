//! A tenant's shards as the engine's storage.

use std::sync::Arc;

use futures_executor::block_on;
use gyre_promql::labels::Labels;
use gyre_promql::storage::{
    SampleBuffer, SelectRequest, SeriesBatch, SeriesSet, Storage, StorageError, StorageErrorKind,
};
use gyre_tsdb::{Decoded, SeriesBatch as ShardBatch, SeriesRef};

use super::histograms::float_histogram;
use super::limits::{FetchedSeries, QueryLimits};
use super::matchers;
use crate::actor::Gone;
use crate::shard::read::{Read, SERIES_PER_READ, Select, TimeRange};
use crate::shard::supervisor::{ShardHandle, Shards, TenantShards};

/// What a query of one tenant reads from.
pub struct ShardStorage {
    shards: Arc<Shards>,
    /// None: the tenant has never written anything.
    tenant: Vec<Arc<ShardHandle>>,
    limits: QueryLimits,
    fetched: FetchedSeries,
}

impl ShardStorage {
    /// The storage of a tenant, for one query.
    pub fn new(shards: Arc<Shards>, tenant: Option<Arc<TenantShards>>, limits: QueryLimits) -> Self {
        let tenant = tenant.map(|tenant| tenant.all()).unwrap_or_default();
        ShardStorage { shards, tenant, limits, fetched: FetchedSeries::default() }
    }

    fn failed(&self, shard: &Arc<ShardHandle>, _: Gone) -> StorageError {
        StorageError::new(StorageErrorKind::Unavailable, self.shards.rebuild(shard).to_string())
    }
}

impl Storage for ShardStorage {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        let over = |text: String| StorageError::new(StorageErrorKind::LimitReached, text);
        self.limits.check_length(request.mint_ms, request.maxt_ms).map_err(over)?;
        let matchers: Vec<_> = request.matchers.iter().map(matchers::one).collect();
        let range = TimeRange { min_ms: request.mint_ms, max_ms: request.maxt_ms };
        let shards = self.tenant.iter();
        // All shards search at the same time.
        let searches: Vec<_> =
            shards.map(|shard| (shard, shard.actor.ask(Select { matchers: matchers.clone() }))).collect();
        let mut parts = Vec::with_capacity(searches.len());
        for (index, (shard, search)) in searches.into_iter().enumerate() {
            let series = block_on(search).map_err(|gone| self.failed(shard, gone))?;
            self.fetched.add(index, &series, &self.limits).map_err(over)?;
            if !series.is_empty() {
                parts.push((shard, series));
            }
        }
        Ok(Box::new(ShardSeries { storage: self, parts, range }))
    }
}

/// Series that were found, by shard, and not read yet.
struct ShardSeries<'a> {
    storage: &'a ShardStorage,
    parts: Vec<(&'a Arc<ShardHandle>, Vec<SeriesRef>)>,
    range: TimeRange,
}

impl<'a> SeriesSet<'a> for ShardSeries<'a> {
    fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch + 'a>>, StorageError> {
        while let Some((shard, series)) = self.parts.last_mut() {
            let rest = series.split_off(series.len().min(SERIES_PER_READ));
            let read = Read { series: std::mem::replace(series, rest), range: self.range };
            let shard = *shard;
            if series.is_empty() {
                self.parts.pop();
            } else {
                // Shards take turns, so that all arbiters share the work.
                self.parts.rotate_right(1);
            }
            let batch = block_on(shard.actor.ask(read)).map_err(|gone| self.storage.failed(shard, gone))?;
            if !batch.series().is_empty() {
                return Ok(Some(Box::new(ReadySeries { batch, scratch: Vec::new() })));
            }
        }
        Ok(None)
    }
}

/// A batch on the engine's side.
struct ReadySeries {
    batch: ShardBatch,
    scratch: Vec<u8>,
}

impl ReadySeries {
    fn labels_of(&self, series: usize) -> Labels {
        let labels = self.batch.labels(&self.batch.series()[series]);
        // Sorted by name, and no name twice: the canonical form says so.
        Labels::from_sorted_iter(labels.iter())
    }
}

impl SeriesBatch for ReadySeries {
    fn len(&self) -> usize {
        self.batch.series().len()
    }

    fn labels(&mut self, series: usize) -> Labels {
        self.labels_of(series)
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
            histogram: &mut |t_ms, sample| {
                times.push(t_ms);
                histograms.push(Arc::new(float_histogram(sample)));
            },
        };
        self.batch.decode(data, (mint_ms, maxt_ms), &mut to, &mut self.scratch).map_err(|error| {
            let message = format!("series {}: {error}", self.labels_of(series));
            StorageError::new(StorageErrorKind::Internal, message)
        })
    }
}
