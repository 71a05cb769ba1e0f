//! Segments of which this node cannot say what it holds: their log was damaged (protocol rule 17).
//!
//! A replica that has forgotten a batch it acknowledged must not be counted again: not as a holder, not as one of those
//! that a read asks. What it still has it may not even offer, since nobody knows what is missing. So damage is written
//! down, durably, before the node serves: the next snapshot would hide it. What is damaged is known by lane; the shards
//! that lost nothing for sure are listed, and all others of the lane that existed then are concerned, also those of which
//! nothing is left to see. A segment that has no other replica is served all the same: what is readable is all there is.
//!
//! The file is JSON in the lane's folder: `docs/format/wal.md`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use gyre_ring::{Epoch, Segment};
use gyre_tsdb::disk::{Disk, replace_file};
use serde::{Deserialize, Serialize};

use super::segment_name;

const FILE: &str = "damage.json";

/// What a lane has lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneDamage {
    /// The newest epoch when it was found; `None`: there was no damage.
    found_at: Option<Epoch>,
    /// Segments up to that epoch that lost nothing.
    intact: BTreeSet<Segment>,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    epoch: u64,
    intact: Vec<String>,
}

impl LaneDamage {
    /// What is written down in a lane's folder.
    pub fn read(disk: &dyn Disk, lane: &Path) -> io::Result<Self> {
        let path = path(lane);
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LaneDamage::default()),
            Err(error) => return Err(error),
        };
        let malformed = |problem: String| io::Error::other(format!("{}: {problem}", path.display()));
        let OnDisk { epoch, intact } =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        let segment = |name: &String| {
            let segment = segment_name::decode(name.as_bytes());
            segment.ok_or_else(|| malformed(format!("{name:?} names no segment")))
        };
        let intact = intact.iter().map(segment).collect::<io::Result<_>>()?;
        Ok(LaneDamage { found_at: Some(Epoch(epoch)), intact })
    }

    /// Whether there is damage at all.
    pub fn is_some(&self) -> bool {
        self.found_at.is_some()
    }

    /// Whether what is here of a segment must not be counted.
    pub fn concerns(&self, segment: &Segment) -> bool {
        self.found_at.is_some_and(|found_at| segment.epoch <= found_at) && !self.intact.contains(segment)
    }

    /// The same after new damage, found at `epoch`; `intact` are the segments that it has not touched for sure.
    pub fn after(&self, epoch: Epoch, intact: impl IntoIterator<Item = Segment>) -> Self {
        let intact = intact.into_iter().filter(|segment| !self.concerns(segment)).collect();
        LaneDamage { found_at: Some(epoch.max(self.found_at.unwrap_or(epoch))), intact }
    }

    /// Writes it down.
    pub fn write(&self, disk: &dyn Disk, lane: &Path) -> io::Result<()> {
        let Some(Epoch(epoch)) = self.found_at else { return Ok(()) };
        let on_disk = OnDisk { epoch, intact: self.intact.iter().map(Segment::to_string).collect() };
        let bytes = serde_json::to_vec_pretty(&on_disk).map_err(io::Error::other)?;
        replace_file(disk, &path(lane), &bytes)
    }
}

fn path(lane: &Path) -> PathBuf {
    lane.join(FILE)
}

#[cfg(test)]
mod tests {
    use gyre_ring::{Shard, ShardCount, ShardIndex, TenantId};
    use gyre_tsdb::disk::SimDisk;

    use super::*;

    fn segment(index: u32, epoch: u64) -> Segment {
        let tenant = TenantId::new("acme").unwrap();
        let shard = Shard { tenant, count: ShardCount::new(4).unwrap(), index: ShardIndex(index) };
        Segment { shard, epoch: Epoch(epoch) }
    }

    #[test]
    fn damage_concerns_all_that_existed_and_is_not_known_to_be_whole() {
        let none = LaneDamage::default();
        assert!(!none.concerns(&segment(0, 1)));
        let damage = none.after(Epoch(2), [segment(0, 1)]);
        assert!(!damage.concerns(&segment(0, 1)), "it is whole");
        assert!(damage.concerns(&segment(1, 1)), "nothing of it may be left to see");
        assert!(!damage.concerns(&segment(1, 3)), "it came later");
        let again = damage.after(Epoch(3), [segment(0, 1), segment(1, 1)]);
        assert!(!again.concerns(&segment(0, 1)));
        assert!(again.concerns(&segment(1, 1)), "what was lost once does not come back");
    }

    #[test]
    fn damage_is_remembered_and_other_files_are_no_damage() {
        let (disk, lane) = (SimDisk::default(), Path::new("/wal/0"));
        disk.create_dir_all(lane).unwrap();
        assert_eq!(LaneDamage::read(&disk, lane).unwrap(), LaneDamage::default());
        let damage = LaneDamage::default().after(Epoch(2), [segment(0, 1), segment(3, 2)]);
        damage.write(&disk, lane).unwrap();
        assert_eq!(LaneDamage::read(&disk, lane).unwrap(), damage);
        disk.create(&lane.join("other")).unwrap().write_all_at(b"{}", 0).unwrap();
        replace_file(&disk, &path(lane), b"{}").unwrap();
        let error = LaneDamage::read(&disk, lane).unwrap_err().to_string();
        assert!(error.contains("damage.json"), "{error}");
    }
}
