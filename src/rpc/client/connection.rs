//! One connection, while it lasts: a writer that sends what the lane has gathered, a reader that gives replies to
//! their calls. Both are one task, so that the end of one ends the other.

use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use super::call::Call;
use super::lane::{LaneQueue, Notice, ToWrite};
use super::peer::Outgoing;
use crate::rpc::error::{ErrorCode, FLAG_NOT_EXECUTED, FLAG_RETRYABLE, Outcome, RpcError};
use crate::rpc::frame::{CallId, FrameError, Header, Kind, PAYLOAD_BYTES_MAX};
use crate::rpc::frame_reader::{FrameReader, ReadError};
use crate::rpc::handshake::Agreement;
use crate::rpc::request::{FLAG_SAMPLES, RequestHead};
use crate::rpc::samples::Encoder;
use crate::rpc::write::{FLUSH_BYTES, reuse, write_all};

/// Why a connection is over.
pub(super) async fn run(mut stream: TcpStream, agreement: &Agreement, lane: &LaneQueue) -> String {
    let (read, write) = stream.split();
    let reader = FrameReader::new(read, false, lane.shared.config.silence_max);
    let encoder = Encoder::new(agreement.grants.series_ids_max);
    let in_flight_max = agreement.grants.requests_max as usize;
    tokio::select! {
        reason = read_loop(reader, lane) => reason.to_string(),
        reason = Writer { stream: write, encoder, lane, in_flight_max, buffer: Vec::new() }.run() => reason,
    }
}

async fn read_loop<R: AsyncRead + Unpin>(mut reader: FrameReader<R>, lane: &LaneQueue) -> ReadError {
    let mut counted_bytes = 0;
    let mut is_going_away = false;
    loop {
        let result = next_frame(&mut reader, lane).await;
        lane.shared.metrics.received_bytes.inc_by(reader.received_bytes() - counted_bytes);
        counted_bytes = reader.received_bytes();
        let last = match result {
            Ok(last) => last,
            Err(error) => return error,
        };
        is_going_away |= last.is_some();
        // Until all that the peer still works on is answered, nothing new goes to it.
        if is_going_away && lane.going_away(last) {
            return ReadError::GoneAway;
        }
    }
}

/// Handles one frame. Returns the last call that the peer takes, if it says that it goes away.
async fn next_frame<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    lane: &LaneQueue,
) -> Result<Option<CallId>, ReadError> {
    let announced = reader.announced().await?;
    reader.receive(&announced).await?;
    let Header { kind, flags, code, call: id } = announced.header;
    match kind {
        Kind::Chunk => {
            if let Some(call) = lane.in_flight(id) {
                call.chunk(reader.take_payload())?;
            }
        }
        Kind::Reply => {
            if let Some(call) = lane.ended_in_flight(id) {
                call.end(Ok(reader.take_payload()));
            }
        }
        Kind::Error => {
            let code = ErrorCode::of_number(code).ok_or(FrameError::Malformed(Kind::Error))?;
            let text: Arc<str> = String::from_utf8_lossy(reader.payload()).into();
            if let Some(call) = lane.ended_in_flight(id) {
                let error = error_of(lane, &call, code, flags, text);
                call.end(Err(error));
            }
        }
        Kind::GoAway => return Ok(Some(id)),
        Kind::Pong => {}
        Kind::Request | Kind::Cancel | Kind::Credit | Kind::Ping => {
            return Err(FrameError::WrongSide(kind).into());
        }
    }
    Ok(None)
}

fn error_of(lane: &LaneQueue, call: &Call, code: ErrorCode, flags: u8, text: Arc<str>) -> RpcError {
    let peer = lane.shared.replica.clone();
    match code {
        ErrorCode::Overloaded => RpcError::PeerOverloaded { peer, text },
        ErrorCode::GoingAway => RpcError::GoingAway { peer },
        ErrorCode::UnknownMethod => RpcError::UnknownMethod { peer, method: call.method.name },
        ErrorCode::Deadline => RpcError::Deadline { peer, outcome: Outcome::Unknown },
        ErrorCode::Failed => RpcError::Failed {
            peer,
            text,
            is_retryable: flags & FLAG_RETRYABLE != 0,
            outcome: if flags & FLAG_NOT_EXECUTED != 0 { Outcome::NotExecuted } else { Outcome::Unknown },
        },
    }
}

struct Writer<'a> {
    stream: WriteHalf<'a>,
    /// Knows what the peer's decoder knows; so it is fed here, in the order in which frames are written.
    encoder: Encoder,
    lane: &'a LaneQueue,
    in_flight_max: usize,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    async fn run(mut self) -> String {
        let config = &self.lane.shared.config;
        let mut next_ping = Instant::now() + config.ping_interval;
        loop {
            let mut is_closed = false;
            reuse(&mut self.buffer);
            while self.buffer.len() < FLUSH_BYTES {
                match self.lane.next_to_write(self.in_flight_max) {
                    ToWrite::Notice(Notice::Cancel(call)) => self.put(Kind::Cancel, call, &[]),
                    ToWrite::Notice(Notice::Credit(call, bytes)) => {
                        self.put(Kind::Credit, call, &bytes.to_le_bytes());
                    }
                    ToWrite::Request(call, request, permit) => {
                        self.put_request(&call, &request);
                        drop(permit);
                    }
                    ToWrite::Nothing => break,
                    ToWrite::Closed => {
                        is_closed = true;
                        break;
                    }
                }
            }
            if Instant::now() >= next_ping {
                self.put(Kind::Ping, CallId::default(), &[]);
                next_ping = Instant::now() + config.ping_interval;
            }
            if is_closed {
                return "it is not needed any more".to_owned();
            }
            if self.buffer.is_empty() {
                // The end of the wait is the time for a ping.
                let _ = timeout_at(next_ping, self.lane.wake.notified()).await;
                // Calls come in groups, one for each shard of a write: those that are about to come go along.
                yield_now().await;
                continue;
            }
            self.lane.shared.metrics.sent_bytes.inc_by(self.buffer.len() as u64);
            self.lane.show_queue();
            if let Err(error) = write_all(&mut self.stream, &self.buffer, config.silence_max).await {
                return error.to_string();
            }
        }
    }

    fn put(&mut self, kind: Kind, call: CallId, payload: &[u8]) {
        Header::new(kind, call).put(&mut self.buffer, |out| out.extend_from_slice(payload));
    }

    /// Puts a request into the buffer. One that cannot be sent is over.
    fn put_request(&mut self, call: &Call, request: &Outgoing) {
        let left = call.deadline.saturating_duration_since(Instant::now());
        let head = RequestHead {
            // Rounded up: at zero the peer need not even begin.
            deadline_ms: u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX),
            window_bytes: call.window_bytes,
            control_bytes: request.control.len() as u32,
        };
        let flags = if request.samples.is_some() { FLAG_SAMPLES } else { 0 };
        let header = Header { kind: Kind::Request, flags, code: call.method.number, call: call.id };
        let begin = self.buffer.len();
        let mut problem = None;
        let encoder = &mut self.encoder;
        let bytes = header.put(&mut self.buffer, |out| {
            head.put(out);
            out.extend_from_slice(&request.control);
            if let Some(samples) = &request.samples {
                problem = encoder.encode(&**samples, out).err().map(|error| error.to_string());
            }
        });
        if problem.is_none() && bytes > PAYLOAD_BYTES_MAX {
            problem = Some(format!("it has {bytes} bytes, at most {PAYLOAD_BYTES_MAX} can be sent"));
            // The peer will not see what was encoded.
            self.encoder.forget();
        }
        if let Some(problem) = problem {
            self.buffer.truncate(begin);
            self.lane.ended_in_flight(call.id);
            call.end(Err(RpcError::TooLarge {
                peer: self.lane.shared.replica.clone(),
                reason: problem.into(),
            }));
        }
    }
}
