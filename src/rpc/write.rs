//! Writing what has gathered, by both sides.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Frames are gathered up to about this size before they are written.
pub(super) const FLUSH_BYTES: usize = 128 << 10;
/// A buffer that one long frame has blown up beyond this is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// Empties a buffer for the next frames.
pub(super) fn reuse(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_BYTES);
}

/// Writes all, and fails if the other side takes nothing for too long.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(
    to: &mut W,
    mut bytes: &[u8],
    stall_max: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = timeout(stall_max, to.write(bytes)).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, format!("it took nothing for {stall_max:?}"))
        })??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}
