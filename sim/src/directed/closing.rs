//! Segments that a document closes (ADR 15).

use super::{Disk, Scenario, Stage};
use crate::checks::Violation;
use crate::conduct::Conduct;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "one of three is clear, and holds nothing", play: one_is_clear },
    Scenario { name: "one of two is clear, and the other has not heard that it is over", play: one_of_two },
    Scenario { name: "who has dropped all takes more before it is sealed", play: before_the_seal },
    Scenario { name: "replicas are sealed, and nothing is in blocks", play: nothing_in_blocks },
    Scenario { name: "a batch of two windows, and its segment is closed", play: two_windows },
    Scenario { name: "a reader hears of the closing, and has an old list", play: old_list },
    Scenario { name: "who has dropped what is closed says what it hosts", play: asked_what_it_hosts },
    Scenario { name: "who has dropped what is closed restarts", play: restarted },
    Scenario { name: "a coordinator with old documents writes to what is closed", play: old_coordinator },
    Scenario { name: "a node that left is switched off, and a tenant comes", play: switched_off },
    Scenario { name: "one that has lost its disk is not waited for", play: lost },
];

/// Three replicas, and then others but for one.
const TWO: &[&[Disk]] = &[&[(0, 0), (1, 0), (2, 0)], &[(2, 0), (3, 0), (4, 0)]];

const EARLY: u64 = 1;

/// What n0 and n1 have, and n2 has not; n3 and n4 have lists from before there was any block.
fn acked_by_two(conduct: Conduct, lists: &[&[Disk]]) -> (Stage, Option<Violation>) {
    let mut stage = Stage::new(conduct, lists);
    stage.write_among(0, EARLY, &[0, 1]);
    let acked = stage.must_have_acked(EARLY);
    let read = |node: usize, stage: &mut Stage| stage.must_read(node, &[0, 1], 0);
    let first = acked.or_else(|| read(3, &mut stage)).or_else(|| read(4, &mut stage));
    (stage, first)
}

/// The first segment is over, and some have made blocks of what they have of it. n3 has it closed if it can be.
fn closed(stage: &mut Stage, knows: &[usize], ships: &[usize]) -> bool {
    for node in knows {
        stage.learn(*node, 2);
    }
    stage.deliver_among(knows);
    for node in ships {
        stage.ship(*node, |_| true);
    }
    let is_closed = stage.close(3, knows);
    stage.mail.clear();
    is_closed
}

fn one_is_clear(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct, TWO);
    closed(&mut stage, &[2, 3, 4], &[]);
    stage.learn(3, 3);
    first.or_else(|| stage.must_read(3, &[3, 4, 0, 1, 2], 0))
}

fn one_of_two(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 2] = [&[(0, 0), (1, 0)], &[(1, 0), (2, 0), (3, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    stage.write_among(0, EARLY, &[0, 1]);
    let acked = stage.must_have_acked(EARLY);
    closed(&mut stage, &[1, 2, 3], &[1]);
    for node in [1, 2, 3] {
        stage.learn(node, 3);
    }
    stage.write_among(2, EARLY + 1, &[1, 2, 3]);
    acked.or_else(|| stage.read(0, &[0]))
}

fn before_the_seal(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct, TWO);
    for node in [0, 1] {
        stage.ship(node, |_| true);
    }
    stage.slow_seals = vec![0, 1];
    closed(&mut stage, &[0, 1, 3], &[]);
    // n2 has not heard of the second epoch, and the others' shards have not either.
    stage.write_among(2, EARLY + 1, &[0, 1, 2]);
    let acked = stage.must_have_acked(EARLY + 1);
    stage.learn(3, 3);
    first.or(acked).or_else(|| stage.must_read(3, &[3, 4, 0, 1], 0))
}

fn nothing_in_blocks(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct, TWO);
    closed(&mut stage, &[0, 1, 2, 3], &[]);
    stage.learn(3, 3);
    first.or_else(|| stage.must_read(3, &[3, 4, 0, 1], 0))
}

/// Closed as it should be, and n0 and n1 have dropped it.
fn is_closed(conduct: Conduct) -> (Stage, Option<Violation>) {
    let (mut stage, first) = acked_by_two(conduct, TWO);
    let is_closed = closed(&mut stage, &[0, 1, 3], &[0, 1]);
    let first = first.or_else(|| not_closed(is_closed));
    (stage, first)
}

fn not_closed(is_closed: bool) -> Option<Violation> {
    crate::checks::closed((!is_closed).then(|| "two of three are clear".to_owned()))
}

fn old_list(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = is_closed(conduct);
    // It has heard of it, and n3 looks for the blocks once more.
    stage.learn(4, 3);
    first.or_else(|| stage.must_read(4, &[2, 3, 4], 0))
}

fn asked_what_it_hosts(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = is_closed(conduct);
    for node in [0, 1] {
        stage.learn(node, 3);
    }
    stage.mail.clear();
    stage.learn(4, 2);
    stage.deliver_among(&[0, 1, 4]);
    // Refused with the document at first.
    let by_old_documents = stage.read(4, &[2, 3, 4, 0, 1]);
    first.or(by_old_documents).or_else(|| stage.must_read(4, &[2, 3, 4, 0, 1], 0))
}

fn restarted(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = is_closed(conduct);
    for node in [0, 1] {
        stage.learn(node, 3);
        stage.snapshot(node);
        stage.restart(node);
    }
    stage.mail.clear();
    stage.learn(4, 2);
    stage.mail.clear();
    let by_old_documents = stage.read(4, &[0, 1, 2, 3, 4]);
    first.or(by_old_documents).or_else(|| stage.must_read(4, &[0, 1, 2, 3, 4], 0))
}

fn two_windows(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, TWO);
    // The first write opens the segment.
    stage.write_among(0, EARLY, &[0, 1]);
    stage.write_points(0, &[119, 120]);
    stage.deliver_among(&[0, 1]);
    let acked = stage.must_have_acked(120);
    let is_closed = closed(&mut stage, &[0, 1, 3], &[0, 1]);
    stage.learn(3, 3);
    acked.or_else(|| not_closed(is_closed)).or_else(|| stage.must_read(3, &[2, 3, 4], 0))
}

fn old_coordinator(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = is_closed(conduct);
    for node in [0, 1, 2, 3] {
        stage.learn(node, 3);
    }
    // n4 goes by the first document at first, and is told.
    let everybody = [0, 1, 2, 3, 4];
    for _ in 0..2 {
        stage.write_among(4, EARLY + 1, &everybody);
    }
    let acked = stage.must_have_acked(EARLY + 1);
    first.or(acked).or_else(|| stage.must_read(4, &everybody, 0))
}

fn switched_off(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 2] = [&[(0, 0), (1, 0), (2, 0)], &[(1, 0), (2, 0), (3, 0)]];
    let (mut stage, first) = acked_by_two(conduct, &lists);
    let is_closed = closed(&mut stage, &[0, 1, 2, 3], &[0, 1, 2]);
    // n0 is heard no more, and the others restart.
    let left = [1, 2, 3];
    for node in left {
        stage.learn(node, 3);
        stage.restart(node);
    }
    stage.deliver_among(&left);
    stage.write_among(1, EARLY + 1, &left);
    let acked = stage.must_have_acked(EARLY + 1);
    let read = first.or_else(|| not_closed(is_closed)).or(acked).or_else(|| stage.must_read(3, &left, 0));
    stage.new_tenant();
    stage.write_among(3, EARLY + 2, &left);
    read.or_else(|| stage.must_have_acked(EARLY + 2))
}

fn lost(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 2] = [&[(0, 0), (1, 0), (2, 0)], &[(0, 1), (1, 0), (2, 0)]];
    let (mut stage, first) = acked_by_two(conduct, &lists);
    stage.lose_disk(0, 1, 2);
    for node in [1, 2, 3] {
        stage.learn(node, 2);
    }
    stage.deliver_among(&[0, 1, 2, 3]);
    // n2 is clear, which is not enough: it has what n1 has at most.
    let too_early = crate::checks::closed(
        (conduct.rules.closing_by_quorum && stage.close(2, &[0, 1, 2])).then(|| "n1 is not clear".to_owned()),
    );
    for _ in 0..2 {
        // n2 pulls what n1 has, and makes no second block of it.
        stage.repair(2, &[0, 1, 2]);
        for node in [1, 2] {
            stage.ship(node, |_| true);
        }
    }
    let late = stage.must_close(2, &[0, 1, 2]);
    for node in [0, 2] {
        stage.learn(node, 3);
    }
    first.or(too_early).or(late).or_else(|| stage.must_read(2, &[0, 2], 0))
}
