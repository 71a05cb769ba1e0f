//! A window of a shard's head becomes a block in a folder of this machine.

use std::path::Path;
use std::sync::Arc;

use futures_executor::block_on;
use gyre_tsdb::block::{HeadBlockError, Meta, Thanos, Ulid, WindowSeries};
use gyre_tsdb::disk::Disk;
use gyre_tsdb::{SeriesRef, WINDOW_MS};

use crate::actor::Gone;
use crate::shard::read::{Read, SERIES_PER_READ, TimeRange};
use crate::shard::release::SliceWindow;
use crate::shard::supervisor::ShardHandle;

/// Why there is no block.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The shard is being rebuilt.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// It cannot be read or written.
    #[error(transparent)]
    Block(#[from] HeadBlockError),
}

/// Writes a window into a folder that is made for it in `folder`; gives the block's description, `None` if the window is empty. Blocks.
pub fn cut(
    shard: &ShardHandle,
    window: i64,
    ulid: Ulid,
    disk: Arc<dyn Disk>,
    folder: &Path,
) -> Result<Option<Meta>, CutError> {
    let begin_ms = window.saturating_mul(WINDOW_MS);
    let end_ms = begin_ms.saturating_add(WINDOW_MS);
    let mut series = WindowSeries::default();
    let mut next = Some(SeriesRef(0));
    while let Some(from) = next {
        let (slice, behind) = block_on(shard.actor.ask(SliceWindow { from, window }))?;
        series.add(&slice)?;
        next = behind;
    }
    let mut meta = Meta::of_head(ulid, begin_ms, end_ms);
    // So that the writer notes there what spares readers guesses.
    meta.thanos = Some(Thanos::default());
    let mut block = series.begin(disk, folder, meta)?;
    let range = TimeRange { min_ms: begin_ms, max_ms: end_ms - 1 };
    loop {
        let some = block.next_series(SERIES_PER_READ);
        if some.is_empty() {
            return Ok(block.finish()?);
        }
        let batch = block_on(shard.actor.ask(Read { series: some, range }))?;
        block.push(&batch)?;
    }
}
