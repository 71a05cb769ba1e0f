//! One sealed chunk in a file: a fixed header, a checksum over header and data, the data.

/// Bytes before a frame's data.
pub(crate) const HEADER_BYTES: usize = 28;

/// The longest chunk that a frame holds.
pub(crate) const DATA_BYTES_MAX: usize = u16::MAX as usize;

/// What a sealed chunk is, beside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedChunk {
    /// The series' number in its shard.
    pub series: u32,
    /// The chunk encoding's number in Prometheus's files.
    pub encoding: u8,
    /// The chunk may overlap others of its series.
    pub out_of_order: bool,
    /// The first sample's time.
    pub min_ms: i64,
    /// The last sample's time.
    pub max_ms: i64,
}

/// A frame that cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed chunk does not match its checksum")]
pub struct FrameError;

/// Length of a frame's data, from its header.
pub(crate) fn data_len(header: &[u8; HEADER_BYTES]) -> usize {
    usize::from(u16::from_le_bytes([header[0], header[1]]))
}

/// Appends a frame.
pub(crate) fn put(out: &mut Vec<u8>, chunk: &SealedChunk, data: &[u8]) {
    debug_assert!(data.len() <= DATA_BYTES_MAX);
    let begin = out.len();
    out.extend_from_slice(&(data.len() as u16).to_le_bytes());
    out.push(chunk.encoding);
    out.push(u8::from(chunk.out_of_order));
    out.extend_from_slice(&chunk.series.to_le_bytes());
    out.extend_from_slice(&chunk.min_ms.to_le_bytes());
    out.extend_from_slice(&chunk.max_ms.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[begin..]), data);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(data);
}

/// Checks a whole frame and reads its header; the data is what follows [`HEADER_BYTES`].
pub(crate) fn check(frame: &[u8]) -> Result<SealedChunk, FrameError> {
    let (header, data) = frame.split_at_checked(HEADER_BYTES).ok_or(FrameError)?;
    let (fields, crc) = header.split_at(HEADER_BYTES - 4);
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if crc32c::crc32c_append(crc32c::crc32c(fields), data).to_le_bytes() != crc {
        return Err(FrameError);
    }
    Ok(SealedChunk {
        series: (word(0) >> 32) as u32,
        encoding: header[2],
        out_of_order: header[3] != 0,
        min_ms: word(8) as i64,
        max_ms: word(16) as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_any_changed_bit_is_noticed() {
        let chunk =
            SealedChunk { series: 0x01020304, encoding: 1, out_of_order: true, min_ms: -5, max_ms: i64::MAX };
        let mut frame = Vec::new();
        put(&mut frame, &chunk, b"some data");
        assert_eq!(check(&frame), Ok(chunk));
        assert_eq!(data_len(frame[..HEADER_BYTES].try_into().unwrap()), 9);
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&damaged), Err(FrameError), "bit {bit}");
        }
        assert_eq!(check(&frame[..10]), Err(FrameError));
    }
}
