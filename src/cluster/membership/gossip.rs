//! Membership by gossip over UDP, with [chitchat](https://docs.rs/chitchat).
//!
//! Gossip is not encrypted, and of a node's facts only the fixed ones are signed: the address it listens on must be a
//! private one. All nodes gossip
//! under one name, whatever their cluster, so that one that came to the wrong cluster is seen and named instead of being
//! ignored. Facts are few, since all of a node's must fit into a datagram.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::UdpTransport;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat,
};
use gyre_ring::Member;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::facts::{self, Unusable};
use super::{Announcement, Membership, View};
use crate::rpc::Secret;

/// What the gossip of all clusters is called.
const NAME: &str = "gyre";

/// How often it is looked what has come, for some time after the start.
const HURRY: Duration = Duration::from_millis(50);
const HURRY_FOR: Duration = Duration::from_secs(3);

/// Peers that are looked at; a cluster has fewer by far.
const PEERS_MAX: usize = 1_000;

/// Peers with another secret that are remembered.
const STRANGERS_MAX: usize = 16;

/// Garbled peers that are remembered, and the characters of their names.
const GARBLED_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 64;

/// How long dead nodes are remembered. Long enough to notice that a data directory was put back from a backup.
const DEAD_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How a node takes part in gossip.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// What the node is.
    pub member: Member,
    /// The count of its starts on its data directory.
    pub generation: u64,
    /// Where it serves other nodes, host:port.
    pub rpc: String,
    /// The cluster's secret.
    pub secret: Secret,
    /// Where it listens for gossip. A private address.
    pub listen: SocketAddr,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Nodes to ask first, host:port. Names are looked up again from time to time.
    pub seeds: Vec<String>,
    /// How often it gossips.
    pub interval: Duration,
}

/// Why gossip did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot gossip on {listen}: {problem}")]
pub struct GossipError {
    listen: SocketAddr,
    problem: String,
}

impl GossipError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        true
    }
}

/// Gossip that runs until this is dropped.
#[derive(Debug)]
pub struct Gossip {
    views: watch::Sender<Arc<View>>,
    announced: watch::Sender<Announcement>,
    task: JoinHandle<()>,
}

impl Gossip {
    /// Starts it, on the current tokio runtime.
    pub async fn start(config: GossipConfig) -> Result<Self, GossipError> {
        let GossipConfig { member, generation, rpc, secret, listen, advertise, seeds, interval } = config;
        let chitchat = ChitchatConfig {
            chitchat_id: ChitchatId::new(facts::name(&member), generation, advertise),
            cluster_id: NAME.to_owned(),
            gossip_interval: interval,
            listen_addr: listen,
            seed_nodes: seeds,
            failure_detector_config: FailureDetectorConfig {
                // Before enough is known of a node, it is taken to gossip as often as this one.
                initial_interval: interval * 2,
                dead_node_grace_period: DEAD_KEPT,
                ..FailureDetectorConfig::default()
            },
            marked_for_deletion_grace_period: DEAD_KEPT,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let handle =
            spawn_chitchat(chitchat, facts::fixed(&member, generation, &rpc, &secret), &UdpTransport).await;
        let handle = handle.map_err(|error| GossipError { listen, problem: format!("{error:#}") })?;
        let views = watch::Sender::new(Arc::default());
        let announced = watch::Sender::new(Announcement::default());
        let task = tokio::spawn(follow(handle, secret, views.clone(), announced.subscribe(), interval));
        Ok(Gossip { views, announced, task })
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Membership for Gossip {
    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    fn announce(&self, announcement: Announcement) {
        self.announced.send_if_modified(|now| {
            let is_news = *now != announcement;
            *now = announcement;
            is_news
        });
    }
}

/// Carries announcements in and views out. Chitchat stops when its handle goes.
async fn follow(
    handle: ChitchatHandle,
    secret: Secret,
    views: watch::Sender<Arc<View>>,
    mut announced: watch::Receiver<Announcement>,
    interval: Duration,
) {
    let mut live = handle.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
    let started = tokio::time::Instant::now();
    let mut ended = pin!(handle.termination_watcher());
    loop {
        // A node that starts waits for the first answers.
        let pause = if started.elapsed() < HURRY_FOR { interval.min(HURRY) } else { interval };
        tokio::select! {
            // Facts and deaths of nodes; the tick is for the dead, of whose facts nobody is told.
            changed = live.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            changed = announced.changed() => if changed.is_err() { return },
            result = &mut ended => {
                let error = result.err().map(|error| format!("{error:#}")).unwrap_or_default();
                tracing::error!(error, "gossip has stopped; new epochs are found by asking the bucket");
                return;
            }
        }
        let pairs = facts::changing(&announced.borrow_and_update());
        let view = handle
            .with_chitchat(|chitchat| {
                let own = chitchat.self_node_state();
                // Setting a fact to what it is already costs nothing.
                pairs.iter().for_each(|(key, value)| own.set(key, value));
                view(chitchat, &secret)
            })
            .await;
        views.send_if_modified(|now| {
            let changed = **now != view;
            if changed {
                *now = Arc::new(view.clone());
            }
            changed
        });
    }
}

fn view(chitchat: &Chitchat, secret: &Secret) -> View {
    let live: BTreeSet<&ChitchatId> = chitchat.live_nodes().collect();
    let mut view = View::default();
    let others = chitchat.node_states().iter().filter(|(id, _)| *id != chitchat.self_chitchat_id());
    for (id, state) in others.take(PEERS_MAX) {
        let alive = live.contains(id);
        match facts::read(&id.node_id, id.generation_id, alive, secret, |key| state.get(key)) {
            Ok(peer) => view.peers.extend(peer),
            Err(Unusable::OtherSecret(who)) if alive && view.strangers.len() < STRANGERS_MAX => {
                view.strangers.push(who);
            }
            Err(Unusable::Garbled(problem)) if view.garbled.len() < GARBLED_MAX => {
                let name: String = id.node_id.chars().take(NAME_CHARS_MAX).collect();
                view.garbled.push((format!("{name:?} at {}", id.gossip_advertise_addr), problem));
            }
            Err(_) => {}
        }
    }
    view
}
