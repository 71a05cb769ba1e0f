//! The buffers of write requests, kept between requests so that the steady state allocates nothing.
//!
//! What an idle pool may hold is bounded in bytes and in count, and a buffer that one huge request has blown up is
//! dropped rather than kept.

use std::sync::{Arc, Mutex, PoisonError};

use super::decode::{HistogramSlice, MetadataEntry, Sample, SeriesSlice};

/// An arena larger than this is not kept: one outlier must not pin its size for ever.
const ARENA_BYTES_MAX: usize = 8 << 20;

/// The buffers one request needs.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pub(super) body: Vec<u8>,
    pub(super) series: Vec<SeriesSlice>,
    pub(super) samples: Vec<Sample>,
    pub(super) histograms: Vec<HistogramSlice>,
    pub(super) metadata: Vec<MetadataEntry>,
}

impl Arena {
    fn capacity_bytes(&self) -> usize {
        self.body.capacity()
            + self.series.capacity() * size_of::<SeriesSlice>()
            + self.samples.capacity() * size_of::<Sample>()
            + self.histograms.capacity() * size_of::<HistogramSlice>()
            + self.metadata.capacity() * size_of::<MetadataEntry>()
    }
}

/// Idle arenas and idle receive buffers, shared by all HTTP workers.
#[derive(Clone, Debug)]
pub struct BatchPool {
    shared: Arc<Mutex<Idle>>,
}

#[derive(Debug)]
struct Idle {
    arenas: Vec<Arena>,
    receive_buffers: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
}

impl BatchPool {
    /// A pool that keeps at most `idle_max` arenas and as many receive buffers, of `idle_bytes_max` in all.
    pub fn new(idle_max: usize, idle_bytes_max: usize) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Idle {
                arenas: Vec::with_capacity(idle_max),
                receive_buffers: Vec::with_capacity(idle_max),
                bytes: 0,
                bytes_max: idle_bytes_max,
            })),
        }
    }

    // A panic while the lock is held cannot leave `Idle` half changed in a way that matters: at worst its byte
    // count is off by one buffer. So a poisoned lock is used on.
    fn with<R>(&self, f: impl FnOnce(&mut Idle) -> R) -> R {
        f(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take_arena(&self) -> Arena {
        self.with(|idle| {
            let arena = idle.arenas.pop().unwrap_or_default();
            idle.bytes -= arena.capacity_bytes();
            arena
        })
    }

    pub(super) fn give_arena(&self, mut arena: Arena) {
        arena.series.clear();
        arena.samples.clear();
        arena.histograms.clear();
        arena.metadata.clear();
        // `body` keeps its length: decompression overwrites it, and need not zero it again.
        let bytes = arena.capacity_bytes();
        self.with(|idle| {
            let has_room = idle.arenas.len() < idle.arenas.capacity() && idle.bytes + bytes <= idle.bytes_max;
            if has_room && bytes <= ARENA_BYTES_MAX {
                idle.bytes += bytes;
                idle.arenas.push(arena);
            }
        });
    }

    /// An empty buffer to receive a compressed body in.
    pub fn take_receive_buffer(&self) -> Vec<u8> {
        self.with(|idle| {
            let buffer = idle.receive_buffers.pop().unwrap_or_default();
            idle.bytes -= buffer.capacity();
            buffer
        })
    }

    /// Gives a receive buffer back, whatever it holds.
    pub fn give_receive_buffer(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let bytes = buffer.capacity();
        self.with(|idle| {
            let has_room = idle.receive_buffers.len() < idle.receive_buffers.capacity()
                && idle.bytes + bytes <= idle.bytes_max;
            if has_room && bytes <= ARENA_BYTES_MAX {
                idle.bytes += bytes;
                idle.receive_buffers.push(buffer);
            }
        });
    }

    /// Bytes held by idle buffers.
    pub fn idle_bytes(&self) -> usize {
        self.with(|idle| idle.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_was_given_back_is_taken_again() {
        let pool = BatchPool::new(2, 1 << 20);
        let mut buffer = pool.take_receive_buffer();
        buffer.extend_from_slice(&[1; 1000]);
        let (address, capacity) = (buffer.as_ptr(), buffer.capacity());
        pool.give_receive_buffer(buffer);
        assert_eq!(pool.idle_bytes(), capacity);
        let again = pool.take_receive_buffer();
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn idle_buffers_are_bounded_in_count_and_bytes() {
        let pool = BatchPool::new(2, 3000);
        for _ in 0..3 {
            pool.give_receive_buffer(Vec::with_capacity(100));
        }
        assert_eq!(pool.idle_bytes(), 200, "the third buffer is over the count");
        pool.give_arena(Arena { body: Vec::with_capacity(2900), ..Arena::default() });
        assert_eq!(pool.idle_bytes(), 200, "the arena would be over the bytes");
        pool.give_arena(Arena { body: Vec::with_capacity(2800), ..Arena::default() });
        assert_eq!(pool.idle_bytes(), 3000);
    }

    #[test]
    fn an_outlier_is_dropped_even_when_there_is_room() {
        let pool = BatchPool::new(2, 1 << 30);
        pool.give_arena(Arena { body: Vec::with_capacity(ARENA_BYTES_MAX + 1), ..Arena::default() });
        assert_eq!(pool.idle_bytes(), 0);
    }
}
