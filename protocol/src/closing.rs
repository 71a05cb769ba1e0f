//! Closing: segments that have ended, and whose data is in blocks, are read no more (rules 14 to 16, ADR 15).
//!
//! A node is *clear* through an epoch when each segment that it hosts, and that had ended by then, is sealed there, and
//! all that it ever held of it is in listed blocks. If in every set of replicas that a shard may have had, as many as a
//! seal takes are clear, then whatever was acknowledged is in blocks: one of them held it, and none acknowledges
//! anything any more. The next document says so, and from then on nobody asks replicas for these segments.
//!
//! What may go wrong: a node says that it is clear before its seal is on disk, or before a block is listed; one clear
//! replica is taken for all, or one of two, which is all that a read takes: the other is not sealed, and tells readers with old
//! documents that the segment is open; a reader leaves the segments out and goes by a list of blocks from before.

use gyre_ring::diff::changes;
use gyre_ring::{Chain, Epoch, EpochDocument, Quorum, Replica, Role};

use crate::lost::Disks;
use crate::rules::Rules;

/// The last document that ended segments which are not closed; `None`: all are.
pub fn to_close(chain: &Chain) -> Option<Epoch> {
    last_end(chain, Epoch(u64::MAX))
}

/// The last document up to an epoch that ended segments which are not closed.
fn last_end(chain: &Chain, through: Epoch) -> Option<Epoch> {
    let closed = chain.closed_through();
    let documents: Vec<&EpochDocument> = chain.documents().collect();
    let ended = documents.windows(2).filter(|pair| !changes(pair[0], pair[1]).is_empty());
    ended.map(|pair| pair[1].epoch).rfind(|epoch| *epoch > closed && *epoch <= through)
}

/// The last epoch through which all segments can be closed, given through which epoch each node is clear. Not before the
/// one that is closed already.
pub fn closable(
    chain: &Chain,
    disks: &Disks,
    clear: &dyn Fn(&Replica) -> Option<Epoch>,
    rules: &Rules,
) -> Epoch {
    let closed = chain.closed_through();
    let Some(newest) = chain.newest() else { return closed };
    let mut through = closed;
    // A segment that is not closed has the replicas that one of these documents gives it, and ended with a later one.
    let not_closed = chain.documents().filter(move |document| document.epoch >= closed);
    let mut clear_through = Epoch(u64::MAX);
    for document in not_closed.take_while(|document| document.epoch < newest.epoch) {
        let sets = document.placement(Role::Write).sets();
        let of_sets = sets.iter().map(|set| clear_of(set, disks, clear, rules));
        clear_through = of_sets.fold(clear_through, Epoch::min);
        let next = Epoch(document.epoch.0 + 1);
        if clear_through < next {
            break;
        }
        through = next;
    }
    last_end(chain, through).unwrap_or(closed)
}

/// Through which epoch enough replicas of a set are clear.
fn clear_of(
    set: &[Replica],
    disks: &Disks,
    clear: &dyn Fn(&Replica) -> Option<Epoch>,
    rules: &Rules,
) -> Epoch {
    let mut left: Vec<Epoch> = { set.iter() }
        .filter(|replica| !disks.is_lost(replica))
        .map(|replica| clear(replica).unwrap_or(Epoch(0)))
        .collect();
    left.sort_unstable_by(|a, b| b.cmp(a));
    let quorum = Quorum::of(set.len());
    let need = match (rules.closing_by_quorum, rules.closing_by_seals) {
        (true, true) => quorum.seal,
        (true, false) => quorum.read,
        (false, _) => 1,
    };
    match left.get(need.min(left.len()).wrapping_sub(1)) {
        Some(epoch) => *epoch,
        // Nobody is left who could hold anything.
        None => Epoch(u64::MAX),
    }
}
