//! Lost disks: as many as leave too few replicas to go on without help (ADR 9).

use crate::conduct::Conduct;

use super::{Scenario, Stage};
use crate::checks::Violation;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "one of two is lost, and the other has not heard of the next epoch",
        play: left_is_deaf,
    },
    Scenario { name: "one of two leaves with its disk, and has not heard of it", play: left_with_its_disk },
    Scenario { name: "two of three are lost, and with them an acknowledged batch", play: two_of_three },
    Scenario { name: "two of three are lost, one after the other", play: one_after_the_other },
    Scenario { name: "one of two is lost", play: one_of_two },
    Scenario { name: "the log of one of two is damaged, and a third comes", play: one_of_two_is_damaged },
    Scenario { name: "the only one is lost", play: only_one },
    Scenario { name: "a cluster grows from one to three, and loses its first node", play: grown },
    Scenario { name: "two of three are lost, and leave the cluster afterwards", play: lost_and_left },
];

fn left_is_deaf(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0)], &[(1, 1), (2, 0)]]);
    stage.lose_disk(1, 1, 2);
    stage.learn(2, 2);
    stage.write_among(2, 1, &[1, 2]);
    stage.read(0, &[0])
}

fn left_with_its_disk(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0)], &[(1, 0), (2, 0)]]);
    for node in [1, 2] {
        stage.learn(node, 2);
    }
    stage.write_among(2, 1, &[1, 2]);
    stage.read(0, &[0])
}

/// Everybody reads, and the cluster takes writes again.
fn goes_on(stage: &mut Stage, members: &[usize], warnings: usize) -> Option<Violation> {
    stage.all_learn();
    stage.mail.clear();
    let everybody = [0, 1, 2, 3, 4];
    stage.write_among(members[0], 9, &everybody);
    let reads =
        |stage: &mut Stage| members.iter().find_map(|node| stage.must_read(*node, &everybody, warnings));
    stage.must_have_acked(9).or_else(|| reads(stage))
}

fn two_of_three(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 2] = [&[(0, 0), (1, 0), (2, 0)], &[(0, 1), (1, 1), (2, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    for node in [0, 1] {
        stage.lose_disk(node, 1, 2);
    }
    acked.or_else(|| goes_on(&mut stage, &[0, 1, 2], 1))
}

fn one_after_the_other(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 3] = [&[(0, 0), (1, 0), (2, 0)], &[(0, 1), (1, 0), (2, 0)], &[(0, 1), (1, 1), (2, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    stage.lose_disk(0, 1, 2);
    for node in [1, 2] {
        stage.learn(node, 2);
    }
    // What is written now lies in a segment that loses one replica only.
    stage.write_among(0, 2, &[0, 1, 2]);
    let acked = acked.or_else(|| stage.must_have_acked(2));
    stage.lose_disk(1, 1, 3);
    acked.or_else(|| goes_on(&mut stage, &[0, 1, 2], 1))
}

fn one_of_two(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0)], &[(0, 0), (1, 1)]]);
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    stage.lose_disk(1, 1, 2);
    // The one that is left has all that was acknowledged: there is nothing to warn of.
    acked.or_else(|| goes_on(&mut stage, &[0, 1], 0))
}

fn one_of_two_is_damaged(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0)], &[(0, 0), (1, 0), (2, 0)]]);
    stage.write_among(0, 1, &[0, 1]);
    let acked = stage.must_have_acked(1);
    stage.damage_log(1);
    // The other one has all that was acknowledged, and the damaged one does not stand in the way of what comes.
    acked.or_else(|| goes_on(&mut stage, &[0, 1, 2], 0))
}

fn only_one(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0)], &[(0, 1)]]);
    stage.write_among(0, 1, &[0]);
    let acked = stage.must_have_acked(1);
    stage.lose_disk(0, 1, 2);
    acked.or_else(|| goes_on(&mut stage, &[0], 1))
}

fn grown(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 4] =
        [&[(0, 0)], &[(0, 0), (1, 0)], &[(0, 0), (1, 0), (2, 0)], &[(0, 1), (1, 0), (2, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    let mut acked = None;
    for epoch in 1..=3 {
        for node in 0..epoch {
            stage.learn(node, epoch);
        }
        stage.write_among(0, epoch as u64, &[0, 1, 2]);
        acked = acked.or_else(|| stage.must_have_acked(epoch as u64));
    }
    stage.lose_disk(0, 1, 4);
    // Of the first segment nothing is left; the one of two replicas has the other, the one of three a quorum.
    acked.or_else(|| goes_on(&mut stage, &[0, 1, 2], 1))
}

fn lost_and_left(conduct: Conduct) -> Option<Violation> {
    let lists: [&[_]; 3] = [&[(0, 0), (1, 0), (2, 0)], &[(0, 1), (1, 1), (2, 0)], &[(2, 0)]];
    let mut stage = Stage::new(conduct, &lists);
    stage.write_among(0, 1, &[0, 1, 2]);
    let acked = stage.must_have_acked(1);
    for node in [0, 1] {
        stage.lose_disk(node, 1, 2);
    }
    acked.or_else(|| goes_on(&mut stage, &[2], 1))
}
