//! Connections that have proved nothing yet. There are few at a time: a new one pushes out the oldest, so that whoever
//! opens connections and says nothing keeps nobody out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The connections whose handshake is not over.
#[derive(Clone)]
pub(super) struct Strangers {
    waiting: Arc<Mutex<VecDeque<Arc<Notify>>>>,
    max: usize,
}

/// One of them, until it is dropped.
pub(super) struct Stranger {
    strangers: Strangers,
    pushed_out: Arc<Notify>,
}

impl Strangers {
    pub(super) fn new(max: usize) -> Self {
        Strangers { waiting: Arc::default(), max }
    }

    /// Another one. If there are too many, the oldest is pushed out.
    pub(super) fn admit(&self) -> Stranger {
        let pushed_out = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        waiting.push_back(Arc::clone(&pushed_out));
        if waiting.len() > self.max
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.notify_one();
        }
        Stranger { strangers: self.clone(), pushed_out }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// Waits until this one must go.
    pub(super) async fn pushed_out(&self) {
        self.pushed_out.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.waiting().retain(|other| !Arc::ptr_eq(other, &self.pushed_out));
    }
}
