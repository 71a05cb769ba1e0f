//! Pulls: a batch's record lacks what its holder had before.

use crate::conduct::Conduct;
use gyre_ring::{BatchId, Segment};

use super::{Scenario, Stage};
use crate::checks::Violation;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "a point was sent twice, and a peer pulls both batches", play: pulled_both },
    Scenario {
        name: "a point was sent twice, and the record of the first batch is damaged",
        play: first_is_damaged,
    },
];

/// A point that n1 admitted in a batch of its own, which nobody else has, and again in another one, which n0 has too. The
/// record of the second at n1 lacks the point.
fn sent_twice(conduct: Conduct) -> (Stage, Option<Violation>, Option<(Segment, BatchId)>) {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)]]);
    stage.write_among(1, 1, &[0, 1, 2]);
    stage.tell_clients();
    stage.write(1, 2);
    stage.deliver_among(&[1]);
    stage.mail.clear();
    let first = stage.nodes[1].lane.safe.last().cloned();
    stage.write(1, 2);
    stage.deliver_among(&[0, 1]);
    let acked = stage.must_have_acked(2);
    (stage, acked, first)
}

fn pulled_both(conduct: Conduct) -> Option<Violation> {
    let (mut stage, acked, _) = sent_twice(conduct);
    stage.repair(2, &[1, 2]);
    acked.or_else(|| stage.must_read(2, &[2, 0], 0))
}

fn first_is_damaged(conduct: Conduct) -> Option<Violation> {
    let (mut stage, acked, first) = sent_twice(conduct);
    if let Some((segment, batch)) = first {
        stage.nodes[1].lane.damage(&segment, batch);
    }
    stage.repair(2, &[1, 2]);
    // n2 can get the second batch from n0, which has all of it.
    acked.or_else(|| stage.must_read(2, &[2, 0], 0))
}
