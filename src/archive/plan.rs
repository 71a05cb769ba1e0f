//! Which blocks of a tenant are to become one, as a pure function of the list.
//!
//! Blocks of the same shard are merged within aligned ranges of time, the longest that is over: late blocks of two hours first,
//! then twelve hours, then a day. Blocks that overlap beyond such a range are merged first, whatever their range. Blocks that
//! hold several shards' series, such as those of a Prometheus, are split into one for each shard, with the same ranges.
//!
//! What may go wrong is work in vain: a range is left alone while it may still get blocks, and nothing is planned twice for
//! a block. Running all of a plan's jobs and planning again ends with an empty plan.

use std::collections::BTreeMap;

use gyre_ring::ShardCount;
use gyre_tsdb::block::{Meta, Ulid};

use super::cover::covers_of;
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
    /// One block for each of so many shards.
    Split(ShardCount),
}

/// Blocks that become others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What is made of them.
    pub work: Work,
    /// Which, by name. One, at least, of a split; two of a merge.
    pub blocks: Vec<Ulid>,
}

/// The jobs that there are: those of overlapping blocks first, then those of the oldest. No block is in two of them.
pub fn plan<'a>(blocks: impl Iterator<Item = &'a ListedBlock>, options: &PlanOptions) -> Vec<Job> {
    let mut groups: BTreeMap<BTreeMap<String, String>, Vec<&ListedBlock>> = BTreeMap::new();
    for block in blocks.filter(|block| may_be_compacted(block)) {
        groups.entry(labels(&block.meta)).or_default().push(block);
    }
    let mut jobs = Vec::new();
    for (labels, blocks) in groups {
        let work = match labels.contains_key(SHARD_LABEL) {
            true => Work::Merge,
            false => Work::Split(options.shards),
        };
        Group { work, options }.plan(blocks, &mut jobs);
    }
    jobs.sort_by_key(|planned| (!planned.overlaps, planned.begin_ms));
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
    let labels = meta.thanos.iter().flat_map(|thanos| &thanos.labels);
    let labels = labels.filter(|(name, _)| ![TENANT_LABEL, INGESTER_LABEL].contains(&name.as_str()));
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    labels.map(|(name, value)| (name.clone(), text(value))).collect()
}

struct Planned {
    job: Job,
    overlaps: bool,
    begin_ms: i64,
}

/// Blocks that may be merged with each other.
struct Group<'a> {
    work: Work,
    options: &'a PlanOptions,
}

impl Group<'_> {
    fn plan(&self, mut blocks: Vec<&ListedBlock>, jobs: &mut Vec<Planned>) {
        blocks.sort_by_key(|block| (block.meta.min_ms, block.meta.end_ms, block.meta.ulid));
        let longest_ms = self.options.ranges_ms.last().copied().unwrap_or(24 * HOUR_MS);
        let mut left = Vec::new();
        for cluster in overlapping(blocks) {
            if window_of(&cluster, longest_ms).is_some() {
                left.extend(cluster);
                continue;
            }
            let end_ms = cluster.iter().map(|block| block.meta.end_ms).max().unwrap_or(i64::MAX);
            self.push(&cluster, end_ms, true, jobs);
        }
        for range_ms in self.options.ranges_ms.iter().rev() {
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
                if !self.push(&blocks, end_ms, false, jobs) {
                    shorter.extend(blocks);
                }
            }
            left = shorter;
        }
    }

    /// Adds a job, if there is something to do with these blocks already.
    fn push(&self, blocks: &[&ListedBlock], end_ms: i64, overlaps: bool, jobs: &mut Vec<Planned>) -> bool {
        let options = self.options;
        let is_settled = |since_ms: i64| since_ms.saturating_add(options.settle_ms) <= options.now_ms;
        let least = if self.work == Work::Merge { 2 } else { 1 };
        let bytes: u64 = blocks.iter().map(|block| total_bytes(&block.meta)).sum();
        let may_begin = blocks.len() >= least
            && is_settled(end_ms)
            && blocks.iter().all(|block| is_settled(block.uploaded_ms))
            && bytes <= options.job_bytes_max;
        if !may_begin {
            return false;
        }
        let mut names: Vec<Ulid> = blocks.iter().map(|block| block.meta.ulid).collect();
        names.sort_unstable();
        let begin_ms = blocks.iter().map(|block| block.meta.min_ms).min().unwrap_or(0);
        jobs.push(Planned { job: Job { work: self.work, blocks: names }, overlaps, begin_ms });
        true
    }
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
