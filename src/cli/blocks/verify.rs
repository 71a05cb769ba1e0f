//! `gyre blocks verify`: reads blocks whole, and names what is damaged.

use gyre_ring::TenantId;
use gyre_tsdb::block::{Block, Ulid, verify as findings};
use gyre_tsdb::disk::OsDisk;
use serde::Serialize;

use super::progress::Progress;
use super::{Outcome, Scratch, load};
use crate::archive::download::download;
use crate::archive::upload::total_bytes;
use crate::archive::{ArchiveError, TenantBlocks};
use crate::cluster::store::Bucket;

#[derive(Serialize)]
struct Verified {
    tenant: String,
    block: String,
    problems: Vec<String>,
}

pub(super) async fn verify(
    bucket: &Bucket,
    tenant: Option<&TenantId>,
    blocks: &[Ulid],
    json: bool,
) -> Result<Outcome, ArchiveError> {
    let tenants = load(bucket, tenant).await?;
    let wanted = |name: &Ulid| blocks.is_empty() || blocks.contains(name);
    let all = || tenants.iter().flat_map(|tenant| tenant.blocks().values());
    let bytes = all().filter(|block| wanted(&block.meta.ulid)).map(|block| total_bytes(&block.meta)).sum();
    let progress = Progress::new(bytes);
    let mut verified = Vec::new();
    for list in &tenants {
        for (name, why) in list.damaged().iter().filter(|(name, _)| wanted(name)) {
            verified.push(of(list, *name, vec![why.clone()]));
        }
        for name in list.partial().iter().filter(|name| wanted(name)) {
            progress.note(&format!(
                "{}/{name}: has no meta.json: an upload that is under way or has ended early",
                list.tenant()
            ));
            if !blocks.is_empty() {
                verified.push(of(list, *name, vec!["has no meta.json".to_owned()]));
            }
        }
        for name in list.blocks().keys().filter(|name| wanted(name)) {
            progress.on(format!("{}/{name}", list.tenant()));
            let problems = check(bucket, list, *name, &progress).await?;
            verified.push(of(list, *name, problems));
        }
    }
    for name in blocks {
        if !verified.iter().any(|one| one.block == name.to_string()) {
            let tenant = tenant.map(ToString::to_string).unwrap_or_default();
            let problems = vec!["there is no such block".to_owned()];
            verified.push(Verified { tenant, block: name.to_string(), problems });
        }
    }
    drop(progress);
    let is_well = verified.iter().all(|one| one.problems.is_empty());
    if json {
        return Ok(Outcome::json(&verified, is_well));
    }
    let mut text = String::new();
    for Verified { tenant, block, problems } in &verified {
        for problem in problems {
            text.push_str(&format!("{tenant}/{block}: {problem}\n"));
        }
    }
    let damaged = verified.iter().filter(|one| !one.problems.is_empty()).count();
    text.push_str(&format!("{} blocks verified, {damaged} damaged\n", verified.len()));
    Ok(Outcome { text, is_well })
}

fn of(list: &TenantBlocks, name: Ulid, problems: Vec<String>) -> Verified {
    Verified { tenant: list.tenant().to_string(), block: name.to_string(), problems }
}

/// What is wrong with a block. An error of the store that may pass is no damage.
async fn check(
    bucket: &Bucket,
    list: &TenantBlocks,
    name: Ulid,
    progress: &Progress,
) -> Result<Vec<String>, ArchiveError> {
    let scratch = Scratch::new()?;
    let meta = &list.blocks()[&name].meta;
    let folder =
        match download(bucket, list.tenant(), meta, scratch.path(), &|bytes| progress.add(bytes)).await {
            Ok(folder) => folder,
            Err(ArchiveError::Object { problem, object }) => return Ok(vec![format!("{object}: {problem}")]),
            Err(error) => return Err(error),
        };
    let block = match Block::open(&OsDisk, &folder) {
        Ok(block) => block,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    Ok(findings(&block).iter().map(ToString::to_string).collect())
}
