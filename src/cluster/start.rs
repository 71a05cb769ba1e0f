//! Takes the steps that [`bootstrap`](super::bootstrap) decides upon: asks the bucket, makes durable copies, proposes.
//!
//! What may go wrong is the bucket. While it does not answer, a member serves from its copies and the epochs stand
//! still; whoever is no member yet waits. When it is back, it is compared with the copies before anything else.

use std::collections::BTreeMap;
use std::time::Duration;

use gyre_ring::diff::{Change, changes};
use gyre_ring::{
    BootId, Chain, ClusterId, Epoch, EpochDocument, HashSeed, Member, Proposer, Replica, Role, ShardCount,
    TenantId,
};

use super::ClusterState;
use super::absent::Absent;
use super::bootstrap::{
    Alarm, Bucket, Data, Own, Refusal, Situation, Step, Waiting, claimed, decide, newest_told,
};
use super::epochs::{EpochError, EpochStore, Outcome};
use super::identity::ClusterFacts;
use super::local::{LocalCopies, LocalError};
use super::membership::facts::GONE_MAX;
use super::membership::{Announcement, View};
use super::state::Closing;
use crate::env::{SharedEnv, crash_point};

/// A bucket that does not answer is asked again after so long, then after twice as long, and so on.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A node that runs alone waits so long for its bucket when it starts for the first time.
const FIRST_START_MAX: Duration = Duration::from_secs(30);

/// Time passes for [`decide`] at least so often.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Why a node cannot be a member.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It must not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its own disk.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The bucket.
    #[error(transparent)]
    Epochs(#[from] EpochError),
    /// The copies do not follow one another.
    #[error(transparent)]
    Gap(#[from] gyre_ring::chain::Gap),
    /// A document that this node would propose is not valid.
    #[error(transparent)]
    Document(#[from] gyre_ring::DocumentError),
}

impl ClusterError {
    /// Whether starting again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, ClusterError::Epochs(error) if error.is_retryable())
    }
}

/// Tenants that wait for another number of shards.
const SPLITS_MAX: usize = 1000;

/// How far a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// A step was taken; there may be another one at once.
    Went,
    /// There is nothing to do yet.
    Waiting(Waiting),
    /// It is a member. Alarms are for its operator.
    Serving(Vec<Alarm>),
}

/// Why a node does not leave, or does not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotLeave {
    /// Nobody would hold heads.
    #[error("no other member holds heads")]
    NobodyElse,
    /// It is too late.
    #[error("it has left already; when it has stopped, a start of it joins again")]
    HasLeft,
}

/// What a [`Joining`] is made of.
pub struct Parts {
    /// This node.
    pub own: Own,
    /// Whether it was told of no others.
    pub alone: bool,
    /// Replicas of each shard, if this node founds the cluster.
    pub replication_factor: u8,
    /// Shards of a tenant, if this node founds the cluster.
    pub shards_per_tenant: ShardCount,
    /// A member that was not heard of for so long may be replaced; `None`: never.
    pub replace_dead_after: Option<Duration>,
    /// The bucket.
    pub store: EpochStore,
    /// The copies.
    pub local: LocalCopies,
    /// Clock and randomness.
    pub env: SharedEnv,
}

/// A node on its way to being a member, and while it is one.
pub struct Joining {
    parts: Parts,
    started: Duration,
    facts: Option<ClusterFacts>,
    bucket: Bucket,
    chain: Chain,
    is_chain_checked: bool,
    checked_for: Option<Epoch>,
    is_compared: bool,
    serving: bool,
    recovered: bool,
    /// Through which epoch segments can be closed, as the rest of the node has found.
    closable: Epoch,
    closing: Closing,
    /// Other numbers of shards for tenants.
    splits: BTreeMap<TenantId, ShardCount>,
    /// Whether the node is to leave, or is leaving.
    leaving: bool,
    absent: Absent,
    /// When a bucket that is down is asked again, and how long to wait the next time.
    retry_at: Duration,
    retry_after: Duration,
    last_error: Option<EpochError>,
}

impl Joining {
    /// Reads the copies.
    pub fn open(parts: Parts) -> Result<Self, ClusterError> {
        Ok(Joining {
            started: parts.env.monotonic(),
            closable: Epoch(0),
            closing: Closing { at: parts.env.monotonic(), at_ms: parts.env.now_ms() },
            facts: parts.local.cluster()?,
            chain: Chain::new(parts.local.documents()?)?,
            bucket: Bucket::Unknown,
            is_chain_checked: false,
            checked_for: None,
            is_compared: false,
            serving: false,
            recovered: false,
            splits: BTreeMap::new(),
            leaving: parts.local.is_leaving()?,
            absent: Absent::new(parts.replace_dead_after),
            retry_at: Duration::ZERO,
            retry_after: RETRY_MIN,
            last_error: None,
            parts,
        })
    }

    /// This node and its disk.
    pub fn own(&self) -> Replica {
        self.parts.own.member.replica()
    }

    /// Where it serves other nodes.
    pub fn address(&self) -> &str {
        &self.parts.own.rpc
    }

    /// The cluster, once it is known and noted.
    pub fn facts(&self) -> Option<ClusterFacts> {
        self.facts
    }

    /// All documents that may be acted upon.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What a member acts upon; `None` before it is one.
    pub fn state(&self) -> Option<ClusterState> {
        let facts = self.facts.filter(|_| self.serving)?;
        let state = ClusterState::new(facts, self.own(), self.chain.clone()).ok()?;
        Some(state.with_closing(self.closing))
    }

    /// The number of the document that can be acted upon next.
    pub(super) fn next_epoch(&self) -> Epoch {
        Epoch(self.chain.newest().map_or(1, |newest| newest.epoch.0 + 1))
    }

    /// Time since some fixed moment.
    pub(super) fn now(&self) -> Duration {
        self.parts.env.monotonic()
    }

    /// Whether the newest document known lists this node with this data directory.
    fn is_member(&self) -> bool {
        let own = &self.parts.own.member;
        let listed = self.chain.newest().and_then(|newest| newest.member(&own.node));
        self.facts.is_some() && listed.is_some_and(|member| member.incarnation == own.incarnation)
    }

    /// What the bucket is called in messages.
    pub fn bucket_name(&self) -> &str {
        self.parts.store.bucket_name()
    }

    /// Whether the bucket did not answer when it was last asked.
    pub fn is_bucket_down(&self) -> bool {
        self.bucket == Bucket::Down
    }

    /// What others should know of this node. A member that reads its log yet could hold no replicas.
    pub fn announcement(&self) -> Announcement {
        Announcement {
            ready: self.facts.is_some() && (self.recovered || !self.serving) && !self.has_gone(),
            cluster: self.facts.map(|facts| facts.cluster),
            newest_epoch: self.chain.newest().map(|document| document.epoch),
            gone: self.absent.gone().iter().take(GONE_MAX).cloned().collect(),
        }
    }

    /// From now on the node could hold replicas.
    pub fn set_recovered(&mut self) {
        self.recovered = true;
    }

    /// Segments that had ended by this epoch can be closed ([`gyre_protocol::closing`]).
    pub fn set_closable(&mut self, through: Epoch) {
        self.closable = self.closable.max(through);
    }

    /// A tenant should have another number of shards. One that is not proposed is asked for again.
    pub fn set_split(&mut self, tenant: TenantId, count: ShardCount) {
        if self.splits.len() < SPLITS_MAX {
            self.splits.insert(tenant, count);
        }
    }

    /// The node is to leave the cluster, durably, or to stay after all. It must be a member; without other members that
    /// hold heads it cannot leave.
    pub fn leave(&mut self, leaving: bool) -> Result<Result<(), CannotLeave>, ClusterError> {
        let own = &self.parts.own.member;
        let others = self.chain.newest().into_iter().flat_map(|newest| &newest.members);
        let mut others = others.filter(|member| member.node != own.node);
        if leaving && !others.any(|member| member.roles.contains(&Role::Write)) {
            return Ok(Err(CannotLeave::NobodyElse));
        }
        if !leaving && self.has_gone() {
            return Ok(Err(CannotLeave::HasLeft));
        }
        self.parts.local.set_leaving(leaving)?;
        crash_point("leave-noted");
        self.leaving = leaving;
        Ok(Ok(()))
    }

    /// Whether it is to leave, and is no member any more.
    fn has_gone(&self) -> bool {
        self.leaving && !self.is_member()
    }

    /// Whether the node is to leave, or is leaving.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// The node has left, and holds nothing any more: from now on a start of it is one like any other.
    pub fn has_left(&mut self) -> Result<(), ClusterError> {
        crash_point("left-before-note");
        self.parts.local.set_leaving(false)?;
        crash_point("left-noted");
        Ok(())
    }

    /// Asks the bucket again for documents, at the next step.
    pub fn look_again(&mut self) {
        self.is_chain_checked = false;
    }

    /// Takes a document from a peer: a refused request comes back with it, so that epochs spread while the bucket is
    /// away. It may be acted upon when this returns; one that does not follow those known here is looked for in the
    /// bucket.
    pub fn learn(&mut self, document: EpochDocument) -> Result<(), ClusterError> {
        let next = self.next_epoch();
        let known = self.chain.documents().find(|known| known.epoch == document.epoch);
        if self.facts.is_some() && document.epoch == next {
            self.act_upon(document)?;
            self.is_compared = false;
            self.is_chain_checked = false;
        } else if document.epoch > next {
            self.is_chain_checked = false;
        } else if known.is_some_and(|known| *known != document) {
            let (epoch, by) = (document.epoch.0, document.proposer.node);
            tracing::error!(epoch, %by, "a peer acts upon another document of this number than this node");
        }
        Ok(())
    }

    /// Takes one step. An error is final; a bucket that does not answer is none, nor is any
    /// other trouble with it for a member.
    pub async fn step(&mut self, view: &View) -> Result<Progress, ClusterError> {
        let now = self.parts.env.monotonic();
        if self.bucket == Bucket::Down && now >= self.retry_at {
            self.bucket = Bucket::Unknown;
        }
        if let Some(newest) = self.chain.newest() {
            self.splits.retain(|tenant, count| newest.shard_count(tenant) != *count);
        }
        self.absent.look(self.chain.newest(), &self.own(), view, now);
        let step = decide(&Situation {
            alone: self.parts.alone,
            own: &self.parts.own,
            local: self.facts,
            bucket: self.bucket,
            bucket_name: self.parts.store.bucket_name(),
            chain: &self.chain,
            is_chain_checked: self.is_chain_checked,
            checked_for: self.checked_for,
            view,
            since_start: now.saturating_sub(self.started),
            closable: self.closable,
            splits: &self.splits,
            leaving: self.leaving,
            gone: self.absent.gone(),
            serving: self.serving,
        });
        let taken = match step {
            Step::Wait(waiting) => return Ok(Progress::Waiting(waiting)),
            Step::Refuse(refusal) => return Err(refusal.into()),
            Step::Serve(alarms) => {
                self.serving = true;
                return Ok(Progress::Serving(alarms));
            }
            Step::LookAtCluster => self.look_at_cluster(view).await,
            Step::CreateCluster => self.create_cluster().await,
            Step::KeepCluster(facts) => {
                self.parts.local.keep_cluster(&facts)?;
                self.facts = Some(facts);
                Ok(())
            }
            Step::LookAtEpochs => self.look_at_epochs(view).await,
            Step::Propose(members) => self.propose(members).await,
            Step::Close(through) => self.close(through).await,
            Step::Split(tenant, count) => self.split(tenant, count).await,
        };
        match taken {
            Ok(()) => Ok(Progress::Went),
            // A member needs nothing of the bucket but new epochs. It goes on also without the right to read it, or with
            // a document there that only a later version understands.
            Err(ClusterError::Epochs(error)) if error.is_retryable() || self.serving || self.is_member() => {
                tracing::warn!(%error, serving = self.serving, "object store does not answer; epochs stand still");
                self.bucket = Bucket::Down;
                // What was asked of it may have happened.
                self.is_chain_checked = false;
                self.retry_at = now + self.retry_after;
                self.retry_after = (self.retry_after * 2).min(RETRY_MAX);
                self.last_error = Some(error);
                Ok(Progress::Went)
            }
            Err(error) => Err(error),
        }
    }

    async fn look_at_cluster(&mut self, view: &View) -> Result<(), ClusterError> {
        let found = self.parts.store.cluster().await?;
        if self.retry_after > RETRY_MIN {
            tracing::info!("object store answers again");
            self.retry_after = RETRY_MIN;
        }
        let claimed = claimed(view).map(|(_, cluster)| cluster);
        self.bucket = found.map_or(Bucket::Empty { claimed }, Bucket::Of);
        Ok(())
    }

    async fn create_cluster(&mut self) -> Result<(), ClusterError> {
        let random = || self.parts.env.random();
        let seed = match self.parts.own.data {
            Data::OfSeed(seed) => seed,
            _ => HashSeed(random() as u64),
        };
        let facts = ClusterFacts { cluster: ClusterId(random()), seed };
        let stored = self.parts.store.create_cluster(&facts).await?;
        if stored == facts {
            tracing::info!(cluster = %facts, bucket = self.parts.store.bucket_name(), "founded a cluster");
        }
        self.bucket = Bucket::Of(stored);
        Ok(())
    }

    async fn look_at_epochs(&mut self, view: &View) -> Result<(), ClusterError> {
        if let (Some(newest), false) = (self.chain.newest(), self.is_compared) {
            // What came from copies or peers has to be what the bucket has.
            if self.parts.store.load(newest.epoch).await?.as_ref() != Some(newest) {
                let bucket = self.parts.store.bucket_name().to_owned();
                return Err(Refusal::OtherDocument { bucket, epoch: newest.epoch }.into());
            }
            self.is_compared = true;
        }
        let told = self.facts.and_then(|facts| newest_told(view, facts));
        for document in self.parts.store.load_chain(self.next_epoch()).await? {
            self.act_upon(document)?;
        }
        self.is_chain_checked = true;
        self.checked_for = told;
        Ok(())
    }

    async fn propose(&mut self, members: Vec<Member>) -> Result<(), ClusterError> {
        let (parts, proposer) = (&self.parts, self.proposer());
        let document = match self.chain.newest() {
            Some(newest) => newest.next(proposer, members)?,
            None => {
                EpochDocument::first(proposer, parts.replication_factor, parts.shards_per_tenant, members)?
            }
        };
        self.create(document).await
    }

    async fn close(&mut self, through: Epoch) -> Result<(), ClusterError> {
        let Some(newest) = self.chain.newest() else { return Ok(()) };
        let document = newest.next_with_closed(self.proposer(), through)?;
        crash_point("close-before-create");
        self.create(document).await
    }

    async fn split(&mut self, tenant: TenantId, count: ShardCount) -> Result<(), ClusterError> {
        self.splits.remove(&tenant);
        let Some(newest) = self.chain.newest() else { return Ok(()) };
        let document = newest.next_with_shards(self.proposer(), tenant, count)?;
        self.create(document).await
    }

    fn proposer(&self) -> Proposer {
        let Parts { own, env, .. } = &self.parts;
        Proposer { node: own.member.node.clone(), proposal: BootId(env.random()) }
    }

    /// Creates the next document, or finds that somebody else has.
    async fn create(&mut self, document: EpochDocument) -> Result<(), ClusterError> {
        if let Some(facts) = &self.facts {
            self.parts.store.check(facts).await?;
        }
        let stored = match self.parts.store.create(&document).await? {
            Outcome::Won => document,
            Outcome::Lost(stored) => {
                // Whoever won may have gone on.
                self.is_chain_checked = false;
                *stored
            }
        };
        crash_point("epoch-created");
        self.act_upon(stored)
    }

    /// From now on this document holds here. Durable before anybody can see it.
    fn act_upon(&mut self, document: EpochDocument) -> Result<(), ClusterError> {
        self.parts.local.keep(&document)?;
        let epoch = document.epoch.0;
        tracing::info!(epoch, members = document.members.len(), by = %document.proposer.node, "new epoch");
        for change in self.chain.newest().map(|before| changes(before, &document)).unwrap_or_default() {
            match change {
                Change::NewIncarnation(node) => tracing::warn!(
                    epoch, %node,
                    "node came back with an empty data directory: what only its old one held is gone, and earlier \
                     segments have one replica less"
                ),
                change => tracing::info!(epoch, "{change}"),
            }
        }
        if document.closed_through > self.chain.closed_through() {
            let through = document.closed_through.0;
            tracing::info!(epoch, through, "segments that ended are closed: blocks have what they held");
            let env = &self.parts.env;
            self.closing = Closing { at: env.monotonic(), at_ms: env.now_ms() };
        }
        crash_point("epoch-kept");
        self.chain.push(document)?;
        Ok(())
    }
}

/// Starts a node that was told of no others; returns when it may serve.
pub async fn start_alone(parts: Parts) -> Result<Joining, ClusterError> {
    let mut joining = Joining::open(parts)?;
    loop {
        match joining.step(&View::default()).await? {
            Progress::Went => {}
            Progress::Serving(_) => return Ok(joining),
            Progress::Waiting(_) => {
                let waited = joining.parts.env.monotonic().saturating_sub(joining.started);
                match joining.last_error.take() {
                    Some(error) if waited >= FIRST_START_MAX => return Err(error.into()),
                    error => joining.last_error = error,
                }
                tokio::time::sleep(TICK).await;
            }
        }
    }
}
