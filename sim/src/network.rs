//! The network: who reaches whom, how late, how often.

use std::collections::BTreeSet;

use crate::rng::Rng;
use crate::swarm::Swarm;

/// The network's present state.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Directed pairs that are cut.
    cut: BTreeSet<(usize, usize)>,
    /// Faults are over.
    healed: bool,
}

impl Network {
    /// Cuts the nodes into two groups, in both directions or in one.
    pub fn partition(&mut self, nodes: usize, rng: &mut Rng) {
        self.cut.clear();
        let one_way = rng.chance(300);
        let side: Vec<bool> = (0..nodes).map(|_| rng.chance(400)).collect();
        for from in 0..nodes {
            for to in 0..nodes {
                if side[from] != side[to] && (!one_way || side[from]) {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    /// Everybody reaches everybody, mostly.
    pub fn join(&mut self) {
        self.cut.clear();
    }

    /// Everybody reaches everybody, always and soon.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.healed = true;
    }

    /// The delays, in microseconds, after which copies of a message arrive; none if it is lost.
    pub fn arrivals(
        &self,
        (from, to): (usize, usize),
        is_seal: bool,
        swarm: &Swarm,
        rng: &mut Rng,
    ) -> Vec<u64> {
        if from == to {
            return vec![10];
        }
        if self.healed {
            return vec![rng.range(100, 2_000)];
        }
        let lost = rng.chance(swarm.loss) || (is_seal && rng.chance(swarm.seal_loss));
        if self.cut.contains(&(from, to)) || lost {
            return Vec::new();
        }
        let delay = |rng: &mut Rng| {
            let slow = rng.chance(swarm.slow);
            rng.range(100, if slow { swarm.slow_us_max } else { 3_000 })
        };
        let mut arrivals = vec![delay(rng)];
        if rng.chance(swarm.duplicate) {
            arrivals.push(delay(rng));
        }
        arrivals
    }
}
