//! Segments that a document has closed are dropped: blocks have what they held (`docs/adr/015-closing-by-document.md`).
//!
//! Whoever is asked for one from here on refuses, with the documents. Readers that are under way hold on to what they read.
//!
//! What may go wrong: the process dies meanwhile, or files cannot be removed. The next start passes over what is closed, and
//! removes what is left of it.

use std::sync::Arc;

use gyre_ring::Epoch;

use super::local::Replicas;

impl Replicas {
    /// Drops what is closed, now and whenever there are new documents. Runs as long as the node.
    pub async fn drop_what_closes(self: Arc<Self>) {
        let mut changes = self.cluster.changes();
        let mut dropped = Epoch(0);
        loop {
            let state = changes.borrow_and_update().clone();
            let closed = state.chain.closed_through();
            if closed > dropped {
                dropped = closed;
                for shard in self.shards.all() {
                    if !state.chain.is_closed(&shard.segment) {
                        continue;
                    }
                    let (shards, segment) = (self.shards.clone(), shard.segment.clone());
                    drop(shard);
                    let forgotten =
                        tokio::task::spawn_blocking(move || (shards.forget(&segment), segment)).await;
                    match forgotten {
                        Ok((Ok(()), segment)) => tracing::info!(%segment, "dropped a closed segment"),
                        Ok((Err(error), segment)) => {
                            tracing::warn!(%segment, %error, "cannot remove the files of a closed segment now");
                        }
                        Err(error) => tracing::warn!(%error, "dropping a closed segment ended unexpectedly"),
                    }
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
