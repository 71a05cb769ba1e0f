//! What a run is like: drawn from its seed, so that runs differ in kind and not only in detail.

use crate::rng::Rng;

/// A run's shape and the probabilities of its faults, in thousandths.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Nodes in the cluster at first.
    pub members: usize,
    /// Nodes that may join.
    pub spares: usize,
    /// Shards of the tenant at first.
    pub shards: u32,
    /// Virtual time of the first phase, microseconds.
    pub faults_us: u64,
    /// Time between writes.
    pub write_every_us: u64,
    /// Time between reads.
    pub read_every_us: u64,
    /// A message is lost.
    pub loss: u64,
    /// A message arrives twice.
    pub duplicate: u64,
    /// A message takes long.
    pub slow: u64,
    /// How long, at most.
    pub slow_us_max: u64,
    /// A sync takes long.
    pub slow_sync: u64,
    /// The store fails before it has done anything.
    pub store_fails: u64,
    /// Time between faults.
    pub fault_every_us: u64,
    /// Time between epochs.
    pub epoch_every_us: u64,
    /// Epochs at most, but for those that close segments.
    pub epochs_max: u64,
    /// So many disks are lost for good at most.
    pub losses_max: u32,
    /// Writes that name a point which another write has named.
    pub conflict: u64,
    /// A node that hears of an epoch only when it is told that its own is old.
    pub deaf: u64,
    /// A request to seal is lost, beside other losses: so that replicas stay unsealed for long.
    pub seal_loss: u64,
    /// Another epoch follows at once.
    pub epoch_burst: u64,
    /// Longest time between two comparisons of a node with a peer.
    pub repair_us_max: u64,
    /// Longest time between two windows that a node ships.
    pub ship_us_max: u64,
    /// A list of blocks that is older is refreshed beside reads.
    pub list_fresh_us: u64,
    /// How long after a document is known segments are sealed, at most.
    pub seal_us_max: u64,
    /// Readers try those first that have not sealed: where a stale reader is hardest to catch.
    pub readers_prefer_unsealed: bool,
}

const SECOND_US: u64 = 1_000_000;

impl Swarm {
    /// Whether what is acknowledged must survive: three replicas bear one loss, and no others any.
    pub fn bears_its_losses(&self) -> bool {
        self.losses_max == 0 || (self.losses_max == 1 && self.members >= 3)
    }

    /// The shape of a seed's run. Every fourth is made for readers with old documents, every fourth for the moment at
    /// which a disk is lost, and every fourth for two losses: what goes wrong there is rare elsewhere.
    pub fn of(rng: &mut Rng) -> Self {
        let any = Self::any(rng);
        match rng.below(4) {
            0 => Swarm {
                members: rng.range(4, 5) as usize,
                spares: 2,
                shards: 1,
                read_every_us: rng.range(200_000, 500_000),
                loss: *rng.pick(&[0, 20]),
                deaf: 900,
                seal_loss: 900,
                epoch_every_us: rng.range(30 * SECOND_US, 60 * SECOND_US),
                epoch_burst: 500,
                epochs_max: 12,
                readers_prefer_unsealed: true,
                ..any
            },
            1 => Swarm {
                members: 3,
                read_every_us: rng.range(200_000, 500_000),
                loss: *rng.pick(&[100, 300]),
                repair_us_max: 60 * SECOND_US,
                losses_max: 1,
                ..any
            },
            // Two losses: more than three replicas are made for, and than one or two can bear.
            2 => Swarm {
                members: *rng.pick(&[1, 2, 2, 3, 3]),
                spares: rng.range(1, 2) as usize,
                shards: *rng.pick(&[1, 1, 2]),
                read_every_us: rng.range(200_000, 500_000),
                loss: *rng.pick(&[0, 20, 100]),
                epochs_max: rng.range(4, 8),
                losses_max: 2,
                ..any
            },
            _ => any,
        }
    }

    fn any(rng: &mut Rng) -> Self {
        let members = *rng.pick(&[1, 2, 3, 3, 3, 3, 4, 4, 5, 5]);
        Swarm {
            members,
            spares: rng.range(0, 2) as usize,
            shards: *rng.pick(&[1, 1, 2, 4]),
            faults_us: 600 * SECOND_US,
            write_every_us: rng.range(200_000, 500_000),
            read_every_us: rng.range(500_000, 2 * SECOND_US),
            loss: *rng.pick(&[0, 5, 20, 100]),
            duplicate: *rng.pick(&[0, 10, 100, 300]),
            slow: *rng.pick(&[0, 20, 100, 300]),
            slow_us_max: *rng.pick(&[20_000, 300_000, 3 * SECOND_US]),
            slow_sync: *rng.pick(&[0, 10, 100]),
            store_fails: *rng.pick(&[0, 100, 400]),
            fault_every_us: rng.range(5 * SECOND_US, 20 * SECOND_US),
            epoch_every_us: rng.range(60 * SECOND_US, 150 * SECOND_US),
            epochs_max: rng.range(1, 6),
            losses_max: u32::from(members >= 3 && rng.chance(500)),
            conflict: *rng.pick(&[0, 50, 300]),
            deaf: *rng.pick(&[0, 300, 800]),
            seal_loss: *rng.pick(&[0, 0, 500, 900]),
            epoch_burst: *rng.pick(&[0, 300, 900]),
            repair_us_max: *rng.pick(&[6 * SECOND_US, 60 * SECOND_US]),
            ship_us_max: *rng.pick(&[3 * SECOND_US, 15 * SECOND_US, 60 * SECOND_US]),
            list_fresh_us: *rng.pick(&[SECOND_US, 10 * SECOND_US, 29 * SECOND_US]),
            seal_us_max: *rng.pick(&[1_000, 100_000, SECOND_US]),
            readers_prefer_unsealed: rng.chance(500),
        }
    }
}
