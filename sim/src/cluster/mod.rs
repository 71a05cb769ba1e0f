//! The world: virtual time, nodes, network, store, clients and faults, all from one seed.

mod bucket;
mod clients;
mod events;
mod faults;
mod report;
mod rest;

pub use report::Report;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use gyre_ring::{
    BatchId, BootId, EpochDocument, Incarnation, Member, NodeId, Proposer, Role, Segment, ShardCount, Span,
    TenantId, Weight, Zone,
};

use crate::checks::{Ledger, Violation};
use crate::client::Finished;
use crate::conduct::Conduct;
use crate::message::{Answer, Body};
use crate::network::Network;
use crate::node::{Effect, Node};
use crate::rng::Rng;
use crate::series::Catalog;
use crate::store::Store;
use crate::swarm::Swarm;

use events::Event;

const SECOND_US: u64 = 1_000_000;

/// Series of a run.
const SERIES: u64 = 8;

/// How long a client waits while there are faults.
const PATIENCE_US: u64 = 5 * SECOND_US;

/// A cluster in its world.
pub struct Cluster {
    now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    rng: Rng,
    swarm: Swarm,
    conduct: Conduct,
    nodes: Vec<Node>,
    /// Those that are switched off for good.
    off: Vec<bool>,
    /// Something was dropped, and it has not been looked whether anything is missing.
    has_dropped: bool,
    deaf: Vec<bool>,
    network: Network,
    store: Store,
    /// The segments that follow from the stored documents, and from how many of them.
    spans: (usize, Arc<Vec<Span>>),
    proposed: u64,
    ledger: Ledger,
    tenant: TenantId,
    healed: bool,
    healed_at_us: u64,
    /// Disks lost so far, or damaged.
    losses: u32,
    /// The node one of whose records has gone bad.
    damaged: Option<usize>,
    /// Nodes with a new disk that no document lists yet.
    homeless: Vec<usize>,
    /// On how many disks batches were safe that are lost, or damaged.
    lost: BTreeMap<(Segment, BatchId), usize>,
    series: Vec<u128>,
    next_time: u64,
    answers: BTreeMap<u128, Answer>,
    done: Vec<Finished>,
    report: Report,
}

/// Runs a seed with nodes that follow some rules; the report, or what was broken.
pub fn run(seed: u64, conduct: Conduct) -> Result<Report, Violation> {
    let mut rng = Rng::new(seed);
    let swarm = Swarm::of(&mut rng);
    Cluster::new(seed, swarm, conduct).run()
}

impl Cluster {
    /// A cluster of a shape, at its beginning.
    pub fn new(seed: u64, swarm: Swarm, conduct: Conduct) -> Self {
        let mut rng = Rng::new(seed ^ 0x5157_a12b);
        let tenant = TenantId::fake();
        let catalog = Arc::new(Catalog::new(SERIES, seed));
        let nodes = (0..swarm.members + swarm.spares)
            .map(|number| {
                let id = NodeId::new(&format!("n{number}")).expect("a letter and digits");
                let incarnation = Incarnation(number as u128 + 1);
                let mut node = Node::new(id, incarnation, tenant.clone(), catalog.clone(), conduct);
                node.list_fresh_us = swarm.list_fresh_us;
                node
            })
            .collect::<Vec<_>>();
        let deaf = nodes.iter().map(|_| rng.chance(swarm.deaf)).collect();
        let mut cluster = Cluster {
            now_us: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            rng,
            swarm,
            conduct,
            off: vec![false; nodes.len()],
            has_dropped: false,
            nodes,
            deaf,
            network: Network::default(),
            store: Store::default(),
            spans: (0, Arc::default()),
            proposed: 0,
            ledger: Ledger::default(),
            tenant,
            healed: false,
            healed_at_us: 0,
            losses: 0,
            damaged: None,
            homeless: Vec::new(),
            lost: BTreeMap::new(),
            series: catalog.keys().collect(),
            next_time: 0,
            answers: BTreeMap::new(),
            done: Vec::new(),
            report: Report { seed, ..Report::default() },
        };
        cluster.bootstrap();
        cluster
    }

    fn bootstrap(&mut self) {
        let members = (0..self.swarm.members).map(|number| self.member(number)).collect();
        let count = ShardCount::new(self.swarm.shards).expect("a power of two");
        let first = EpochDocument::first(self.proposer(0), 3, count, members).expect("valid members");
        let never_fails = Swarm { store_fails: 0, ..self.swarm.clone() };
        self.store.create(Arc::new(first), &never_fails, &self.conduct.rules, &mut self.rng);
        self.proposed = 1;
        for number in 0..self.nodes.len() {
            self.fetch(number);
            let mut effects = Vec::new();
            self.nodes[number].start(&mut effects);
            self.carry_out(number, effects);
            let first_repair = self.rng.below(3 * SECOND_US);
            self.schedule(first_repair, Event::Repair { node: number });
            self.schedule(SECOND_US, Event::Gossip { node: number });
            self.schedule(10 * SECOND_US, Event::Ship { node: number });
            self.schedule(20 * SECOND_US, Event::Snapshot { node: number });
            self.schedule(30 * SECOND_US, Event::Close { node: number });
        }
        self.schedule(20 * SECOND_US, Event::Compact);
        self.schedule(25 * SECOND_US, Event::Clean);
        self.schedule(30 * SECOND_US, Event::SwitchOff);
        self.schedule(0, Event::Write);
        self.schedule(0, Event::Read);
        self.schedule(self.swarm.fault_every_us, Event::Fault);
        self.schedule(self.swarm.epoch_every_us, Event::Epoch);
        self.schedule(self.swarm.faults_us, Event::Heal);
    }

    fn member(&self, number: usize) -> Member {
        let node = &self.nodes[number];
        Member {
            node: node.id.clone(),
            incarnation: node.incarnation,
            zone: Zone::of_node(&node.id),
            // Few tokens: rings are made often here, and balance does not matter.
            weight: Weight::new(1).expect("in range"),
            roles: vec![Role::Write],
        }
    }

    fn proposer(&mut self, number: usize) -> Proposer {
        Proposer { node: self.nodes[number].id.clone(), proposal: BootId(u128::from(self.rng.next())) }
    }

    fn schedule(&mut self, delay_us: u64, event: Event) {
        let number = self.next_event;
        self.next_event += 1;
        self.queue.push(Reverse((self.now_us + delay_us, number)));
        self.events.insert(number, event);
    }

    fn number_of(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).expect("all nodes are known from the start")
    }

    /// Runs to the end, or to the first broken promise.
    pub fn run(mut self) -> Result<Report, Violation> {
        while let Some(Reverse((at_us, number))) = self.queue.pop() {
            let event = self.events.remove(&number).expect("queued once");
            self.now_us = at_us;
            for node in &mut self.nodes {
                node.now_us = at_us;
            }
            self.report.events += 1;
            if matches!(event, Event::End) {
                self.at_rest()?;
                self.report.epochs = self.store.newest();
                self.report.losses = u64::from(self.losses);
                self.report.pulled = self.nodes.iter().map(|node| node.pulled).sum();
                self.report.found_empty = self.nodes.iter().map(|node| node.found_empty).sum();
                self.report.dropped_windows = self.nodes.iter().map(|node| node.dropped_windows).sum();
                self.report.dropped_segments = self.nodes.iter().map(|node| node.dropped_segments).sum();
                self.report.blocks = self.store.listing().blocks().len() as u64;
                self.report.newer_lists = self.nodes.iter().map(|node| node.newer_lists).sum();
                self.report.closings = self.closings();
                self.report.virtual_us = self.now_us;
                return Ok(self.report);
            }
            self.happen(event)?;
        }
        Ok(self.report)
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        let run = self.nodes[node].runs;
        for effect in effects {
            match effect {
                Effect::Send(to, message) => {
                    let to = self.number_of(&to);
                    let is_seal = matches!(message.body, Body::Seal);
                    for delay in self.network.arrivals((node, to), is_seal, &self.swarm, &mut self.rng) {
                        let from = self.nodes[node].id.clone();
                        self.schedule(delay, Event::Arrive { to, from, message: message.clone() });
                    }
                }
                Effect::Sync => {
                    if self.nodes[node].lane.begin_sync() {
                        let slow = !self.healed && self.rng.chance(self.swarm.slow_sync);
                        let delay = self.rng.range(500, if slow { SECOND_US } else { 8_000 });
                        self.schedule(delay, Event::Synced { node, run });
                    }
                }
                Effect::Wake(op, delay) => self.schedule(delay, Event::Wake { node, run, op }),
                Effect::Fetch => {
                    let delay = self.rng.range(1_000, 50_000);
                    self.schedule(delay, Event::Fetch { node, run });
                }
                Effect::Finished(finished) => self.done.push(finished),
                Effect::Seal => {
                    let delay = self.rng.range(10, if self.healed { 100 } else { self.swarm.seal_us_max });
                    self.schedule(delay, Event::Seal { node, run });
                }
                Effect::GoOn(number, delay) => {
                    let delay = if self.healed { delay / 20 } else { delay };
                    self.schedule(delay, Event::GoOn { node, run, number });
                }
                Effect::Ask(request) => {
                    let delay = self.store_delay();
                    self.schedule(delay, Event::AtStore { node, run, request });
                }
                Effect::Dropped => self.has_dropped = true,
            }
        }
    }

    /// A node reads the documents it does not have from the store, which may fail.
    fn fetch(&mut self, node: usize) {
        if !self.healed && self.now_us > 0 && self.rng.chance(self.swarm.store_fails) {
            return;
        }
        let stored = (1..=self.store.newest()).map_while(|epoch| self.store.get(epoch)).collect::<Vec<_>>();
        let mut effects = Vec::new();
        self.nodes[node].learn(&stored, stored.len(), &mut effects);
        self.carry_out(node, effects);
    }
}
