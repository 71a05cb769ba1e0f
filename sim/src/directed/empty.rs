//! Segments that have ended and hold nothing (ADR 10).

use crate::conduct::Conduct;

use super::{Scenario, Stage};
use crate::checks::Violation;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "one old replica has nothing of what the others hold", play: one_is_empty },
    Scenario {
        name: "old replicas have nothing yet, and have not heard that the segment ended",
        play: not_sealed,
    },
    Scenario { name: "an old replica that said that it has nothing restarts", play: restarted },
    Scenario { name: "an old replica that said that it has nothing gets a new disk", play: wiped },
];

/// The first segment is over, and n3 has been told by n0 and n2 that there is nothing in it. n1 has not heard of it.
fn known_to_be_empty(conduct: Conduct) -> (Stage, Option<Violation>) {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]]);
    for node in [0, 2, 3] {
        stage.learn(node, 2);
    }
    let first = stage.must_read(3, &[3, 2, 0], 0);
    (stage, first)
}

fn restarted(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = known_to_be_empty(conduct);
    stage.restart(0);
    stage.write_among(0, 1, &[0, 1]);
    first.or_else(|| stage.must_read(3, &[3, 2, 1, 0], 0))
}

fn wiped(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = known_to_be_empty(conduct);
    stage.lose_disk(0, 1, 1);
    // It compares itself with the others, and has all that they have.
    stage.deliver_among(&[0, 1, 2]);
    stage.write_among(1, 1, &[0, 1]);
    first.or_else(|| stage.must_read(3, &[3, 2, 1, 0], 0))
}

fn one_is_empty(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 2] = [&[(0, 0), (1, 0), (2, 0)], &[(1, 0), (2, 0), (3, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    stage.write_among(1, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    for node in [1, 2, 3] {
        stage.learn(node, 2);
    }
    // n2 has nothing of the first segment, and seals it.
    stage.write_among(3, 2, &[1, 2, 3]);
    let acked = acked.or_else(|| stage.must_have_acked(2));
    acked.or_else(|| stage.must_read(3, &[1, 2], 0)).or_else(|| stage.must_read(3, &[1, 2], 0))
}

fn not_sealed(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 2] = [&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    for node in [3, 4] {
        stage.learn(node, 2);
    }
    let first = stage.must_read(3, &[3, 4, 0, 1], 0);
    // Whoever has not heard of the second epoch still writes to the first segment.
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    first.or(acked).or_else(|| stage.must_read(3, &[3, 4, 0, 1], 0))
}
