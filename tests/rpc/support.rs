//! Two nodes on loopback, and methods that do what tests need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gyre::rpc::samples::SampleBatch;
use gyre::rpc::{
    ClusterId, Failure, Handler, Lane, LocalNode, Method, Outcome, Peer, PeerConfig, ReplySink, Request,
    Response, RpcMetrics, Secret, Server, ServerConfig, Versions,
};
use gyre_ring::{Incarnation, NodeId, Replica};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

const fn method(number: u16, name: &'static str, lane: Lane) -> Method {
    Method { number, name, lane }
}

/// Replies with what it was sent.
pub const ECHO: Method = method(1, "echo", Lane::Control);
/// The same, beside the streams.
pub const ECHO_IN_BULK: Method = method(1, "echo", Lane::Bulk);
/// Never ends.
pub const HANG: Method = method(2, "hang", Lane::Control);
/// Fails in the way that the request names.
pub const FAIL: Method = method(3, "fail", Lane::Control);
/// Replies in parts; the request is a [`StreamShape`].
pub const STREAM: Method = method(4, "stream", Lane::Bulk);
/// Keeps the samples it was sent.
pub const APPEND: Method = method(5, "append", Lane::Append);
/// Replies with as many bytes as the request says.
pub const FILL: Method = method(6, "fill", Lane::Bulk);
/// Replies when the test says so.
pub const WAIT: Method = method(7, "wait", Lane::Control);
/// Nobody answers it.
pub const UNKNOWN: Method = method(99, "unknown", Lane::Control);

/// No test takes as long.
pub const LONG: Duration = Duration::from_secs(60);

/// What the handler tells the test.
#[derive(Debug)]
pub enum Event {
    /// A hanging request began.
    Began,
    /// A handler's future was dropped before its end.
    Dropped,
    /// Samples came.
    Samples(SampleBatch),
}

/// Parts, and bytes of each.
#[derive(Clone, Copy)]
pub struct StreamShape {
    pub parts: u32,
    pub part_bytes: u32,
}

impl StreamShape {
    pub fn to_bytes(self) -> Vec<u8> {
        [self.parts.to_le_bytes(), self.part_bytes.to_le_bytes()].concat()
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        StreamShape { parts: field(0), part_bytes: field(4) }
    }
}

pub struct TestHandler {
    events: mpsc::UnboundedSender<Event>,
    /// Bytes of stream parts that were sent.
    pub streamed_bytes: AtomicUsize,
    pub go_on: tokio::sync::Notify,
}

/// Tells when it is dropped.
struct DropWatch(Option<mpsc::UnboundedSender<Event>>);

impl Drop for DropWatch {
    fn drop(&mut self) {
        if let Some(events) = &self.0 {
            let _ = events.send(Event::Dropped);
        }
    }
}

impl TestHandler {
    async fn answer(self: Arc<Self>, request: Request, mut sink: ReplySink) -> Result<Bytes, Failure> {
        let mut watch = DropWatch(Some(self.events.clone()));
        let reply = match request.method {
            n if n == ECHO.number => Ok(request.control.clone()),
            n if n == HANG.number => {
                self.events.send(Event::Began).unwrap();
                std::future::pending().await
            }
            n if n == WAIT.number => {
                self.events.send(Event::Began).unwrap();
                self.go_on.notified().await;
                Ok(Bytes::from_static(b"went on"))
            }
            n if n == FAIL.number => match &request.control[..] {
                b"panic" => panic!("as asked"),
                b"overloaded" => Err(Failure::Overloaded("no more of these".to_owned())),
                b"refused" => Err(failed(true, Outcome::NotExecuted)),
                _ => Err(failed(false, Outcome::Unknown)),
            },
            n if n == STREAM.number => {
                let shape = StreamShape::of_bytes(&request.control);
                for part in 0..shape.parts {
                    let mut bytes = vec![part as u8; shape.part_bytes as usize];
                    bytes[..4].copy_from_slice(&part.to_le_bytes());
                    sink.send(bytes.into()).await.map_err(|error| Failure::Failed {
                        text: error.to_string(),
                        is_retryable: false,
                        outcome: Outcome::Unknown,
                    })?;
                    self.streamed_bytes.fetch_add(shape.part_bytes as usize, Ordering::Relaxed);
                }
                Ok(Bytes::from_static(b"that is all"))
            }
            n if n == APPEND.number => {
                let samples = request.samples.as_ref().expect("the test sends samples");
                self.events.send(Event::Samples((**samples).clone())).unwrap();
                Ok(Bytes::new())
            }
            n if n == FILL.number => {
                let bytes = u32::from_le_bytes(request.control[..4].try_into().unwrap());
                Ok(vec![7; bytes as usize].into())
            }
            _ => Err(Failure::UnknownMethod),
        };
        watch.0 = None;
        reply
    }
}

fn failed(is_retryable: bool, outcome: Outcome) -> Failure {
    Failure::Failed { text: "it is too dark".to_owned(), is_retryable, outcome }
}

impl Handler for Shared {
    fn handle(&self, request: Request, sink: ReplySink) -> Response {
        Box::pin(Arc::clone(&self.0).answer(request, sink))
    }
}

/// A handler that the test sees, too.
pub struct Shared(pub Arc<TestHandler>);

pub fn replica(name: &str) -> Replica {
    Replica { node: NodeId::new(name).unwrap(), incarnation: Incarnation(name.len() as u128) }
}

pub fn local(name: &str) -> LocalNode {
    LocalNode {
        cluster: ClusterId::new("test").unwrap(),
        name: replica(name),
        secret: Secret::new(b"correct horse battery staple").unwrap(),
        versions: Versions::OURS,
    }
}

/// Short times where something is to be noticed, so that tests need not wait long for it.
pub fn peer_config() -> PeerConfig {
    PeerConfig { backoff_min: Duration::from_millis(1), ..PeerConfig::default() }
}

/// A node that answers, and what it did.
pub struct TestServer {
    pub server: Server,
    pub handler: Arc<TestHandler>,
    pub events: mpsc::UnboundedReceiver<Event>,
    pub metrics: Registry,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(ServerConfig::default(), "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn with_config(config: ServerConfig) -> Self {
        Self::with(config, "127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn with(config: ServerConfig, address: SocketAddr) -> Self {
        let (events_in, events) = mpsc::unbounded_channel();
        let handler = Arc::new(TestHandler {
            events: events_in,
            streamed_bytes: AtomicUsize::new(0),
            go_on: tokio::sync::Notify::new(),
        });
        let mut metrics = Registry::default();
        let rpc_metrics = RpcMetrics::register(&mut metrics);
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(Shared(Arc::clone(&handler)));
        let server = Server::start(listener, Arc::new(local("b")), config, shared, rpc_metrics).unwrap();
        TestServer { server, handler, events, metrics }
    }

    /// A node that calls this one.
    pub fn peer(&self) -> Peer {
        self.peer_with(peer_config())
    }

    pub fn peer_with(&self, config: PeerConfig) -> Peer {
        peer(self.server.address(), local("aa"), config)
    }

    pub fn metric(&self, line_start: &str) -> u64 {
        metric(&self.metrics, line_start)
    }

    pub async fn event(&mut self) -> Event {
        within(self.events.recv()).await.expect("the handler lives")
    }

    /// The batch that came next.
    pub async fn samples(&mut self) -> SampleBatch {
        match self.event().await {
            Event::Samples(batch) => batch,
            other => panic!("samples were to come, not {other:?}"),
        }
    }
}

/// Node `aa`'s way to node `b`, on the test's own runtime.
pub fn peer(address: SocketAddr, local: LocalNode, config: PeerConfig) -> Peer {
    Peer::new(replica("b"), address, Arc::new(local), config, Handle::current(), &RpcMetrics::default())
}

/// The value of the metric whose line begins so; 0 if there is none.
pub fn metric(registry: &Registry, line_start: &str) -> u64 {
    let mut out = String::new();
    text::encode(&mut out, registry).unwrap();
    let line = out.lines().find(|line| line.starts_with(line_start));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Nothing here takes as long as this. A test that hangs fails.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("the test hangs")
}

pub fn later() -> Instant {
    Instant::now() + 2 * LONG
}
