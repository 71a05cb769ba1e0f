//! Frames from a socket.
//!
//! Small frames are looked at where they were received; a long one is gathered in a buffer of its own that grows
//! with what arrives, not with what is announced. Silence is noticed here too: a peer that says nothing for too
//! long is taken for dead, whatever the kernel still believes.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::frame::{Announced, FrameError, HEADER_BYTES, Header};

/// What is read at a time, and the longest frame that is looked at in place.
const BUFFER_BYTES: usize = 64 << 10;
/// A long frame's buffer is kept for the next one up to this size.
const LONG_BYTES_KEPT: usize = 1 << 20;

/// Why no more frames will come.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Bytes that are no frame.
    #[error("it sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The connection ended, between two frames or within one.
    #[error("it closed the connection")]
    Closed,
    /// It said that it would go away, and all it had taken is answered.
    #[error("it is shutting down")]
    GoneAway,
    /// Nothing came for too long.
    #[error("it was silent for {0:?}")]
    Silent(Duration),
}

/// Reads frames.
pub struct FrameReader<R> {
    from: R,
    from_client: bool,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    long: Vec<u8>,
    /// Where the current frame's payload is.
    payload: Payload,
    silence_max: Duration,
    /// Bytes received since the start.
    received_bytes: u64,
}

#[derive(Clone, Copy)]
enum Payload {
    Buffered { begin: usize, end: usize },
    Long,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of what the connecting side sends, or the other one. It gives up after `silence_max` in which
    /// nothing came.
    pub fn new(from: R, from_client: bool, silence_max: Duration) -> Self {
        FrameReader {
            from,
            from_client,
            buffer: vec![0; BUFFER_BYTES],
            begin: 0,
            end: 0,
            long: Vec::new(),
            payload: Payload::Buffered { begin: 0, end: 0 },
            silence_max,
            received_bytes: 0,
        }
    }

    /// Waits for the next header; the payload may not be there yet. Cancelling this loses nothing.
    pub async fn announced(&mut self) -> Result<Announced, ReadError> {
        loop {
            if let Some(header) = self.buffer[self.begin..self.end].first_chunk() {
                return Ok(Header::parse(header, self.from_client)?);
            }
            self.fill().await?;
        }
    }

    /// Waits for the payload of the frame that was announced. Cancelling this loses the connection.
    pub async fn receive(&mut self, announced: &Announced) -> Result<(), ReadError> {
        let frame_bytes = HEADER_BYTES + announced.payload_bytes;
        if frame_bytes <= BUFFER_BYTES {
            while self.end - self.begin < frame_bytes {
                self.fill().await?;
            }
            self.payload =
                Payload::Buffered { begin: self.begin + HEADER_BYTES, end: self.begin + frame_bytes };
            self.begin += frame_bytes;
        } else {
            self.long.clear();
            if self.long.capacity() > LONG_BYTES_KEPT {
                self.long = Vec::new();
            }
            self.long.extend_from_slice(&self.buffer[self.begin + HEADER_BYTES..self.end]);
            (self.begin, self.end) = (0, 0);
            self.long.reserve((announced.payload_bytes - self.long.len()).min(4 * BUFFER_BYTES));
            while self.long.len() < announced.payload_bytes {
                let left = (announced.payload_bytes - self.long.len()) as u64;
                let mut from = (&mut self.from).take(left);
                let read = timeout(self.silence_max, from.read_buf(&mut self.long));
                let received = read.await.map_err(|_| ReadError::Silent(self.silence_max))??;
                if received == 0 {
                    return Err(ReadError::Closed);
                }
                self.received_bytes += received as u64;
            }
            self.payload = Payload::Long;
        }
        Ok(announced.check(self.payload())?)
    }

    /// The payload that was received last.
    pub fn payload(&self) -> &[u8] {
        match self.payload {
            Payload::Buffered { begin, end } => &self.buffer[begin..end],
            Payload::Long => &self.long,
        }
    }

    /// The payload that was received last, to keep. What is left in its place is empty.
    pub fn take_payload(&mut self) -> Bytes {
        match std::mem::replace(&mut self.payload, Payload::Buffered { begin: 0, end: 0 }) {
            Payload::Buffered { begin, end } => Bytes::copy_from_slice(&self.buffer[begin..end]),
            Payload::Long => std::mem::take(&mut self.long).into(),
        }
    }

    /// Bytes received since the start.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        let read = timeout(self.silence_max, self.from.read(&mut self.buffer[self.end..]));
        let received = read.await.map_err(|_| ReadError::Silent(self.silence_max))??;
        if received == 0 {
            return Err(ReadError::Closed);
        }
        self.end += received;
        self.received_bytes += received as u64;
        Ok(())
    }
}
