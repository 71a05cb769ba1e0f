//! What waits to be written to one connection.
//!
//! Replies take room before they are put here, so their bytes are bounded; refusals and pongs are small and not
//! waited for by anybody, so the reader stops when there are many of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::rpc::frame::Header;

/// Frames that took no room, beyond which the connection is not read.
const SMALL_FRAMES_MAX: usize = 1024;

pub(super) struct Outbox {
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
    room_bytes: u32,
    /// There is something to write, or nothing will come any more.
    pub(super) wake: Notify,
    /// Small frames were taken to be written.
    taken: Notify,
    /// All is written, for now.
    pub(super) idle: Notify,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    small: usize,
    /// Some that were taken are not written yet.
    is_writing: bool,
}

pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) payload: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl Outbox {
    /// An outbox for so many bytes of replies.
    pub(super) fn new(room_bytes: u32) -> Self {
        Outbox {
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(room_bytes as usize)),
            room_bytes,
            wake: Notify::new(),
            taken: Notify::new(),
            idle: Notify::new(),
        }
    }

    /// Waits for room for a payload. One that is larger than all of it waits until it is alone.
    pub(super) async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        // At least a byte: empty replies are not to overtake others.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.room_bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        room.expect("the outbox never closes its semaphore")
    }

    /// Puts a frame behind the others.
    pub(super) fn push(&self, header: Header, payload: Bytes, room: Option<OwnedSemaphorePermit>) {
        let mut queue = self.queue();
        queue.small += usize::from(room.is_none());
        queue.frames.push_back(Frame { header, payload, room });
        drop(queue);
        self.wake.notify_one();
    }

    /// The next frame to write. Its room is free again when it is dropped.
    pub(super) fn pop(&self) -> Option<Frame> {
        let mut queue = self.queue();
        let Some(frame) = queue.frames.pop_front() else {
            if !queue.is_writing {
                self.idle.notify_one();
            }
            return None;
        };
        queue.is_writing = true;
        if frame.room.is_none() {
            queue.small -= 1;
            drop(queue);
            self.taken.notify_one();
        }
        Some(frame)
    }

    /// What was taken so far is written.
    pub(super) fn written(&self) {
        self.queue().is_writing = false;
    }

    /// Whether all is written.
    pub(super) fn is_written(&self) -> bool {
        let queue = self.queue();
        queue.frames.is_empty() && !queue.is_writing
    }

    /// Waits until few small frames wait. For the connection's reader alone.
    pub(super) async fn few_small_frames(&self) {
        while self.queue().small > SMALL_FRAMES_MAX {
            self.taken.notified().await;
        }
    }

    /// Each change of the queue is complete before the lock goes: a poisoned one is as good.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
