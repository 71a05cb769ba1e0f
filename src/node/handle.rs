//! A node that may not be there yet, as the HTTP interface and the metrics see it.
//!
//! To join a cluster or to replay a long log takes a while. HTTP is up before that, so that `/ready` says what the node
//! waits for, and `/ring` whom it has heard of.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::Node;
use crate::cluster::LiveCluster;
use crate::cluster::bootstrap::Waiting;
use crate::cluster::membership::View;
use crate::cluster::status::{RingStatus, Shown};

/// The node is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("starting: {0}")]
pub struct Starting(pub String);

/// What a node is at that is not there yet.
#[derive(Default)]
pub(super) enum Stage {
    /// Its own files.
    #[default]
    Opening,
    /// Becoming a member.
    Joining(Outlook),
    /// A member that reads its log.
    Recovering(Arc<LiveCluster>),
}

/// What is known of a cluster before the node is its member.
pub(super) struct Outlook {
    /// The node's name.
    pub(super) node: String,
    /// The bucket's.
    pub(super) bucket: String,
    /// Who has been heard of.
    pub(super) views: watch::Receiver<Arc<View>>,
    /// What is waited for.
    pub(super) waiting: watch::Receiver<Option<Waiting>>,
}

/// A node, once it has started.
#[derive(Default)]
pub struct NodeHandle {
    node: OnceLock<Arc<Node>>,
    /// Told when the node is there.
    is_there: Notify,
    stage: Mutex<Stage>,
}

impl NodeHandle {
    /// The node, or what is being waited for.
    pub fn get(&self) -> Result<&Arc<Node>, Starting> {
        self.node.get().ok_or_else(|| Starting(self.doing()))
    }

    /// Waits until the node is there, but not longer than this: whoever asks a node that starts again would rather wait
    /// for a moment than be sent away.
    pub async fn wait(&self, longest: Duration) {
        let is_there = self.is_there.notified();
        tokio::pin!(is_there);
        // Registered before looking, so that nothing is missed in between.
        is_there.as_mut().enable();
        if self.node.get().is_none() {
            let _ = tokio::time::timeout(longest, is_there).await;
        }
    }

    /// Why the node does not serve writes now.
    pub fn readiness(&self) -> Result<(), String> {
        self.get().map_err(|starting| starting.to_string())?.readiness()
    }

    /// The ring, as far as it is known.
    pub fn ring(&self, shown: Shown) -> Result<RingStatus, Starting> {
        if let Some(node) = self.node.get() {
            return Ok(node.ring(shown));
        }
        let doing = self.doing();
        match &*self.stage() {
            Stage::Opening => Err(Starting(doing)),
            Stage::Joining(outlook) => {
                let view = outlook.views.borrow();
                Ok(RingStatus::before_joining(&outlook.node, &outlook.bucket, &view, doing))
            }
            Stage::Recovering(live) => {
                Ok(RingStatus::new(live, &Default::default(), Err(doing), live.as_ref(), shown))
            }
        }
    }

    /// The node has come so far.
    pub(super) fn enter(&self, stage: Stage) {
        *self.stage() = stage;
    }

    /// The node is there.
    pub fn started(&self, node: Arc<Node>) {
        // A handle is of one node only.
        let _ = self.node.set(node);
        self.is_there.notify_waiters();
        self.enter(Stage::Opening);
    }

    fn doing(&self) -> String {
        match &*self.stage() {
            Stage::Opening => "opening the data directory".to_owned(),
            Stage::Joining(outlook) => match &*outlook.waiting.borrow() {
                Some(waiting) => waiting.to_string(),
                None => "looking for the cluster".to_owned(),
            },
            Stage::Recovering(_) => "reading the log".to_owned(),
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for NodeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeHandle").field("node", &self.node).finish_non_exhaustive()
    }
}
