//! Marks beside a block: it is to be removed, or not to be compacted. Cortex keeps each of them twice, in the block's
//! folder and in the tenant's `markers` folder.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{BlockError, BlockFile};
use super::meta::to_json;
use super::ulid::Ulid;

/// The one version of both.
const VERSION: u64 = 1;

/// `deletion-mark.json`: readers leave the block alone after some time, later it is removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeletionMark {
    /// The block.
    pub id: Ulid,
    /// 1.
    pub version: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// When it was marked, seconds since 1970.
    #[serde(rename = "deletion_time")]
    pub time_s: i64,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `no-compact-mark.json`: compaction leaves the block out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoCompactMark {
    /// The block.
    pub id: Ulid,
    /// 1.
    pub version: u64,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// When it was marked, seconds since 1970.
    #[serde(rename = "no_compact_time")]
    pub time_s: i64,
    /// Why, for programs.
    #[serde(default)]
    pub reason: String,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl DeletionMark {
    /// A new mark.
    pub fn new(id: Ulid, details: String, time_s: i64) -> Self {
        DeletionMark { id, version: VERSION, details, time_s, other: Map::new() }
    }

    /// Reads the file.
    pub fn parse(json: &[u8]) -> Result<Self, BlockError> {
        let file = BlockFile::DeletionMark;
        let mark: Self = serde_json::from_slice(json).map_err(|source| BlockError::Json { file, source })?;
        check_version(file, mark.version)?;
        Ok(mark)
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

impl NoCompactMark {
    /// A new mark.
    pub fn new(id: Ulid, reason: String, details: String, time_s: i64) -> Self {
        NoCompactMark { id, version: VERSION, details, time_s, reason, other: Map::new() }
    }

    /// Reads the file.
    pub fn parse(json: &[u8]) -> Result<Self, BlockError> {
        let file = BlockFile::NoCompactMark;
        let mark: Self = serde_json::from_slice(json).map_err(|source| BlockError::Json { file, source })?;
        check_version(file, mark.version)?;
        Ok(mark)
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

fn check_version(file: BlockFile, number: u64) -> Result<(), BlockError> {
    if number == VERSION {
        return Ok(());
    }
    Err(BlockError::Unsupported { file, offset: 0, what: "version", number })
}
