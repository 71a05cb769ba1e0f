//! Which blocks of a tenant are to become one, as a pure function of the list.
//!
//! Blocks of the same shard are merged within aligned ranges of time, two hours, twelve or a day: within the longest that is
//! over. Blocks that overlap beyond a day are merged, whatever their range. Blocks that hold several shards'
//! series, such as those of a Prometheus, are split into one for each shard: each alone, so that one mark says that its parts
//! replace it.
//!
//! What may go wrong is work in vain: a range is left alone while it may still get blocks, and nothing is planned twice for
//! a block. Running all of a plan's jobs and planning again ends with an empty plan.

use std::collections::BTreeMap;

use gyre_ring::ShardCount;
use gyre_tsdb::block::{Meta, Ulid};

use super::cover::{covers_of, is_ours};
use super::list::{ListedBlock, is_partition};
use super::ship::SHARD_LABEL;
use super::upload::{TENANT_LABEL, total_bytes};

const HOUR_MS: i64 = 60 * 60 * 1000;

/// Cortex's label for the ingester that made a block: says nothing of its series.
const INGESTER_LABEL: &str = "__ingester_id__";

/// What a plan depends on besides the blocks.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    /// The time, milliseconds since 1970.
    pub now_ms: i64,
    /// Ranges of time whose blocks become one, shortest first, milliseconds.
    pub ranges_ms: Vec<i64>,
    /// A range has been over for so long before its blocks are merged, and has got no block for so long: samples may be late,
    /// and so may uploads.
    pub settle_ms: i64,
    /// So many shards blocks are split into that hold several shards' series.
    pub shards: ShardCount,
    /// The blocks of one job have no more bytes: an index has at most 64 GiB, and work and scratch space are bounded.
    pub job_bytes_max: u64,
}

impl PlanOptions {
    /// Cortex's ranges, three hours to settle, jobs of at most 64 GiB.
    pub fn new(now_ms: i64, shards: ShardCount) -> Self {
        PlanOptions {
            now_ms,
            ranges_ms: vec![2 * HOUR_MS, 12 * HOUR_MS, 24 * HOUR_MS],
            settle_ms: 3 * HOUR_MS,
            shards,
            job_bytes_max: 64 << 30,
        }
    }
}

/// What is made of a job's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One block that has all they have.
    Merge,
    /// One block for each of so many shards, of those that have series.
    Split(ShardCount),
}

/// Blocks that become others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is made of them.
    pub work: Work,
    /// Which, by name. One of a split, two or more of a merge.
    pub blocks: Vec<Ulid>,
}

/// The jobs that there are: splits first, since one that was interrupted may only lack its mark; then those of overlapping
/// blocks, then those of the oldest. No block is in two of them.
pub fn plan<'a>(blocks: impl Iterator<Item = &'a ListedBlock>, options: &PlanOptions) -> Vec<Job> {
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<&ListedBlock>> = BTreeMap::new();
    for block in blocks.filter(|block| may_be_compacted(block)) {
        let mut labels = labels(&block.meta);
        if !is_ours(&block.meta) {
            labels.remove(SHARD_LABEL);
        }
        groups.entry(labels).or_default().push(block);
    }
    let mut jobs = Vec::new();
    for (labels, blocks) in groups {
        if labels.contains_key(SHARD_LABEL) {
            plan_merges(blocks, options, &mut jobs);
            continue;
        }
        for block in blocks {
            jobs.extend(job(Work::Split(options.shards), &[block], block.meta.end_ms, false, options));
        }
    }
    jobs.sort_by_key(|planned| (planned.job.work == Work::Merge, !planned.overlaps, planned.begin_ms));
    jobs.into_iter().map(|planned| planned.job).collect()
}

fn may_be_compacted(block: &ListedBlock) -> bool {
    let meta = &block.meta;
    let is_raw = meta.thanos.as_ref().is_none_or(|thanos| thanos.downsample.resolution == 0);
    // What a block of a shard covers cannot be divided.
    let can_be_divided = || covers_of(meta).is_empty() || labels(meta).contains_key(SHARD_LABEL);
    block.deletion.is_none()
        && block.no_compact.is_none()
        && block.superseded_by.is_none()
        && is_raw
        && !is_partition(meta)
        && can_be_divided()
}

/// What the series of blocks have in common that may be merged.
pub(super) fn labels(meta: &Meta) -> BTreeMap<String, String> {
    let labels = meta.thanos.iter().flat_map(|thanos| thanos.labels.to_map());
    let labels = labels.filter(|(name, _)| ![TENANT_LABEL, INGESTER_LABEL].contains(&name.as_str()));
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    labels.map(|(name, value)| (name, text(value))).collect()
}

struct Planned {
    job: Job,
    overlaps: bool,
    begin_ms: i64,
}

/// Adds the jobs of blocks that may be merged with each other.
fn plan_merges(mut blocks: Vec<&ListedBlock>, options: &PlanOptions, jobs: &mut Vec<Planned>) {
    blocks.sort_by_key(|block| (block.meta.min_ms, block.meta.end_ms, block.meta.ulid));
    let longest_ms = options.ranges_ms.last().copied().unwrap_or(24 * HOUR_MS);
    let mut left = Vec::new();
    for cluster in overlapping(blocks) {
        if window_of(&cluster, longest_ms).is_some() {
            left.extend(cluster);
            continue;
        }
        let end_ms = cluster.iter().map(|block| block.meta.end_ms).max().unwrap_or(i64::MAX);
        jobs.extend(job(Work::Merge, &cluster, end_ms, true, options));
    }
    for range_ms in options.ranges_ms.iter().rev() {
        let mut windows: BTreeMap<i64, Vec<&ListedBlock>> = BTreeMap::new();
        let mut shorter = Vec::new();
        for block in left {
            match window_of(&[block], *range_ms) {
                Some(window) => windows.entry(window).or_default().push(block),
                None => shorter.push(block),
            }
        }
        for (window, blocks) in windows {
            let end_ms = window.saturating_add(1).saturating_mul(*range_ms);
            match job(Work::Merge, &blocks, end_ms, false, options) {
                Some(planned) => jobs.push(planned),
                None => shorter.extend(blocks),
            }
        }
        left = shorter;
    }
}

/// The job of these blocks, if there is something to do with them already. `end_ms`: the end of their range.
fn job(
    work: Work,
    blocks: &[&ListedBlock],
    end_ms: i64,
    overlaps: bool,
    options: &PlanOptions,
) -> Option<Planned> {
    let is_settled = |since_ms: i64| since_ms.saturating_add(options.settle_ms) <= options.now_ms;
    let least = if work == Work::Merge { 2 } else { 1 };
    let bytes: u64 = blocks.iter().map(|block| total_bytes(&block.meta)).sum();
    let may_begin = blocks.len() >= least
        && is_settled(end_ms)
        && blocks.iter().all(|block| is_settled(block.uploaded_ms))
        && bytes <= options.job_bytes_max;
    let mut names: Vec<Ulid> = blocks.iter().map(|block| block.meta.ulid).collect();
    names.sort_unstable();
    let begin_ms = blocks.iter().map(|block| block.meta.min_ms).min()?;
    may_begin.then_some(Planned { job: Job { work, blocks: names }, overlaps, begin_ms })
}

/// Sets of blocks that overlap, directly or through others; single blocks too. In order of time.
fn overlapping(blocks: Vec<&ListedBlock>) -> Vec<Vec<&ListedBlock>> {
    let mut clusters: Vec<Vec<&ListedBlock>> = Vec::new();
    let mut end_ms = i64::MIN;
    for block in blocks {
        match clusters.last_mut() {
            Some(cluster) if block.meta.min_ms < end_ms => cluster.push(block),
            _ => clusters.push(vec![block]),
        }
        end_ms = end_ms.max(block.meta.end_ms);
    }
    clusters
}

/// The number of the aligned range that blocks lie in; `None` if they do not lie in one.
fn window_of(blocks: &[&ListedBlock], range_ms: i64) -> Option<i64> {
    let begin_ms = blocks.iter().map(|block| block.meta.min_ms).min()?;
    let end_ms = blocks.iter().map(|block| block.meta.end_ms).max()?;
    let window = begin_ms.div_euclid(range_ms);
    (end_ms.saturating_sub(1).div_euclid(range_ms) == window).then_some(window)
}
