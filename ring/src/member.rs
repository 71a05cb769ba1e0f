//! Members: who may hold data, and where they stand.
//!
//! A member is a node *and* its incarnation: a node that lost its disk is somebody else (protocol rule 1). What may go
//! wrong is that a name means two things, so each is checked where it enters.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, NodeId};

/// What may fail together: a rack, a data centre. Replicas of a shard lie in different ones if there are enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Arc<str>);

impl Zone {
    /// Takes a name of 1 to 63 letters, digits, `-`, `_`, `.` and `:`; `None` otherwise.
    pub fn new(name: &str) -> Option<Self> {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        (!name.is_empty() && name.len() <= 64 && name.chars().all(ok)).then(|| Zone(name.into()))
    }

    /// The zone of a node that names none: itself. The colon keeps it apart from all zones that operators name after
    /// a node.
    pub fn of_node(node: &NodeId) -> Self {
        Zone(format!(":{node}").into())
    }

    /// The name's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Zone::new(&name).ok_or_else(|| format!("{name:?} is no zone name"))
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> String {
        zone.as_str().to_owned()
    }
}

/// What a member does. Each role places over a ring of the members that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds heads.
    Write,
    /// Serves blocks and coordinates queries.
    Read,
    /// Evaluates rules.
    Rules,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Write, Role::Read, Role::Rules];

    /// Its name in settings and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Write => "write",
            Role::Read => "read",
            Role::Rules => "rules",
        }
    }
}

/// A member's share of the ring, in hundredths of an ordinary node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// An ordinary node's.
    pub const ORDINARY: Weight = Weight(100);
    /// The largest.
    pub const MAX: u16 = 10_000;

    /// Takes 1 to [`Weight::MAX`]; `None` otherwise.
    pub fn new(hundredths: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&hundredths).then_some(Weight(hundredths))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = String;

    fn try_from(hundredths: u16) -> Result<Self, String> {
        Weight::new(hundredths).ok_or_else(|| format!("weight {hundredths} is not from 1 to {}", Weight::MAX))
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

/// Who holds a replica: a node with the disk it had then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replica {
    /// The node.
    pub node: NodeId,
    /// Its disk.
    pub incarnation: Incarnation,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.node, self.incarnation)
    }
}

/// One member of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its disk.
    pub incarnation: Incarnation,
    /// Where it stands.
    pub zone: Zone,
    /// Its share.
    pub weight: Weight,
    /// What it does; not empty.
    pub roles: Vec<Role>,
}

impl Member {
    /// The member as the holder of replicas.
    pub fn replica(&self) -> Replica {
        Replica { node: self.node.clone(), incarnation: self.incarnation }
    }
}
