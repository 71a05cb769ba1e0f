//! A node with a thousand blocks in its bucket: how long until it is ready, and how long its first look at all of them
//! takes.
//!
//! Blocks are copies of one under other names: to a node they are different. Files are dropped from the system's page
//! cache before each start.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gyre_tsdb::block::{Meta, Ulid};
use rustix::fs::{Advice, fadvise};

use super::scene::{BEGIN_MS, STEP_MS, Times, WINDOW_MS, cut, head};
use crate::error::{Error, Result};
use crate::query::api::{self, Data, seconds};
use crate::report::Table;
use crate::server::{Gyre, Product, Server};
use crate::targets::Target;

const BLOCKS: i64 = 1_000;
/// Series of each block.
const SERIES: usize = 1_000;
const ROUNDS: usize = 5;
/// A node without a tenant's name in requests has this one.
const TENANT: &str = "fake";

/// Measures; the table and the targets.
pub fn run(gyre: &Arc<Gyre>, folder: &Path) -> Result<(String, Vec<Target>)> {
    let bucket = folder.join("bucket");
    write_blocks(&bucket.join(TENANT), folder)?;
    let config = folder.join("gyre.yaml");
    let text = format!("storage:\n  url: file://{}\n", bucket.display());
    fs::write(&config, text).map_err(Error::io("writing a configuration"))?;
    let gyre = Gyre::os_synced(gyre.program().to_owned()).with_config(config);
    let product: Arc<dyn Product> = Arc::new(gyre);
    // The first start founds the cluster of the bucket, and stays in its data folder.
    let mut server = Server::start(&product, folder)?;
    let (mut ready, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        server.kill()?;
        forget_files(&bucket)?;
        let begun = Instant::now();
        server.relaunch()?;
        server.wait_ready()?;
        ready.push(begun.elapsed());
        let begun = Instant::now();
        look(&server)?;
        first.push(begun.elapsed());
        let begun = Instant::now();
        look(&server)?;
        again.push(begun.elapsed());
    }
    let mut table = Table::new(["", "median s", "worst s"]);
    let mut targets = Vec::new();
    for (what, mut times, limit) in [
        ("start to ready", ready, Some(2.0)),
        ("first look at all, which opens them cold", first, Some(2.0)),
        ("second look", again, None),
    ] {
        times.sort_unstable();
        let (median, worst) = (times[ROUNDS / 2].as_secs_f64(), times[ROUNDS - 1].as_secs_f64());
        table.row([what.to_owned(), format!("{median:.3}"), format!("{worst:.3}")]);
        let target = |limit| Target::new(format!("{BLOCKS} blocks: {what}, s"), limit, median);
        targets.extend(limit.map(target));
    }
    Ok((format!("\n## opening: {BLOCKS} blocks of {SERIES} series\n\n{}", table.render()), targets))
}

fn write_blocks(to: &Path, folder: &Path) -> Result<()> {
    let copying = || Error::io(format!("copying a block to {}", to.display()));
    let times = Times { windows: 1, step_ms: STEP_MS, shift_ms: 0 };
    let head = head(&folder.join("head"), SERIES, times)?;
    let once = folder.join("once");
    fs::create_dir_all(&once).map_err(copying())?;
    let first = cut(&head, &once, 0, 0)?;
    let from = once.join(first.ulid.to_string());
    for number in 0..BLOCKS {
        // Of times that follow each other, which is what nobody checks against the chunks before they are read.
        let begin_ms = BEGIN_MS + number * WINDOW_MS;
        let ulid = Ulid::new(begin_ms as u64, number as u128 + 1);
        let mut meta = Meta { ulid, min_ms: begin_ms, end_ms: begin_ms + WINDOW_MS, ..first.clone() };
        meta.compaction.sources = vec![ulid];
        let path = to.join(ulid.to_string());
        fs::create_dir_all(path.join("chunks")).map_err(copying())?;
        for file in ["index", "chunks/000001"] {
            fs::copy(from.join(file), path.join(file)).map_err(copying())?;
        }
        fs::write(path.join("meta.json"), meta.to_json()).map_err(copying())?;
    }
    Ok(())
}

/// Asks for something that takes the header of every block.
fn look(server: &Server) -> Result<()> {
    let path = format!("{}/api/v1/label/namespace/values", server.product.query_prefix());
    let (start, end) = (seconds(BEGIN_MS), seconds(BEGIN_MS + BLOCKS * WINDOW_MS));
    let mut connection = server.connect().with_timeout(Duration::from_secs(60));
    let answer = connection.get(&path, &[("start", &start), ("end", &end)])?.into_text()?;
    match api::parse(&answer)? {
        Data::Strings(values) if values.len() == 4 => Ok(()),
        other => Err(Error::malformed("the namespaces in all blocks", format!("{other:?}"))),
    }
}

/// Has the system drop files from its cache.
fn forget_files(folder: &Path) -> Result<()> {
    let failed = || Error::io(format!("forgetting files of {}", folder.display()));
    for entry in fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.is_dir() {
            forget_files(&path)?;
            continue;
        }
        let file = File::open(&path).map_err(failed())?;
        // What is not on the disk yet would stay.
        file.sync_data().map_err(failed())?;
        fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| failed()(error.into()))?;
    }
    Ok(())
}
