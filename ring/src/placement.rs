//! Placement: which members hold a shard. A pure function of an epoch's members and the shard's name.
//!
//! A walk around the token ring takes the nodes it meets, but no more of a zone than needed: one where there are as
//! many zones as replicas. This is a greedy choice under a cap per zone, and so has the property that everything else
//! relies on: when one member joins or leaves, no shard changes more than one of its replicas.
//!
//! What may go wrong: two nodes that compute different placements would write to different places. There is nothing
//! here but arithmetic on the epoch document, and golden placements stand against drift.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::ShardCount;
use crate::ids::ShardIndex;
use crate::member::{Member, Replica, Role, Zone};
use crate::tenant::TenantId;
use crate::tokens::{Position, TokenRing};

/// The members of an epoch that have a role, ready to be asked for placements.
#[derive(Clone, Debug)]
pub struct Placement {
    members: Vec<Member>,
    /// Each member's zone, as a number.
    zones: Vec<usize>,
    tokens: TokenRing,
    /// Replicas of a shard: as many as asked for, or all members.
    replicas: usize,
    /// The most replicas of a shard in one zone.
    per_zone: usize,
}

impl Placement {
    /// Placement over those of `members` that have `role`. Their order does not matter.
    pub fn new(members: &[Member], role: Role, replication_factor: usize) -> Self {
        let mut members: Vec<Member> =
            members.iter().filter(|member| member.roles.contains(&role)).cloned().collect();
        members.sort_by(|a, b| a.node.cmp(&b.node));
        let mut sizes: BTreeMap<&Zone, usize> = BTreeMap::new();
        for member in &members {
            *sizes.entry(&member.zone).or_default() += 1;
        }
        let replicas = replication_factor.min(members.len());
        // The smallest cap that leaves enough members to choose from.
        let choosable = |cap: usize| sizes.values().map(|size| cap.min(*size)).sum::<usize>();
        let per_zone = (1..=replicas).find(|cap| choosable(*cap) >= replicas).unwrap_or(1);
        let number = |zone: &Zone| sizes.keys().position(|other| *other == zone).unwrap_or(0);
        let zones = members.iter().map(|member| number(&member.zone)).collect();
        let tokens = TokenRing::new(members.iter().map(|member| (&member.node, member.weight)));
        Placement { members, zones, tokens, replicas, per_zone }
    }

    /// The members that hold a shard, in the order of the walk.
    pub fn of(&self, tenant: &TenantId, count: ShardCount, index: ShardIndex) -> Vec<&Member> {
        self.at(Position::of_shard(tenant, count, index))
    }

    /// The members that hold a shard whose walk begins at a position.
    fn at(&self, position: Position) -> Vec<&Member> {
        let mut in_zone = vec![0; self.members.len()];
        let walk = self.tokens.walk(position);
        let accepted = walk.filter(|member| {
            let taken = &mut in_zone[self.zones[*member]];
            let free = *taken < self.per_zone;
            *taken += usize::from(free);
            free
        });
        accepted.take(self.replicas).map(|member| &self.members[member]).collect()
    }

    /// The members, in order of their names, each with its share of the ring as a fraction of 1.
    pub fn shares(&self) -> impl Iterator<Item = (&Member, f64)> {
        self.members.iter().zip(self.tokens.shares())
    }

    /// The sets of replicas that shards of whatever tenant have; each once.
    pub fn sets(&self) -> BTreeSet<Vec<Replica>> {
        self.tokens.positions().map(|position| sorted(self.at(position))).collect()
    }

    /// The sets of replicas that some shard, of whatever tenant, would change to from `before`; each once. Tenants are
    /// not known to the documents, so a proposer looks at the whole circle.
    pub fn sets_changed_from(&self, before: &Placement) -> BTreeSet<Vec<Replica>> {
        // Between two neighbouring tokens, of either ring, no walk changes.
        let positions = self.tokens.positions().chain(before.tokens.positions());
        let pairs: BTreeSet<_> =
            positions.map(|position| (sorted(before.at(position)), sorted(self.at(position)))).collect();
        pairs.into_iter().filter(|(old, new)| old != new).map(|(_, new)| new).collect()
    }

    /// Replicas of each shard.
    pub fn replicas(&self) -> usize {
        self.replicas
    }
}

fn sorted(members: Vec<&Member>) -> Vec<Replica> {
    let mut replicas: Vec<Replica> = members.into_iter().map(Member::replica).collect();
    replicas.sort();
    replicas
}
