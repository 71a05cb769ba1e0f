//! `gyre blocks list`.

use gyre_ring::TenantId;
use gyre_tsdb::block::Ulid;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Outcome, load};
use crate::archive::ship::SHARD_LABEL;
use crate::archive::upload::total_bytes;
use crate::archive::{ArchiveError, ListedBlock, TenantBlocks};
use crate::cli::table::push_table;
use crate::cluster::store::Bucket;

/// A block, as JSON has it.
#[derive(Serialize)]
struct Row {
    tenant: String,
    block: String,
    /// listed, superseded, marked (to be removed), partial or damaged.
    state: &'static str,
    #[serde(flatten)]
    facts: Option<Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// What a block's description says.
#[derive(Serialize)]
pub(super) struct Facts {
    min_time_ms: i64,
    max_time_ms: i64,
    samples: u64,
    series: u64,
    chunks: u64,
    size_bytes: u64,
    level: u64,
    sources: Vec<Ulid>,
    uploaded_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded_by: Option<Ulid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_marked_s: Option<i64>,
    is_compactable: bool,
}

impl Facts {
    pub(super) fn of(block: &ListedBlock) -> Self {
        let meta = &block.meta;
        let shard = meta.thanos.as_ref().and_then(|thanos| thanos.labels.get(SHARD_LABEL));
        Facts {
            min_time_ms: meta.min_ms,
            max_time_ms: meta.end_ms,
            samples: meta.stats.num_samples,
            series: meta.stats.num_series,
            chunks: meta.stats.num_chunks,
            size_bytes: total_bytes(meta),
            level: meta.compaction.level,
            sources: meta.compaction.sources.clone(),
            uploaded_ms: block.uploaded_ms,
            shard: shard.and_then(|shard| shard.as_str().map(str::to_owned)),
            superseded_by: block.superseded_by,
            deletion_marked_s: block.deletion.as_ref().map(|mark| mark.time_s),
            is_compactable: block.no_compact.is_none(),
        }
    }
}

/// In which state a listed block is.
pub(super) fn state_of(block: &ListedBlock) -> &'static str {
    match block {
        ListedBlock { deletion: Some(_), .. } => "marked",
        ListedBlock { superseded_by: Some(_), .. } => "superseded",
        _ => "listed",
    }
}

pub(super) async fn list(
    bucket: &Bucket,
    tenant: Option<&TenantId>,
    json: bool,
) -> Result<Outcome, ArchiveError> {
    let rows: Vec<Row> = load(bucket, tenant).await?.iter().flat_map(rows).collect();
    if json {
        return Ok(Outcome::json(&rows, true));
    }
    let mut text = String::new();
    let names = ["TENANT", "BLOCK", "FROM", "TO", "LEVEL", "SERIES", "SAMPLES", "SIZE", "SHARD", "STATE"];
    let mut table = vec![names.map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    push_table(&mut text, &table);
    let bytes: u64 = rows.iter().filter_map(|row| row.facts.as_ref()).map(|facts| facts.size_bytes).sum();
    text.push_str(&format!("\n{} blocks, {} in {}\n", rows.len(), size(bytes), bucket.name()));
    Ok(Outcome { text, is_well: true })
}

fn rows(blocks: &TenantBlocks) -> Vec<Row> {
    let row = |block: Ulid, state, facts, problem| Row {
        tenant: blocks.tenant().to_string(),
        block: block.to_string(),
        state,
        facts,
        problem,
    };
    let listed =
        blocks.blocks().iter().map(|(name, block)| row(*name, state_of(block), Some(Facts::of(block)), None));
    let partial = blocks.partial().iter().map(|name| row(*name, "partial", None, None));
    let damaged = blocks.damaged().iter().map(|(name, why)| row(*name, "damaged", None, Some(why.clone())));
    let mut rows: Vec<Row> = listed.chain(partial).chain(damaged).collect();
    rows.sort_by_key(|row| (row.facts.as_ref().map(|facts| facts.min_time_ms), row.block.clone()));
    rows
}

fn cells(row: &Row) -> [String; 10] {
    let none = || "-".to_owned();
    let fact = |show: fn(&Facts) -> String| row.facts.as_ref().map_or_else(none, show);
    let state = match (&row.problem, row.facts.as_ref().and_then(|facts| facts.superseded_by)) {
        (Some(problem), _) => format!("{}: {problem}", row.state),
        (None, Some(by)) if row.state == "superseded" => format!("superseded by {by}"),
        _ => row.state.to_owned(),
    };
    [
        row.tenant.clone(),
        row.block.clone(),
        fact(|facts| time_text(facts.min_time_ms)),
        fact(|facts| time_text(facts.max_time_ms)),
        fact(|facts| facts.level.to_string()),
        fact(|facts| facts.series.to_string()),
        fact(|facts| facts.samples.to_string()),
        fact(|facts| size(facts.size_bytes)),
        fact(|facts| facts.shard.clone().unwrap_or_else(|| "-".to_owned())),
        state,
    ]
}

/// A time in UTC, or its number where there is no such year.
pub(super) fn time_text(t_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(t_ms) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| t_ms.to_string())
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes} B"),
        0x400..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1024.0 / 1024.0 / 1024.0),
    }
}
