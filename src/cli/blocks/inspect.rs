//! `gyre blocks inspect`: what a block is, and what is most in it.

use gyre_ring::TenantId;
use gyre_tsdb::block::{IndexHeader, Meta, Ulid};
use gyre_tsdb::disk::{Disk, OsDisk};
use serde::Serialize;

use super::list::{Facts, size, state_of, time_text};
use super::{Outcome, Scratch};
use crate::archive::layout;
use crate::archive::{ArchiveError, TenantBlocks};
use crate::cli::table::push_table;
use crate::cluster::store::Bucket;

/// So many label names are shown.
const LABELS_SHOWN: usize = 20;

#[derive(Serialize)]
struct Inspected<'a> {
    tenant: &'a str,
    block: String,
    state: &'static str,
    #[serde(flatten)]
    facts: Facts,
    objects: Vec<Object>,
    /// Label names with how many values each has, most first.
    labels: Vec<Label>,
    meta: &'a Meta,
}

#[derive(Serialize)]
struct Object {
    path: String,
    size_bytes: u64,
}

#[derive(Serialize)]
struct Label {
    name: String,
    values: u64,
}

pub(super) async fn inspect(
    bucket: &Bucket,
    tenant: &TenantId,
    name: Ulid,
    json: bool,
) -> Result<Outcome, ArchiveError> {
    let list = TenantBlocks::load(bucket, tenant).await?;
    let folder = layout::block_folder(tenant, name);
    let wrong =
        |problem: &str| ArchiveError::Object { object: bucket.object(&folder), problem: problem.to_owned() };
    let Some(block) = list.blocks().get(&name) else {
        return Err(match list.damaged().get(&name) {
            Some(why) => wrong(why),
            None if list.partial().contains(&name) => wrong("has no meta.json: it is partial"),
            None => wrong("there is no such block"),
        });
    };
    let objects = bucket.list(&folder).await?.into_iter();
    let inspected = Inspected {
        tenant: tenant.as_str(),
        block: name.to_string(),
        state: state_of(block),
        facts: Facts::of(block),
        objects: objects.map(|object| Object { path: object.path, size_bytes: object.size_bytes }).collect(),
        labels: labels(bucket, tenant, name).await?,
        meta: &block.meta,
    };
    if json {
        return Ok(Outcome::json(&inspected, true));
    }
    Ok(Outcome { text: text(&inspected), is_well: true })
}

/// How many values each label has. Only the index is read.
async fn labels(bucket: &Bucket, tenant: &TenantId, name: Ulid) -> Result<Vec<Label>, ArchiveError> {
    let scratch = Scratch::new()?;
    let object = layout::block_object(tenant, name, layout::INDEX);
    let wrong = |problem: String| ArchiveError::Object { object: bucket.object(&object), problem };
    let path = scratch.path().join(layout::INDEX);
    bucket.get_file(&object, &path, &|_| ()).await?.ok_or_else(|| wrong("is not there".to_owned()))?;
    let index = OsDisk.open_read(&path).map_err(|error| wrong(error.to_string()))?;
    let header = IndexHeader::open(index.as_ref()).map_err(|error| wrong(error.to_string()))?;
    let postings = header.postings();
    let count = |name: &str| Label { name: name.to_owned(), values: postings.lists(name).count() as u64 };
    let mut labels: Vec<Label> = postings.names().filter(|name| !name.is_empty()).map(count).collect();
    labels.sort_by(|a, b| b.values.cmp(&a.values).then_with(|| a.name.cmp(&b.name)));
    Ok(labels)
}

fn text(inspected: &Inspected<'_>) -> String {
    let Inspected { tenant, block, state, objects, labels, meta, .. } = inspected;
    let stats = &meta.stats;
    let mut out = format!(
        "block {block} of tenant {tenant}: {state}\n\
         {} to {}, level {}\n\
         {} series, {} samples in {} chunks\n\n",
        time_text(meta.min_ms),
        time_text(meta.end_ms),
        meta.compaction.level,
        stats.num_series,
        stats.num_samples,
        stats.num_chunks,
    );
    let mut table = vec![["OBJECT", "SIZE"].map(str::to_owned)];
    table.extend(objects.iter().map(|object| [object.path.clone(), size(object.size_bytes)]));
    push_table(&mut out, &table);
    out.push('\n');
    let mut table = vec![["LABEL", "VALUES"].map(str::to_owned)];
    table
        .extend(labels.iter().take(LABELS_SHOWN).map(|label| [label.name.clone(), label.values.to_string()]));
    push_table(&mut out, &table);
    if let Some(more) = labels.len().checked_sub(LABELS_SHOWN + 1) {
        out.push_str(&format!("and {} more\n", more + 1));
    }
    out.push_str(&format!("\nmeta.json:\n{}\n", String::from_utf8_lossy(&meta.to_json())));
    out
}
