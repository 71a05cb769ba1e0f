//! The names of things that move between nodes and onto disk.
//!
//! Each is a newtype: a signature that took two bare integers would sooner or later be called with them
//! swapped, and here that means data in the wrong place.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::hash::ShardCount;
use crate::tenant::TenantId;

/// A node's configured or generated name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Takes a name of 1 to 63 letters, digits, `-`, `_` and `.`; `None` otherwise.
    pub fn new(id: &str) -> Option<Self> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (!id.is_empty() && id.len() <= 63 && id.chars().all(ok)).then(|| NodeId(id.into()))
    }

    /// The name's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeId {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        NodeId::new(&id).ok_or_else(|| format!("{id:?} is no node id"))
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> String {
        id.as_str().to_owned()
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub u128);

        impl TryFrom<String> for $name {
            type Error = String;

            /// Reads 32 hexadecimal digits.
            fn try_from(text: String) -> Result<Self, String> {
                let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
                let number = if digits { u128::from_str_radix(&text, 16).ok() } else { None };
                number.map($name).ok_or_else(|| format!("{text:?} is not 32 hexadecimal digits"))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }
    };
}

random_id! {
    /// Drawn when an empty data directory is first used. A node that lost its disk is a new incarnation and
    /// can never be taken for the old one (protocol rule 1).
    Incarnation
}

random_id! {
    /// Drawn when a cluster is founded. Everything that belongs to it says so, so that nothing is mixed up with another
    /// cluster's.
    ClusterId
}

random_id! {
    /// Drawn at every start of a coordinator. It names its batches, so that numbers never repeat (rule 2).
    BootId
}

/// A numbered, immutable version of the ring's membership. Counts from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A shard's place among the shards of its tenant: the top bits of the series keys it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardIndex(pub u32);

/// A tenant's shard. The name carries the count it was made under: shard 1 of 2 and shard 1 of 4 hold
/// different series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    /// Whose data it holds.
    pub tenant: TenantId,
    /// How many shards the tenant had when this one was made.
    pub count: ShardCount,
    /// Which of them this is.
    pub index: ShardIndex,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-of-{}", self.tenant, self.index.0, self.count.get())
    }
}

/// A shard's data under the epochs from `epoch` until its replica set changes. Batches are numbered within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// The shard it is a part of.
    pub shard: Shard,
    /// The epoch that began it.
    pub epoch: Epoch,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.shard, self.epoch.0)
    }
}

/// A coordinator's count of its batches for one segment, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchNumber(pub u64);

/// Names a batch within its segment (protocol rule 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId {
    /// The coordinator's run.
    pub boot: BootId,
    /// Its count for the segment.
    pub number: BatchNumber,
}
