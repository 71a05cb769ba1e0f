//! Log files that no restart needs any more, kept for other replicas that missed what is in them.
//!
//! They lie in a folder of their own below the lane's, so that a restart does not read them, however many they are. The
//! oldest go when all together have more bytes than they may. What may go wrong: a file moves while somebody looks for
//! it; whoever does not find it in the lane's folder looks here.

use std::io;
use std::path::{Path, PathBuf};

use super::format::{file_number, file_path};
use super::reader::files;
use crate::disk::Disk;

const FOLDER: &str = "kept";

/// Where a lane keeps them.
pub(super) fn folder(lane: &Path) -> PathBuf {
    lane.join(FOLDER)
}

/// Moves a lane's files before `first_needed` out of the way of restarts, and removes the oldest of those that are kept
/// while they have more than `keep_bytes_max` bytes.
pub fn retire(disk: &dyn Disk, lane: &Path, first_needed: u64, keep_bytes_max: u64) -> io::Result<()> {
    let kept = folder(lane);
    // In order, so that a crash leaves no gap.
    for (number, path) in files(disk, lane)?.into_iter().take_while(|(number, _)| *number < first_needed) {
        if keep_bytes_max == 0 {
            disk.remove(&path)?;
            continue;
        }
        disk.create_dir_all(&kept)?;
        disk.rename(&path, &file_path(&kept, number))?;
    }
    let mut bytes = 0;
    let mut is_over = false;
    for (_, path) in files(disk, &kept)?.into_iter().rev() {
        bytes += if is_over { 0 } else { disk.len(&path)? };
        is_over |= bytes > keep_bytes_max;
        if is_over {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

/// The first file number that no kept file has, nor any before it.
pub fn first_free(disk: &dyn Disk, lane: &Path) -> io::Result<u64> {
    let last = disk.list(&folder(lane))?.iter().filter_map(|path| file_number(path)).max();
    Ok(last.map_or(1, |last| last + 1))
}
