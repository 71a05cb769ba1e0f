//! Accepting connections, and the end of it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::handler::Handler;
use super::session::{self, LONG_UNIT_BYTES};
use super::strangers::Strangers;
use crate::actor::Budget;
use crate::rpc::frame::PAYLOAD_BYTES_MAX;
use crate::rpc::handshake::{self, Grants, HandshakeError};
use crate::rpc::identity::LocalNode;
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::samples::{BatchPool, SERIES_IDS_MAX};

/// How long accepting rests when the operating system refuses connections (too many open files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals that somebody may have to act upon are logged this often at most.
const REFUSAL_LOG_PAUSE: Duration = Duration::from_secs(1);

/// Bounds and times of the answering side.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// For the whole handshake.
    pub handshake_timeout: Duration,
    /// Connections that may be in their handshake.
    pub strangers_max: usize,
    /// Connections of peers that have proved who they are.
    pub connections_max: usize,
    /// A connection on which nothing comes, or nothing can be written, for so long is closed. Several of the peers'
    /// ping intervals.
    pub silence_max: Duration,
    /// Requests that one connection may have running.
    pub requests_max: u32,
    /// Bytes of requests that may be running, over all connections.
    pub request_bytes_max: usize,
    /// Bytes of long frames that are being received, over all connections. At least one frame's.
    pub long_frame_bytes_max: usize,
    /// Bytes of replies that may wait to be written, for each connection.
    pub reply_bytes_max: u32,
    /// Series ids held for each connection, about 24 bytes each.
    pub series_ids_max: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            handshake_timeout: Duration::from_secs(3),
            strangers_max: 64,
            connections_max: 1024,
            silence_max: Duration::from_secs(10),
            requests_max: 1024,
            request_bytes_max: 256 << 20,
            long_frame_bytes_max: 64 << 20,
            reply_bytes_max: 4 << 20,
            series_ids_max: SERIES_IDS_MAX,
        }
    }
}

/// What all connections share.
pub(super) struct Context {
    pub(super) local: Arc<LocalNode>,
    pub(super) config: ServerConfig,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) metrics: RpcMetrics,
    pub(super) budget: Arc<Budget>,
    pub(super) long_frames: Semaphore,
    pub(super) batches: BatchPool,
    strangers: Strangers,
    room: Arc<Semaphore>,
    refusals: Mutex<Refusals>,
}

/// Refusals that were not logged since the last one that was.
#[derive(Default)]
struct Refusals {
    logged: Option<Instant>,
    skipped: u64,
}

/// A running server. When it is dropped, its connections end at once.
pub struct Server {
    address: SocketAddr,
    draining: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<()>>,
}

impl Server {
    /// Answers what connects to `listener`, on the runtime that this is called on.
    pub fn start(
        listener: TcpListener,
        local: Arc<LocalNode>,
        config: ServerConfig,
        handler: Arc<dyn Handler>,
        metrics: RpcMetrics,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let long_units = config.long_frame_bytes_max.max(PAYLOAD_BYTES_MAX) / LONG_UNIT_BYTES;
        let context = Context {
            budget: Budget::new(config.request_bytes_max),
            long_frames: Semaphore::new(long_units),
            batches: BatchPool::default(),
            strangers: Strangers::new(config.strangers_max),
            room: Arc::new(Semaphore::new(config.connections_max)),
            refusals: Mutex::default(),
            local,
            config,
            handler,
            metrics,
        };
        let (draining, is_draining) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, Arc::new(context), is_draining));
        Ok(Server { address, draining, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, answers those it has taken for at most `grace`, and ends.
    pub async fn shut_down(mut self, grace: Duration) {
        self.draining.send_replace(true);
        let Ok(mut connections) = (&mut self.accepting).await else { return };
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(grace, all_ended).await.is_err() {
            warn!("peer requests are still running after {grace:?}; closing their connections");
            connections.shutdown().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Waits until the server is told to end.
pub(super) async fn is_set(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|&draining| draining).await.is_err() {
        // The server was dropped: whoever waits here is about to be aborted.
        std::future::pending().await
    }
}

async fn accept(
    listener: TcpListener,
    context: Arc<Context>,
    is_draining: watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut draining = is_draining.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    connections.spawn(serve(stream, from, Arc::clone(&context), is_draining.clone()));
                }
                Err(error) => {
                    warn!("cannot accept connections of peers: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = is_set(&mut draining) => return connections,
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    context: Arc<Context>,
    is_draining: watch::Receiver<bool>,
) {
    let config = &context.config;
    let stranger = context.strangers.admit();
    let grants = Grants { series_ids_max: config.series_ids_max, requests_max: config.requests_max };
    let room = || Arc::clone(&context.room).try_acquire_owned().ok();
    let handshake = handshake::accept(&mut stream, &context.local, grants, config.handshake_timeout, room);
    let mut draining = is_draining.clone();
    let handshake = tokio::select! {
        result = handshake => result,
        () = stranger.pushed_out() => {
            context.metrics.handshake_failed("pushed_out");
            debug!(%from, "closed a connection that had not introduced itself when others came");
            return;
        }
        // One that ended without a word is none to wait for.
        () = is_set(&mut draining) => return,
    };
    drop(stranger);
    let (agreement, _room) = match handshake {
        Ok(agreed) => agreed,
        Err(error) => return context.refused(from, &error),
    };
    // Without it small frames would wait for acknowledgements; with it they are merely a little dearer.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%from, "cannot set TCP_NODELAY: {error}");
    }
    let (peer, lane) = (agreement.peer.clone(), agreement.lane.name());
    info!(%peer, %from, lane, version = agreement.version, "a peer connected");
    let ended = session::run(stream, agreement, &context, is_draining).await;
    if ended.is_remarkable() {
        warn!(%peer, %from, lane, "closed the connection of a peer: {ended}");
    } else {
        info!(%peer, %from, lane, "the connection of a peer ended: {ended}");
    }
}

impl Context {
    /// Says why a connection was refused; rarely, if strangers knock all the time.
    fn refused(&self, from: SocketAddr, error: &HandshakeError) {
        self.metrics.handshake_failed(error.kind());
        if !error.is_about_a_node() {
            debug!(%from, "refused a connection: {error}");
            return;
        }
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.logged.is_some_and(|logged| logged.elapsed() < REFUSAL_LOG_PAUSE) {
            refusals.skipped += 1;
            return;
        }
        let others = std::mem::take(&mut refusals.skipped);
        refusals.logged = Some(Instant::now());
        drop(refusals);
        warn!(%from, others, "refused the connection of a node: {error}");
    }
}
