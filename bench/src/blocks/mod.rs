//! The blocks run: what history in the object store costs, against its targets.
//!
//! - [`rates`]: CPU per sample of writing a block of a head and of compaction, copied and encoded anew;
//! - [`peaks`]: memory of a compaction of a million series, and of two;
//! - [`opening`]: a node with a thousand blocks in its bucket: when it is ready, and its first look at all of them;
//! - [`queries`]: the query mix from blocks beside the same from the head.
//!
//! [`scene`] makes heads and blocks. What may go wrong: the machine is shared. So figures are CPU time where nothing is
//! waited for, and ratios of interleaved rounds where it matters what a client sees.

pub mod opening;
pub mod peaks;
pub mod queries;
pub mod rates;
mod scene;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::report;
use crate::server::Gyre;
use crate::targets::Target;

/// The parts of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// CPU per sample of block write and compaction.
    Rates,
    /// Memory of compactions.
    Peaks,
    /// A thousand blocks in the bucket.
    Opening,
    /// The query mix from blocks and from the head.
    Queries,
}

/// What a run is made with.
#[derive(Debug)]
pub struct Plan {
    /// Which parts.
    pub parts: Vec<Part>,
    /// The gyre binary.
    pub gyre: PathBuf,
    /// Multiplies the number of series.
    pub scale: f64,
    /// Fixes the generated values of the query mix.
    pub seed: u64,
    /// Connections to write over.
    pub lanes: usize,
    /// Rounds over the two servers for each query.
    pub rounds: usize,
    /// Ask only the queries of the mix with this in their names.
    pub only: String,
}

impl Plan {
    fn count(&self, of: usize) -> usize {
        ((of as f64 * self.scale).round() as usize).max(1)
    }

    fn server(&self) -> Result<Gyre> {
        if !self.gyre.exists() {
            let hint = "run `cargo build --release` first, or name a binary by --gyre";
            return Err(Error::Missing { program: self.gyre.clone(), hint: hint.into() });
        }
        Ok(Gyre::os_synced(self.gyre.clone()))
    }
}

/// Runs the parts, each in a folder of its own; prints what each finds as soon as it has it. Gives all targets.
pub fn run(plan: &Plan, folder: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for part in &plan.parts {
        eprintln!("running {part:?}");
        let folder = folder.join(format!("{part:?}"));
        std::fs::create_dir(&folder).map_err(Error::io("creating a folder"))?;
        let (text, found) = match part {
            Part::Rates => rates::run(plan.count(rates::SERIES), &folder)?,
            Part::Peaks => peaks::run(plan.count(peaks::SERIES), &folder)?,
            Part::Opening => opening::run(&Arc::new(plan.server()?), &folder)?,
            Part::Queries => queries::run(plan, &folder)?,
        };
        print!("{text}{}", report::targets_markdown(&found));
        targets.extend(found);
        std::fs::remove_dir_all(&folder).map_err(Error::io("removing a folder"))?;
    }
    Ok(targets)
}
