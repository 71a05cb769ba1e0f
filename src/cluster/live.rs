//! The cluster as the rest of the node sees it while it runs: the newest documents, and ways to other nodes.
//!
//! Whoever acts takes a [`state`](LiveCluster::state) and acts upon it to the end; a newer one may exist by then, and
//! the replicas that were asked say so. Nothing here waits without a bound: a document that nobody can get is reported
//! as such.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_ring::{Epoch, EpochDocument, Replica, ShardCount, TenantId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::membership::{Membership, Nobody, View};
use super::run::{Ask, Notices, Seen, stay};
use super::start::Joining;
use super::state::ClusterState;
use super::ways::{Calls, Ways};
use crate::rpc::Peer;

/// How long [`LiveCluster::refresh`] waits.
const REFRESH_MAX: Duration = Duration::from_secs(3);

/// How long [`LiveCluster::learn`] waits: a disk that hangs must not hold up whoever brings documents.
const LEARN_MAX: Duration = Duration::from_secs(10);

/// Asks that wait in the channel.
const ASKS_MAX: usize = 64;

/// The cluster as it is now: newest documents, ways to other nodes.
pub struct LiveCluster {
    own: Replica,
    address: Option<String>,
    bucket: String,
    states: watch::Receiver<Arc<ClusterState>>,
    notices: watch::Receiver<Notices>,
    ways: Mutex<Ways>,
    asks: Option<mpsc::Sender<Ask>>,
    /// What keeps all that up to date. Without it nothing changes any more.
    task: Option<JoinHandle<()>>,
}

impl LiveCluster {
    /// Stays in the cluster that the node has [joined](super::run::join), on the current tokio runtime, until this is
    /// dropped.
    ///
    /// # Panics
    /// If `joining` is no member yet.
    pub fn start(joining: Joining, membership: Arc<dyn Membership>, calls: Calls) -> Self {
        let address = joining.address().to_owned();
        let mut live = Self::stay(joining, membership, Some(calls));
        live.address = Some(address);
        live
    }

    fn stay(mut joining: Joining, membership: Arc<dyn Membership>, calls: Option<Calls>) -> Self {
        let (asks, mut asked) = mpsc::channel(ASKS_MAX);
        let state = joining.state().expect("whoever stays in a cluster has joined it");
        let (bucket, views) = (joining.bucket_name().to_owned(), membership.views());
        let (seen, mut live) = Self::of(Arc::new(state), bucket, views, calls);
        live.asks = Some(asks);
        live.task = Some(tokio::spawn(async move {
            let error = stay(&mut joining, membership.as_ref(), &mut asked, &seen).await;
            seen.misplaced(&error);
        }));
        live
    }

    /// The cluster of a node that was told of no others, as [`start`](Self::start): its documents change, too, when
    /// tenants' shards do.
    ///
    /// # Panics
    /// If `joining` is no member yet.
    pub fn alone(joining: Joining) -> Self {
        Self::stay(joining, Arc::new(Nobody::default()), None)
    }

    /// A cluster that stays as it is: for tests of what acts upon it.
    pub fn fixed(state: ClusterState, views: watch::Receiver<Arc<View>>, calls: Option<Calls>) -> Self {
        Self::of(Arc::new(state), String::new(), views, calls).1
    }

    /// A cluster whose states come from a test.
    pub fn scripted(
        states: watch::Receiver<Arc<ClusterState>>,
        views: watch::Receiver<Arc<View>>,
        calls: Option<Calls>,
    ) -> Self {
        let state = states.borrow().clone();
        let (_, mut live) = Self::of(state, String::new(), views, calls);
        live.states = states;
        live
    }

    fn of(
        state: Arc<ClusterState>,
        bucket: String,
        views: watch::Receiver<Arc<View>>,
        calls: Option<Calls>,
    ) -> (Seen, Self) {
        let own = state.own.clone();
        let (states, newest) = watch::channel(state);
        let (notices, noticed) = watch::channel(Notices::default());
        let ways = Mutex::new(Ways::new(views, calls));
        let live = LiveCluster {
            own,
            address: None,
            bucket,
            states: newest,
            notices: noticed,
            ways,
            asks: None,
            task: None,
        };
        (Seen { states, notices }, live)
    }

    /// What this node acts upon now.
    pub fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.states.borrow())
    }

    /// The newest state, and a way to wait for newer ones. There are no more once waiting fails.
    pub fn changes(&self) -> watch::Receiver<Arc<ClusterState>> {
        self.states.clone()
    }

    /// This node and its disk.
    pub fn own(&self) -> &Replica {
        &self.own
    }

    /// Where others are told that this node serves them.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// What the bucket is called in messages.
    pub fn bucket_name(&self) -> &str {
        &self.bucket
    }

    /// A way to another replica, if gossip knows where this node with this data directory is. The same one while the
    /// address stays.
    pub fn peer(&self, replica: &Replica) -> Option<Arc<Peer>> {
        if *replica == self.own {
            return None;
        }
        self.ways().peer(replica)
    }

    /// Whether a replica seems to be alive: gossip's guess. This node is.
    pub fn is_alive(&self, replica: &Replica) -> bool {
        *replica == self.own || self.ways().is_alive(replica)
    }

    /// Who else is there, by gossip.
    pub fn view(&self) -> Arc<View> {
        self.ways().view()
    }

    /// What the node waits for, what is odd, and whether it must not go on.
    pub fn notices(&self) -> Notices {
        self.notices.borrow().clone()
    }

    /// Takes documents that came from an authenticated peer, in any order. Returns when they are acted upon, which
    /// means that they are durable here, or when they turned out to be useless.
    pub async fn learn(&self, mut documents: Vec<EpochDocument>) {
        {
            let state = self.states.borrow();
            documents.retain(|document| !state.chain.documents().any(|known| known == document));
        }
        let Some(asks) = self.asks.as_ref().filter(|_| !documents.is_empty()) else { return };
        documents.sort_by_key(|document| document.epoch);
        let (done, is_done) = oneshot::channel();
        let learn = async {
            if asks.send(Ask::Learn { documents, done }).await.is_ok() {
                // An error: the cluster has stopped.
                let _ = is_done.await;
            }
        };
        if tokio::time::timeout(LEARN_MAX, learn).await.is_err() {
            tracing::warn!("documents of a peer are not acted upon after {LEARN_MAX:?}");
        }
    }

    /// Looks for documents up to this epoch, for a few seconds at most. False if it was not reached.
    pub async fn refresh(&self, at_least: Epoch) -> bool {
        let mut states = self.states.clone();
        if states.borrow().epoch() >= at_least {
            return true;
        }
        let caught_up = async {
            if let Some(asks) = &self.asks
                && asks.send(Ask::LookAgain).await.is_err()
            {
                return false;
            }
            states.wait_for(|state| state.epoch() >= at_least).await.is_ok()
        };
        tokio::time::timeout(REFRESH_MAX, caught_up).await.unwrap_or(false)
    }

    /// Others are told that this node could hold replicas now. Until then they ask no epoch of it that would need it.
    pub async fn recovered(&self) {
        if let Some(asks) = &self.asks {
            // An error: the cluster has stopped.
            let _ = asks.send(Ask::Recovered).await;
        }
    }

    /// Proposes a document that closes all segments which had ended by this epoch. That they can be closed, the caller knows
    /// ([`gyre_protocol::closing`]).
    pub async fn close_through(&self, epoch: Epoch) {
        if let Some(asks) = &self.asks {
            // An error: the cluster has stopped.
            let _ = asks.send(Ask::Close(epoch)).await;
        }
    }

    /// Proposes a document that gives a tenant another number of shards.
    pub async fn split(&self, tenant: TenantId, count: ShardCount) {
        if let Some(asks) = &self.asks {
            // An error: the cluster has stopped.
            let _ = asks.send(Ask::Split(tenant, count)).await;
        }
    }

    /// This node leaves the cluster: others take over its shards, and what it holds goes to blocks. Or it stays after all.
    /// When this returns, that is noted durably. The error is a text.
    pub async fn leave(&self, leaving: bool) -> Result<(), String> {
        let Some(asks) = &self.asks else {
            return Err("this node is the whole cluster".to_owned());
        };
        let (done, is_done) = oneshot::channel();
        let asked = asks.send(Ask::Leave { leaving, done }).await;
        asked.map_err(|_| "this node has stopped being a member".to_owned())?;
        is_done.await.unwrap_or_else(|_| Err("this node has stopped being a member".to_owned()))
    }

    /// Notes that this node has left, and holds nothing any more.
    pub async fn has_left(&self) {
        if let Some(asks) = &self.asks {
            // An error: the cluster has stopped.
            let _ = asks.send(Ask::Left).await;
        }
    }

    fn ways(&self) -> MutexGuard<'_, Ways> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveCluster {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for LiveCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveCluster").field("own", &self.own).finish_non_exhaustive()
    }
}
