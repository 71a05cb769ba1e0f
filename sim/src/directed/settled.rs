//! Nodes that have said once for all what they do not hold (ADR 11).

use crate::conduct::Conduct;

use super::{Asked, Scenario, Stage};
use crate::checks::Violation;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "who has said that it is settled crashes before its seal is on disk", play: crashed },
    Scenario { name: "a node with a new disk is asked what the old one held", play: new_disk },
    Scenario { name: "one of two that are settled holds what was acknowledged", play: holder },
    Scenario { name: "what only the third replica has was not acknowledged", play: never_acknowledged },
];

fn crashed(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]]);
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

fn new_disk(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)], &[(0, 1), (2, 0), (3, 0)]]);
    stage.write_among(1, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    stage.lose_disk(0, 1, 2);
    for node in [2, 3] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[0, 2, 3]);
    acked.or_else(|| stage.must_read(3, &[3, 2, 1, 0], 0))
}

fn holder(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]]);
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    for node in [0, 2, 3, 4] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[0, 2, 3, 4]);
    acked.or_else(|| stage.must_read(3, &[3, 4, 2, 0], 0))
}

/// n0 has not heard that the first segment is over, and takes a point that n1 and n2 refuse: they are settled.
fn never_acknowledged(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]]);
    for node in [1, 2, 3] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[1, 2, 3]);
    stage.write_among(0, 1, &[0]);
    stage.tell_clients();
    stage.repair(1, &[0, 1]);
    stage.learn(4, 2);
    // n3 knows that nothing can have been acknowledged there, n4 finds what n0 and by now n1 hold.
    let (knows, finds): (Asked, Asked) = ((3, &[2, 4]), (4, &[0, 1, 3, 4]));
    let unlike = stage.must_answer_alike(knows, finds);
    // The client has no answer, and tries again.
    stage.write_among(3, 1, &[2, 3, 4]);
    let unlike = unlike.or_else(|| stage.must_have_acked(1));
    unlike.or_else(|| stage.must_answer_alike(knows, finds))
}
