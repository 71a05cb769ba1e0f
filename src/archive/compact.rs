//! Carries out a job of a [plan](super::plan): blocks are downloaded, become others, these are uploaded, and then the old
//! ones are marked for removal.
//!
//! What may go wrong: the process dies anywhere, or two nodes do the same. The names of new blocks follow from those of the
//! old ones and from what is made of them, and so do their bytes. So whoever does it again finds what is there, and two that
//! do it at the same time put the same objects. Old blocks are marked only when all new ones are listed; until then queries
//! read both, and merge them. New blocks are verified before they are uploaded.
//!
//! Old blocks must not be removed before nobody reads with a list that does not have the new ones; see
//! [`cleanup`](super::cleanup).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_ring::{HashSeed, ShardCount, TenantId};
use gyre_tsdb::block::{Block, BlockError, DeletionMark, Meta, Thanos, Ulid, compact, verify};
use gyre_tsdb::disk::OsDisk;
use xxhash_rust::xxh3::xxh3_128;

use super::cover::{covers_of, set_covers};
use super::download::download;
use super::error::ArchiveError;
use super::import::on_a_thread;
use super::layout;
use super::list::{ListedBlock, TenantBlocks};
use super::marks::mark_deletion;
use super::plan::{Job, Work, labels};
use super::ship::SHARD_LABEL;
use super::upload::{describe, upload};
use crate::cluster::store::Bucket;
use crate::env::crash_point;

/// What the section of Thanos has as the maker of compacted blocks.
const SOURCE: &str = "compactor";

/// Compacts a tenant's blocks.
pub struct Compactor<'a> {
    /// Where they are.
    pub bucket: &'a Bucket,
    /// Says which shard a series belongs to.
    pub seed: HashSeed,
    /// A folder for this alone. It takes twice the bytes of a job's blocks.
    pub scratch: &'a Path,
}

/// What a job did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Blocks that are there now, of this run or of an earlier one.
    pub made: Vec<Ulid>,
    /// Those that they replace, now marked for removal.
    pub replaced: Vec<Ulid>,
}

/// A block that is to be made.
struct Output {
    meta: Meta,
    shard: Option<(u32, ShardCount)>,
}

impl Compactor<'_> {
    /// Carries out a job on blocks of a list. `now_s` is written into the marks, seconds since 1970.
    ///
    /// # Errors
    /// After any of them, nothing is lost, and it may be done again with a list that is newer.
    pub async fn run(&self, list: &TenantBlocks, job: &Job, now_s: i64) -> Result<Compacted, ArchiveError> {
        let tenant = list.tenant();
        let old: Vec<&ListedBlock> = job
            .blocks
            .iter()
            .map(|name| {
                list.blocks().get(name).ok_or_else(|| self.wrong(tenant, *name, "is not listed any more"))
            })
            .collect::<Result<_, _>>()?;
        let mut compacted = Compacted::default();
        let mut folders = Vec::new();
        for output in outputs(&old, job.work) {
            let name = output.meta.ulid;
            // An earlier run may have made it, and a later one may have made others of it since.
            if let Some(holder) = list.whole_holder_of(&output.meta.compaction.sources) {
                compacted.made.push(holder);
                continue;
            }
            // Whoever marked it wanted what it was made of back: that must not go, too.
            if list.blocks().contains_key(&name) {
                return Err(self.wrong(tenant, name, "is marked for removal, but not what it was made of"));
            }
            if folders.is_empty() {
                folders = self.fetch(tenant, &old).await?;
            }
            if self.make(tenant, &old, &folders, output).await? {
                compacted.made.push(name);
            }
            crash_point("compact-after-upload");
        }
        for block in &old {
            let made: Vec<String> = compacted.made.iter().map(ToString::to_string).collect();
            let details = match made.is_empty() {
                true => "holds nothing".to_owned(),
                false => format!("compacted into {}", made.join(", ")),
            };
            mark_deletion(self.bucket, tenant, &DeletionMark::new(block.meta.ulid, details, now_s)).await?;
            crash_point("compact-after-mark");
            compacted.replaced.push(block.meta.ulid);
        }
        self.clear()?;
        Ok(compacted)
    }

    async fn fetch(&self, tenant: &TenantId, old: &[&ListedBlock]) -> Result<Vec<PathBuf>, ArchiveError> {
        // What an earlier run has left may be of anything.
        self.clear()?;
        let mut folders = Vec::new();
        for block in old {
            folders
                .push(download(self.bucket, tenant, &block.meta, &self.scratch.join("old"), &|_| ()).await?);
        }
        crash_point("compact-after-download");
        Ok(folders)
    }

    /// Makes, checks and uploads a block; false if there is nothing to put into it.
    async fn make(
        &self,
        tenant: &TenantId,
        old: &[&ListedBlock],
        folders: &[PathBuf],
        output: Output,
    ) -> Result<bool, ArchiveError> {
        let (folders, into, seed) = (folders.to_vec(), self.scratch.join("new"), self.seed);
        let name = output.meta.ulid;
        let path = into.join(name.to_string());
        let made = on_a_thread(move || {
            let blocks: Vec<Block> =
                folders.iter().map(|folder| Block::open(&OsDisk, folder)).collect::<Result<_, _>>()?;
            let written = match output.shard {
                None => compact(Arc::new(OsDisk), &into, &blocks, None, output.meta)?,
                Some((index, count)) => {
                    let is_own = |labels: gyre_tsdb::labels::Labels<'_>| {
                        count.index_of(seed.key(labels.as_bytes())) == index
                    };
                    compact(Arc::new(OsDisk), &into, &blocks, Some(&is_own), output.meta)?
                }
            };
            let Some(meta) = written else { return Ok(None) };
            let findings = verify(&Block::open(&OsDisk, &into.join(meta.ulid.to_string()))?);
            Ok(Some((meta, findings.first().map(ToString::to_string))))
        });
        let failed = |source: BlockError| ArchiveError::Block { path: path.clone(), source };
        let Some((meta, finding)) = made.await.map_err(failed)? else { return Ok(false) };
        let samples_max: u64 = old.iter().map(|block| block.meta.stats.num_samples).sum();
        let problem = finding.or_else(|| {
            let samples = meta.stats.num_samples;
            (samples > samples_max).then(|| format!("has {samples} samples of {samples_max}"))
        });
        if let Some(problem) = problem {
            return Err(ArchiveError::File { path, problem: format!("came out wrong: {problem}") });
        }
        crash_point("compact-before-upload");
        upload(self.bucket, tenant, &path, &describe(&path, meta, tenant)?, &|_| ()).await?;
        std::fs::remove_dir_all(&path)
            .map_err(|error| ArchiveError::File { path, problem: error.to_string() })?;
        Ok(true)
    }

    fn clear(&self) -> Result<(), ArchiveError> {
        for folder in ["old", "new"].map(|name| self.scratch.join(name)) {
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(ArchiveError::File { path: folder, problem: error.to_string() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn wrong(&self, tenant: &TenantId, name: Ulid, problem: &str) -> ArchiveError {
        let object = self.bucket.object(&layout::block_folder(tenant, name));
        ArchiveError::Object { object, problem: problem.to_owned() }
    }
}

/// What is made of blocks, with the names that follow from theirs.
fn outputs(old: &[&ListedBlock], work: Work) -> Vec<Output> {
    let metas: Vec<&Meta> = old.iter().map(|block| &*block.meta).collect();
    let common = metas.first().map(|meta| labels(meta)).unwrap_or_default();
    let time_ms = metas.iter().map(|meta| meta.ulid.time_ms()).max().unwrap_or(0);
    match work {
        Work::Merge => {
            let mut meta = Meta::of_whole(name(&metas, time_ms, "merge"), &metas);
            meta.thanos = Some(thanos(&common));
            set_covers(&mut meta, metas.iter().flat_map(|meta| covers_of(meta)));
            vec![Output { meta, shard: None }]
        }
        Work::Split(count) => {
            let begin_ms = metas.iter().map(|meta| meta.min_ms).min().unwrap_or(0);
            let end_ms = metas.iter().map(|meta| meta.end_ms).max().unwrap_or(0);
            let part = |index: u32| {
                let label = format!("{}_of_{}", index + 1, count.get());
                let mut meta = Meta::of_part(name(&metas, time_ms, &label), begin_ms, end_ms, &metas);
                let mut labels = common.clone();
                labels.insert(SHARD_LABEL.to_owned(), label);
                meta.thanos = Some(thanos(&labels));
                // Says that the label is of this cluster's shards.
                set_covers(&mut meta, []);
                Output { meta, shard: Some((index, count)) }
            };
            (0..count.get()).map(part).collect()
        }
    }
}

fn thanos(labels: &BTreeMap<String, String>) -> Thanos {
    let labels = labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    Thanos { version: 1, labels, source: SOURCE.to_owned(), ..Thanos::default() }
}

/// The name of a block that is made of others. The time in it is the newest of theirs, so that names go on sorting by age.
fn name(metas: &[&Meta], time_ms: u64, what: &str) -> Ulid {
    let mut of = what.as_bytes().to_vec();
    of.push(0);
    of.extend(metas.iter().flat_map(|meta| meta.ulid.0.to_be_bytes()));
    Ulid::new(time_ms, xxh3_128(&of))
}
