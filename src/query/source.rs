//! Series on their way to the engine: a segment's, from a shard here or from another node, or those of blocks.

use std::sync::Arc;

use futures_executor::block_on;
use gyre_promql::storage::StorageError;
use gyre_tsdb::{SeriesBatch, SeriesRef};

use super::storage::ShardStorage;
use crate::archive::read::series::BlockSeries;
use crate::replica::read::remote::RemoteSeries;
use crate::shard::read::{Read, SERIES_PER_READ, TimeRange};
use crate::shard::supervisor::ShardHandle;

/// Series that were found and not read yet.
pub enum Source<'a> {
    /// In a shard of this node.
    Local {
        /// The shard.
        shard: &'a Arc<ShardHandle>,
        /// The series, in the order in which to read them.
        series: Vec<SeriesRef>,
        /// Samples of interest.
        range: TimeRange,
    },
    /// At another node.
    Remote(RemoteSeries),
    /// In blocks.
    Blocks(Box<BlockSeries>),
}

impl Source<'_> {
    /// Whether it is known that there are no more.
    pub fn is_empty(&self) -> bool {
        matches!(self, Source::Local { series, .. } if series.is_empty())
    }

    /// The next series, in their order; `None` at the end. Blocks.
    pub fn next_batch(&mut self, storage: &ShardStorage) -> Result<Option<SeriesBatch>, StorageError> {
        loop {
            let batch = match self {
                Source::Local { series, .. } if series.is_empty() => return Ok(None),
                Source::Local { shard, series, range } => {
                    let rest = series.split_off(series.len().min(SERIES_PER_READ));
                    let read = Read { series: std::mem::replace(series, rest), range: *range };
                    block_on(shard.actor.ask(read)).map_err(|gone| storage.gone(shard, gone))?
                }
                Source::Remote(remote) => match remote.next_batch() {
                    Ok(batch) => {
                        storage.check_released(remote.released())?;
                        let Some(batch) = batch else { return Ok(None) };
                        batch
                    }
                    Err(lost) => return Err(storage.lost(&remote.segment.replica, &lost)),
                },
                Source::Blocks(blocks) => match blocks.next_batch() {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return Ok(None),
                    Err(failure) => return Err(storage.block_failed(failure)),
                },
            };
            if !batch.series().is_empty() {
                return Ok(Some(batch));
            }
        }
    }
}
