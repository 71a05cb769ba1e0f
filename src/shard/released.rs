//! Which blocks have what a replica has dropped of its segment.
//!
//! A reader that is given this replica's data must have these blocks in its list, too, or its list is old (protocol rule 12).
//! So they are named durably before the first byte is dropped, and to every reader that may miss something. A name goes
//! after a day: readers do not work with older lists. The file is `released.json` in the segment's folder
//! (`docs/format/snapshot.md`).

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gyre_tsdb::block::Ulid;
use gyre_tsdb::disk::{Disk, replace_file};
use gyre_tsdb::window_of;
use serde::{Deserialize, Serialize};

use super::read::TimeRange;
use super::supervisor::{ShardHandle, Shards};

const FILE: &str = "released.json";

/// The file's version.
const VERSION: u32 = 1;

/// A list of blocks that is older is not read by.
pub const LIST_AGE_MAX_MS: i64 = 12 * 60 * 60 * 1000;

/// Without any list, ranges of time that begin this long ago or later can be read: heads name what they have dropped of them.
pub const RECENT_MS: i64 = 2 * LIST_AGE_MAX_MS;

/// A name is kept for so long: longer than a day and a window, for readers that have no list at all.
const KEPT_MS: i64 = 30 * 60 * 60 * 1000;

/// A block that has what was dropped of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedTo {
    /// The block.
    pub ulid: Ulid,
    /// The [window](window_of).
    pub window: i64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    blocks: Vec<ReleasedTo>,
}

/// The blocks of one segment.
#[derive(Debug, Default)]
pub struct Released {
    blocks: Mutex<Vec<ReleasedTo>>,
}

impl Released {
    /// What is written down in a segment's folder. An error names the file.
    pub fn read(disk: &dyn Disk, folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let failed =
            |problem: &dyn std::fmt::Display| io::Error::other(format!("{}: {problem}", path.display()));
        let blocks = match disk.read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(OnDisk { version: VERSION, blocks }) => blocks,
                Ok(OnDisk { version, .. }) => return Err(failed(&format!("version {version} is not known"))),
                Err(error) => return Err(failed(&error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&error)),
        };
        Ok(Released { blocks: Mutex::new(blocks) })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ReleasedTo>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names further blocks to all readers from now on, and forgets names that are old.
    pub fn announce(&self, blocks: &[ReleasedTo], now_ms: i64) {
        let mut all = self.lock();
        all.retain(|block| block.at_ms.saturating_add(KEPT_MS) > now_ms);
        for block in blocks {
            if !all.iter().any(|known| known.ulid == block.ulid && known.window == block.window) {
                all.push(*block);
            }
        }
    }

    /// Makes what is announced durable in the segment's folder.
    pub fn write(&self, disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let on_disk = OnDisk { version: VERSION, blocks: self.lock().clone() };
        let bytes = serde_json::to_vec(&on_disk).map_err(io::Error::other)?;
        disk.create_dir_all(folder)?;
        replace_file(disk, &folder.join(FILE), &bytes)
    }

    /// All of them.
    pub fn all(&self) -> Vec<ReleasedTo> {
        self.lock().clone()
    }

    /// The blocks that a reader of a range of time must know.
    pub fn blocks(&self, range: TimeRange) -> Vec<Ulid> {
        let windows = window_of(range.min_ms)..=window_of(range.max_ms);
        let mut blocks: Vec<Ulid> = self
            .lock()
            .iter()
            .filter(|block| windows.contains(&block.window))
            .map(|block| block.ulid)
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }
}

impl Shards {
    /// Makes durable which blocks have what a segment has dropped. Blocks.
    pub fn write_released(&self, shard: &ShardHandle) -> std::io::Result<()> {
        // Whoever forgets it takes it out of the shards and waits for this before the folder goes.
        let _files = shard.files.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(&shard.segment).is_none() {
            return Ok(());
        }
        shard.released.write(self.layout().disk.as_ref(), &self.layout().shard(&shard.segment))
    }

    /// Names blocks to readers of a segment, which have what is missing here, and makes that durable. Blocks.
    pub fn note_released(&self, shard: &ShardHandle, blocks: &[ReleasedTo]) -> std::io::Result<()> {
        shard.released.announce(blocks, self.env.now_ms());
        self.write_released(shard)
    }
}

#[cfg(test)]
mod tests {
    use gyre_tsdb::WINDOW_MS;
    use gyre_tsdb::disk::SimDisk;

    use super::*;

    fn to(number: u128, window: i64, at_ms: i64) -> ReleasedTo {
        ReleasedTo { ulid: Ulid(number), window, at_ms }
    }

    #[test]
    fn readers_are_told_of_the_blocks_of_their_range() {
        let (disk, folder) = (SimDisk::default(), Path::new("/shards/acme/0-of-1@1"));
        let released = Released::read(&disk, folder).unwrap();
        released.announce(&[to(2, 5, 0), to(1, 6, 0), to(1, 5, 0)], 0);
        released.write(&disk, folder).unwrap();
        let released = Released::read(&disk, folder).unwrap();
        let blocks = |from: i64, to: i64| {
            released.blocks(TimeRange { min_ms: from * WINDOW_MS, max_ms: to * WINDOW_MS - 1 })
        };
        assert_eq!(blocks(5, 6), [Ulid(1), Ulid(2)]);
        assert_eq!(blocks(6, 9), [Ulid(1)]);
        assert!(blocks(0, 5).is_empty());
        released.announce(&[], KEPT_MS);
        assert!(blocks(0, 9).is_empty(), "no list is as old as that");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named() {
        let (disk, folder) = (SimDisk::default(), Path::new("/shards/acme/0-of-1@1"));
        disk.create_dir_all(folder).unwrap();
        for bytes in [&b"{"[..], br#"{"version":2,"blocks":[]}"#] {
            replace_file(&disk, &folder.join(FILE), bytes).unwrap();
            let error = Released::read(&disk, folder).unwrap_err().to_string();
            assert!(error.contains("released.json"), "{error}");
        }
    }
}
