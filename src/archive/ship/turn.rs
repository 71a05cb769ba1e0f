//! When a window is shipped, and by which of its replicas.
//!
//! All replicas of a segment have the same window, and one block of it is enough. So they take turns in an order that
//! depends on segment and window: the first ships when the window has been over for some time, the next only if nothing is
//! listed a while later. That two ship the same, as happens when they do not know of each other, is harmless.

use std::time::Duration;

use gyre_ring::{Replica, Segment};
use gyre_tsdb::WINDOW_MS;
use xxhash_rust::xxh3::xxh3_64;

/// A window has been over for so long before it is shipped: samples may be an hour older than the newest.
pub const AFTER_END: Duration = Duration::from_secs(60 * 60);

/// Windows of different shards end at the same time, and are shipped within this time.
const SPREAD: Duration = Duration::from_secs(10 * 60);

/// The next replica waits so much longer.
const TURN: Duration = Duration::from_secs(15 * 60);

/// A segment that has ended is shipped so long after it was sealed: by then replicas have what others hold.
const AFTER_SEAL: Duration = Duration::from_secs(3);

/// The next replica of it waits so much longer,
const TURN_OF_ENDED: Duration = Duration::from_secs(20);

/// and so much for each window that waits with it: then others have much to do as well.
const TURN_PER_WINDOW: Duration = Duration::from_millis(100);

/// From when on a replica ships what it holds of a segment that has ended, milliseconds since 1970, if so many others come
/// before it. All windows at once, and without waiting for their end: nothing comes any more. `waiting` windows like it
/// are not in blocks yet.
pub fn due_of_ended_ms(before: usize, sealed_ms: i64, waiting: usize) -> i64 {
    let turn = TURN_OF_ENDED + TURN_PER_WINDOW.saturating_mul(waiting as u32);
    let wait = AFTER_SEAL + turn.saturating_mul(before as u32);
    sealed_ms.saturating_add(wait.as_millis() as i64)
}

/// How many of those replicas that count come before this node.
pub fn before(
    segment: &Segment,
    window: i64,
    replicas: &[Replica],
    own: &Replica,
    counts: impl Fn(&Replica) -> bool,
) -> usize {
    let name = segment.to_string();
    let place = |replica: &Replica| xxh3_64(format!("{name} {window} {}", replica.node).as_bytes());
    replicas.iter().filter(|other| (place(other), *other) < (place(own), own) && counts(other)).count()
}

/// From when on a replica ships a window of a segment, milliseconds since 1970.
pub fn due_ms(segment: &Segment, window: i64, replicas: &[Replica], own: &Replica) -> i64 {
    let before = before(segment, window, replicas, own, |_| true);
    let spread_ms = xxh3_64(format!("{segment} {window} ").as_bytes()) % SPREAD.as_millis() as u64;
    let wait_ms = AFTER_END.as_millis() as u64 + spread_ms + before as u64 * TURN.as_millis() as u64;
    window.saturating_add(1).saturating_mul(WINDOW_MS).saturating_add(wait_ms as i64)
}

#[cfg(test)]
mod tests {
    use gyre_ring::Incarnation;

    use super::*;
    use crate::shard::segment_name;

    #[test]
    fn each_replica_has_its_turn_and_all_are_first_at_times() {
        let replica = |n: u8| Replica {
            node: gyre_ring::NodeId::new(&format!("n{n}")).unwrap(),
            incarnation: Incarnation(u128::from(n)),
        };
        let replicas: Vec<Replica> = (0..3).map(replica).collect();
        let segment = segment_name::decode(b"acme/1-of-2@3").unwrap();
        let mut first = [0; 3];
        for window in 0..300 {
            let due: Vec<i64> = replicas.iter().map(|own| due_ms(&segment, window, &replicas, own)).collect();
            let end_ms = (window + 1) * WINDOW_MS;
            let mut sorted = due.clone();
            sorted.sort_unstable();
            assert!(sorted[0] >= end_ms + AFTER_END.as_millis() as i64);
            assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] == TURN.as_millis() as i64));
            first[due.iter().position(|at| *at == sorted[0]).unwrap()] += 1;
        }
        assert!(first.iter().all(|count| *count > 50), "{first:?}");
    }
}
