//! Having parts of a query computed at another node that has all the data they need.
//!
//! Series of several segments there are merged there, and results travel instead of chunks. What may go wrong: the peer
//! goes away or refuses, like a segment that is read; it is of another version, so that the caller reads chunks; or the
//! query fails there as it would fail here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gyre_promql::fragment::PartialResult;
use gyre_promql::{QueryError, QueryErrorKind};
use gyre_ring::Replica;
use gyre_tsdb::block::Ulid;
use tokio::time::{Instant, timeout};

use super::messages::{EVALUATE, EvaluateFailure, EvaluateReply, EvaluateRequest, Place};
use super::remote::{Lost, PART_MAX};
use crate::query::limits::QueryLimits;
use crate::replica::call;
use crate::rpc::{Peer, Reply, ReplyStream, RpcError, codec};

/// Segments that an error names; the rest is counted.
const SEGMENTS_NAMED_MAX: usize = 3;

/// A node that has whole shards of a query, and is not this one.
#[derive(Clone)]
pub struct RemotePlace {
    /// The way there; `None` if it was lost since it answered.
    pub peer: Option<Arc<Peer>>,
    /// Who it is.
    pub replica: Replica,
    /// The segments that are read there. Those whose series may meet stand together.
    pub groups: Vec<Vec<Place>>,
}

/// What a place is asked to compute.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Fragments as bytes.
    pub fragments: Vec<Vec<u8>>,
    /// The query's limits.
    pub limits: QueryLimits,
    /// When nobody waits for it any more.
    pub deadline: Instant,
}

/// What a place gives.
#[derive(Debug)]
pub struct PlaceResults {
    /// A result for each fragment.
    pub results: Vec<PartialResult>,
    /// Different series that were read, if there is a limit.
    pub series: u64,
    /// Blocks that have what was dropped there, and of which window.
    pub released: Vec<(Ulid, i64)>,
}

/// Why a place gives nothing.
#[derive(Debug)]
pub enum PlaceFailed {
    /// The query fails, whoever evaluates it.
    Query(QueryError),
    /// The place does; another replica may do better.
    Lost(Replica, Lost),
    /// The peer cannot be asked for this, but for chunks.
    NotKnown(String),
}

/// Bytes of partial results that one query holds.
#[derive(Debug)]
pub struct Held {
    bytes: AtomicU64,
    bytes_max: u64,
}

impl Held {
    /// At most so many.
    pub fn new(bytes_max: u64) -> Self {
        Held { bytes: AtomicU64::new(0), bytes_max }
    }

    /// Counts more.
    pub fn add(&self, bytes: u64) -> Result<(), QueryError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        match before.checked_add(bytes) {
            Some(all) if all <= self.bytes_max => Ok(()),
            _ => Err(QueryError::too_many_bytes(self.bytes_max)),
        }
    }
}

impl RemotePlace {
    /// Has fragments evaluated there. Dropping the future ends that.
    pub async fn evaluate(&self, asked: &Asked, held: &Held) -> Result<PlaceResults, PlaceFailed> {
        let peer = self.peer.as_ref().ok_or_else(|| self.lost("its address is not known any more"))?;
        let request = EvaluateRequest {
            groups: self.groups.clone(),
            fragments: asked.fragments.clone(),
            series_max: asked.limits.series_max,
            length_ms_max: asked.limits.length_ms_max,
            bytes_max: held.bytes_max,
        };
        let request = codec::encode(&request).map_err(|error| PlaceFailed::NotKnown(error.to_string()))?;
        let answer = peer.call(EVALUATE, request, asked.deadline);
        let answer = call::while_there(peer, self.incarnation(), answer).await;
        match answer.ok_or_else(|| self.lost(call::SILENT))? {
            Ok(Reply::Stream(stream)) => self.receive(peer, stream, asked, held).await,
            Ok(Reply::Whole(reply)) => match self.parse(&reply)? {
                EvaluateReply::Failed { kind, text } => {
                    Err(PlaceFailed::Query(QueryError::new(kind.into(), text)))
                }
                EvaluateReply::OtherVersion => {
                    Err(PlaceFailed::NotKnown(format!("{} cuts queries in another way", self.replica)))
                }
                EvaluateReply::Results { .. } => Err(self.lost("it sends no results")),
            },
            Err(error) => Err(self.failed(error, asked)),
        }
    }

    /// The peer's incarnation that is meant.
    fn incarnation(&self) -> u128 {
        self.replica.incarnation.0
    }

    fn lost(&self, reason: impl ToString) -> PlaceFailed {
        let mut segments = self.groups.iter().flatten().map(|place| place.segment.as_str());
        let mut segment = segments.by_ref().take(SEGMENTS_NAMED_MAX).collect::<Vec<_>>().join(", ");
        match segments.count() {
            0 => {}
            more => segment.push_str(&format!(" and {more} more")),
        }
        let lost = Lost { segment, node: self.replica.node.to_string(), reason: reason.to_string() };
        PlaceFailed::Lost(self.replica.clone(), lost)
    }

    fn failed(&self, error: RpcError, asked: &Asked) -> PlaceFailed {
        match error {
            RpcError::UnknownMethod { .. } | RpcError::TooLarge { .. } => {
                PlaceFailed::NotKnown(error.to_string())
            }
            RpcError::Deadline { .. } if Instant::now() >= asked.deadline => {
                PlaceFailed::Query(QueryError::timeout())
            }
            error => self.lost(error),
        }
    }

    fn parse(&self, reply: &[u8]) -> Result<EvaluateReply, PlaceFailed> {
        codec::decode(reply).map_err(|error| self.lost(error))
    }

    async fn receive(
        &self,
        peer: &Peer,
        mut stream: ReplyStream,
        asked: &Asked,
        held: &Held,
    ) -> Result<PlaceResults, PlaceFailed> {
        let first = self.next(peer, &mut stream, asked).await?.unwrap_or_default();
        let (lengths, series, released) = match self.parse(&first)? {
            EvaluateReply::Results { result_bytes, series, released }
                if result_bytes.len() == asked.fragments.len() =>
            {
                (result_bytes, series, released)
            }
            _ => return Err(self.lost("it answers something else than was asked")),
        };
        let mut results = Vec::with_capacity(lengths.len());
        let mut part = Bytes::new();
        for length in lengths {
            // Before anything is allocated.
            held.add(length).map_err(PlaceFailed::Query)?;
            let mut bytes = Vec::with_capacity(length as usize);
            while bytes.len() < length as usize {
                if part.is_empty() {
                    let next = self.next(peer, &mut stream, asked).await?;
                    part = next.ok_or_else(|| self.lost("the reply breaks off"))?;
                }
                bytes.extend_from_slice(&part.split_to(part.len().min(length as usize - bytes.len())));
            }
            let result = PartialResult::from_bytes(bytes);
            results.push(result.map_err(|error| self.lost(format!("a partial result {error}")))?);
        }
        // Only a reply that has come to its end is one.
        if !part.is_empty() || self.next(peer, &mut stream, asked).await?.is_some() {
            return Err(self.lost("more comes than it says"));
        }
        let released = released.into_iter().map(|(ulid, window)| (Ulid(ulid), window)).collect();
        Ok(PlaceResults { results, series, released })
    }

    async fn next(
        &self,
        peer: &Peer,
        stream: &mut ReplyStream,
        asked: &Asked,
    ) -> Result<Option<Bytes>, PlaceFailed> {
        match timeout(PART_MAX, call::while_there(peer, self.incarnation(), stream.next())).await {
            Ok(Some(part)) => part.map_err(|error| self.failed(error, asked)),
            Ok(None) => Err(self.lost(call::SILENT)),
            Err(_) => Err(self.lost(format!("nothing came for {} s", PART_MAX.as_secs()))),
        }
    }
}

impl From<EvaluateFailure> for QueryErrorKind {
    fn from(kind: EvaluateFailure) -> Self {
        match kind {
            EvaluateFailure::BadData => QueryErrorKind::BadData,
            EvaluateFailure::Execution => QueryErrorKind::Execution,
            EvaluateFailure::Timeout => QueryErrorKind::Timeout,
        }
    }
}
