//! A node to call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gyre_ring::Replica;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::lane::{LaneQueue, Shared};
use super::reply::PendingCall;
use crate::actor::Budget;
use crate::rpc::frame::CHUNK_BYTES_MAX;
use crate::rpc::identity::LocalNode;
use crate::rpc::method::{Lane, Method};
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::samples::SampleSource;

/// Bytes of memory a waiting call takes beside its request, about.
const CALL_BYTES: usize = 512;

/// Bounds and times of the calling side.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Bytes that may wait to be sent to the peer, over all lanes.
    pub queue_bytes_max: usize,
    /// Bytes of a streamed reply that the peer may send before the caller takes some. At least twice what a chunk may
    /// have.
    pub window_bytes: u32,
    /// For TCP's part of connecting.
    pub connect_timeout: Duration,
    /// For the handshake.
    pub handshake_timeout: Duration,
    /// How often the peer is asked to say something.
    pub ping_interval: Duration,
    /// A connection on which nothing comes or goes for so long is given up. Several ping intervals.
    pub silence_max: Duration,
    /// After the first failure to connect; doubles with each further one.
    pub backoff_min: Duration,
    /// The longest time between two attempts.
    pub backoff_max: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        PeerConfig {
            queue_bytes_max: 64 << 20,
            window_bytes: 1 << 20,
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(2),
            silence_max: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
        }
    }
}

/// A request: bytes of the caller's, and possibly samples.
#[derive(Clone)]
pub struct Outgoing {
    /// What the method defines.
    pub control: Bytes,
    /// Samples that belong to it.
    pub samples: Option<Arc<dyn SampleSource>>,
}

impl From<Bytes> for Outgoing {
    fn from(control: Bytes) -> Self {
        Outgoing { control, samples: None }
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(control: Vec<u8>) -> Self {
        Bytes::from(control).into()
    }
}

impl Outgoing {
    fn memory_bytes(&self) -> usize {
        CALL_BYTES + self.control.len() + self.samples.as_ref().map_or(0, |samples| samples.memory_bytes())
    }
}

/// A node to call. Connections are made when there is something to send, and end with this value.
pub struct Peer {
    shared: Arc<Shared>,
    lanes: [Arc<LaneQueue>; Lane::ALL.len()],
}

impl Peer {
    /// A way to `replica`, which listens at `address`. Its connections live on the runtime `io`, which must have I/O
    /// and time enabled and outlive this value.
    pub fn new(
        replica: Replica,
        address: SocketAddr,
        local: Arc<LocalNode>,
        config: PeerConfig,
        io: Handle,
        metrics: &RpcMetrics,
    ) -> Self {
        debug_assert!(config.window_bytes as usize >= 2 * CHUNK_BYTES_MAX, "a window holds two chunks");
        let metrics = metrics.of_peer(&replica.node);
        let budget = Budget::new(config.queue_bytes_max);
        let shared = Arc::new(Shared { replica, address, local, config, io, metrics, budget });
        let lanes = Lane::ALL.map(|lane| Arc::new(LaneQueue::new(lane, Arc::clone(&shared))));
        Peer { shared, lanes }
    }

    /// Whom this calls.
    pub fn replica(&self) -> &Replica {
        &self.shared.replica
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Calls a method. The request is on its way when this returns; the future gives the answer, and dropping it
    /// cancels the call. The deadline holds for all of a streamed reply.
    pub fn call(&self, method: Method, request: impl Into<Outgoing>, deadline: Instant) -> PendingCall {
        let request = request.into();
        self.shared.metrics.calls.inc();
        let lane = &self.lanes[method.lane as usize];
        match self.shared.budget.try_take(request.memory_bytes()) {
            Some(permit) => lane.enqueue(method, request, permit, deadline),
            None => PendingCall::failed(lane, self.shared.overloaded()),
        }
    }

    /// Forgets that it could not be reached: the next call connects at once.
    pub fn try_again(&self) {
        self.lanes.iter().for_each(|lane| lane.try_again());
    }

    /// Bytes that wait to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.shared.budget.used_bytes()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.close();
        }
    }
}
