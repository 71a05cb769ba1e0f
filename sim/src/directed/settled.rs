//! Nodes that have said once for all what they do not hold (ADR 11).

use gyre_protocol::Rules;

use super::{Scenario, Stage};
use crate::checks::Violation;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "who has said that it is settled crashes before its seal is on disk", play: crashed },
    Scenario { name: "a node with a new disk is asked what the old one held", play: new_disk },
    Scenario { name: "one of two that are settled holds what was acknowledged", play: holder },
];

fn crashed(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules, &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]]);
    stage.slow_disk = Some(0);
    for node in [0, 2, 3] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[0, 2, 3]);
    stage.slow_disk = None;
    stage.restart(0);
    // Neither has heard of the second epoch, unless the first one remembers.
    stage.write_among(0, 1, &[0, 1]);
    stage.learn(4, 2);
    stage.must_read(3, &[3, 4, 1, 2], 0)
}

fn new_disk(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules, &[&[(0, 0), (1, 0), (2, 0)], &[(0, 1), (2, 0), (3, 0)]]);
    stage.write_among(1, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    stage.lose_disk(0, 1, 2);
    for node in [2, 3] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[0, 2, 3]);
    acked.or_else(|| stage.must_read(3, &[3, 2, 1, 0], 0))
}

fn holder(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules, &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]]);
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    for node in [0, 2, 3, 4] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[0, 2, 3, 4]);
    acked.or_else(|| stage.must_read(3, &[3, 4, 2, 0], 0))
}
