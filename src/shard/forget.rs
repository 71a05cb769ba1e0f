//! Series of which blocks have everything, and that have stopped, are forgotten (`tsdb/src/head/forget.rs`).
//!
//! Dropping a window tells which series have nothing left. The shipper then waits for everybody who reads, and for listings
//! that are still being sent, and has the shard forget them, all at once: that costs about a microsecond for each series
//! that stays, in which nothing is appended. So it is done only if it is worth it. A segment that has ended forgets all: it may
//! take a while until it is closed.

use actix::{Handler, Message, MessageResult};
use gyre_tsdb::IdleSeries;

use super::actor::ShardActor;

/// It is worth it if of so many series one goes at least.
const SERIES_FOR_ONE: usize = 16;

/// Forgets series that were found idle, unless it is not worth it; gives how many are gone. Readers that had begun when the
/// last one was found must be done.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct Forget(pub IdleSeries);

impl Handler<Forget> for ShardActor {
    type Result = MessageResult<Forget>;

    fn handle(&mut self, Forget(idle): Forget, _: &mut Self::Context) -> Self::Result {
        let parts = &mut self.parts;
        let before = parts.head.series_count();
        if idle.len() * SERIES_FOR_ONE < before {
            return MessageResult(0);
        }
        let (tenant, is_ending) = (parts.tenant.clone(), parts.state.is_ending());
        let forget_one = |metric: &str| {
            // Those of a segment that has ended are not counted any more.
            if !is_ending {
                tenant.forget_one(metric.as_bytes());
            }
        };
        // What had room has room with fewer series; if not, they stay.
        let _ = parts.head.forget(&idle, forget_one);
        MessageResult(before - parts.head.series_count())
    }
}
