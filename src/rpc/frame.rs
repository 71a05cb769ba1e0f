//! Frames: everything that two nodes say to each other once they know each other. Byte by byte in
//! `docs/format/rpc.md`.
//!
//! A header announces length, kind and call; a checksum covers header and payload. Both lengths and kinds are
//! checked before a byte of the payload is waited for, and nothing is allocated for bytes that have not come.

use std::fmt;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 20;
/// Bytes of a request's payload, and of a reply that is not streamed.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// Bytes of one chunk of a streamed reply: short enough that others on the connection need not wait long.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Bytes of an error's text.
pub const ERROR_BYTES_MAX: usize = 4 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call. From the connecting side.
    Request,
    /// The call is not wanted any more. From the connecting side.
    Cancel,
    /// More bytes of the streamed reply are welcome. From the connecting side.
    Credit,
    /// Say something. From the connecting side.
    Ping,
    /// A part of a streamed reply.
    Chunk,
    /// A reply, or the end of a streamed one.
    Reply,
    /// The call failed.
    Error,
    /// The answer to a ping.
    Pong,
    /// No request with a greater number was or will be taken from this connection.
    GoAway,
}

impl Kind {
    const ALL: [Kind; 9] = [
        Kind::Request,
        Kind::Cancel,
        Kind::Credit,
        Kind::Ping,
        Kind::Chunk,
        Kind::Reply,
        Kind::Error,
        Kind::Pong,
        Kind::GoAway,
    ];

    /// Its byte in the header.
    pub const fn byte(self) -> u8 {
        self as u8 + 1
    }

    fn of_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// The most bytes its payload may have.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Kind::Request | Kind::Reply => PAYLOAD_BYTES_MAX,
            Kind::Chunk => CHUNK_BYTES_MAX,
            Kind::Error => ERROR_BYTES_MAX,
            Kind::Credit => 4,
            Kind::Cancel | Kind::Ping | Kind::Pong | Kind::GoAway => 0,
        }
    }

    /// Whether the side that connected may send it, rather than the other one.
    pub const fn is_from_client(self) -> bool {
        matches!(self, Kind::Request | Kind::Cancel | Kind::Credit | Kind::Ping)
    }
}

/// Numbers the calls of a connection, from 1, ever rising.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a frame is and what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// Bits that each kind defines for itself.
    pub flags: u8,
    /// A request's method, an error's code, else zero.
    pub code: u16,
    /// The call it belongs to; zero where there is none.
    pub call: CallId,
}

/// Bytes that are no frame. The connection they came on is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind nobody defined.
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A kind that this side sends and never gets.
    #[error("frame of kind {0:?} from the wrong side")]
    WrongSide(Kind),
    /// The payload is longer than its kind allows.
    #[error("{kind:?} frame of {got} bytes, at most {max} are allowed")]
    TooLong {
        /// The kind.
        kind: Kind,
        /// Bytes announced.
        got: u32,
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes changed on their way.
    #[error("{0:?} frame with a wrong checksum")]
    Checksum(Kind),
    /// A payload that does not have the shape of its kind.
    #[error("malformed {0:?} frame")]
    Malformed(Kind),
}

/// A header as it arrived: what the payload must be like is known, the payload is not there yet.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// What is coming.
    pub header: Header,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    crc_of_header: u32,
    crc: u32,
}

impl Header {
    /// A header without flags or code.
    pub const fn new(kind: Kind, call: CallId) -> Self {
        Header { kind, flags: 0, code: 0, call }
    }

    /// Appends a frame whose payload `payload` appends. Returns the payload's bytes; if they are more than the kind
    /// allows, the caller must cut the buffer back.
    pub fn put(self, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) -> usize {
        let begin = out.len();
        out.resize(begin + HEADER_BYTES, 0);
        payload(out);
        let frame = &mut out[begin..];
        let payload_bytes = frame.len() - HEADER_BYTES;
        frame[..4].copy_from_slice(&(payload_bytes as u32).to_le_bytes());
        frame[8] = self.kind.byte();
        frame[9] = self.flags;
        frame[10..12].copy_from_slice(&self.code.to_le_bytes());
        frame[12..HEADER_BYTES].copy_from_slice(&self.call.0.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        payload_bytes
    }

    /// Reads a header that the connecting side sent, or the other one.
    pub fn parse(bytes: &[u8; HEADER_BYTES], from_client: bool) -> Result<Announced, FrameError> {
        let [l0, l1, l2, l3, c0, c1, c2, c3, kind, flags, m0, m1, call @ ..] = *bytes;
        let payload_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        let kind = Kind::of_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        if kind.is_from_client() != from_client {
            return Err(FrameError::WrongSide(kind));
        }
        let max = kind.payload_bytes_max();
        if payload_bytes as usize > max {
            return Err(FrameError::TooLong { kind, got: payload_bytes, max });
        }
        let call = CallId(u64::from_le_bytes(call));
        Ok(Announced {
            header: Header { kind, flags, code: u16::from_le_bytes([m0, m1]), call },
            payload_bytes: payload_bytes as usize,
            crc_of_header: crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[8..]),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }
}

impl Announced {
    /// Compares the checksum, which is the CRC-32C of the frame's bytes but its own.
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        let crc = crc32c::crc32c_append(self.crc_of_header, payload);
        if crc == self.crc { Ok(()) } else { Err(FrameError::Checksum(self.header.kind)) }
    }
}
