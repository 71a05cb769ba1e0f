//! Epochs that some have not heard of, and one lost disk.

use crate::conduct::Conduct;

use super::{Disk, Scenario, Stage};
use crate::checks::Violation;
use crate::message::Body;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "a reader two epochs behind, the epoch between never used", play: skipped_epoch },
    Scenario { name: "one old replica sealed, the reader meets the other two", play: one_sealed },
    Scenario { name: "a sealed replica restarts before the old reader comes", play: sealed_restarts },
    Scenario {
        name: "an old reader: data from an unsealed replica, vector from a sealed one",
        play: sealed_vector,
    },
    Scenario {
        name: "an old reader: data from a sealed replica, vector from an unsealed one",
        play: sealed_data,
    },
    Scenario { name: "a replica loses its disk between its ack and the second one", play: lost_between_acks },
    Scenario { name: "a replica loses its disk after the second ack", play: lost_after_acks },
    Scenario { name: "a replica's record of an acknowledged batch is damaged", play: damaged },
];

/// Three replicas each: n0 to n2, then n1 to n3, then n2 to n4.
const SHIFTING: &[&[Disk]] =
    &[&[(0, 0), (1, 0), (2, 0)], &[(1, 0), (2, 0), (3, 0)], &[(2, 0), (3, 0), (4, 0)]];

fn skipped_epoch(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, SHIFTING);
    for node in [1, 3, 4] {
        stage.learn(node, 3);
    }
    stage.write_among(3, 1, &[1, 3, 4]);
    stage.read(0, &[2, 0])
}

/// Some of the old replicas hear of epoch 2; they and n3 take the write if they may.
fn write_at_two(conduct: Conduct, hear: &[usize]) -> Stage {
    let mut stage = Stage::new(conduct, SHIFTING);
    for node in hear {
        stage.learn(*node, 2);
    }
    stage.write_among(3, 1, hear);
    stage
}

fn one_sealed(conduct: Conduct) -> Option<Violation> {
    write_at_two(conduct, &[1, 3]).read(0, &[2, 0])
}

fn sealed_restarts(conduct: Conduct) -> Option<Violation> {
    let mut stage = write_at_two(conduct, &[0, 1, 3]);
    stage.restart(0);
    stage.read(2, &[2, 0])
}

fn sealed_vector(conduct: Conduct) -> Option<Violation> {
    write_at_two(conduct, &[0, 1, 3]).read(2, &[2, 0])
}

fn sealed_data(conduct: Conduct) -> Option<Violation> {
    write_at_two(conduct, &[0, 1, 3]).read(2, &[0, 2])
}

fn lost_between_acks(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, SHIFTING);
    stage.write_among(2, 1, &[0, 1, 2]);
    stage.tell_clients();
    // n2 admits a batch, and n0 has it on disk before n2 has; n1 hears nothing of it.
    stage.slow_disk = Some(2);
    stage.write(2, 2);
    stage.deliver(|_, to, message| to != 1 || !matches!(message.body, Body::Append(_)));
    stage.lose_disk(0, 1, 1);
    stage.deliver_among(&[0, 1, 2]);
    stage.slow_disk = None;
    stage.sync(2);
    stage.deliver_among(&[2]);
    stage.read(1, &[1, 0])
}

/// Two batches that n0 and n1 have acknowledged.
fn acked_by_two(conduct: Conduct) -> Stage {
    let mut stage = Stage::new(conduct, SHIFTING);
    for time in [1, 2] {
        stage.write_among(1, time, &[0, 1]);
    }
    stage.tell_clients();
    stage
}

fn lost_after_acks(conduct: Conduct) -> Option<Violation> {
    let mut stage = acked_by_two(conduct);
    stage.lose_disk(0, 1, 1);
    stage.read(2, &[2, 0])
}

fn damaged(conduct: Conduct) -> Option<Violation> {
    let mut stage = acked_by_two(conduct);
    let batches: Vec<_> = stage.nodes[0].lane.safe.batches().cloned().collect();
    for (segment, batch) in batches {
        // All but the last: bad bytes at the very end are a torn write.
        if stage.nodes[0].lane.can_damage(&segment, batch) {
            stage.nodes[0].lane.damage(&segment, batch);
        }
    }
    stage.restart(0);
    stage.read(2, &[2, 0])
}
