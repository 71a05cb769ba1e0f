//! What other nodes have said, once and for all, of segments that they hold nothing of.
//!
//! A tenant that is new has a segment for every epoch there was, and all but the last have ended without data. Before it
//! may be written to, these must be sealed (protocol rule 9); before it may be read, they must be known to be empty. Asking
//! for that when a tenant first comes would need nodes that may be down by then, perhaps the only one there was in the
//! first epoch. So nodes ask each other ahead of time, whenever there is a new epoch: *up to which epoch do you act, and
//! which segments that ended by then do you host?* Any other segment that has ended is sealed at that node for ever, and was
//! empty when asked: it acts upon the document that ended it, durably, and no append gets past that
//! ([`Replicas::activate`] looks at the documents after the shard is made, the answer at the shards after the documents).
//! `docs/adr/011-settled-nodes.md`.
//!
//! With the same answer a node says through which epoch it is *clear*: what it held of segments that had ended by then is
//! in blocks. When enough are, a document closes these segments ([`gyre_protocol::closing`]).
//!
//! What was said is kept in a file, `docs/format/cluster.md`. What may go wrong: it cannot be read or written. Then it is
//! asked for again; until then a segment's replicas are asked one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_protocol::{Rules, Said, closable, to_close};
use gyre_ring::{Epoch, Incarnation, NodeId, Replica, Segment, Span};
use gyre_tsdb::disk::{Disk, replace_file};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::call::{self, head_for};
use super::local::{Replicas, find};
use super::messages::{self, SettledReply, SettledRequest, documents_from_wire, newest_on_wire};
use crate::cluster::ClusterState;
use crate::shard::segment_name;

/// The file in the data directory.
const FILE: &str = "settled.json";

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Time until nodes that did not answer are asked again.
const ROUND: Duration = Duration::from_secs(1);

/// Members propose to close segments one after the other, this far apart: one of them is enough.
const CLOSE_TURN: Duration = Duration::from_secs(2);

/// Segments that one answer may name; a node with more gives none.
const HOSTED_MAX: usize = 20_000;

/// What nodes have said, and the file that keeps it.
pub struct Settled {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    said: Mutex<gyre_protocol::Settled>,
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
        Settled { disk, path, said }
    }

    fn lock(&self) -> MutexGuard<'_, gyre_protocol::Settled> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which epoch a node's answer reaches.
    fn epoch_of(&self, replica: &Replica) -> Option<Epoch> {
        self.lock().epoch_of(replica)
    }

    /// Whether a segment that has ended is sealed at a replica, and empty.
    fn covers(&self, replica: &Replica, span: &Span) -> bool {
        self.lock().covers(replica, span)
    }

    fn keep(&self, replica: Replica, said: Said) {
        let mut all = self.lock();
        let before = all.said().get(&replica).cloned();
        all.note(replica.clone(), said);
        if all.said().get(&replica) == before.as_ref() {
            return;
        }
        let nodes = all.said().iter().map(|(replica, said)| NodeOnDisk {
            node: replica.node.clone(),
            incarnation: replica.incarnation,
            epoch: said.epoch.0,
            clear: said.clear.0,
            closed: said.closed.0,
            hosted: said.hosted.iter().map(Segment::to_string).collect(),
        });
        let on_disk = OnDisk { version: VERSION, nodes: nodes.collect() };
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
        let hosted = segments(&node.hosted)?;
        let replica = Replica { node: node.node, incarnation: node.incarnation };
        let (epoch, clear, closed) = (Epoch(node.epoch), Epoch(node.clear), Epoch(node.closed));
        Ok((replica, Said { epoch, hosted, clear, closed }))
    });
    nodes.collect()
}

fn segments(names: &[String]) -> Result<BTreeSet<Segment>, String> {
    let segment = |name: &String| {
        segment_name::decode(name.as_bytes()).ok_or_else(|| format!("{name:?} names no segment"))
    };
    names.iter().map(segment).collect()
}

impl Replicas {
    /// Whether a segment that has ended is sealed at one of its replicas, and holds nothing there, as far as is known
    /// without asking.
    pub fn is_settled(&self, replica: &Replica, span: &Span) -> bool {
        if replica != self.cluster.own() {
            return self.settled.covers(replica, span);
        }
        // What this node's newest documents close may be dropped by now.
        let closed = self.cluster.state().chain.closed_through();
        span.ended.is_some_and(|ended| ended > closed)
            && self.shards.find(&span.segment).is_none()
            && !self.shards.is_damaged(&span.segment)
    }

    /// The epoch up to which it is known which segments a node hosts.
    pub fn settled_up_to(&self, replica: &Replica) -> Option<Epoch> {
        if replica == self.cluster.own() {
            Some(self.cluster.state().epoch())
        } else {
            self.settled.epoch_of(replica)
        }
    }

    /// The answer to [`messages::SETTLED`].
    pub(super) fn settle(&self) -> SettledReply {
        if self.shards.has_damage() {
            return SettledReply::CannotSay;
        }
        // In this order: a shard that is made later finds these documents, or newer ones, before it takes anything.
        let state = self.cluster.state();
        let (mut ended, mut open) = (Vec::new(), Vec::new());
        for tenant in self.shards.tenants() {
            let spans = state.spans(&tenant.state.id);
            let has_ended = |segment: &Segment| {
                // One that is in no document any more has ended, too.
                find(&spans, segment).is_none_or(|span| span.ended.is_some())
            };
            for shard in tenant.all() {
                if has_ended(&shard.segment) { &mut ended } else { &mut open }.push(shard.name.to_string());
            }
            if ended.len() + open.len() > HOSTED_MAX {
                return SettledReply::CannotSay;
            }
        }
        let (clear, closed) = (self.clear(&state).0, state.chain.closed_through().0);
        SettledReply::Settled { epoch: state.epoch().0, ended, open, clear, closed }
    }

    /// Through which epoch this node is clear.
    fn clear(&self, state: &ClusterState) -> Epoch {
        let mut clear = state.epoch();
        for tenant in self.shards.tenants() {
            let spans = state.spans(&tenant.state.id);
            for shard in tenant.all() {
                // What is in no chain is closed.
                let Some(ended) = find(&spans, &shard.segment).and_then(|span| span.ended) else { continue };
                if !shard.state.is_clear() {
                    clear = clear.min(Epoch(ended.0 - 1));
                }
            }
        }
        clear
    }

    /// Through which epoch a node is clear, as far as it is known.
    fn clear_of(&self, state: &ClusterState, replica: &Replica) -> Option<Epoch> {
        match replica == self.cluster.own() {
            true => (!self.shards.has_damage()).then(|| self.clear(state)),
            false => self.settled.lock().clear_of(replica),
        }
    }

    /// Has segments closed that can be. Nodes take turns, since one is enough.
    async fn close(&self, state: &ClusterState, found: &mut Option<(Epoch, Instant)>) {
        let clear = |replica: &Replica| self.clear_of(state, replica);
        let through = closable(&state.chain, &state.disks, &clear, &Rules::ALL);
        if through <= state.chain.closed_through() {
            *found = None;
            return;
        }
        let since = match found {
            Some((known, since)) if *known == through => *since,
            _ => found.insert((through, Instant::now())).1,
        };
        let own = self.cluster.own();
        let members = state.newest().members.iter().map(|member| member.replica());
        let before = members.filter(|replica| replica < own && self.cluster.is_alive(replica)).count();
        if since.elapsed() >= CLOSE_TURN * before as u32 {
            self.cluster.close_through(through).await;
        }
    }

    /// Asks all nodes that there are or were, at start and whenever there are new documents. Runs as long as the node.
    ///
    /// What they host of this node's segments is made here, if it is not: what came while this node was away is nowhere
    /// here to be compared with a peer's.
    pub async fn settle_with_others(self: Arc<Self>) {
        let mut changes = self.cluster.changes();
        let mut asked = BTreeSet::new();
        let mut found = None;
        loop {
            let state = changes.borrow_and_update().clone();
            let to_close = to_close(&state.chain);
            let mut are_all_known = to_close.is_none();
            for replica in replicas_of(&state) {
                let is_known = self.settled.epoch_of(&replica).is_some_and(|epoch| epoch >= state.epoch());
                let is_clear = self.settled.lock().clear_of(&replica) >= to_close;
                if is_known && is_clear && asked.contains(&replica) {
                    continue;
                }
                if self.ask_to_settle(&state, &replica).await {
                    asked.insert(replica);
                } else {
                    are_all_known = false;
                }
            }
            self.close(&state, &mut found).await;
            let changed = changes.changed();
            if !are_all_known {
                let _ = tokio::time::timeout(ROUND, changed).await;
            } else if changed.await.is_err() {
                return;
            }
        }
    }

    /// Whether the node has answered.
    async fn ask_to_settle(&self, state: &ClusterState, replica: &Replica) -> bool {
        let Some(peer) = self.cluster.peer(replica).filter(|_| self.cluster.is_alive(replica)) else {
            return false;
        };
        let head = head_for(state, replica);
        let request = SettledRequest { head, documents: newest_on_wire(&state.chain) };
        match call::control(&peer, messages::SETTLED, &request, ANSWER_MAX).await {
            Ok(SettledReply::Settled { epoch, ended, open, clear, closed }) => {
                let (epoch, clear, closed) = (Epoch(epoch), Epoch(clear), Epoch(closed));
                match segments(&ended).and_then(|ended| Ok((ended, segments(&open)?))) {
                    Ok((hosted, open)) => {
                        for segment in &open {
                            // Refused where this node is no replica.
                            let _ = self.host(segment);
                        }
                        self.settled.keep(replica.clone(), Said { epoch, hosted, clear, closed });
                        epoch >= state.epoch()
                    }
                    Err(problem) => {
                        tracing::warn!(peer = %replica, problem, "an answer makes no sense");
                        false
                    }
                }
            }
            Ok(SettledReply::CannotSay) => false,
            Ok(SettledReply::Refused(refused)) => {
                self.cluster.learn(documents_from_wire(&refused.documents)).await;
                false
            }
            Err(error) => {
                tracing::debug!(peer = %replica, %error, "no answer about ended segments");
                false
            }
        }
    }
}

/// The other replicas that the documents name, of segments that are not closed.
fn replicas_of(state: &ClusterState) -> BTreeSet<Replica> {
    let closed = state.chain.closed_through();
    let documents = state.chain.documents().filter(|document| document.epoch >= closed);
    documents
        .flat_map(|document| &document.members)
        .map(|member| member.replica())
        .filter(|replica| *replica != state.own)
        .collect()
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
