//! `gyre blocks import` and `export`.

use std::path::{Path, PathBuf};

use gyre_ring::TenantId;
use gyre_tsdb::block::Ulid;
use serde::Serialize;

use super::progress::Progress;
use super::{Outcome, Scratch};
use crate::archive::import::{Imported, external_labels, find_blocks, import as import_block};
use crate::archive::upload::{describe, read_meta, total_bytes};
use crate::archive::{ArchiveError, TenantBlocks, export::export as export_block};
use crate::cluster::store::Bucket;

/// What became of a folder.
#[derive(Serialize)]
struct ImportedFolder {
    path: String,
    /// imported, already_there, empty, damaged or failed.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<String>,
    problems: Vec<String>,
}

pub(super) async fn import(
    bucket: &Bucket,
    tenant: &TenantId,
    paths: &[PathBuf],
    json: bool,
) -> Result<Outcome, ArchiveError> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in paths {
        folders.extend(find_blocks(path)?);
    }
    let list = TenantBlocks::load(bucket, tenant).await?;
    let bytes = |folder: &PathBuf| {
        let meta = read_meta(folder).and_then(|meta| describe(folder, meta, tenant));
        meta.map_or(0, |meta| 2 * total_bytes(&meta))
    };
    let progress = Progress::new(folders.iter().map(bytes).sum());
    let scratch = Scratch::new()?;
    let mut imported = Vec::new();
    for folder in &folders {
        progress.on(folder.display().to_string());
        if let Ok(meta) = read_meta(folder)
            && let labels = external_labels(&meta)
            && !labels.is_empty()
        {
            let labels = labels.join(", ");
            progress.note(&format!(
                "{}: its external labels ({labels}) are kept in its description, but queries do not add them",
                folder.display()
            ));
        }
        let done = import_block(bucket, &list, folder, scratch.path(), &|bytes| progress.add(bytes)).await;
        let path = folder.display().to_string();
        let (outcome, block, problems): (_, Option<Ulid>, _) = match done {
            Ok(Imported::Now(block)) => ("imported", Some(block), vec![]),
            Ok(Imported::Before(block)) => ("already_there", Some(block), vec![]),
            Ok(Imported::Empty) => ("empty", None, vec![]),
            Ok(Imported::Damaged(problems)) => ("damaged", None, problems),
            // One folder's error does not keep the others from being imported.
            Err(error) => ("failed", None, vec![error.to_string()]),
        };
        imported.push(ImportedFolder {
            path,
            outcome,
            block: block.map(|block| block.to_string()),
            problems,
        });
    }
    drop(progress);
    let is_well = imported.iter().all(|folder| folder.problems.is_empty());
    if json {
        return Ok(Outcome::json(&imported, is_well));
    }
    let mut text = String::new();
    for ImportedFolder { path, outcome, block, problems } in &imported {
        let outcome = match (*outcome, block) {
            ("already_there", Some(block)) => format!("is there already, in block {block}"),
            ("imported", Some(block)) => format!("imported as block {block}"),
            ("empty", _) => "has nothing left that was not deleted".to_owned(),
            (outcome, _) => outcome.to_owned(),
        };
        text.push_str(&format!("{path}: {outcome}\n"));
        for problem in problems {
            text.push_str(&format!("  {problem}\n"));
        }
    }
    let count = |outcome: &str| imported.iter().filter(|folder| folder.outcome == outcome).count();
    text.push_str(&format!(
        "{} of {} blocks imported for tenant {tenant}, {} were there already\n",
        count("imported"),
        imported.len(),
        count("already_there"),
    ));
    Ok(Outcome { text, is_well })
}

#[derive(Serialize)]
struct Exported {
    block: String,
    path: String,
}

pub(super) async fn export(
    bucket: &Bucket,
    tenant: &TenantId,
    range_ms: (i64, i64),
    folder: &Path,
    json: bool,
) -> Result<Outcome, ArchiveError> {
    let list = TenantBlocks::load(bucket, tenant).await?;
    let blocks: Vec<_> = list
        .to_query(i64::MIN)
        .filter(|block| block.meta.min_ms < range_ms.1 && range_ms.0 < block.meta.end_ms)
        .collect();
    let progress = Progress::new(blocks.iter().map(|block| total_bytes(&block.meta)).sum());
    let mut exported = Vec::new();
    for block in &blocks {
        progress.on(block.meta.ulid.to_string());
        let add = |bytes| progress.add(bytes);
        let done = export_block(bucket, tenant, &block.meta, range_ms, folder, &add).await?;
        exported.extend(
            done.map(|path| Exported {
                block: block.meta.ulid.to_string(),
                path: path.display().to_string(),
            }),
        );
    }
    drop(progress);
    // promtool takes no folder without one.
    let log = folder.join("wal");
    let made = std::fs::create_dir_all(&log);
    made.map_err(|error| ArchiveError::File { path: log, problem: error.to_string() })?;
    let is_well = list.damaged().is_empty();
    for (name, why) in list.damaged() {
        eprintln!("gyre: {tenant}/{name} is left out: {why}");
    }
    if json {
        return Ok(Outcome::json(&exported, is_well));
    }
    let text = format!("{} blocks of tenant {tenant} exported to {}\n", exported.len(), folder.display());
    Ok(Outcome { text, is_well })
}
