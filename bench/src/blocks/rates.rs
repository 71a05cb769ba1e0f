//! CPU per sample: a window of a head becomes a block, blocks that follow each other become one, blocks that overlap do.
//!
//! All of it is one thread's work, so CPU time per sample is what a core does. The head's chunks and those of blocks that
//! follow each other are copied; where two blocks have every other sample each, every chunk is decoded, merged and encoded.

use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{Block, Meta, Ulid, compact};
use gyre_tsdb::disk::OsDisk;

use super::scene::{BEGIN_MS, STEP_MS, Times, WINDOW_MS, cut, head};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::report::Table;
use crate::targets::Target;

/// Series of each block.
pub const SERIES: usize = 20_000;

/// Blocks that follow each other.
const WINDOWS: i64 = 3;

/// 20 million samples a second.
const NS_MAX: f64 = 50.0;

/// Each is done so often; the median counts.
const ROUNDS: usize = 5;

/// A figure.
struct Rate {
    what: &'static str,
    samples: u64,
    seconds: f64,
}

/// Measures; the table and the targets.
pub fn run(series: usize, folder: &Path) -> Result<(String, Vec<Target>)> {
    let mut rates = Vec::new();
    let times = Times { windows: WINDOWS, step_ms: STEP_MS, shift_ms: 0 };
    let whole = head(&folder.join("head"), series, times)?;
    let blocks = made(&folder.join("blocks"))?;
    let mut number = 0;
    let (seconds, first) = median(|| {
        number += 1;
        cut(&whole, &blocks, 0, number)
    })?;
    rates.push(Rate {
        what: "a window of a head becomes a block",
        samples: first.stats.num_samples,
        seconds,
    });
    let following = [first, cut(&whole, &blocks, 1, 0)?, cut(&whole, &blocks, 2, 0)?];
    rates.push(compaction("blocks that follow each other, copied", &blocks, &following, &mut number)?);
    drop(whole);
    let mut overlapping = Vec::new();
    for shift_ms in [0, STEP_MS] {
        let times = Times { windows: 1, step_ms: 2 * STEP_MS, shift_ms };
        let half = head(&folder.join(format!("half-{shift_ms}")), series, times)?;
        number += 1;
        overlapping.push(cut(&half, &blocks, 0, number)?);
    }
    rates.push(compaction("blocks that overlap, encoded anew", &blocks, &overlapping, &mut number)?);

    let mut table = Table::new(["block write and compaction", "samples", "CPU ns/sample", "M samples/s"]);
    let mut targets = Vec::new();
    for Rate { what, samples, seconds } in rates {
        let ns = seconds * 1e9 / samples as f64;
        table.row([what.to_owned(), samples.to_string(), format!("{ns:.1}"), format!("{:.1}", 1e3 / ns)]);
        targets.push(Target::new(format!("CPU ns a sample: {what}"), NS_MAX, ns));
    }
    Ok((format!("\n## rates: {series} series\n\n{}", table.render()), targets))
}

fn compaction(what: &'static str, folder: &Path, metas: &[Meta], number: &mut u128) -> Result<Rate> {
    let failed = |error: gyre_tsdb::block::BlockError| Error::malformed("a block of the bench", error);
    let open = |meta: &Meta| Block::open(&OsDisk, &folder.join(meta.ulid.to_string())).map_err(failed);
    let blocks = metas.iter().map(open).collect::<Result<Vec<_>>>()?;
    let (seconds, merged) = median(|| {
        *number += 1;
        let meta = Meta::of_whole(Ulid::new(BEGIN_MS as u64, *number), &metas.iter().collect::<Vec<_>>());
        let merged = compact(Arc::new(OsDisk), folder, &blocks, None, meta).map_err(failed)?;
        merged.ok_or_else(|| Error::malformed("a compacted block", "it is empty"))
    })?;
    let samples: u64 = metas.iter().map(|meta| meta.stats.num_samples).sum();
    if merged.stats.num_samples != samples || merged.end_ms > BEGIN_MS + WINDOWS * WINDOW_MS {
        return Err(Error::malformed("a compacted block", "samples are missing"));
    }
    Ok(Rate { what, samples, seconds })
}

/// Does something several times: the median of the CPU seconds that it takes, and what it gave last.
fn median<T>(mut work: impl FnMut() -> Result<T>) -> Result<(f64, T)> {
    let this = Process(std::process::id());
    let mut all = Vec::with_capacity(ROUNDS);
    let mut last = None;
    for _ in 0..ROUNDS {
        let before = this.cpu_seconds()?;
        last = Some(work()?);
        all.push(this.cpu_seconds()? - before);
    }
    all.sort_by(f64::total_cmp);
    let last = last.ok_or_else(|| Error::malformed("the bench", "there are no rounds"))?;
    Ok((all[ROUNDS / 2], last))
}

fn made(folder: &Path) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(folder).map_err(Error::io("creating a folder"))?;
    Ok(folder.to_owned())
}
