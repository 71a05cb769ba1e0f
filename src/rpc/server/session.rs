//! One connection of a peer that has proved who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::handler::{Request, RequestPermit};
use super::listener::{Context, is_set};
use super::outbox::Outbox;
use super::requests::{Requests, error_frame};
use crate::rpc::client::CHUNK_COST_BYTES;
use crate::rpc::error::ErrorCode;
use crate::rpc::frame::{CHUNK_BYTES_MAX, CallId, FrameError, Header, Kind};
use crate::rpc::frame_reader::{FrameReader, ReadError};
use crate::rpc::handshake::Agreement;
use crate::rpc::metrics::CallerCounters;
use crate::rpc::request::{FLAG_SAMPLES, RequestHead};
use crate::rpc::samples::{DecodeError, Decoder, PooledBatch};
use crate::rpc::write::{FLUSH_BYTES, reuse, write_all};

/// A frame this long takes a share of the memory that all connections have for such, while it is received.
const LONG_BYTES: usize = 64 << 10;
/// What a permit of that memory stands for.
pub(super) const LONG_UNIT_BYTES: usize = 1 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Samples(#[from] DecodeError),
    #[error("writing failed: {0}")]
    Write(std::io::Error),
    #[error("this node is shutting down")]
    Drained,
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Self {
        Ended::Read(error.into())
    }
}

impl Ended {
    /// Whether an operator should hear of it: peers come and go, but they do not send garbage.
    pub(super) fn is_remarkable(&self) -> bool {
        !matches!(self, Ended::Drained | Ended::Read(ReadError::Closed | ReadError::Io(_)))
    }
}

/// Serves a connection until it ends.
pub(super) async fn run(
    mut stream: TcpStream,
    agreement: Agreement,
    context: &Context,
    draining: watch::Receiver<bool>,
) -> Ended {
    let metrics = context.metrics.of_caller(&agreement.peer.node);
    let outbox = Arc::new(Outbox::new(context.config.reply_bytes_max));
    let requests = Requests::new(Arc::clone(&outbox));
    let (read, write) = stream.split();
    let taken = Taken::default();
    let reader = Reader {
        frames: FrameReader::new(read, true, context.config.silence_max),
        decoder: Decoder::new(context.config.series_ids_max),
        agreement: &agreement,
        context,
        outbox: &outbox,
        requests: &requests,
        metrics: &metrics,
        taken: &taken,
    };
    tokio::select! {
        ended = reader.run() => ended,
        error = write_loop(write, &outbox, context, &metrics) => Ended::Write(error),
        () = drain(draining, &outbox, &requests, &taken) => Ended::Drained,
    }
}

/// Up to where requests are taken.
#[derive(Default)]
struct Taken {
    last: AtomicU64,
    no_more: AtomicBool,
}

/// Waits until this node shuts down, then until all requests taken by then are answered.
async fn drain(mut draining: watch::Receiver<bool>, outbox: &Outbox, requests: &Requests, taken: &Taken) {
    is_set(&mut draining).await;
    taken.no_more.store(true, Ordering::Relaxed);
    let last = CallId(taken.last.load(Ordering::Relaxed));
    outbox.push(Header::new(Kind::GoAway, last), Bytes::new(), None);
    while requests.len() > 0 || !outbox.is_written() {
        outbox.idle.notified().await;
    }
}

async fn write_loop(
    mut stream: WriteHalf<'_>,
    outbox: &Outbox,
    context: &Context,
    metrics: &CallerCounters,
) -> std::io::Error {
    let mut buffer = Vec::new();
    loop {
        reuse(&mut buffer);
        while buffer.len() < FLUSH_BYTES
            && let Some(frame) = outbox.pop()
        {
            frame.header.put(&mut buffer, |out| out.extend_from_slice(&frame.payload));
        }
        if buffer.is_empty() {
            outbox.wake.notified().await;
            // A commit ends many requests: their replies go along.
            yield_now().await;
            continue;
        }
        metrics.sent_bytes.inc_by(buffer.len() as u64);
        if let Err(error) = write_all(&mut stream, &buffer, context.config.silence_max).await {
            return error;
        }
        outbox.written();
    }
}

struct Reader<'a, R> {
    frames: FrameReader<R>,
    decoder: Decoder,
    agreement: &'a Agreement,
    context: &'a Context,
    outbox: &'a Arc<Outbox>,
    requests: &'a Requests,
    metrics: &'a CallerCounters,
    taken: &'a Taken,
}

impl<R: AsyncRead + Unpin> Reader<'_, R> {
    async fn run(mut self) -> Ended {
        let mut counted_bytes = 0;
        loop {
            let result = self.next().await;
            self.metrics.received_bytes.inc_by(self.frames.received_bytes() - counted_bytes);
            counted_bytes = self.frames.received_bytes();
            if let Err(ended) = result {
                return ended;
            }
        }
    }

    /// Handles one frame.
    async fn next(&mut self) -> Result<(), Ended> {
        self.outbox.few_small_frames().await;
        let announced = self.frames.announced().await?;
        let long = match announced.payload_bytes {
            0..=LONG_BYTES => None,
            bytes => Some(self.context.long_frames.acquire_many((bytes / LONG_UNIT_BYTES) as u32).await),
        };
        self.frames.receive(&announced).await?;
        let Header { kind, call, .. } = announced.header;
        match kind {
            Kind::Request => self.request(announced.header)?,
            Kind::Cancel => self.requests.cancel(call),
            Kind::Credit => {
                let bytes = self.frames.payload().try_into().map_err(|_| FrameError::Malformed(kind))?;
                self.requests.add_credit(call, u32::from_le_bytes(bytes))?;
            }
            Kind::Ping => self.outbox.push(Header::new(Kind::Pong, call), Bytes::new(), None),
            Kind::Chunk | Kind::Reply | Kind::Error | Kind::Pong | Kind::GoAway => {
                return Err(FrameError::WrongSide(kind).into());
            }
        }
        drop(long);
        Ok(())
    }

    fn request(&mut self, header: Header) -> Result<(), Ended> {
        if self.taken.no_more.load(Ordering::Relaxed) {
            // The peer learns from what was sent to it that this was not taken.
            return Ok(());
        }
        let Header { flags, code: method, call, .. } = header;
        if call.0 <= self.taken.last.load(Ordering::Relaxed) || flags & !FLAG_SAMPLES != 0 {
            return Err(FrameError::Malformed(Kind::Request).into());
        }
        self.taken.last.store(call.0, Ordering::Relaxed);
        self.metrics.requests.inc();
        let (head, control, encoded) = RequestHead::parse(self.frames.payload())?;
        if (head.window_bytes as usize) < CHUNK_BYTES_MAX + CHUNK_COST_BYTES {
            return Err(FrameError::Malformed(Kind::Request).into());
        }
        // Also of a request that is then refused: what follows on this connection builds on it.
        let samples = samples(&mut self.decoder, self.context, flags, encoded)?;
        let bytes = control.len() + samples.as_ref().map_or(0, |samples| samples.memory_bytes());
        let permit = if self.requests.len() >= self.context.config.requests_max as usize {
            Err("it answers as many requests of this connection as it takes")
        } else {
            self.context.budget.try_take(bytes).ok_or("it holds as many bytes of requests as it takes")
        };
        match permit {
            Ok(permit) => {
                let request = Request {
                    peer: self.agreement.peer.clone(),
                    lane: self.agreement.lane,
                    method,
                    control: Bytes::copy_from_slice(control),
                    samples,
                    deadline: Instant::now() + Duration::from_millis(u64::from(head.deadline_ms)),
                    permit: RequestPermit(permit),
                };
                self.requests.start(&self.context.handler, call, head.window_bytes, request);
            }
            Err(text) => {
                self.metrics.refused.inc();
                let (header, payload) = error_frame(call, ErrorCode::Overloaded, 0, text);
                self.outbox.push(header, payload, None);
            }
        }
        Ok(())
    }
}

fn samples(
    decoder: &mut Decoder,
    context: &Context,
    flags: u8,
    encoded: &[u8],
) -> Result<Option<PooledBatch>, Ended> {
    match flags & FLAG_SAMPLES != 0 {
        true => {
            let mut batch = context.batches.take();
            decoder.decode(encoded, &mut batch)?;
            Ok(Some(batch))
        }
        false if encoded.is_empty() => Ok(None),
        false => Err(FrameError::Malformed(Kind::Request).into()),
    }
}
