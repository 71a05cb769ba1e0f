//! A thin layer over actix actors.
//!
//! Actix gives us a place where a shard's state lives alone, and mailboxes to reach it. It does not give
//! backpressure (each clone of an address may always enqueue), nor supervision of panics, nor a bound on how
//! long an answer takes. These are here, so that the rest of the node sees [`ActorRef::ask`] and [`Budget`]
//! and not actix: `do_send`, which never bounds and silently drops, is not used anywhere.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};

/// Bytes that may be on their way at a time.
pub struct Budget {
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

/// A share of a [`Budget`]; travels with the message and ends with it.
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Budget { used_bytes: AtomicUsize::new(0), max_bytes })
    }

    /// Takes bytes, if they are there. One holder alone may have more than the maximum: what is larger than
    /// the whole budget must get through some time.
    pub fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let take = |used: usize| (used == 0 || used + bytes <= self.max_bytes).then_some(used + bytes);
        self.used_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Permit { budget: self.clone(), bytes })
    }

    /// Bytes taken.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The actor is gone: it panicked, and its supervisor has not put another in its place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard is being rebuilt")]
pub struct Gone;

/// A way to an actor that may be replaced.
pub struct ActorRef<A: Actor> {
    addr: RwLock<Addr<A>>,
}

impl<A: Actor> ActorRef<A> {
    /// A way to this actor.
    pub fn new(addr: Addr<A>) -> Self {
        ActorRef { addr: RwLock::new(addr) }
    }

    /// Puts another actor in the place of one that is gone.
    pub fn replace(&self, addr: Addr<A>) {
        *self.addr.write().unwrap_or_else(PoisonError::into_inner) = addr;
    }

    /// A way to the actor that is there now, never to one in its place: to that one, numbers that this one has given out
    /// mean something else.
    pub fn pinned(&self) -> Self {
        ActorRef::new(self.addr.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Whether the actor is there.
    pub fn is_connected(&self) -> bool {
        self.addr.read().unwrap_or_else(PoisonError::into_inner).connected()
    }

    /// Sends a message and waits for the answer. Senders bound themselves by a [`Budget`].
    pub fn ask<M>(&self, message: M) -> impl Future<Output = Result<M::Result, Gone>> + use<A, M>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        // The request holds a sender of its own; the lock is not held while it waits.
        let request = self.addr.read().unwrap_or_else(PoisonError::into_inner).send(message);
        async move { request.await.map_err(|_| Gone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_bounds_all_but_a_single_large_holder() {
        let budget = Budget::new(100);
        let half = budget.try_take(50).unwrap();
        assert!(budget.try_take(51).is_none());
        let other = budget.try_take(50).unwrap();
        drop(half);
        assert_eq!(budget.used_bytes(), 50);
        drop(other);
        let large = budget.try_take(1000).expect("nobody else holds anything");
        assert!(budget.try_take(1).is_none());
        drop(large);
        assert_eq!(budget.used_bytes(), 0);
    }
}
