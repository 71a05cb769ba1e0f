//! `gyre blocks`: shows, checks and moves blocks in the object store. It needs no running node, and disturbs none.
//!
//! - [`args`]: from flags and words to what is to be done.
//! - `list`: which blocks there are; `inspect`: what one of them is.
//! - `verify`: looks for damage.
//! - `transfer`: import and export.
//! - `progress`: how far long work is, on a terminal.
//!
//! Standard output has the result, as a table or, with `--json`, as documented in `docs/storage.md`; everything else goes to
//! standard error. The exit status is 1 if anything is wrong with a block or could not be done.

pub mod args;
mod inspect;
mod list;
mod progress;
mod transfer;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use gyre_ring::TenantId;

use self::args::{Action, BlocksCommand};
use super::print;
use crate::archive::list::tenants as tenants_of;
use crate::archive::{ArchiveError, TenantBlocks};
use crate::cluster::store::{Bucket, StorageUrl};
use crate::config::Config;
use crate::telemetry::logs;

/// What to print, and whether all is well.
struct Outcome {
    text: String,
    is_well: bool,
}

impl Outcome {
    /// JSON with a line feed behind it.
    fn json(value: &impl serde::Serialize, is_well: bool) -> Self {
        let json = serde_json::to_string_pretty(value).expect("these types have text keys");
        Outcome { text: format!("{json}\n"), is_well }
    }
}

/// Does what the command line says.
pub(super) fn run(command: &BlocksCommand, config: &Config) -> ExitCode {
    logs::start(config.log_level.into());
    let done = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(act(command, config)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match done {
        Ok(Outcome { text, is_well }) => {
            print(&text);
            if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("gyre: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn act(command: &BlocksCommand, config: &Config) -> Result<Outcome, String> {
    let bucket = open(config, matches!(command.action, Action::Import { .. }))?;
    let json = command.json;
    let done = match &command.action {
        Action::List { tenant } => list::list(&bucket, tenant.as_ref(), json).await,
        Action::Inspect { tenant, block } => inspect::inspect(&bucket, tenant, *block, json).await,
        Action::Verify { tenant, blocks } => verify::verify(&bucket, tenant.as_ref(), blocks, json).await,
        Action::Import { tenant, paths } => transfer::import(&bucket, tenant, paths, json).await,
        Action::Export { tenant, from_ms, to_ms, folder } => {
            transfer::export(&bucket, tenant, (*from_ms, *to_ms), folder, json).await
        }
    };
    done.map_err(|error| error.to_string())
}

/// The bucket. Only an import makes a folder that is not there: a mistyped path has no blocks, rather than none yet.
fn open(config: &Config, may_make: bool) -> Result<Bucket, String> {
    let folder = match &config.storage_url {
        StorageUrl::Memory => {
            return Err(
                "memory:// ends with the process; say where the blocks are with --storage.url".to_owned()
            );
        }
        StorageUrl::File(path) => Some(path.clone()),
        StorageUrl::DataDir => Some(config.data_dir.clone()),
        #[cfg(feature = "cloud")]
        StorageUrl::Cloud(_) => None,
    };
    if let Some(folder) = folder.filter(|folder| !may_make && !folder.is_dir()) {
        let hint = "say where the blocks are with --storage.url or --data-dir";
        return Err(format!("{} is no folder; {hint}", folder.display()));
    }
    if may_make && config.storage_url == StorageUrl::DataDir {
        let failed = |error| format!("{}: {error}", config.data_dir.display());
        std::fs::create_dir_all(&config.data_dir).map_err(failed)?;
    }
    Bucket::open(&config.storage_url, &config.data_dir).map_err(|error| error.to_string())
}

/// The blocks of a tenant, or of all tenants that have any.
async fn load(bucket: &Bucket, tenant: Option<&TenantId>) -> Result<Vec<TenantBlocks>, ArchiveError> {
    if let Some(tenant) = tenant {
        return Ok(vec![TenantBlocks::load(bucket, tenant).await?]);
    }
    let mut tenants = Vec::new();
    for tenant in tenants_of(bucket).await? {
        let blocks = TenantBlocks::load(bucket, &tenant).await?;
        if !(blocks.blocks().is_empty() && blocks.partial().is_empty() && blocks.damaged().is_empty()) {
            tenants.push(blocks);
        }
    }
    Ok(tenants)
}

/// A folder for what is only needed meanwhile, gone in the end.
struct Scratch {
    path: std::path::PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, ArchiveError> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).expect("the operating system gives random numbers");
        let path = std::env::temp_dir().join(format!("gyre-blocks-{:016x}", u64::from_ne_bytes(name)));
        let failed =
            |error: std::io::Error| ArchiveError::File { path: path.clone(), problem: error.to_string() };
        std::fs::create_dir(&path).map_err(failed)?;
        Ok(Scratch { path })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
