//! Peak memory of compactions of a million series and of two, each in a process of its own.
//!
//! Three blocks of the same series, two hours each, become one. The kernel's high-water mark of the process counts: code
//! and buffers included.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use gyre_tsdb::block::{Block, Meta, Ulid, compact};
use gyre_tsdb::disk::{Disk, OsDisk};

use super::scene::{BEGIN_MS, wide_block};
use crate::error::{Error, Result};
use crate::process::Process;
use crate::report::Table;
use crate::targets::Target;

/// Series of the smaller one.
pub const SERIES: usize = 1_000_000;

const BLOCKS: i64 = 3;

/// Of a compaction, in MB.
const PEAK_MB_MAX: f64 = 300.0;

/// Twice as many series may take so many times the memory.
const GROWTH_MAX: f64 = 1.9;

/// Measures; the table and the targets.
pub fn run(series: usize, folder: &Path) -> Result<(String, Vec<Target>)> {
    let mut table = Table::new(["compaction of three blocks", "samples", "peak MB", "CPU s", "ns/sample"]);
    let mut targets = Vec::new();
    let mut peaks = Vec::new();
    for series in [series, 2 * series] {
        eprintln!("writing {BLOCKS} blocks of {series} series");
        let blocks = folder.join(series.to_string());
        std::fs::create_dir(&blocks).map_err(Error::io("creating a folder"))?;
        for window in 0..BLOCKS {
            wide_block(&blocks, series, window)?;
        }
        let Compacted { samples, peak_bytes, cpu_seconds } = in_own_process(&blocks)?;
        std::fs::remove_dir_all(&blocks).map_err(Error::io("removing a folder"))?;
        let peak_mb = peak_bytes as f64 / 1e6;
        table.row([
            format!("{series} series"),
            samples.to_string(),
            format!("{peak_mb:.1}"),
            format!("{cpu_seconds:.2}"),
            format!("{:.1}", cpu_seconds * 1e9 / samples as f64),
        ]);
        targets.push(Target::new(format!("peak of compacting {series} series, MB"), PEAK_MB_MAX, peak_mb));
        peaks.push(peak_mb);
    }
    targets.push(Target::new("peak of twice the series / peak", GROWTH_MAX, peaks[1] / peaks[0]));
    Ok((format!("\n## peaks\n\n{}", table.render()), targets))
}

/// What a compaction took.
struct Compacted {
    samples: u64,
    peak_bytes: u64,
    cpu_seconds: f64,
}

fn in_own_process(blocks: &Path) -> Result<Compacted> {
    let own = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let mut command = Command::new(own);
    command.arg("compact-once").arg(blocks).stderr(Stdio::inherit());
    let output = command.output().map_err(Error::io("starting this program again"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let malformed = || Error::malformed("the figures of a compaction", format!("{}: {text}", output.status));
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [samples, peak_bytes, cpu_seconds] = figures[..] else { return Err(malformed()) };
    Ok(Compacted { samples: samples as u64, peak_bytes: peak_bytes as u64, cpu_seconds })
}

/// Compacts all blocks of a folder into one there, and prints samples, the process's peak in bytes, CPU seconds.
pub fn compact_once(folder: &Path) -> Result<()> {
    let failed = |error: gyre_tsdb::block::BlockError| Error::malformed("a block of the bench", error);
    let folders = OsDisk.list(folder).map_err(Error::io("listing blocks"))?;
    let blocks: Vec<Block> =
        folders.iter().map(|path| Block::open(&OsDisk, path).map_err(failed)).collect::<Result<_>>()?;
    let metas: Vec<&Meta> = blocks.iter().map(|block| &block.meta).collect();
    let meta = Meta::of_whole(Ulid::new(BEGIN_MS as u64, u128::MAX >> 48), &metas);
    let merged = compact(Arc::new(OsDisk), folder, &blocks, None, meta).map_err(failed)?;
    let samples = merged.map_or(0, |meta| meta.stats.num_samples);
    let this = Process(std::process::id());
    println!("{samples} {} {}", this.peak_bytes()?, this.cpu_seconds()?);
    Ok(())
}
