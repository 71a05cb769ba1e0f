//! Joins a cluster of several nodes, and stays in it: takes [`Joining`]'s steps whenever there is something new.
//!
//! What may go wrong is a bucket that hangs: a step may wait for it until its deadline. Documents that peers send do not
//! wait with it, since they are how epochs spread then: such a step is given up, and taken again afterwards.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{Epoch, EpochDocument, ShardCount, TenantId};
use tokio::sync::{mpsc, oneshot, watch};

use super::bootstrap::{Alarm, Waiting};
use super::membership::{Membership, View};
use super::start::{ClusterError, Joining, Progress, TICK};
use super::state::ClusterState;

/// A member that hears of nothing asks the bucket for new documents so often: gossip may be cut.
const POLL_INTERVAL: Duration = Duration::from_secs(15);

/// Asks that wait for a step to end. More wait in their channel.
const ASKS_HELD_MAX: usize = 64;

/// What the rest of the node wants of the running cluster.
pub(super) enum Ask {
    /// To act upon documents that a peer sent, oldest first.
    Learn {
        /// The documents.
        documents: Vec<EpochDocument>,
        /// Told when they are acted upon, or turned out to be useless.
        done: oneshot::Sender<()>,
    },
    /// To look into the bucket.
    LookAgain,
    /// To tell others that the node could hold replicas.
    Recovered,
    /// To propose that segments be closed which had ended by this epoch.
    Close(Epoch),
    /// To propose another number of shards for a tenant.
    Split(TenantId, ShardCount),
    /// To leave the cluster, or to stay after all.
    Leave {
        /// To leave.
        leaving: bool,
        /// Told when that is noted durably, or why it cannot be.
        done: oneshot::Sender<Result<(), String>>,
    },
    /// To note that the node has left.
    Left,
}

impl Ask {
    /// Whether this is a document that can be acted upon at once.
    fn brings(&self, next: Epoch) -> bool {
        match self {
            Ask::Learn { documents, .. } => documents.iter().any(|document| document.epoch == next),
            Ask::LookAgain
            | Ask::Recovered
            | Ask::Close(_)
            | Ask::Split(..)
            | Ask::Leave { .. }
            | Ask::Left => false,
        }
    }
}

/// What an operator should know of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notices {
    /// What the node waits for, if it does.
    pub waiting: Option<Waiting>,
    /// What else is odd.
    pub alarms: Vec<Alarm>,
    /// Whether the node is leaving the cluster.
    pub leaving: bool,
    /// Why the node must not go on. Once set it stays.
    pub misplaced: Option<String>,
}

/// Joins; returns when the node is a member. What it waits for meanwhile can be seen in `waiting`.
pub async fn join(
    joining: &mut Joining,
    membership: &dyn Membership,
    waiting: &watch::Sender<Option<Waiting>>,
) -> Result<(), ClusterError> {
    let mut views = membership.views();
    loop {
        let view = views.borrow_and_update().clone();
        let progress = joining.step(&view).await?;
        membership.announce(joining.announcement());
        match progress {
            // A store that answers at once must not keep the thread from everybody else.
            Progress::Went => tokio::task::yield_now().await,
            Progress::Serving(_) => {
                waiting.send_replace(None);
                return Ok(());
            }
            Progress::Waiting(now) => {
                waiting.send_if_modified(|before| {
                    let is_news = before.as_ref() != Some(&now);
                    if is_news {
                        tracing::info!("{now}");
                        *before = Some(now);
                    }
                    is_news
                });
                tokio::select! {
                    Ok(()) = views.changed() => {}
                    // Time passes all the same.
                    () = tokio::time::sleep(TICK) => {}
                }
            }
        }
    }
}

/// Where a member shows what it is at.
pub(super) struct Seen {
    pub(super) states: watch::Sender<Arc<ClusterState>>,
    pub(super) notices: watch::Sender<Notices>,
}

impl Seen {
    pub(super) fn show_state(&self, joining: &Joining) {
        let newest = joining.chain().newest().map(|document| document.epoch);
        if newest == Some(self.states.borrow().epoch()) {
            return;
        }
        if let Some(state) = joining.state() {
            self.states.send_replace(Arc::new(state));
        }
    }

    fn show_leaving(&self, leaving: bool) {
        self.notices.send_if_modified(|now| std::mem::replace(&mut now.leaving, leaving) != leaving);
    }

    fn show(&self, waiting: Option<Waiting>, alarms: Vec<Alarm>) {
        self.notices.send_if_modified(|now| {
            if now.waiting == waiting && now.alarms == alarms {
                return false;
            }
            for alarm in alarms.iter().filter(|alarm| !now.alarms.contains(alarm)) {
                tracing::error!("{alarm}");
            }
            if let Some(waiting) = waiting.as_ref().filter(|waiting| now.waiting.as_ref() != Some(waiting)) {
                tracing::warn!("{waiting}");
            }
            (now.waiting, now.alarms) = (waiting, alarms);
            true
        });
    }

    /// The node must not go on.
    pub(super) fn misplaced(&self, error: &ClusterError) {
        tracing::error!(%error, "this node must not go on");
        self.notices.send_modify(|now| now.misplaced = Some(error.to_string()));
    }
}

/// Those who wait for documents, and for which epoch.
type Learners = Vec<(Option<Epoch>, oneshot::Sender<()>)>;

/// Stays a member. Returns only when the node must not go on.
pub(super) async fn stay(
    joining: &mut Joining,
    membership: &dyn Membership,
    asks: &mut mpsc::Receiver<Ask>,
    seen: &Seen,
) -> ClusterError {
    let mut views = membership.views();
    let mut polled = joining.now();
    let mut held = Vec::new();
    let mut learners = Learners::new();
    loop {
        if let Err(error) = heed(joining, held.drain(..), &mut learners) {
            return error;
        }
        seen.show_leaving(joining.is_leaving());
        seen.show_state(joining);
        let newest = joining.chain().newest().map(|document| document.epoch);
        answer(&mut learners, |wanted| wanted <= newest);
        let view = views.borrow_and_update().clone();
        let progress = match step(joining, &view, asks, &mut held).await {
            None => continue,
            Some(Ok(progress)) => progress,
            Some(Err(error)) => return error,
        };
        membership.announce(joining.announcement());
        seen.show_state(joining);
        match progress {
            Progress::Went => {
                tokio::task::yield_now().await;
                continue;
            }
            Progress::Waiting(waiting) => seen.show(Some(waiting), Vec::new()),
            Progress::Serving(mut alarms) => {
                alarms.extend(joining.is_bucket_down().then_some(Alarm::NoBucket));
                seen.show(None, alarms);
            }
        }
        if !held.is_empty() {
            continue;
        }
        // There is nothing more to find for now.
        answer(&mut learners, |_| true);
        if joining.now().saturating_sub(polled) >= POLL_INTERVAL {
            polled = joining.now();
            joining.look_again();
        }
        tokio::select! {
            Ok(()) = views.changed() => {}
            Some(ask) = asks.recv() => held.push(ask),
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Takes a step; `None` if it was given up for a document that can be acted upon.
async fn step(
    joining: &mut Joining,
    view: &View,
    asks: &mut mpsc::Receiver<Ask>,
    held: &mut Vec<Ask>,
) -> Option<Result<Progress, ClusterError>> {
    let next = joining.next_epoch();
    // Nothing is lost with a step that is given up: it changes things here only behind its last wait, and what it did
    // to the bucket is found there.
    let mut step = pin!(joining.step(view));
    loop {
        tokio::select! {
            progress = &mut step => return Some(progress),
            Some(ask) = asks.recv(), if held.len() < ASKS_HELD_MAX => {
                let is_urgent = ask.brings(next);
                held.push(ask);
                if is_urgent {
                    return None;
                }
            }
        }
    }
}

fn heed(
    joining: &mut Joining,
    asks: impl Iterator<Item = Ask>,
    learners: &mut Learners,
) -> Result<(), ClusterError> {
    for ask in asks {
        match ask {
            Ask::LookAgain => joining.look_again(),
            Ask::Recovered => joining.set_recovered(),
            Ask::Close(through) => joining.set_closable(through),
            Ask::Split(tenant, count) => joining.set_split(tenant, count),
            // Whoever asked may have gone.
            Ask::Leave { leaving, done } => {
                let left = match joining.leave(leaving) {
                    Ok(left) => left.map_err(|refused| refused.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                drop(done.send(left));
            }
            Ask::Left => joining.has_left()?,
            Ask::Learn { documents, done } => {
                learners.push((documents.iter().map(|document| document.epoch).max(), done));
                for document in documents {
                    joining.learn(document)?;
                }
            }
        }
    }
    Ok(())
}

fn answer(learners: &mut Learners, is_done: impl Fn(Option<Epoch>) -> bool) {
    for (_, done) in learners.extract_if(.., |(wanted, _)| is_done(*wanted)) {
        // Whoever asked may have gone.
        let _ = done.send(());
    }
}
