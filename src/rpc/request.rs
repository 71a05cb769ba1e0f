//! The payload of a request frame: how long the answer is worth something, how much of it may come at once, then
//! the caller's bytes, then possibly samples. See `docs/format/rpc.md`.

use super::frame::{FrameError, Kind};

/// Flag of a request frame: samples follow the caller's bytes.
pub(super) const FLAG_SAMPLES: u8 = 1;

/// What stands in front of the caller's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    /// Milliseconds that are left.
    pub(super) deadline_ms: u32,
    /// Bytes of a streamed reply that may come before the caller gives more credit.
    pub(super) window_bytes: u32,
    /// The caller's bytes.
    pub(super) control_bytes: u32,
}

pub(super) const HEAD_BYTES: usize = 12;

impl RequestHead {
    pub(super) fn put(self, out: &mut Vec<u8>) {
        for field in [self.deadline_ms, self.window_bytes, self.control_bytes] {
            out.extend(field.to_le_bytes());
        }
    }

    /// Reads the head. What lies behind it is the caller's bytes, then the samples.
    pub(super) fn parse(payload: &[u8]) -> Result<(Self, &[u8], &[u8]), FrameError> {
        let parse = || {
            let (head, rest) = payload.split_first_chunk::<HEAD_BYTES>()?;
            let [a, b, c, d, e, f, g, h, i, j, k, l] = *head;
            let head = RequestHead {
                deadline_ms: u32::from_le_bytes([a, b, c, d]),
                window_bytes: u32::from_le_bytes([e, f, g, h]),
                control_bytes: u32::from_le_bytes([i, j, k, l]),
            };
            let (control, samples) = rest.split_at_checked(head.control_bytes as usize)?;
            Some((head, control, samples))
        };
        parse().ok_or(FrameError::Malformed(Kind::Request))
    }
}
