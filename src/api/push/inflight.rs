//! The memory that write requests in flight may take together.
//!
//! Each request reserves what it is about to read or decompress before it does so, and is refused with 503 when the
//! whole node would go over its limit: senders retry, and the node stays up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes reserved by all requests.
#[derive(Clone, Debug)]
pub struct InflightBytes {
    reserved: Arc<AtomicU64>,
    max: u64,
}

/// The reservation of one request; given back when dropped.
#[derive(Debug)]
pub struct Reservation<'a> {
    of: &'a InflightBytes,
    bytes: u64,
}

/// The node has as many bytes of writes in flight as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes of push requests in flight on this node (limit: {max})")]
pub struct InflightFull {
    max: u64,
}

impl InflightBytes {
    /// Allows `max` bytes in flight.
    pub fn new(max: u64) -> Self {
        Self { reserved: Arc::default(), max }
    }

    /// An empty reservation, to be grown.
    pub fn reservation(&self) -> Reservation<'_> {
        Reservation { of: self, bytes: 0 }
    }

    /// Bytes reserved now.
    pub fn bytes(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }
}

impl Reservation<'_> {
    /// Makes the reservation at least this large.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), InflightFull> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let max = self.of.max;
        let add = |reserved: u64| reserved.checked_add(more).filter(|sum| *sum <= max);
        self.of
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_err(|_| InflightFull { max })?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.of.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_over_all_requests_and_is_given_back() {
        let inflight = InflightBytes::new(100);
        let mut first = inflight.reservation();
        first.grow_to(60).unwrap();
        first.grow_to(50).unwrap();
        assert_eq!(inflight.bytes(), 60, "a reservation does not shrink");
        let mut second = inflight.reservation();
        assert_eq!(second.grow_to(41), Err(InflightFull { max: 100 }));
        second.grow_to(40).unwrap();
        drop(first);
        assert_eq!(inflight.bytes(), 40);
        drop(second);
        assert_eq!(inflight.bytes(), 0);
        assert!(inflight.reservation().grow_to(u64::MAX).is_err());
    }
}
