//! `bucket-index.json.gz`: which blocks a tenant has, and which are to be removed, as one object. Cortex's compactor
//! writes it every 15 minutes, and its queriers and store-gateways read it instead of listing the bucket.
//!
//! Fields: Cortex's `pkg/storage/tsdb/bucketindex`, version 1 and 2 (which adds `parquet`); fields that are not known here
//! are kept. What may go wrong: it is old, or was written by somebody who did not see all blocks. So it is only a hint here,
//! never a reason to drop anything.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use gyre_ring::TenantId;
use gyre_tsdb::block::{DeletionMark, Meta, Ulid};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ArchiveError;
use super::layout;
use super::list::ListedBlock;
use crate::cluster::store::Bucket;

/// The version that is written.
const VERSION: u64 = 1;
/// The newest version that is read.
const VERSION_MAX: u64 = 2;

/// No index is larger, packed.
const PACKED_BYTES_MAX: u64 = 64 << 20;
/// No index is larger, unpacked: some millions of blocks.
const BYTES_MAX: u64 = 1 << 30;

/// How names of chunk files are written down: a number from 1 on with six digits.
const SEGMENTS_FORMAT: &str = "1b6d";

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BucketIndex {
    /// 1 or 2.
    pub version: u64,
    /// Blocks that are complete.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub blocks: Vec<IndexedBlock>,
    /// Those that are to be removed.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub block_deletion_marks: Vec<IndexedMark>,
    /// When it was made, seconds since 1970.
    #[serde(rename = "updated_at")]
    pub updated_s: i64,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A block in the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexedBlock {
    /// Its name.
    #[serde(rename = "block_id")]
    pub ulid: Ulid,
    /// No sample is older, milliseconds.
    #[serde(rename = "min_time")]
    pub min_ms: i64,
    /// All samples are older, milliseconds.
    #[serde(rename = "max_time")]
    pub end_ms: i64,
    /// How the names of its chunk files are written down; empty: they are not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub segments_format: String,
    /// How many chunk files it has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub segments_num: u64,
    /// The longest entry of a series, bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub series_max_size: u64,
    /// The longest chunk, bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk_max_size: u64,
    /// When its meta.json was put, seconds since 1970.
    #[serde(rename = "uploaded_at")]
    pub uploaded_s: i64,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A deletion mark in the index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexedMark {
    /// The block.
    #[serde(rename = "block_id")]
    pub ulid: Ulid,
    /// When it was marked, seconds since 1970.
    #[serde(rename = "deletion_time")]
    pub time_s: i64,
    /// Other fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Go writes a list that was never made as null.
fn null_as_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl IndexedBlock {
    fn new(meta: &Meta, uploaded_ms: i64) -> Self {
        let thanos = meta.thanos.clone().unwrap_or_default();
        let is_plain = (1..).zip(&thanos.segment_files).all(|(number, name)| *name == format!("{number:06}"));
        let stats = thanos.index_stats.unwrap_or_default();
        let mut block = IndexedBlock {
            ulid: meta.ulid,
            min_ms: meta.min_ms,
            end_ms: meta.end_ms,
            series_max_size: stats.series_max_size,
            chunk_max_size: stats.chunk_max_size,
            uploaded_s: uploaded_ms.div_euclid(1000),
            ..IndexedBlock::default()
        };
        if is_plain && !thanos.segment_files.is_empty() {
            block.segments_format = SEGMENTS_FORMAT.to_owned();
            block.segments_num = thanos.segment_files.len() as u64;
        }
        block
    }
}

impl BucketIndex {
    /// The index of listed blocks.
    pub fn of<'a>(blocks: impl Iterator<Item = &'a ListedBlock>, now_ms: i64) -> Self {
        let mut index =
            BucketIndex { version: VERSION, updated_s: now_ms.div_euclid(1000), ..BucketIndex::default() };
        for block in blocks {
            index.blocks.push(IndexedBlock::new(&block.meta, block.uploaded_ms));
            let mark = |mark: &DeletionMark| IndexedMark {
                ulid: mark.id,
                time_s: mark.time_s,
                ..IndexedMark::default()
            };
            index.block_deletion_marks.extend(block.deletion.as_deref().map(mark));
        }
        index
    }

    /// The object's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("these types have text keys");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let packed = gzip.write_all(&json).and_then(|()| gzip.finish());
        packed.expect("a Vec takes everything")
    }

    /// Reads the object. The error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut json = Vec::new();
        let mut gzip = GzDecoder::new(bytes).take(BYTES_MAX + 1);
        gzip.read_to_end(&mut json).map_err(|error| format!("does not unpack: {error}"))?;
        if json.len() as u64 > BYTES_MAX {
            return Err(format!("has more than {BYTES_MAX} bytes"));
        }
        let index: BucketIndex = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
        match index.version {
            1..=VERSION_MAX => Ok(index),
            version => Err(format!("version {version} is not supported")),
        }
    }

    /// The index of a tenant; `None` if there is none.
    pub async fn load(bucket: &Bucket, tenant: &TenantId) -> Result<Option<Self>, ArchiveError> {
        let path = layout::bucket_index(tenant);
        let found = bucket.retrying(|| bucket.get(&path, PACKED_BYTES_MAX)).await?;
        let parse = |bytes: Bytes| BucketIndex::parse(&bytes);
        found
            .map(parse)
            .transpose()
            .map_err(|problem| ArchiveError::Object { object: bucket.object(&path), problem })
    }

    /// Puts it in the place of the one that is there.
    pub async fn store(&self, bucket: &Bucket, tenant: &TenantId) -> Result<(), ArchiveError> {
        Ok(bucket.put(&layout::bucket_index(tenant), self.to_bytes().into()).await?)
    }
}
