//! `meta.json`: what a block is, where it comes from, and how much is in it.
//!
//! Prometheus's fields, the `thanos` section that Thanos and Cortex add, and whatever else there is: fields that
//! are not known here are kept, so that a file that was read and is written again has lost nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{BlockError, BlockFile};
use super::fields::Fields;
use super::ulid::Ulid;

/// The one version there is.
const VERSION: u64 = 1;

/// A block's description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The block's name.
    pub ulid: Ulid,
    /// No sample is older, milliseconds.
    #[serde(rename = "minTime")]
    pub min_ms: i64,
    /// All samples are older, milliseconds.
    #[serde(rename = "maxTime")]
    pub end_ms: i64,
    /// How much there is.
    #[serde(default)]
    pub stats: Stats,
    /// Where it comes from.
    pub compaction: Compaction,
    /// 1.
    pub version: u64,
    /// What Thanos and Cortex note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<Thanos>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How much is in a block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Samples of all kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Floats. Prometheus before 2.45 does not say.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms. Prometheus before 2.45 does not say.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Label sets.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Tombstones.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where a block comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// How often its data was compacted; 1 for a block of a head.
    pub level: u64,
    /// The blocks of heads that it contains. Others take a block for superseded whose sources another one has too: what
    /// stands here and is not true loses data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// It holds nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// The blocks that it was made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// Compacting it failed once.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Remarks, such as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A block that another one was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name.
    pub ulid: Ulid,
    /// Its begin.
    #[serde(rename = "minTime")]
    pub min_ms: i64,
    /// Its end, not included.
    #[serde(rename = "maxTime")]
    pub end_ms: i64,
}

/// The section of Thanos and Cortex.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thanos {
    /// The section's version: 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: u64,
    /// Labels of all series that are not written to each of them; Cortex: `__org_id__`, the tenant.
    pub labels: Fields,
    /// The resolution of the samples.
    pub downsample: Downsample,
    /// What made the block: `receive`, `compactor` ...
    pub source: String,
    /// Names of the files in `chunks/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segment_files: Vec<String>,
    /// All files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Sizes that spare readers guesses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_stats: Option<IndexStats>,
    /// Other fields.
    #[serde(flatten)]
    pub other: Fields,
}

/// The resolution of samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downsample {
    /// Milliseconds; 0: as they were scraped.
    pub resolution: i64,
}

/// A file of a block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Its path within the block.
    pub rel_path: String,
    /// Its length. Of `meta.json` it is left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The greatest sizes in an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexStats {
    /// Of a series' entry, bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub series_max_size: u64,
    /// Of a chunk, bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub chunk_max_size: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Meta {
    /// The description of a block that is made of a head.
    pub fn of_head(ulid: Ulid, min_ms: i64, end_ms: i64) -> Self {
        let compaction = Compaction { level: 1, sources: vec![ulid], ..Compaction::default() };
        Meta::new(ulid, min_ms, end_ms, compaction)
    }

    /// The description of a block with nothing in it yet.
    pub(super) fn new(ulid: Ulid, min_ms: i64, end_ms: i64, compaction: Compaction) -> Self {
        let (stats, other) = (Stats::default(), Map::new());
        Meta { ulid, min_ms, end_ms, stats, compaction, version: VERSION, thanos: None, other }
    }

    /// Reads the file.
    pub fn parse(json: &[u8]) -> Result<Self, BlockError> {
        let file = BlockFile::Meta;
        let meta: Meta = serde_json::from_slice(json).map_err(|source| BlockError::Json { file, source })?;
        if meta.version != VERSION {
            return Err(BlockError::Unsupported { file, offset: 0, what: "version", number: meta.version });
        }
        Ok(meta)
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

/// JSON as Prometheus indents it.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut to = serde_json::Serializer::with_formatter(&mut out, tabs);
    value.serialize(&mut to).expect("these types have text keys, and a Vec takes everything");
    out
}
