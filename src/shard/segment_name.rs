//! A segment's name as bytes: what the log calls a stream, and the folder of a shard's files.

use std::path::{Path, PathBuf};

use gyre_ring::{Epoch, Segment, Shard, ShardCount, ShardIndex, TenantId};

/// The name a segment has in the log, for instance `acme/0-of-4@1`.
pub fn encode(segment: &Segment) -> Vec<u8> {
    segment.to_string().into_bytes()
}

/// The segment of a name.
pub fn decode(name: &[u8]) -> Option<Segment> {
    let (tenant, shard) = str::from_utf8(name).ok()?.rsplit_once('/')?;
    let (shard, epoch) = shard.split_once('@')?;
    let (index, count) = shard.split_once("-of-")?;
    let count = ShardCount::new(count.parse().ok()?)?;
    let index = ShardIndex(index.parse().ok().filter(|index| *index < count.get())?);
    let shard = Shard { tenant: TenantId::new(tenant).ok()?, count, index };
    Some(Segment { shard, epoch: Epoch(epoch.parse().ok()?) })
}

/// What a segment's name has in common with those of the shard's earlier and later segments.
pub fn without_epoch(name: &str) -> &str {
    name.rsplit_once('@').map_or(name, |(shard, _)| shard)
}

/// The folder of a segment's sealed chunks and snapshots.
pub fn folder(shards: &Path, segment: &Segment) -> PathBuf {
    let Segment { shard, epoch } = segment;
    shards.join(shard.tenant.as_str()).join(format!("{}-of-{}@{}", shard.index.0, shard.count.get(), epoch.0))
}

/// The segments that have a folder.
pub fn list(disk: &dyn gyre_tsdb::disk::Disk, shards: &Path) -> std::io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for tenant in disk.list(shards)? {
        for shard in disk.list(&tenant)? {
            let name = shard.strip_prefix(shards).unwrap_or(&shard).to_string_lossy().into_owned();
            match decode(name.as_bytes()) {
                Some(segment) => found.push(segment),
                None => tracing::warn!(folder = %shard.display(), "not a shard's folder; left alone"),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_comes_back_from_its_name() {
        for tenant in ["fake", "a-of-b@c'(1)!", "1-of-2@3"] {
            let Ok(tenant) = TenantId::new(&tenant.replace('@', "_")) else { panic!("{tenant}") };
            let shard = Shard { tenant, count: ShardCount::new(8).unwrap(), index: ShardIndex(5) };
            let segment = Segment { shard, epoch: Epoch(12) };
            let later = Segment { epoch: Epoch(13), ..segment.clone() };
            assert_eq!(without_epoch(&segment.to_string()), without_epoch(&later.to_string()));
            assert_eq!(decode(&encode(&segment)), Some(segment));
        }
        for name in ["", "a", "a/0", "a/0-of-3@1", "a/4-of-4@1", "../0-of-1", "a/0-of-1@", "a/b/0-of-1@1"] {
            assert_eq!(decode(name.as_bytes()), None, "{name}");
        }
    }
}
