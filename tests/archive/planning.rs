//! Which blocks are compacted together.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre::archive::ListedBlock;
use gyre::archive::cover::{Cover, set_covers};
use gyre::archive::plan::{Job, PlanOptions, Work, plan};
use gyre_ring::{BatchNumber, BatchSet, BootId, Epoch, Segment, Shard, ShardCount, ShardIndex};
use gyre_tsdb::block::{DeletionMark, File, Meta, NoCompactMark, Thanos, Ulid};
use proptest::prelude::*;

use crate::rig::{HOUR_MS, tenant};

/// Long after all blocks.
const NOW_MS: i64 = 10_000 * HOUR_MS;

fn two() -> ShardCount {
    ShardCount::new(2).unwrap()
}

fn options() -> PlanOptions {
    PlanOptions::new(NOW_MS, two())
}

/// A block of these hours, of a shard or of several.
fn block(number: u128, begin_h: i64, end_h: i64, shard: Option<&str>) -> ListedBlock {
    let mut meta = Meta::of_head(Ulid::new(1, number), begin_h * HOUR_MS, end_h * HOUR_MS);
    let labels = shard.map(|shard| ("__compactor_shard_id__".to_owned(), shard.into()));
    meta.thanos = Some(Thanos { version: 1, labels: labels.into_iter().collect(), ..Thanos::default() });
    if shard.is_some() {
        // Says that the label is of this cluster's shards.
        set_covers(&mut meta, []);
    }
    listed(meta)
}

fn listed(meta: Meta) -> ListedBlock {
    ListedBlock {
        meta: Arc::new(meta),
        uploaded_ms: 0,
        deletion: None,
        no_compact: None,
        superseded_by: None,
    }
}

fn change(block: &mut ListedBlock, change: impl FnOnce(&mut Meta)) {
    let mut meta = (*block.meta).clone();
    change(&mut meta);
    block.meta = Arc::new(meta);
}

fn merge(numbers: &[u128]) -> Job {
    Job { work: Work::Merge, blocks: numbers.iter().map(|number| Ulid::new(1, *number)).collect() }
}

fn planned(blocks: &[ListedBlock]) -> Vec<Job> {
    plan(blocks.iter(), &options())
}

#[test]
fn blocks_of_a_day_become_one_and_those_of_different_shards_stay_apart() {
    let mut blocks: Vec<ListedBlock> =
        (0..12).map(|n| block(n, n as i64 * 2, n as i64 * 2 + 2, Some("1_of_2"))).collect();
    blocks.extend((20..22).map(|n| block(n, 0, 2, Some("2_of_2"))));
    let day = merge(&(0..12).collect::<Vec<_>>());
    assert_eq!(planned(&blocks), [day, merge(&[20, 21])]);
    // The next day has one block only.
    assert_eq!(planned(&[block(1, 24, 26, Some("1_of_2"))]), []);
}

#[test]
fn while_a_day_is_not_over_its_first_half_is_merged_and_so_is_what_overlaps() {
    let blocks: Vec<ListedBlock> = (0..8)
        .map(|n| block(n, n as i64 * 2, n as i64 * 2 + 2, Some("1_of_2")))
        .chain([block(100, 14, 16, Some("1_of_2"))])
        .collect();
    let at = |now_h: i64| plan(blocks.iter(), &PlanOptions { now_ms: now_h * HOUR_MS, ..options() });
    // Three hours to settle.
    assert_eq!(at(14), []);
    assert_eq!(at(15), [merge(&[0, 1, 2, 3, 4, 5])]);
    assert_eq!(at(19), [merge(&[0, 1, 2, 3, 4, 5]), merge(&[7, 100])]);
    assert_eq!(at(27), [merge(&[0, 1, 2, 3, 4, 5, 6, 7, 100])]);
}

#[test]
fn a_range_that_has_just_got_a_block_is_left_alone() {
    let mut blocks = vec![block(1, 0, 2, Some("1_of_2")), block(2, 0, 2, Some("1_of_2"))];
    blocks[1].uploaded_ms = NOW_MS - HOUR_MS;
    assert_eq!(planned(&blocks), []);
    blocks[1].uploaded_ms = NOW_MS - 3 * HOUR_MS;
    assert_eq!(planned(&blocks), [merge(&[1, 2])]);
}

#[test]
fn what_overlaps_beyond_a_day_comes_first() {
    let blocks = [
        block(1, 0, 2, Some("1_of_2")),
        block(2, 2, 4, Some("1_of_2")),
        block(3, 90, 100, Some("1_of_2")),
        block(4, 99, 180, Some("1_of_2")),
        block(5, 170, 172, Some("1_of_2")),
    ];
    assert_eq!(planned(&blocks), [merge(&[3, 4, 5]), merge(&[1, 2])]);
}

#[test]
fn blocks_of_several_shards_are_split_each_alone() {
    let blocks =
        [block(1, 0, 2, None), block(2, 4, 6, None), block(3, 30, 60, None), block(4, 0, 2, Some("1_of_2"))];
    let split = |numbers: &[u128]| Job { work: Work::Split(two()), ..merge(numbers) };
    assert_eq!(planned(&blocks), [split(&[1]), split(&[2]), split(&[3])]);
}

#[test]
fn marked_superseded_downsampled_and_partitioned_blocks_and_divided_covers_are_left_out() {
    let pair = || [block(1, 0, 2, Some("1_of_2")), block(2, 0, 2, Some("1_of_2"))];
    assert_eq!(planned(&pair()), [merge(&[1, 2])]);
    let without = |change: fn(&mut ListedBlock)| {
        let mut blocks = pair();
        change(&mut blocks[0]);
        assert_eq!(planned(&blocks), []);
    };
    without(|block| block.deletion = Some(Box::new(DeletionMark::new(block.meta.ulid, String::new(), 1))));
    without(|block| {
        block.no_compact =
            Some(Box::new(NoCompactMark::new(block.meta.ulid, String::new(), String::new(), 1)));
    });
    without(|block| block.superseded_by = Some(Ulid(9)));
    without(|block| change(block, |meta| meta.thanos.as_mut().unwrap().downsample.resolution = 300_000));
    without(|block| {
        change(block, |meta| {
            let info = serde_json::json!({"partition_info": {"partition_count": 2}});
            meta.thanos.as_mut().unwrap().other.insert("extensions", info);
        });
    });
    without(|block| {
        // Others' labels are kept apart, also these.
        change(block, |meta| drop(meta.thanos.as_mut().unwrap().labels.insert("cluster", "eu".into())));
    });
    let mut covering = block(3, 0, 2, None);
    assert_eq!(planned(std::slice::from_ref(&covering)).len(), 1);
    change(&mut covering, |meta| {
        let shard = Shard { tenant: tenant(), index: ShardIndex(0), count: two() };
        let mut batches = BatchSet::default();
        batches.insert_interval(BootId(1), BatchNumber(1), BatchNumber(2));
        let segment = Segment { shard, epoch: Epoch(1) };
        set_covers(meta, [Cover { segment, window: 0, batches }]);
    });
    assert_eq!(planned(&[covering]), []);
}

#[test]
fn a_job_that_would_be_too_large_is_cut_into_shorter_ranges() {
    let mut blocks: Vec<ListedBlock> =
        (0..12).map(|n| block(n, n as i64 * 2, n as i64 * 2 + 2, Some("1_of_2"))).collect();
    for block in &mut blocks {
        change(block, |meta| {
            let file = File { rel_path: "index".to_owned(), size_bytes: 10, ..File::default() };
            meta.thanos.as_mut().unwrap().files.push(file);
        });
    }
    let at = |job_bytes_max| plan(blocks.iter(), &PlanOptions { job_bytes_max, ..options() });
    assert_eq!(at(120).len(), 1);
    assert_eq!(at(119), [merge(&[0, 1, 2, 3, 4, 5]), merge(&[6, 7, 8, 9, 10, 11])]);
    assert_eq!(at(59), []);
}

/// What the list would be after a job.
fn carry_out(blocks: &mut Vec<ListedBlock>, job: &Job, next: &mut u128) {
    let old: Vec<ListedBlock> =
        blocks.iter().filter(|block| job.blocks.contains(&block.meta.ulid)).cloned().collect();
    blocks.retain(|block| !job.blocks.contains(&block.meta.ulid));
    let metas: Vec<&Meta> = old.iter().map(|block| &*block.meta).collect();
    let begin_ms = metas.iter().map(|meta| meta.min_ms).min().unwrap();
    let end_ms = metas.iter().map(|meta| meta.end_ms).max().unwrap();
    let thanos = metas[0].thanos.clone();
    let mut name = || {
        *next += 1;
        Ulid::new(2, *next)
    };
    match job.work {
        Work::Merge => {
            blocks.push(listed(Meta { thanos, ..Meta::of_whole(name(), &metas) }));
        }
        Work::Split(count) => {
            for index in 1..=count.get() {
                let mut meta =
                    Meta { thanos: thanos.clone(), ..Meta::of_part(name(), begin_ms, end_ms, &metas) };
                let label = format!("{index}_of_{}", count.get()).into();
                meta.thanos.as_mut().unwrap().labels.insert("__compactor_shard_id__", label);
                // As `compact` does it: the label is of this cluster's shards.
                set_covers(&mut meta, []);
                blocks.push(listed(meta));
            }
        }
    }
}

fn any_block() -> impl Strategy<Value = (i64, i64, usize, bool, bool)> {
    let length = prop_oneof![6 => Just(2i64), 2 => Just(12), 1 => Just(24), 2 => 1i64..60];
    (-40i64..80, length, 0usize..3, prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
        |(at, length, shard, kept, fresh)| {
            // Most lie where our own do.
            let begin_h =
                if length == 2 || length == 12 || length == 24 { at.div_euclid(length) * length } else { at };
            (begin_h, length, shard, kept, fresh)
        },
    )
}

proptest! {
    #[test]
    fn plans_are_disjoint_end_leave_nothing_to_do_and_touch_nothing_they_must_not(
        rows in proptest::collection::vec(any_block(), 0..40)
    ) {
        let shards = [None, Some("1_of_2"), Some("2_of_2")];
        let mut blocks: Vec<ListedBlock> = Vec::new();
        for (number, (begin_h, length, shard, kept, fresh)) in rows.into_iter().enumerate() {
            let mut one = block(number as u128, begin_h, begin_h + length, shards[shard]);
            if kept {
                one.no_compact = Some(Box::new(NoCompactMark::new(one.meta.ulid, String::new(), String::new(), 1)));
            }
            if fresh {
                one.uploaded_ms = NOW_MS;
            }
            blocks.push(one);
        }
        let untouchable: Vec<ListedBlock> =
            blocks.iter().filter(|block| block.no_compact.is_some() || block.uploaded_ms > 0).cloned().collect();
        let sources = |blocks: &[ListedBlock], shard: &str| {
            let own = blocks.iter().filter(|block| {
                block.meta.thanos.as_ref().unwrap().labels.get("__compactor_shard_id__").is_some_and(|s| s == shard)
            });
            let mut all: Vec<Ulid> = own.flat_map(|block| block.meta.compaction.sources.clone()).collect();
            all.sort_unstable();
            all
        };
        let mut next = 0;
        let mut rounds = 0;
        loop {
            let jobs = planned(&blocks);
            if jobs.is_empty() {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 100, "it never ends: {jobs:?}");
            let mut seen: Vec<Ulid> = jobs.iter().flat_map(|job| job.blocks.clone()).collect();
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), count, "a block is in two jobs");
            for job in &jobs {
                let least = if job.work == Work::Merge { 2 } else { 1 };
                prop_assert!(job.blocks.len() >= least);
                let before = [sources(&blocks, "1_of_2"), sources(&blocks, "2_of_2")];
                carry_out(&mut blocks, job, &mut next);
                if job.work == Work::Merge {
                    prop_assert_eq!(&before, &[sources(&blocks, "1_of_2"), sources(&blocks, "2_of_2")]);
                }
            }
        }
        for block in &untouchable {
            prop_assert!(blocks.contains(block), "{} was touched", block.meta.ulid);
        }
        let free: Vec<&ListedBlock> = blocks.iter().filter(|block| !untouchable.contains(block)).collect();
        let mut by_shard: BTreeMap<String, Vec<&Meta>> = BTreeMap::new();
        for block in &free {
            let labels = &block.meta.thanos.as_ref().unwrap().labels;
            if let Some(shard) = labels.get("__compactor_shard_id__") {
                by_shard.entry(shard.to_string()).or_default().push(&block.meta);
            }
        }
        // Where nothing fresh holds a range back, nothing overlaps any more, and everything is of one shard.
        if untouchable.iter().all(|block| block.uploaded_ms == 0) {
            prop_assert_eq!(by_shard.values().map(Vec::len).sum::<usize>(), free.len(), "not all is split");
            for metas in by_shard.values() {
                for (at, a) in metas.iter().enumerate() {
                    for b in &metas[at + 1..] {
                        prop_assert!(a.end_ms <= b.min_ms || b.end_ms <= a.min_ms, "{a:?} overlaps {b:?}");
                    }
                }
            }
        }
    }
}
