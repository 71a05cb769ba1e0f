//! Windows that are in blocks, and dropped.

use super::{Disk, Scenario, Stage};
use crate::checks::Violation;
use crate::conduct::Conduct;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "a replica has dropped what is in no list of the reader's", play: old_list },
    Scenario {
        name: "a replica that has dropped something restarts before the old list is used",
        play: restarted,
    },
    Scenario { name: "what a replica has dropped another one never had", play: dropped_is_held },
    Scenario { name: "no block can be put", play: nothing_is_put },
    Scenario { name: "a window comes to a block, and then there is more in it", play: more_comes },
    Scenario { name: "a batch comes while its window is cut", play: comes_while_cut },
    Scenario { name: "one window of an old segment is in a block, and another is not", play: one_window },
    Scenario { name: "blocks are compacted, and a reader goes by the list before", play: compacted },
    Scenario { name: "a window is in a block and in a head", play: in_both },
    Scenario { name: "a replica pulls what has a series in it that is forgotten", play: forgotten },
];

const THREE: &[&[Disk]] = &[&[(0, 0), (1, 0), (2, 0)]];

/// Points of two windows.
const EARLY: u64 = 1;
const LATE: u64 = 200;

/// What n0 and n2 have, and n1 has not; n1 has a list of blocks from before there was any.
fn acked_by_two(conduct: Conduct) -> (Stage, Option<Violation>) {
    let mut stage = Stage::new(conduct, THREE);
    stage.write_among(0, EARLY, &[0, 2]);
    let acked = stage.must_have_acked(EARLY);
    let first = acked.or_else(|| stage.must_read(1, &[0, 2], 0));
    (stage, first)
}

fn old_list(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct);
    stage.ship(0, |_| true);
    first.or_else(|| stage.must_read(1, &[0, 2], 0))
}

fn restarted(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct);
    stage.ship(0, |_| true);
    stage.snapshot(0);
    stage.restart(0);
    first.or_else(|| stage.must_read(1, &[0, 2], 0))
}

fn dropped_is_held(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, THREE);
    let first = stage.must_read(1, &[1, 0], 0);
    stage.write_among(0, EARLY, &[0, 2]);
    let acked = stage.must_have_acked(EARLY);
    stage.ship(0, |_| true);
    first.or(acked).or_else(|| stage.must_read(1, &[1, 0], 0))
}

fn nothing_is_put(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct);
    stage.store_is_full = true;
    for node in [0, 2] {
        stage.ship(node, |_| true);
    }
    first.or_else(|| stage.must_read(1, &[0, 2], 0))
}

fn more_comes(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct);
    stage.ship(0, |_| true);
    stage.write_among(0, EARLY + 1, &[0, 2]);
    let acked = stage.must_have_acked(EARLY + 1);
    for node in [0, 2] {
        stage.ship(node, |_| true);
    }
    first.or(acked).or_else(|| stage.must_read(1, &[0, 2], 0))
}

fn comes_while_cut(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct);
    stage.cuts_are_slow = true;
    stage.ship(0, |_| true);
    stage.write_among(0, EARLY + 1, &[0, 2]);
    let acked = stage.must_have_acked(EARLY + 1);
    stage.cuts_are_slow = false;
    for (node, number) in std::mem::take(&mut stage.cuts) {
        stage.go_on(node, number);
    }
    stage.ship(2, |_| true);
    first.or(acked).or_else(|| stage.must_read(1, &[0, 2], 0))
}

fn one_window(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, &[&[(0, 0), (1, 0), (2, 0)], &[(1, 0), (2, 0), (3, 0)]]);
    for time in [EARLY, LATE] {
        stage.write_among(0, time, &[0, 1, 2]);
    }
    let acked = stage.must_have_acked(LATE);
    stage.ship(0, |window| window == 0);
    stage.all_learn();
    acked.or_else(|| stage.must_read(3, &[1, 2, 3], 0))
}

fn compacted(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, THREE);
    for time in [EARLY, LATE] {
        stage.write_among(0, time, &[0, 1, 2]);
    }
    let acked = stage.must_have_acked(LATE);
    stage.ship(0, |_| true);
    // n1 has a list of two blocks, and n2 drops what they have.
    let before = stage.must_read(1, &[0, 2], 0);
    for _ in 0..8 {
        stage.compact(0);
    }
    stage.store.clean();
    let blocks = stage.store.listing().blocks().len();
    stage.ship(2, |_| true);
    let again = stage.store.listing().blocks().len();
    let uploaded = (blocks != 1 || again != 1).then(|| Violation {
        invariant: "compaction",
        what: format!("{blocks} blocks of two, and {again} after another replica had a look"),
    });
    // n0 names the two blocks, which were removed, and n2 the one that has them.
    let reads = |stage: &mut Stage| stage.must_read(1, &[0, 2], 0).or_else(|| stage.must_read(1, &[2, 0], 0));
    acked.or(before).or(uploaded).or_else(|| reads(&mut stage))
}

fn in_both(conduct: Conduct) -> Option<Violation> {
    let (mut stage, first) = acked_by_two(conduct);
    stage.ship(0, |_| true);
    first.or_else(|| stage.must_read(3, &[2, 0], 0))
}

fn forgotten(conduct: Conduct) -> Option<Violation> {
    let mut stage = Stage::new(conduct, THREE);
    let first = stage.must_read(1, &[1, 0], 0);
    stage.write_among(0, EARLY, &[0, 2]);
    let acked = stage.must_have_acked(EARLY);
    let series = stage.key;
    stage.key = stage.another_key();
    stage.write_among(0, LATE, &[0, 2]);
    let later = stage.must_have_acked(LATE);
    for node in [0, 2] {
        stage.ship(node, |window| window == 0);
    }
    stage.key = series;
    // n1 has a list from before there was a block, and gets the batch of which nothing is left.
    let pulled = |stage: &mut Stage| stage.must_read(1, &[1, 0], 0);
    first.or(acked).or(later).or_else(|| pulled(&mut stage)).or_else(|| {
        stage.restart(1);
        pulled(&mut stage)
    })
}
