//! What a shard does so that a window of time becomes a block and is then dropped.
//!
//! Series are gone through some at a time, so that appends go on. What may come in between is a batch for the very window:
//! then the rest stays, with it, until another block has both.

use actix::{Handler, Message, MessageResult};
use gyre_tsdb::block::WindowSlice;
use gyre_tsdb::{IdleSeries, SeriesRef, WINDOW_MS};

use super::actor::ShardActor;

/// Series gone through at once: about a millisecond.
pub const SERIES_PER_SLICE: usize = 1024;

/// Some series' labels, of those that have samples in a window.
#[derive(Message)]
#[rtype(result = "(WindowSlice, Option<SeriesRef>)")]
pub struct SliceWindow {
    /// The first series.
    pub from: SeriesRef,
    /// The [window](gyre_tsdb::window_of).
    pub window: i64,
}

impl Handler<SliceWindow> for ShardActor {
    type Result = MessageResult<SliceWindow>;

    fn handle(&mut self, SliceWindow { from, window }: SliceWindow, _: &mut Self::Context) -> Self::Result {
        let begin_ms = window.saturating_mul(WINDOW_MS);
        let range = (begin_ms, begin_ms.saturating_add(WINDOW_MS));
        MessageResult(self.parts.head.window_slice(from, SERIES_PER_SLICE, range))
    }
}

/// How far dropping a window has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// To this series, which is next.
    Until(SeriesRef),
    /// All is gone.
    All,
    /// A batch has come for the window; the rest stays.
    Taken,
}

/// Drops what some series have in a window that its state has [forgotten](super::segment_state::SegmentState::forget_window).
/// Gives how far it came, and the series that have nothing left, with those of earlier slices.
#[derive(Message)]
#[rtype(result = "(Dropped, IdleSeries)")]
pub struct DropWindow {
    /// The first series.
    pub from: SeriesRef,
    /// The window.
    pub window: i64,
    /// What earlier slices found.
    pub idle: IdleSeries,
}

impl Handler<DropWindow> for ShardActor {
    type Result = MessageResult<DropWindow>;

    fn handle(&mut self, message: DropWindow, _: &mut Self::Context) -> Self::Result {
        let DropWindow { from, window, mut idle } = message;
        if self.parts.state.batches_of(window).is_some() {
            return MessageResult((Dropped::Taken, idle));
        }
        let next = self.parts.head.release(from, SERIES_PER_SLICE, window, &mut idle);
        MessageResult((next.map_or(Dropped::All, Dropped::Until), idle))
    }
}
