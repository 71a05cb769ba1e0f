//! The ring itself: each member's tokens on a circle of 64-bit positions, and the walk around it.
//!
//! Tokens are a function of the node's name alone. So all nodes compute the same ring without telling each other
//! tokens, a node that lost its disk comes back to its old place, and a larger weight only adds tokens. A change in how
//! tokens or positions are computed would move every shard of every cluster; golden values in the tests stand against
//! that.

use xxhash_rust::xxh3::xxh3_64;

use crate::hash::ShardCount;
use crate::ids::{NodeId, ShardIndex};
use crate::member::Weight;
use crate::tenant::TenantId;

/// Tokens for each hundredth of weight: 500 for an ordinary node, which keeps the fullest node within some 10 % of the
/// mean.
const TOKENS_PER_WEIGHT: u32 = 5;

/// A place on the circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Position {
    /// Where the walk for a shard begins: XXH3-64 of the tenant's id, a zero byte and the first key of the shard's
    /// range (16 bytes, big-endian). Of the two shards that a split makes of one, the first thus keeps its place.
    pub fn of_shard(tenant: &TenantId, count: ShardCount, index: ShardIndex) -> Self {
        let bits = count.get().trailing_zeros();
        // A shift by 128 would overflow: the only shard begins with key 0.
        let first_key = if bits == 0 { 0 } else { u128::from(index.0) << (128 - bits) };
        let mut bytes = Vec::with_capacity(tenant.as_str().len() + 17);
        bytes.extend_from_slice(tenant.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&first_key.to_be_bytes());
        Position(xxh3_64(&bytes))
    }

    /// A node's token with a number: XXH3-64 of its name, a zero byte and the number (4 bytes, little-endian).
    fn of_token(node: &NodeId, number: u32) -> Self {
        let mut bytes = Vec::with_capacity(node.as_str().len() + 5);
        bytes.extend_from_slice(node.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&number.to_le_bytes());
        Position(xxh3_64(&bytes))
    }
}

/// Tokens of some nodes, which are known by their number in the order they were given.
#[derive(Clone, Debug, Default)]
pub struct TokenRing {
    /// Ascending; of equal positions the lower number comes first.
    tokens: Vec<(Position, u32)>,
    nodes: usize,
}

impl TokenRing {
    /// The ring of these nodes. They must be in order of their names, so that equal positions are decided alike
    /// everywhere.
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a NodeId, Weight)>) -> Self {
        let mut tokens = Vec::new();
        let mut count = 0;
        for (number, (node, weight)) in (0u32..).zip(nodes) {
            let numbers = 0..u32::from(weight.get()) * TOKENS_PER_WEIGHT;
            tokens.extend(numbers.map(|token| (Position::of_token(node, token), number)));
            count += 1;
        }
        tokens.sort_unstable();
        TokenRing { tokens, nodes: count }
    }

    /// All nodes, each once, in the order in which a walk from `from` first meets one of their tokens.
    pub fn walk(&self, from: Position) -> impl Iterator<Item = usize> + '_ {
        let begin = self.tokens.partition_point(|(position, _)| *position < from);
        let mut met = vec![false; self.nodes];
        let mut left = self.nodes;
        let (before, after) = self.tokens.split_at(begin);
        let mut circle = after.iter().chain(before);
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let nodes = circle.by_ref().map(|(_, node)| *node as usize);
            let node = { nodes }.find(|node| !std::mem::replace(&mut met[*node], true))?;
            left -= 1;
            Some(node)
        })
    }

    /// Where the tokens lie, ascending.
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.tokens.iter().map(|(position, _)| *position)
    }

    /// How much of the circle each node owns, as fractions of 1: what a walk meets first.
    pub fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.nodes];
        let circle = 2.0f64.powi(64);
        let Some(&(last, _)) = self.tokens.last() else { return shares };
        let mut previous = last;
        for &(position, node) in &self.tokens {
            shares[node as usize] += position.0.wrapping_sub(previous.0) as f64 / circle;
            previous = position;
        }
        if self.tokens.len() == 1 {
            shares[self.tokens[0].1 as usize] = 1.0;
        }
        shares
    }
}
