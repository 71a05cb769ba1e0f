//! Reading a segment whose data is at another node.
//!
//! Series are pulled by threads that evaluate queries, which know nothing of tokio: a task takes the parts from the
//! connection and hands them on, as fast as they are used up. The node at the other end sends no more than the call's
//! window ahead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_executor::block_on;
use gyre_ring::Replica;
use gyre_tsdb::SeriesBatch;
use gyre_tsdb::block::Ulid;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::messages::{LABELS, LabelsQuestion, LabelsRequest, MatcherOnWire, Place, SELECT, SelectRequest};
use super::parts::{Joiner, Texts};
use crate::replica::call;
use crate::rpc::{Method, Peer, PendingCall, Reply, ReplyStream, RpcError, codec};
use crate::shard::read::TimeRange;

/// A peer that sends nothing for so long has failed, although it is there.
pub(super) const PART_MAX: Duration = Duration::from_secs(15);

/// Parts that are taken from a connection ahead of their use.
const PARTS_AHEAD: usize = 2;

/// A segment at another node.
#[derive(Clone)]
pub struct RemoteSegment {
    /// The way there; `None` if it was lost since it answered.
    pub peer: Option<Arc<Peer>>,
    /// Who holds it.
    pub replica: Replica,
    /// Which data.
    pub place: Place,
}

/// Why a segment was not read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reading segment {segment} at {node} failed: {reason}")]
pub struct Lost {
    /// The segment.
    pub segment: String,
    /// Where.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// What a connection's task hands on.
type Part = Result<Option<Bytes>, String>;

impl RemoteSegment {
    fn lost(&self, reason: impl ToString) -> Lost {
        let (segment, node) = (self.place.segment.clone(), self.replica.node.to_string());
        Lost { segment, node, reason: reason.to_string() }
    }

    fn call(
        &self,
        method: Method,
        request: &impl codec::Encode,
        deadline: Instant,
    ) -> Result<PendingCall, String> {
        let request = codec::encode(request).map_err(|error| error.to_string())?;
        let peer = self.peer.as_ref().ok_or_else(|| "its address is not known any more".to_owned())?;
        Ok(peer.call(method, request, deadline))
    }

    fn parts(&self, call: PendingCall) -> Parts {
        Parts { state: State::Begun(call), peer: self.peer.clone(), incarnation: self.place.head.incarnation }
    }

    /// Begins to read the series that satisfy all matchers. `io` is the runtime of the connection's task.
    pub fn select(
        &self,
        io: &Handle,
        matchers: Vec<MatcherOnWire>,
        range: TimeRange,
        by_key: bool,
        deadline: Instant,
    ) -> RemoteSeries {
        let request = SelectRequest { place: self.place.clone(), matchers, range: range.into(), by_key };
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let segment = self.clone();
        io.spawn(async move {
            let hand_on = async {
                let end = segment.hand_on(&request, deadline, &sender).await.map(|()| None);
                // Nobody waits for the end any more: nothing to do.
                let _ = sender.send(end).await;
            };
            tokio::select! {
                () = hand_on => {}
                () = sender.closed() => {}
            }
        });
        let (joiner, released) = (Joiner::default(), Vec::new());
        RemoteSeries { segment: self.clone(), parts, joiner, is_begun: false, released, is_over: false }
    }

    async fn hand_on(
        &self,
        request: &SelectRequest,
        deadline: Instant,
        to: &mpsc::Sender<Part>,
    ) -> Result<(), String> {
        let mut parts = self.parts(self.call(SELECT, request, deadline)?);
        while let Some(part) = parts.next().await? {
            if to.send(Ok(Some(part))).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks about labels. The question is on its way when this returns.
    pub fn labels(&self, question: LabelsQuestion, range: TimeRange, deadline: Instant) -> RemoteTexts {
        let request = LabelsRequest { place: self.place.clone(), question, range: range.into() };
        let parts = self.call(LABELS, &request, deadline).map(|call| self.parts(call));
        RemoteTexts { segment: self.clone(), parts, joiner: Joiner::default(), released: None }
    }
}

/// A reply's parts, whether it comes in one piece or several.
struct Parts {
    state: State,
    peer: Option<Arc<Peer>>,
    incarnation: u128,
}

enum State {
    Begun(PendingCall),
    Stream(ReplyStream),
    Over,
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>, RpcError> {
        loop {
            match self {
                State::Over => return Ok(None),
                State::Stream(stream) => return stream.next().await,
                // What comes in one piece is the end of a reply without parts.
                State::Begun(call) => match call.await? {
                    Reply::Whole(_) => *self = State::Over,
                    Reply::Stream(stream) => *self = State::Stream(stream),
                },
            }
        }
    }
}

impl Parts {
    /// The next part.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let Some(peer) = self.peer.as_ref() else {
            return Err("its address is not known any more".to_owned());
        };
        match timeout(PART_MAX, call::while_there(peer, self.incarnation, self.state.next())).await {
            Ok(Some(part)) => part.map_err(|error| error.to_string()),
            Ok(None) => Err(call::SILENT.to_owned()),
            Err(_) => Err(format!("nothing came for {} s", PART_MAX.as_secs())),
        }
    }
}

/// Series on their way.
pub struct RemoteSeries {
    /// Where they come from.
    pub segment: RemoteSegment,
    parts: mpsc::Receiver<Part>,
    joiner: Joiner,
    /// The first batch has come.
    is_begun: bool,
    released: Vec<Ulid>,
    is_over: bool,
}

impl RemoteSeries {
    /// The blocks that have what was dropped there, known with the first series.
    pub fn released(&self) -> &[Ulid] {
        &self.released
    }

    /// The next series; `None` at the end. Blocks until they are here or the deadline has passed.
    pub fn next_batch(&mut self) -> Result<Option<SeriesBatch>, Lost> {
        loop {
            if let Some(batch) = self.joiner.next_batch().map_err(|error| self.segment.lost(error))? {
                if !std::mem::replace(&mut self.is_begun, true) {
                    self.released = names(&batch);
                    continue;
                }
                let batch = SeriesBatch::from_shipped(batch).map_err(|error| self.segment.lost(error))?;
                return Ok(Some(batch));
            }
            if self.is_over {
                return Ok(None);
            }
            match block_on(self.parts.recv()) {
                Some(Ok(Some(part))) => self.joiner.push(&part),
                Some(Ok(None)) => {
                    self.is_over = true;
                    self.joiner.finish().map_err(|error| self.segment.lost(error))?;
                }
                Some(Err(reason)) => return Err(self.segment.lost(reason)),
                None => return Err(self.segment.lost("this node is shutting down")),
            }
        }
    }
}

/// The blocks that the first batch of a reply names.
fn names(batch: &[u8]) -> Vec<Ulid> {
    let (ulids, _) = batch.as_chunks();
    ulids.iter().map(|ulid| Ulid(u128::from_be_bytes(*ulid))).collect()
}

/// Texts on their way.
pub struct RemoteTexts {
    /// Where they come from.
    pub segment: RemoteSegment,
    parts: Result<Parts, String>,
    joiner: Joiner,
    /// `None`: the first batch has not come.
    released: Option<Vec<Ulid>>,
}

impl RemoteTexts {
    /// The blocks that have what was dropped there, known with the first texts, or with the end if there are none.
    pub fn released(&self) -> &[Ulid] {
        self.released.as_deref().unwrap_or_default()
    }

    /// The next texts; `None` at the end.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Vec<u8>>>, Lost> {
        loop {
            if let Some(batch) = self.joiner.next_batch().map_err(|error| self.segment.lost(error))? {
                if self.released.is_none() {
                    self.released = Some(names(&batch));
                    continue;
                }
                let texts = Texts::parse(&batch).map_err(|error| self.segment.lost(error))?;
                return Ok(Some(texts.into_iter().map(<[u8]>::to_vec).collect()));
            }
            let part = match &mut self.parts {
                Ok(parts) => parts.next().await,
                Err(reason) => Err(reason.clone()),
            };
            match part.map_err(|reason| self.segment.lost(reason))? {
                Some(part) => self.joiner.push(&part),
                None => {
                    self.joiner.finish().map_err(|error| self.segment.lost(error))?;
                    return Ok(None);
                }
            }
        }
    }
}
