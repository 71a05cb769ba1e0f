//! Snapshots of shards, and the removal of log files that they make unnecessary.
//!
//! One thread goes round: when a lane's log has grown enough, or enough time has passed, every shard of the
//! lane with unsnapshotted samples is written out, some series at a time, while it goes on taking writes. A log
//! file goes when no shard needs it any more: neither with its newest snapshot nor, should that turn out to be
//! unreadable, with the one before.

use std::io;
use std::sync::PoisonError;

use actix::{Handler, Message, MessageResult};
use gyre_tsdb::SeriesRef;
use gyre_tsdb::sealed::{Flush, Location};
use gyre_tsdb::snapshot::{SnapshotBegin, SnapshotEnd, SnapshotWriter, encode_block};
use gyre_tsdb::wal::WalPosition;

use super::actor::ShardActor;
use super::lane::LaneError;
use super::recover::{Layout, encode_note};
use super::supervisor::ShardHandle;
use crate::actor::Gone;

/// Begins a snapshot.
#[derive(Message)]
#[rtype(result = "SnapshotStart")]
struct Start;

struct SnapshotStart {
    begin: SnapshotBegin,
    last_record: Option<WalPosition>,
}

impl Handler<Start> for ShardActor {
    type Result = MessageResult<Start>;

    fn handle(&mut self, _: Start, _: &mut Self::Context) -> Self::Result {
        let parts = &self.parts;
        let note = encode_note(&parts.state.logged(), &parts.state.windows());
        let begin = SnapshotBegin { position: parts.lane.position(), note };
        MessageResult(SnapshotStart { begin, last_record: parts.last_record })
    }
}

/// Encodes a few series.
#[derive(Message)]
#[rtype(result = "EncodedSeries")]
struct Encode(SeriesRef);

struct EncodedSeries {
    bytes: Vec<u8>,
    /// The series that comes after them; `None` at the end.
    next: Option<SeriesRef>,
    /// The number after these.
    end: u32,
}

impl Handler<Encode> for ShardActor {
    type Result = MessageResult<Encode>;

    fn handle(&mut self, Encode(first): Encode, _: &mut Self::Context) -> Self::Result {
        let head = &self.parts.head;
        let (bytes, next) = encode_block(head, first);
        let more = next < head.series_end();
        MessageResult(EncodedSeries { bytes, next: more.then_some(next), end: next.0 })
    }
}

/// Ends a snapshot.
#[derive(Message)]
#[rtype(result = "SnapshotStop")]
struct Stop;

struct SnapshotStop {
    /// Sealed chunks that must be on disk too.
    flushes: Vec<Flush>,
    sealed: Location,
    files: Vec<std::path::PathBuf>,
}

impl Handler<Stop> for ShardActor {
    type Result = MessageResult<Stop>;

    fn handle(&mut self, _: Stop, _: &mut Self::Context) -> Self::Result {
        self.spill(true);
        let sealed = self.parts.head.sealed_mut();
        MessageResult(SnapshotStop {
            flushes: sealed.in_flight().collect(),
            sealed: sealed.end(),
            files: sealed.files().collect(),
        })
    }
}

/// Counts a snapshot that was written; gives the files of sealed chunks that are not needed any more.
#[derive(Message)]
#[rtype(result = "Vec<std::path::PathBuf>")]
struct Unneeded;

impl Handler<Unneeded> for ShardActor {
    type Result = MessageResult<Unneeded>;

    fn handle(&mut self, _: Unneeded, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.head.unneeded_files())
    }
}

/// Where a shard's snapshots let the log begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotState {
    previous: Option<WalPosition>,
    newest: Option<WalPosition>,
    /// The shard's last record, as of the last look at it.
    last_record: Option<WalPosition>,
}

impl SnapshotState {
    /// The state of a shard that was just recovered.
    pub fn recovered(newest: Option<WalPosition>, last_record: Option<WalPosition>) -> Self {
        SnapshotState { previous: None, newest, last_record }
    }

    /// The first log file that the shard needs; `None`: none at all.
    fn first_file_needed(&self) -> Option<u64> {
        match (self.newest, self.previous) {
            // It has never had a sample.
            (None, _) if self.last_record.is_none() => None,
            // What an older snapshot from before the start needs is not known, so it counts as none.
            (_, None) => Some(0),
            (_, Some(previous)) => self.last_record.filter(|last| *last >= previous).map(|_| previous.file),
        }
    }

    /// Whether a snapshot would make log files unnecessary.
    fn is_due(&self) -> bool {
        self.first_file_needed().is_some()
    }
}

/// Why a snapshot was not taken. The next round tries again.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused.
    #[error("cannot write snapshot: {0}")]
    Disk(#[from] io::Error),
    /// The shard is being rebuilt.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The log does not commit.
    #[error(transparent)]
    Lane(#[from] LaneError),
}

/// Takes a snapshot of a shard, if one is due; gives its bytes. Blocks.
pub fn snapshot_shard(layout: &Layout, shard: &ShardHandle) -> Result<Option<u64>, SnapshotError> {
    let _files = shard.files.lock().unwrap_or_else(PoisonError::into_inner);
    let SnapshotStart { begin, last_record } = futures_executor::block_on(shard.actor.ask(Start))?;
    let mut state = shard.snapshot_state();
    state.last_record = last_record;
    shard.set_snapshot_state(state);
    if !state.is_due() {
        return Ok(None);
    }
    let disk = layout.disk.as_ref();
    let mut writer = SnapshotWriter::begin(disk, &layout.snapshots(&shard.segment), &begin)?;
    let mut next = Some(SeriesRef(0));
    let mut series = 0;
    while let Some(first) = next {
        let encoded = futures_executor::block_on(shard.actor.ask(Encode(first)))?;
        writer.series(&encoded.bytes)?;
        (next, series) = (encoded.next, encoded.end);
    }
    let stop = futures_executor::block_on(shard.actor.ask(Stop))?;
    // The spill thread writes these too; written twice, they are the same.
    for flush in &stop.flushes {
        flush.write(disk)?;
    }
    let mut folder = None;
    for path in &stop.files {
        match disk.open(path) {
            Ok(mut file) => file.sync_data()?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
        folder = path.parent();
    }
    if let Some(folder) = folder {
        disk.create_dir_all(folder)?;
        disk.sync_dir(folder)?;
    }
    // Samples that a late block holds may not have been committed yet. Unless their record is durable too,
    // a crash would leave a part of a batch.
    futures_executor::block_on(shard.lane.barrier())?;
    let bytes = writer.finish(SnapshotEnd { series, sealed: stop.sealed })?;
    for path in futures_executor::block_on(shard.actor.ask(Unneeded))? {
        match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
    }
    // The folders may be new, too: the tenant's, the shard's, and that of its snapshots.
    for folder in layout.snapshots(&shard.segment).ancestors().skip(1).take(4) {
        disk.sync_dir(folder)?;
    }
    state.previous = state.newest;
    state.newest = Some(begin.position);
    shard.set_snapshot_state(state);
    Ok(Some(bytes))
}

/// The first log file of a lane that must stay after a round of snapshots over all its shards, which began when the
/// lane wrote file `round_begin`: whatever a shard has logged since the round looked at it lies there or later.
pub fn first_file_kept(states: impl Iterator<Item = SnapshotState>, round_begin: u64) -> u64 {
    states.filter_map(|state| state.first_file_needed()).min().unwrap_or(round_begin).min(round_begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: u64) -> Option<WalPosition> {
        Some(WalPosition { file, offset: 0 })
    }

    #[test]
    fn a_log_file_is_needed_until_two_snapshots_cover_it() {
        assert_eq!(SnapshotState::default().first_file_needed(), None, "an empty shard needs nothing");
        let mut state = SnapshotState::recovered(None, at(5));
        assert_eq!(state.first_file_needed(), Some(0), "no snapshot: everything");
        state = SnapshotState { previous: None, newest: at(6), ..state };
        assert_eq!(state.first_file_needed(), Some(0), "one snapshot could be unreadable");
        state = SnapshotState { previous: at(6), newest: at(7), ..state };
        assert_eq!(state.first_file_needed(), None, "both are newer than the last record");
        state.last_record = at(8);
        assert_eq!(state.first_file_needed(), Some(6));
        assert_eq!(
            first_file_kept([state, SnapshotState::default()].into_iter(), 9),
            6,
            "the neediest decides"
        );
        assert_eq!(
            first_file_kept([state].into_iter(), 4),
            4,
            "but never more goes than was there to be seen"
        );
        assert_eq!(first_file_kept([SnapshotState::default()].into_iter(), 9), 9);
        state = SnapshotState::recovered(at(9), None);
        assert_eq!(state.first_file_needed(), Some(0), "a start finds one snapshot and has not seen another");
    }
}
