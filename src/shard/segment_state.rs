//! A replica's state of a segment: which batches it holds, whether it takes more.
//!
//! The shard's actor, the lane's committer and whoever answers other nodes share it behind a lock that is held for a few
//! instructions. What it decides is [`SegmentReplica`]'s; here are only the numbers of this node's own batches and a way
//! to wait for what is on its way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_protocol::{Append, Refusal, Rules, SegmentReplica};
use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId, Replica};
use tokio::sync::Notify;

use super::compared::Others;
use super::windows::{BatchWindows, Windows};

/// Something that the log has made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A batch.
    Batch(BatchId),
    /// The segment's seal.
    Seal,
}

/// What a replica says of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vector {
    /// The batches that are durable.
    pub held: BatchSet,
    /// Whether the segment is durably sealed.
    pub is_sealed: bool,
}

/// A replica's state of a segment.
pub struct SegmentState {
    boot: BootId,
    inner: Mutex<Inner>,
    /// Told of every batch and seal.
    changed: Notify,
}

struct Inner {
    replica: SegmentReplica,
    windows: Windows,
    last_number: u64,
    is_clear_elsewhere: bool,
    others: Others,
}

impl SegmentState {
    /// A segment nothing is known of. Batches that are admitted here get numbers of this run of the process.
    pub fn new(boot: BootId) -> Self {
        let replica = SegmentReplica::new(Rules::ALL);
        let inner = Inner {
            replica,
            windows: Windows::default(),
            last_number: 0,
            is_clear_elsewhere: false,
            others: Others::default(),
        };
        SegmentState { boot, inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// The state is what the log has. Numbers go on: those of batches that did not get there are not used again.
    pub fn recovered(&self, vector: Vector, windows: Windows) {
        let mut inner = self.lock();
        inner.replica = SegmentReplica::recovered(vector.held, vector.is_sealed, Rules::ALL);
        inner.windows = windows;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a client's batch may be admitted here.
    pub fn may_admit(&self) -> Result<(), Refusal> {
        let inner = self.lock();
        match () {
            () if inner.replica.is_open() => Ok(()),
            () if inner.replica.is_inactive() => Err(Refusal::NotActive),
            () => Err(Refusal::Sealed),
        }
    }

    /// Numbers a batch that was admitted here and has samples in these windows. It is in the log, as far as others can see,
    /// when this returns.
    pub fn number(&self, windows: &BatchWindows) -> BatchId {
        let mut inner = self.lock();
        inner.last_number += 1;
        let id = BatchId { boot: self.boot, number: BatchNumber(inner.last_number) };
        let taken = inner.replica.append(id);
        debug_assert_eq!(
            taken,
            Append::Take,
            "the caller has asked may_admit, and only the shard's actor seals"
        );
        inner.note(id, windows);
        drop(inner);
        self.changed.notify_waiters();
        id
    }

    /// Whether a batch that another replica has admitted, or holds, is in the log here already; an error if it must not
    /// come in. After `false` the caller logs it and [takes](Self::take) it.
    pub fn check(&self, id: BatchId, is_pulled: bool) -> Result<bool, Refusal> {
        let inner = self.lock();
        match () {
            () if is_pulled || inner.replica.is_open() => Ok(inner.replica.is_logged(id)),
            () if inner.replica.is_inactive() => Err(Refusal::NotActive),
            () => Err(Refusal::Sealed),
        }
    }

    /// A batch that was [checked](Self::check), and has samples in these windows, is in the log now.
    pub fn take(&self, id: BatchId, is_pulled: bool, windows: &BatchWindows) {
        let mut inner = self.lock();
        let taken = if is_pulled { inner.replica.pulled(id) } else { inner.replica.append(id) };
        debug_assert_eq!(taken, Append::Take, "only the shard's actor takes batches, and it has checked");
        inner.note(id, windows);
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Takes appends from now on.
    pub fn activate(&self) {
        self.lock().replica.activate();
    }

    /// Whether the seal record must be written now.
    pub fn begin_seal(&self) -> bool {
        self.lock().replica.begin_seal()
    }

    /// Whether it takes no more appends, durably or not.
    pub fn is_ending(&self) -> bool {
        let inner = self.lock();
        !inner.replica.is_open() && !inner.replica.is_inactive()
    }

    /// Whether the seal is durable.
    pub fn is_sealed(&self) -> bool {
        self.lock().replica.is_sealed()
    }

    /// Whether it is durably sealed and all that it ever held has been dropped, since blocks have it.
    pub fn is_clear(&self) -> bool {
        let inner = self.lock();
        inner.replica.is_sealed() && inner.windows.is_empty()
    }

    /// Another replica of it [is clear](Self::is_clear): there are blocks that may have what is here, too.
    pub fn note_clear_elsewhere(&self) {
        self.lock().is_clear_elsewhere = true;
    }

    /// Whether another replica of it has said that it is clear, in this run of the process.
    pub fn is_clear_elsewhere(&self) -> bool {
        self.lock().is_clear_elsewhere
    }

    /// The log has made something durable.
    pub fn durable(&self, mark: Mark) {
        let mut inner = self.lock();
        match mark {
            Mark::Batch(id) => inner.replica.durable(id),
            Mark::Seal => inner.replica.seal_durable(),
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// What it says of itself.
    pub fn vector(&self) -> Vector {
        let inner = self.lock();
        Vector { held: inner.replica.held().clone(), is_sealed: inner.replica.is_sealed() }
    }

    /// All that is in the log, durable or not: what a snapshot may claim once the log is synced.
    pub fn logged(&self) -> Vector {
        let inner = self.lock();
        let is_sealed = !inner.replica.is_open() && !inner.replica.is_inactive();
        Vector { held: inner.replica.logged(), is_sealed }
    }

    /// The batches of each window whose data is here.
    pub fn windows(&self) -> Windows {
        self.lock().windows.clone()
    }

    /// The batches of a window; `None`: nothing of it is here.
    pub fn batches_of(&self, window: i64) -> Option<BatchSet> {
        self.lock().windows.get(window).cloned()
    }

    /// Forgets the batches of a window, which is about to be dropped, if all of them are in `cover`.
    pub fn forget_window(&self, window: i64, cover: &BatchSet) -> bool {
        let mut inner = self.lock();
        let is_covered = inner.windows.get(window).is_none_or(|batches| cover.contains_all(batches));
        if is_covered {
            inner.windows.remove(window);
        }
        is_covered
    }

    /// What a peer's vector has and this replica has not.
    pub fn missing(&self, peer: &BatchSet) -> BatchSet {
        self.lock().replica.missing(peer)
    }

    /// Notes what another replica of the sealed segment holds, which is sealed there, too, and what of it is
    /// [missing](Self::missing); `held` is what was held here before.
    pub fn note_compared(&self, other: &Replica, missing: &BatchSet, held: &BatchSet, theirs: &BatchSet) {
        self.lock().others.note(other, missing, held, theirs);
    }

    /// Whether another replica holds more than this one, and all that is known to be held by any: so blocks should be its.
    pub fn is_behind_another(&self) -> bool {
        let inner = self.lock();
        let missed = inner.replica.missing(&inner.others.missed);
        !missed.is_empty() && inner.others.best.contains_all(&missed)
    }

    /// Whether another replica lacks what this one holds.
    pub fn is_behind(&self, other: &Replica) -> bool {
        self.lock().others.behind.contains(other)
    }

    /// Whether the data shows all batches of a set.
    pub fn shows(&self, batches: &BatchSet) -> bool {
        self.lock().replica.shows(batches)
    }

    /// Waits until the data shows all batches of a set; false if it does not in time.
    pub async fn wait_until_shown(&self, batches: &BatchSet, longest: Duration) -> bool {
        let shown = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                // Registered before looking, so that nothing is missed in between.
                changed.as_mut().enable();
                if self.shows(batches) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(longest, shown).await.is_ok()
    }
}

impl Inner {
    fn note(&mut self, id: BatchId, windows: &BatchWindows) {
        windows.iter().for_each(|window| self.windows.insert(window, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(number: u64) -> BatchId {
        BatchId { boot: BootId(2), number: BatchNumber(number) }
    }

    fn set(ids: &[BatchId]) -> BatchSet {
        let mut set = BatchSet::default();
        for id in ids {
            set.insert(*id);
        }
        set
    }

    #[test]
    fn a_batch_is_held_when_the_log_says_so_and_logged_before() {
        let state = SegmentState::new(BootId(1));
        assert_eq!(state.may_admit(), Err(Refusal::NotActive));
        assert_eq!(state.check(others(1), false), Err(Refusal::NotActive));
        state.activate();
        let own = state.number(&BatchWindows::default());
        assert_eq!(state.check(others(1), false), Ok(false));
        state.take(others(1), false, &BatchWindows::default());
        assert_eq!(
            state.check(others(1), false),
            Ok(true),
            "it waits for the disk, and is not applied again"
        );
        assert_eq!(state.vector(), Vector::default());
        assert_eq!(state.logged().held, set(&[own, others(1)]));
        state.durable(Mark::Batch(others(1)));
        assert_eq!(state.vector().held, set(&[others(1)]));
        assert_eq!(state.missing(&set(&[own, others(1), others(2)])), set(&[others(2)]));
    }

    #[test]
    fn a_sealed_segment_takes_only_what_is_pulled() {
        let state = SegmentState::new(BootId(1));
        state.activate();
        assert!(state.begin_seal());
        assert!(!state.begin_seal(), "it is sealed once");
        assert!(!state.is_sealed() && state.logged().is_sealed, "nobody is told before it is on disk");
        assert_eq!(state.may_admit(), Err(Refusal::Sealed));
        assert_eq!(state.check(others(1), false), Err(Refusal::Sealed));
        assert_eq!(state.check(others(1), true), Ok(false));
        state.durable(Mark::Seal);
        assert!(state.is_sealed());
    }

    #[test]
    fn numbers_are_not_used_again_by_a_shard_that_was_rebuilt() {
        let state = SegmentState::new(BootId(1));
        state.activate();
        let lost = state.number(&BatchWindows::default());
        state.recovered(Vector::default(), Windows::default());
        state.activate();
        assert!(state.number(&BatchWindows::default()) > lost, "the batch may have reached another replica");
        assert_eq!(state.missing(&set(&[lost])), set(&[lost]));
    }

    #[tokio::test]
    async fn whoever_waits_for_batches_is_told_when_they_are_there() {
        let state = SegmentState::new(BootId(1));
        state.activate();
        assert!(!state.wait_until_shown(&set(&[others(1)]), Duration::from_millis(1)).await);
        let wanted = set(&[others(1)]);
        let waiting = state.wait_until_shown(&wanted, Duration::from_secs(60));
        let (shown, ()) =
            tokio::join!(waiting, async { state.take(others(1), false, &BatchWindows::default()) });
        assert!(shown);
    }
}
