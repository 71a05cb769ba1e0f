//! How a node becomes a member: what to do next, as a pure function of what it knows.
//!
//! ```text
//! look at the bucket --> found or find the cluster --> load epochs --> propose oneself --> serve
//! ```
//!
//! Nodes may start in any order and race at every step; the conditional creates of the bucket decide. A node that
//! loses looks at what was stored and goes on from there. [`decide`] only says what to do; [`super::start`] does it.
//!
//! What may go wrong is joining the wrong thing, so each of these is found and refused by name ([`Refusal`]): a bucket of
//! another cluster, or of none where there should be one; a copied data directory, or one put back from a backup; a
//! node id that somebody else has. What only gossip says never stops a node that serves: it becomes an [`Alarm`].

mod proposal;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gyre_ring::{
    Chain, ClusterId, Epoch, EpochDocument, HashSeed, Member, NodeId, Replica, Role, ShardCount, TenantId,
};

use super::identity::ClusterFacts;
use super::membership::{Peer, View};

pub use proposal::{NotReady, Refused, founding_members, next_members};
pub use refusal::{Alarm, Refusal, Waiting};

/// How long a member that starts again listens for others before it serves.
pub const LISTEN_MAX: Duration = Duration::from_secs(3);

/// How long a node that would replace another data directory of its own listens before it does: the other one may be a
/// node that lives, and gossip takes some rounds to say so.
pub const REPLACE_AFTER: Duration = Duration::from_secs(10);

/// How long an earlier run of this node may seem to be alive before it is taken for another node. Longer than the
/// failure detector needs for a node that was killed.
pub const DUPLICATE_AFTER: Duration = Duration::from_secs(30);

/// What this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// As documents list it.
    pub member: Member,
    /// The count of its starts.
    pub generation: u64,
    /// Where it serves other nodes, host:port.
    pub rpc: String,
    /// What is in its data directory.
    pub data: Data,
}

/// What the data in a data directory was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// There is none, or the data directory knows its cluster.
    OfCluster,
    /// A seed of its own, before it joined any cluster.
    OfSeed(HashSeed),
    /// A cluster's seed, but the data directory has forgotten which.
    OfForgottenCluster,
}

/// What the bucket said when it was last asked for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Not asked yet.
    Unknown,
    /// No answer, for now.
    Down,
    /// It had no cluster.
    Empty {
        /// The cluster that some peer said it was in when the bucket was asked: it may have been founded since.
        claimed: Option<ClusterId>,
    },
    /// It has this one.
    Of(ClusterFacts),
}

/// Everything that [`decide`] looks at.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// Whether this node was told of no others: then the cluster is this node.
    pub alone: bool,
    /// This node.
    pub own: &'a Own,
    /// The cluster that its data directory belongs to.
    pub local: Option<ClusterFacts>,
    /// What the bucket is.
    pub bucket: Bucket,
    /// The bucket's name, for messages.
    pub bucket_name: &'a str,
    /// All documents known; copies of them are durable here.
    pub chain: &'a Chain,
    /// Whether the bucket was asked for documents behind these.
    pub is_chain_checked: bool,
    /// The newest epoch that somebody told of when it was asked: a stranger's number must not have it asked for ever.
    pub checked_for: Option<Epoch>,
    /// The others.
    pub view: &'a View,
    /// Time since this run began.
    pub since_start: Duration,
    /// Whether it serves already.
    pub serving: bool,
    /// Segments that had ended by this epoch can be closed, as far as this node knows.
    pub closable: Epoch,
    /// Tenants that should have another number of shards.
    pub splits: &'a BTreeMap<TenantId, ShardCount>,
    /// Whether this node is to leave the cluster.
    pub leaving: bool,
    /// Members that it has not heard of for so long that they may be replaced.
    pub gone: &'a BTreeSet<NodeId>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ask the bucket for its cluster.
    LookAtCluster,
    /// Found a cluster in the bucket.
    CreateCluster,
    /// Note durably that the data directory belongs to this cluster.
    KeepCluster(ClusterFacts),
    /// Ask the bucket for documents behind those that are known.
    LookAtEpochs,
    /// Propose the next document, with these members.
    Propose(Vec<Member>),
    /// Propose the next document, which closes all segments that had ended by this epoch.
    Close(Epoch),
    /// Propose the next document, with another number of shards for a tenant.
    Split(TenantId, ShardCount),
    /// Nothing, until the view changes or some time has passed.
    Wait(Waiting),
    /// Serve, and tell an operator of these.
    Serve(Vec<Alarm>),
    /// Stop.
    Refuse(Refusal),
}

/// What to do next.
pub fn decide(s: &Situation<'_>) -> Step {
    if let Some(step) = outsider(s) {
        return step;
    }
    match cluster(s) {
        Ok(facts) => epochs(s, facts),
        Err(step) => step,
    }
}

/// What a node does that hears only of others with another secret. Which of them comes first is chance, so it listens
/// for a moment.
fn outsider(s: &Situation<'_>) -> Option<Step> {
    let who = s.view.strangers.first().filter(|_| !s.serving && !has_heard(s))?;
    if s.since_start < LISTEN_MAX {
        return Some(Step::Wait(Waiting::Others));
    }
    Some(Step::Refuse(Refusal::OtherSecret { who: who.clone() }))
}

/// The cluster that the node belongs to, or the step towards one.
fn cluster(s: &Situation<'_>) -> Result<ClusterFacts, Step> {
    let bucket = || s.bucket_name.to_owned();
    let claimed = claimed(s.view);
    match (s.bucket, s.local) {
        (Bucket::Unknown, _) => Err(Step::LookAtCluster),
        (Bucket::Of(found), Some(local)) if found != local => {
            Err(Step::Refuse(Refusal::OtherCluster { bucket: bucket(), found, local }))
        }
        (Bucket::Of(_) | Bucket::Down, Some(local)) => Ok(local),
        (Bucket::Empty { .. }, Some(local)) => {
            Err(Step::Refuse(Refusal::NoClusterInBucket { bucket: bucket(), expected: local.cluster }))
        }
        (Bucket::Down, None) => Err(Step::Wait(Waiting::Bucket)),
        // Founded between the look and now, perhaps.
        (Bucket::Empty { claimed: then }, None) if claimed.map(|(_, now)| now) != then => {
            Err(Step::LookAtCluster)
        }
        (Bucket::Empty { .. }, None) if s.own.data == Data::OfForgottenCluster => {
            Err(Step::Refuse(Refusal::ForgottenCluster { bucket: bucket() }))
        }
        (Bucket::Empty { .. }, None) => match claimed {
            Some((_, expected)) => {
                Err(Step::Refuse(Refusal::NoClusterInBucket { bucket: bucket(), expected }))
            }
            // Alone among seeds that do not answer is how a node with a mistyped bucket looks.
            None if !s.alone && !has_heard(s) => Err(Step::Wait(Waiting::Others)),
            None => Err(Step::CreateCluster),
        },
        (Bucket::Of(found), None) => match (s.own.data, claimed) {
            (Data::OfSeed(seed), _) if seed != found.seed => {
                Err(Step::Refuse(Refusal::OtherData { bucket: bucket(), found }))
            }
            (_, Some((peer, other))) if other != found.cluster => {
                Err(Step::Refuse(Refusal::PeerOfOtherCluster {
                    peer: name(peer),
                    other,
                    bucket: bucket(),
                    found: found.cluster,
                }))
            }
            _ => Err(Step::KeepCluster(found)),
        },
    }
}

/// A peer that says which cluster it is in, and that cluster.
pub fn claimed(view: &View) -> Option<(&Peer, ClusterId)> {
    view.alive().find_map(|peer| Some((peer, peer.cluster?)))
}

/// The way from a cluster to being its member.
fn epochs(s: &Situation<'_>, facts: ClusterFacts) -> Step {
    if s.bucket != Bucket::Down && (!s.is_chain_checked || newer_is_told(s, facts)) {
        return Step::LookAtEpochs;
    }
    if let Some(refusal) = replaced(s) {
        return Step::Refuse(refusal);
    }
    if let Some(refusal) = not_alone(s) {
        return Step::Refuse(refusal);
    }
    let told = told(s, facts);
    if !s.serving
        && let Some(alarm) = told.iter().find(|alarm| alarm.is_about_this_node(s))
    {
        return Step::Refuse(Refusal::Told(alarm.clone()));
    }
    let Some(newest) = s.chain.newest() else {
        return match s.bucket {
            Bucket::Down => Step::Wait(Waiting::Bucket),
            _ => found(s, facts),
        };
    };
    let listed = newest.member(&s.own.member.node);
    match listed {
        Some(member) if member.incarnation == s.own.member.incarnation => {
            if !s.serving
                && let Some(step) = listen(s)
            {
                return step;
            }
            if *member != s.own.member && s.bucket != Bucket::Down {
                // Other settings than the document has. Serving does not wait for the change.
                if let Ok(members) = proposal::next_members(s, newest, &ready(s, facts)) {
                    return Step::Propose(members);
                }
            }
            if !s.serving || s.bucket == Bucket::Down {
                return Step::Serve(told);
            }
            change(s, facts, newest, told)
        }
        // It holds what it held until that is in blocks.
        None if s.leaving && was_member(s) => match listen(s).filter(|_| !s.serving) {
            Some(step) => step,
            None => Step::Serve(told),
        },
        _ if s.bucket == Bucket::Down => Step::Wait(Waiting::Bucket),
        _ => join(s, facts, newest, listed),
    }
}

/// What a member that serves proposes, if anything.
fn change(s: &Situation<'_>, facts: ClusterFacts, newest: &EpochDocument, mut told: Vec<Alarm>) -> Step {
    if s.closable > newest.closed_through {
        return Step::Close(s.closable);
    }
    let ready = ready(s, facts);
    let is_ready = |(tenant, count): &(&TenantId, &ShardCount)| {
        proposal::shards_are_ready(newest, tenant, **count, &ready)
    };
    if let Some((tenant, count)) = s.splits.iter().find(is_ready) {
        return Step::Split(tenant.clone(), *count);
    }
    if s.leaving {
        match proposal::members_without(newest, &s.own.member.node, &ready) {
            Ok(members) => return Step::Propose(members),
            Err(why) => told.push(Alarm::CannotLeave(why)),
        }
    }
    for node in departed(s, facts, newest) {
        match proposal::members_without_dead(s.chain, newest, node, &ready) {
            Ok(members) => return Step::Propose(members),
            Err(why) => told.push(Alarm::CannotReplace { node: node.clone(), why }),
        }
    }
    Step::Serve(told)
}

/// Members that most members have not heard of for long.
fn departed<'a>(s: &'a Situation<'_>, facts: ClusterFacts, newest: &'a EpochDocument) -> Vec<&'a NodeId> {
    let majority = newest.members.len() / 2 + 1;
    let is_gone = |node: &&NodeId| {
        let others = s.view.alive().filter(|peer| {
            let is_member =
                newest.member(peer.node()).is_some_and(|member| member.replica() == peer.replica());
            is_member && peer.cluster == Some(facts.cluster) && peer.gone.contains(node)
        });
        s.gone.contains(*node) && others.count() + 1 >= majority
    };
    newest.members.iter().map(|member| &member.node).filter(is_gone).collect()
}

/// Whether an earlier document lists this node with this data directory.
fn was_member(s: &Situation<'_>) -> bool {
    let own = s.own.member.replica();
    s.chain.documents().any(|document| document.members.iter().any(|member| member.replica() == own))
}

/// What a member that starts again waits for before it serves. Its data directory may be a copy of one that is in use: at
/// another address than its own an earlier run must be dead, which gossip takes some rounds to say.
fn listen(s: &Situation<'_>) -> Option<Step> {
    let mut earlier = s.view.peers.iter().filter(|peer| {
        peer.replica() == s.own.member.replica()
            && peer.generation < s.own.generation
            && peer.rpc != s.own.rpc
    });
    let elsewhere = earlier.clone().next().is_some();
    // Whoever tells of others tells of earlier runs, too. Whether they live shows some rounds later.
    let is_told = s.view.peers.iter().any(|peer| *peer.node() != s.own.member.node);
    let heard = s.alone || (is_told && !elsewhere) || s.since_start >= LISTEN_MAX;
    if !heard {
        return Some(Step::Wait(Waiting::Others));
    }
    let Peer { rpc, member, .. } = earlier.find(|peer| peer.alive)?;
    if s.since_start < DUPLICATE_AFTER {
        return Some(Step::Wait(Waiting::EarlierRun { rpc: rpc.clone() }));
    }
    Some(Step::Refuse(Refusal::Told(Alarm::SameData { node: member.node.clone(), rpc: rpc.clone() })))
}

/// The first document.
fn found(s: &Situation<'_>, facts: ClusterFacts) -> Step {
    let members = proposal::founding_members(s, facts);
    let nobody_writes = !members.iter().any(|member| member.roles.contains(&Role::Write));
    if (members.len() < 2 && !s.alone) || nobody_writes {
        return Step::Wait(Waiting::Others);
    }
    Step::Propose(members)
}

/// A further document, with this node in it.
fn join(s: &Situation<'_>, facts: ClusterFacts, newest: &EpochDocument, listed: Option<&Member>) -> Step {
    let own = &s.own.member;
    if let Some(other) = newest.members.iter().find(|member| member.incarnation == own.incarnation) {
        return Step::Refuse(Refusal::CopiedData {
            bucket: s.bucket_name.to_owned(),
            epoch: newest.epoch,
            listed: other.node.clone(),
            own: own.node.clone(),
        });
    }
    if s.alone && newest.members.iter().any(|member| member.node != own.node) {
        return Step::Refuse(Refusal::OthersBucket {
            bucket: s.bucket_name.to_owned(),
            cluster: facts.cluster,
            members: newest.members.iter().map(|member| member.node.clone()).collect(),
            own: own.node.clone(),
        });
    }
    let run_of_listed = |peer: &&Peer| listed.is_some_and(|member| peer.replica() == member.replica());
    // At our own address nobody else can be: that is this node before it lost its disk.
    let was_here = s.view.peers.iter().filter(run_of_listed).any(|peer| peer.rpc == s.own.rpc);
    if listed.is_some() && !s.alone && !was_here && s.since_start < REPLACE_AFTER {
        return Step::Wait(Waiting::Namesake);
    }
    if let Some(peer) = s.view.alive().filter(run_of_listed).find(|peer| peer.rpc != s.own.rpc) {
        if s.since_start < DUPLICATE_AFTER {
            return Step::Wait(Waiting::EarlierRun { rpc: peer.rpc.clone() });
        }
        let (node, rpc) = (own.node.clone(), peer.rpc.clone());
        return Step::Refuse(Refusal::DuplicateNode { node, rpc, incarnation: peer.incarnation() });
    }
    match proposal::next_members(s, newest, &ready(s, facts)) {
        Ok(members) => Step::Propose(members),
        Err(not_ready) => Step::Wait(Waiting::Replicas(not_ready)),
    }
}

/// Whether a later document than the newest known has replaced or dropped this data directory.
fn replaced(s: &Situation<'_>) -> Option<Refusal> {
    let own = &s.own.member;
    let newest = s.chain.newest()?;
    let now = newest.member(&own.node).filter(|member| member.incarnation != own.incarnation)?;
    was_member(s).then(|| Refusal::Replaced {
        epoch: newest.epoch,
        node: own.node.clone(),
        by: now.incarnation,
        own: own.incarnation,
    })
}

/// Whether a node that was told of no others is a member among others: it could neither reach them nor do without.
fn not_alone(s: &Situation<'_>) -> Option<Refusal> {
    let newest = s.chain.newest().filter(|_| s.alone)?;
    newest.member(&s.own.member.node)?;
    let others = newest.members.iter().map(|member| &member.node).filter(|node| **node != s.own.member.node);
    let others: Vec<_> = others.cloned().collect();
    (!others.is_empty()).then_some(Refusal::NotAlone { epoch: newest.epoch, others })
}

/// Whether somebody acts on a document that is not known here.
fn newer_is_told(s: &Situation<'_>, facts: ClusterFacts) -> bool {
    let newest = s.chain.newest().map(|document| document.epoch);
    newest_told(s.view, facts) > newest.max(s.checked_for)
}

/// The newest epoch that a node of the cluster says it acts upon.
pub fn newest_told(view: &View, facts: ClusterFacts) -> Option<Epoch> {
    let of_cluster = view.alive().filter(|peer| peer.cluster == Some(facts.cluster));
    of_cluster.filter_map(|peer| peer.newest_epoch).max()
}

/// Everything odd that gossip says.
fn told(s: &Situation<'_>, facts: ClusterFacts) -> Vec<Alarm> {
    let own = &s.own.member;
    let mut alarms = Vec::new();
    for peer in &s.view.peers {
        let same_data = peer.replica() == own.replica();
        if same_data && peer.generation > s.own.generation {
            let (theirs, ours) = (peer.generation, s.own.generation);
            alarms.push(Alarm::StaleGeneration { theirs, ours, rpc: peer.rpc.clone() });
        } else if peer.alive && same_data && peer.generation == s.own.generation && peer.rpc != s.own.rpc {
            alarms.push(Alarm::SameData { node: own.node.clone(), rpc: peer.rpc.clone() });
        } else if peer.alive && *peer.node() == own.node && !same_data {
            let (incarnation, rpc) = (peer.incarnation(), peer.rpc.clone());
            alarms.push(Alarm::SameNode { node: own.node.clone(), rpc, incarnation });
        }
        if let Some(other) = peer.cluster.filter(|other| peer.alive && *other != facts.cluster) {
            alarms.push(Alarm::OtherCluster { peer: name(peer), other, own: facts.cluster });
        }
    }
    alarms.extend(s.view.strangers.iter().map(|who| Alarm::OtherSecret { who: who.clone() }));
    for (who, problem) in &s.view.garbled {
        alarms.push(Alarm::Garbled { who: who.clone(), problem: problem.clone() });
    }
    alarms
}

/// Who could hold replicas now, as far as is known: this node and those that say so.
fn ready(s: &Situation<'_>, facts: ClusterFacts) -> BTreeSet<Replica> {
    let of_cluster = |peer: &&Peer| peer.ready && peer.cluster == Some(facts.cluster);
    let others = s.view.alive().filter(of_cluster).map(Peer::replica);
    others.chain([s.own.member.replica()]).collect()
}

/// Whether another node has been heard of; an earlier run of this one does not count.
fn has_heard(s: &Situation<'_>) -> bool {
    s.view.alive().any(|peer| *peer.node() != s.own.member.node)
}

fn name(peer: &Peer) -> String {
    format!("{} at {}", peer.node(), peer.rpc)
}
