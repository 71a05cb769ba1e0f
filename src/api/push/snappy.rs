//! Snappy block format, guarded: what a sender claims is checked before a byte is allocated for it.

/// No element of the block format yields more output per input byte than a copy with a two-byte offset: 64 bytes
/// from 3. A body that claims more than this many times its size is damaged or hostile.
/// Source: snappy's `format_description.txt`, section 2.2.2.
const EXPANSION_MAX: u64 = 22;

/// Why a body could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    /// The claimed size is over the limit.
    #[error("received message larger than max ({declared} vs {max})")]
    TooLarge {
        /// Bytes the body claims to decompress to.
        declared: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// The claimed size cannot come out of so few bytes.
    #[error("snappy: {compressed} bytes cannot decompress to the declared {declared}")]
    Impossible {
        /// Bytes the body claims to decompress to.
        declared: u64,
        /// Bytes received.
        compressed: u64,
    },
    /// The bytes are no snappy block.
    #[error("{0}")]
    Corrupt(#[from] snap::Error),
}

/// The size that `compressed` claims to decompress to, if that is allowed and possible.
pub fn declared_len(compressed: &[u8], max_bytes: u64) -> Result<usize, SnappyError> {
    let len = snap::raw::decompress_len(compressed)?;
    let declared = len as u64;
    if declared > max_bytes {
        return Err(SnappyError::TooLarge { declared, max: max_bytes });
    }
    let compressed = compressed.len() as u64;
    if declared > compressed * EXPANSION_MAX {
        return Err(SnappyError::Impossible { declared, compressed });
    }
    Ok(len)
}

/// Decompresses into `body`, which ends up exactly as long as the message. Its old content is overwritten, so a
/// buffer in steady use is neither zeroed nor allocated again.
pub fn decompress_into(compressed: &[u8], max_bytes: u64, body: &mut Vec<u8>) -> Result<(), SnappyError> {
    let len = declared_len(compressed, max_bytes)?;
    body.resize(len, 0);
    let written = snap::raw::Decoder::new().decompress(compressed, body)?;
    body.truncate(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compress(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    #[test]
    fn a_body_comes_back_whole_and_the_buffer_is_reused() {
        let mut body = vec![0xaa; 300];
        decompress_into(&compress(b"some text"), 1024, &mut body).unwrap();
        assert_eq!(body, b"some text");
        let capacity = body.capacity();
        decompress_into(&compress(&[7; 250]), 1024, &mut body).unwrap();
        assert_eq!(body, [7; 250]);
        assert_eq!(body.capacity(), capacity);
    }

    #[test]
    fn a_declared_size_over_the_limit_is_refused_without_allocating() {
        let mut body = Vec::new();
        let error = decompress_into(&compress(&[0; 4096]), 4095, &mut body).unwrap_err();
        assert_eq!(error, SnappyError::TooLarge { declared: 4096, max: 4095 });
        assert_eq!(body.capacity(), 0);
    }

    #[test]
    fn a_bomb_that_claims_what_its_bytes_cannot_hold_is_refused_without_allocating() {
        // The length header of 64 MiB, and one literal byte.
        let bomb = [0x80, 0x80, 0x80, 0x20, 0x00, 0x41];
        let mut body = Vec::new();
        let error = decompress_into(&bomb, 100 << 20, &mut body).unwrap_err();
        assert_eq!(error, SnappyError::Impossible { declared: 64 << 20, compressed: 6 });
        assert_eq!(body.capacity(), 0);
    }

    #[test]
    fn the_densest_possible_body_is_still_accepted() {
        let plain = vec![b'x'; 1 << 20];
        let dense = compress(&plain);
        assert!(dense.len() < plain.len() / 20, "the test needs a dense body, got {} bytes", dense.len());
        let mut body = Vec::new();
        decompress_into(&dense, 1 << 20, &mut body).unwrap();
        assert_eq!(body, plain);
    }

    #[test]
    fn truncated_bodies_are_corrupt() {
        let whole = compress(b"the quick brown fox jumps over the lazy dog, twice: the quick brown fox");
        for cut in 1..whole.len() {
            assert!(decompress_into(&whole[..cut], 1024, &mut Vec::new()).is_err(), "cut at {cut}");
        }
    }
}
