//! What was said, in a file: `docs/format/cluster.md`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gyre_protocol::{Rules, Said};
use gyre_ring::{Epoch, Incarnation, NodeId, Replica, Segment, Span};
use gyre_tsdb::disk::{Disk, replace_file};
use serde::{Deserialize, Serialize};

use super::parse;

/// The file in the data directory.
const FILE: &str = "settled.json";

/// What nodes have said, and the file that keeps it.
pub struct Settled {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    said: Mutex<gyre_protocol::Settled>,
    /// Held while the file is written. Who asks what was said does not wait for the disk.
    writing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    nodes: Vec<NodeOnDisk>,
}

#[derive(Serialize, Deserialize)]
struct NodeOnDisk {
    node: NodeId,
    incarnation: Incarnation,
    epoch: u64,
    hosted: Vec<String>,
    #[serde(default)]
    clear: u64,
    #[serde(default)]
    closed: u64,
}

const VERSION: u32 = 1;

impl Settled {
    /// What is kept in this folder.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        let path = folder.join(FILE);
        let said = match read(disk.as_ref(), &path) {
            Ok(said) => said,
            Err(problem) => {
                tracing::warn!(path = %path.display(), problem, "cannot read what other nodes said; they are asked again");
                BTreeMap::new()
            }
        };
        let said = Mutex::new(gyre_protocol::Settled::new(said, Rules::ALL));
        Settled { disk, path, said, writing: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, gyre_protocol::Settled> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which epoch a node's answer reaches.
    pub(super) fn epoch_of(&self, replica: &Replica) -> Option<Epoch> {
        self.lock().epoch_of(replica)
    }

    /// Whether a segment that has ended is sealed at a replica, and empty.
    pub(super) fn covers(&self, replica: &Replica, span: &Span) -> bool {
        self.lock().covers(replica, span)
    }

    /// Notes what a node says; gives what is to be written, if that is new.
    fn note(&self, replica: Replica, said: Said) -> Option<OnDisk> {
        let mut all = self.lock();
        let before = all.said().get(&replica).cloned();
        all.note(replica.clone(), said);
        if all.said().get(&replica) == before.as_ref() {
            return None;
        }
        let nodes = all.said().iter().map(|(replica, said)| NodeOnDisk {
            node: replica.node.clone(),
            incarnation: replica.incarnation,
            epoch: said.epoch.0,
            clear: said.clear.0,
            closed: said.closed.0,
            hosted: said.hosted.iter().map(Segment::to_string).collect(),
        });
        Some(OnDisk { version: VERSION, nodes: nodes.collect() })
    }

    /// Keeps what a node says. Waits for the disk.
    pub(super) fn keep(&self, replica: Replica, said: Said) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(on_disk) = self.note(replica, said) else { return };
        let written =
            put_checksum(&on_disk).and_then(|bytes| replace_file(self.disk.as_ref(), &self.path, &bytes));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "cannot keep what other nodes said");
        }
    }
}

/// The document, and in front of it a line with its CRC-32C: what is believed here cannot be told from the truth later.
fn put_checksum(on_disk: &OnDisk) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec_pretty(on_disk).map_err(io::Error::other)?;
    let mut bytes = format!("crc32c {:08x}\n", crc32c::crc32c(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

fn read(disk: &dyn Disk, path: &Path) -> Result<BTreeMap<Replica, Said>, String> {
    let bytes = match disk.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.map_err(|error| error.to_string())?,
    };
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no line for the checksum")?;
    let (line, json) = (&bytes[..end], &bytes[end + 1..]);
    if line != format!("crc32c {:08x}", crc32c::crc32c(json)).as_bytes() {
        return Err("its checksum is wrong".to_owned());
    }
    let on_disk: OnDisk = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if on_disk.version != VERSION {
        return Err(format!("it has version {}", on_disk.version));
    }
    let nodes = on_disk.nodes.into_iter().map(|node| {
        let hosted = parse(&node.hosted)?.into_iter().collect();
        let replica = Replica { node: node.node, incarnation: node.incarnation };
        let (epoch, clear, closed) = (Epoch(node.epoch), Epoch(node.clear), Epoch(node.closed));
        Ok((replica, Said { epoch, hosted, clear, closed }))
    });
    nodes.collect()
}

#[cfg(test)]
mod tests {

    use gyre_ring::{Shard, ShardCount, ShardIndex, TenantId};
    use gyre_tsdb::disk::SimDisk;

    use super::*;

    fn replica(name: &str) -> Replica {
        Replica { node: NodeId::new(name).unwrap(), incarnation: Incarnation(7) }
    }

    fn span(tenant: &str, ended: Option<u64>) -> Span {
        let tenant = TenantId::new(tenant).unwrap();
        let shard = Shard { tenant, count: ShardCount::ONE, index: ShardIndex(0) };
        Span {
            segment: Segment { shard, epoch: Epoch(1) },
            ended: ended.map(Epoch),
            replicas: vec![replica("a")],
        }
    }

    fn said(epoch: u64, hosted: &[&Span]) -> Said {
        let hosted = hosted.iter().map(|span| span.segment.clone()).collect();
        Said { epoch: Epoch(epoch), hosted, clear: Epoch(1), closed: Epoch(0) }
    }

    #[test]
    fn a_segment_is_settled_where_it_ended_by_what_was_said_and_is_not_hosted() {
        let settled = Settled::open(Arc::new(SimDisk::default()), Path::new("/"));
        let (ended, hosted) = (span("new", Some(2)), span("old", Some(2)));
        assert!(!settled.covers(&replica("a"), &ended), "nothing was said yet");
        settled.keep(replica("a"), said(2, &[&hosted]));
        assert!(settled.covers(&replica("a"), &ended));
        assert!(!settled.covers(&replica("b"), &ended), "another node");
        assert!(!settled.covers(&replica("a"), &hosted), "it may hold data");
        assert!(!settled.covers(&replica("a"), &span("new", Some(3))), "it ended later");
        assert!(!settled.covers(&replica("a"), &span("new", None)), "it has not ended");
    }

    #[test]
    fn what_was_said_outlives_a_restart_and_damage_makes_it_unsaid() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::default());
        let folder = Path::new("/data");
        disk.create_dir_all(folder).unwrap();
        Settled::open(disk.clone(), folder).keep(replica("a"), said(2, &[&span("old", Some(2))]));
        let again = Settled::open(disk.clone(), folder);
        assert_eq!(again.lock().said().get(&replica("a")), Some(&said(2, &[&span("old", Some(2))])));

        let path = folder.join(FILE);
        let whole = disk.read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            replace_file(disk.as_ref(), &path, &bytes).unwrap();
            assert_eq!(Settled::open(disk.clone(), folder).epoch_of(&replica("a")), None, "byte {at}");
        }
    }
}
