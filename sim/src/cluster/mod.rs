//! The world: virtual time, nodes, network, store, clients and faults, all from one seed.

mod clients;
mod faults;
mod rest;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{
    BatchId, BootId, EpochDocument, Incarnation, Member, NodeId, Proposer, Role, Segment, ShardCount, Span,
    TenantId, Weight, Zone,
};

use crate::checks::{Ledger, Violation};
use crate::client::Finished;
use crate::message::{Answer, Body, Message};
use crate::network::Network;
use crate::node::{Effect, Node};
use crate::rng::Rng;
use crate::series::Catalog;
use crate::store::Store;
use crate::swarm::Swarm;

const SECOND_US: u64 = 1_000_000;

/// Series of a run.
const SERIES: u64 = 8;

/// How long a client waits while there are faults.
const PATIENCE_US: u64 = 5 * SECOND_US;

#[derive(Debug)]
enum Event {
    Arrive { to: usize, from: NodeId, message: Message },
    Synced { node: usize, run: u64 },
    Wake { node: usize, run: u64, op: u64 },
    Fetch { node: usize, run: u64 },
    Repair { node: usize },
    Gossip { node: usize },
    Restart { node: usize },
    Write,
    Read,
    Fault,
    Epoch,
    Rejoin,
    Heal,
    FinalReads,
    End,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Writes begun.
    pub writes: u64,
    /// Of these, acknowledged.
    pub acked: u64,
    /// Of these, refused as a whole, since their times were taken.
    pub refused: u64,
    /// Reads begun.
    pub reads: u64,
    /// Of these, answered in full.
    pub complete_reads: u64,
    /// Of these, with a warning that data may be missing.
    pub warned_reads: u64,
    /// Disks lost or damaged.
    pub losses: u64,
    /// Batches that replicas pulled from peers.
    pub pulled: u64,
    /// How often a node has found that a segment is empty.
    pub found_empty: u64,
    /// Crashes, pauses, partitions, lost disks.
    pub faults: u64,
    /// Epochs at the end.
    pub epochs: u64,
    /// Events.
    pub events: u64,
    /// Virtual time.
    pub virtual_us: u64,
}

/// A cluster in its world.
pub struct Cluster {
    now_us: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    rng: Rng,
    swarm: Swarm,
    rules: Rules,
    nodes: Vec<Node>,
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

/// Runs a seed under some rules; the report, or what was broken.
pub fn run(seed: u64, rules: Rules) -> Result<Report, Violation> {
    let mut rng = Rng::new(seed);
    let swarm = Swarm::of(&mut rng);
    Cluster::new(seed, swarm, rules).run()
}

impl Cluster {
    /// A cluster of a shape, at its beginning.
    pub fn new(seed: u64, swarm: Swarm, rules: Rules) -> Self {
        let mut rng = Rng::new(seed ^ 0x5157_a12b);
        let tenant = TenantId::fake();
        let catalog = Arc::new(Catalog::new(SERIES, seed));
        let nodes = (0..swarm.members + swarm.spares)
            .map(|number| {
                let id = NodeId::new(&format!("n{number}")).expect("a letter and digits");
                Node::new(id, Incarnation(number as u128 + 1), tenant.clone(), catalog.clone(), rules)
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
            rules,
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
        self.store.create(Arc::new(first), &never_fails, &self.rules, &mut self.rng);
        self.proposed = 1;
        for number in 0..self.nodes.len() {
            self.fetch(number);
            let mut effects = Vec::new();
            self.nodes[number].start(&mut effects);
            self.carry_out(number, effects);
            let first_repair = self.rng.below(3 * SECOND_US);
            self.schedule(first_repair, Event::Repair { node: number });
            self.schedule(SECOND_US, Event::Gossip { node: number });
        }
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
            self.report.events += 1;
            if matches!(event, Event::End) {
                self.at_rest()?;
                self.report.epochs = self.store.newest();
                self.report.losses = u64::from(self.losses);
                self.report.pulled = self.nodes.iter().map(|node| node.pulled).sum();
                self.report.found_empty = self.nodes.iter().map(|node| node.found_empty).sum();
                self.report.virtual_us = self.now_us;
                return Ok(self.report);
            }
            self.happen(event)?;
        }
        Ok(self.report)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let mut effects = Vec::new();
        let node = match event {
            Event::Arrive { to, from, message } => {
                if self.asleep(to, |to| Event::Arrive { to, from: from.clone(), message: message.clone() }) {
                    return Ok(());
                }
                self.nodes[to].receive(from, message, &mut self.rng, &mut effects);
                to
            }
            Event::Synced { node, run } => {
                if !self.is_run(node, run) || self.asleep(node, |node| Event::Synced { node, run }) {
                    return Ok(());
                }
                self.nodes[node].synced(&mut effects);
                self.carry_out(node, effects);
                self.tempt_early(node)?;
                return self.finished();
            }
            Event::Wake { node, run, op } => {
                if !self.is_run(node, run) || self.asleep(node, |node| Event::Wake { node, run, op }) {
                    return Ok(());
                }
                self.nodes[node].wake(self.now_us, op, &mut self.rng, &mut effects);
                node
            }
            Event::Fetch { node, run } => {
                if self.is_run(node, run) {
                    self.fetch(node);
                }
                return Ok(());
            }
            Event::Repair { node } => {
                let pause = if self.healed {
                    SECOND_US / 5
                } else {
                    self.rng.range(SECOND_US, self.swarm.repair_us_max)
                };
                self.schedule(pause, Event::Repair { node });
                if self.nodes[node].up && self.nodes[node].paused_until_us <= self.now_us {
                    self.nodes[node].repair(&mut effects);
                    if self.healed {
                        self.nodes[node].settle(&mut effects);
                    }
                }
                node
            }
            Event::Gossip { node } => {
                let pause = if self.healed { SECOND_US } else { self.rng.range(SECOND_US, 40 * SECOND_US) };
                self.schedule(pause, Event::Gossip { node });
                if self.nodes[node].up && (self.healed || !self.deaf[node]) {
                    self.fetch(node);
                }
                return Ok(());
            }
            Event::Restart { node } => {
                if self.nodes[node].up {
                    return Ok(());
                }
                if self.nodes[node].documents.is_empty() {
                    self.fetch(node);
                }
                self.nodes[node].start(&mut effects);
                self.restarted(node)?;
                node
            }
            Event::Write => return self.client_writes(),
            Event::Read => return self.client_reads(),
            Event::Fault => return self.fault(),
            Event::Epoch => {
                if !self.healed {
                    self.propose_something();
                    let at_once = self.rng.chance(self.swarm.epoch_burst);
                    let pause = if at_once {
                        self.rng.range(1_000, 2 * SECOND_US)
                    } else {
                        self.swarm.epoch_every_us
                    };
                    self.schedule(pause, Event::Epoch);
                }
                return self.only_proposed();
            }
            Event::Rejoin => {
                self.rejoin();
                return self.only_proposed();
            }
            Event::Heal => {
                self.heal();
                return Ok(());
            }
            Event::FinalReads => {
                self.final_reads();
                return self.finished();
            }
            Event::End => return Ok(()),
        };
        self.carry_out(node, effects);
        self.finished()
    }

    fn is_run(&self, node: usize, run: u64) -> bool {
        self.nodes[node].up && self.nodes[node].runs == run
    }

    /// What arrives at a node that is paused waits; at one that is down it is lost.
    fn asleep(&mut self, node: usize, again: impl FnOnce(usize) -> Event) -> bool {
        let (up, until) = (self.nodes[node].up, self.nodes[node].paused_until_us);
        if up && until > self.now_us {
            self.schedule(until - self.now_us, again(node));
            return true;
        }
        !up
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
