//! Directed scenarios: the shortest ways into trouble, step by step, where random runs seldom go.
//!
//! Many follow a trace that the model checker found for a rule left out. With all rules each must end well: either the
//! write is not acknowledged, or the read sees it; and where nothing stands in the way, both are answered.

mod blocks;
mod bucket;
mod closing;
mod empty;
mod epochs;
mod losses;
mod pulls;
mod settled;

use std::collections::VecDeque;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{
    BatchId, BootId, EpochDocument, Incarnation, Member, NodeId, Proposer, Role, Segment, ShardCount,
    TenantId, Weight, Zone,
};

use crate::checks::{self, Ledger, Violation};
use crate::client::Finished;
use crate::conduct::Conduct;
use crate::message::{Answer, Documents, Message, Point, Points};
use crate::node::{Effect, Node};
use crate::rng::Rng;
use crate::series::Catalog;
use crate::store::Store;

/// A scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What happens.
    pub name: &'static str,
    /// Plays it under some rules.
    pub play: fn(Conduct) -> Option<Violation>,
}

/// All of them.
pub fn scenarios() -> impl Iterator<Item = Scenario> {
    let all = [
        epochs::SCENARIOS,
        losses::SCENARIOS,
        empty::SCENARIOS,
        pulls::SCENARIOS,
        settled::SCENARIOS,
        blocks::SCENARIOS,
        closing::SCENARIOS,
    ];
    all.into_iter().flatten().copied()
}

/// A node, and which of its disks: its first is 0.
type Disk = (usize, u128);

/// A node that is read from, and those that it hears, the ones that it asks first in front.
type Asked<'a> = (usize, &'a [usize]);

/// Some nodes, and the documents that there will be. Nothing happens by itself.
struct Stage {
    nodes: Vec<Node>,
    mail: VecDeque<(usize, usize, Message)>,
    /// Messages that were held back.
    held: Vec<(usize, usize, Message)>,
    documents: Documents,
    done: Vec<Finished>,
    ledger: Ledger,
    rng: Rng,
    now_us: u64,
    /// The series that is written and read.
    key: u128,
    catalog: Arc<Catalog>,
    /// A node whose disk is slow: nothing is synced there.
    slow_disk: Option<usize>,
    /// Nodes that know of an epoch before their shards do: nothing is sealed there.
    slow_seals: Vec<usize>,
    store: Store,
    /// Nothing can be put there.
    store_is_full: bool,
    /// Cuts take long, or not; and those that go on.
    cuts_are_slow: bool,
    cuts: Vec<(usize, u64)>,
}

fn incarnation((node, disk): Disk) -> Incarnation {
    Incarnation(disk * 100 + node as u128 + 1)
}

impl Stage {
    /// Documents that list these disks, one after the other. All nodes know the first.
    fn new(conduct: Conduct, lists: &[&[Disk]]) -> Self {
        let tenant = TenantId::fake();
        let catalog = Arc::new(Catalog::new(2, 0));
        let id = |number: usize| NodeId::new(&format!("n{number}")).expect("a letter and a digit");
        let node = |number: usize| {
            Node::new(id(number), incarnation((number, 0)), tenant.clone(), catalog.clone(), conduct)
        };
        let member = |disk: &Disk| Member {
            node: id(disk.0),
            incarnation: incarnation(*disk),
            zone: Zone::of_node(&id(disk.0)),
            weight: Weight::new(1).expect("in range"),
            roles: vec![Role::Write],
        };
        let proposer = || Proposer { node: id(0), proposal: BootId(1) };
        let mut documents: Documents = Vec::new();
        for list in lists {
            let members = list.iter().map(member).collect();
            let document = match documents.last() {
                None => EpochDocument::first(proposer(), 3, ShardCount::ONE, members),
                Some(newest) => newest.next(proposer(), members),
            };
            documents.push(Arc::new(document.expect("valid members")));
        }
        let key = catalog.keys().next().expect("there are two");
        let mut stage = Stage {
            nodes: (0..5).map(node).collect(),
            mail: VecDeque::new(),
            held: Vec::new(),
            documents,
            done: Vec::new(),
            ledger: Ledger::default(),
            rng: Rng::new(1),
            now_us: 0,
            key,
            catalog,
            slow_disk: None,
            slow_seals: Vec::new(),
            store: Store::default(),
            store_is_full: false,
            cuts_are_slow: false,
            cuts: Vec::new(),
        };
        for number in 0..stage.nodes.len() {
            stage.learn(number, 1);
            stage.restart(number);
        }
        stage
    }

    /// Another series than the one that is written and read so far.
    fn another_key(&self) -> u128 {
        self.catalog.keys().find(|key| *key != self.key).expect("there are two")
    }

    fn learn(&mut self, node: usize, epochs: usize) {
        let mut effects = Vec::new();
        self.nodes[node].learn(&self.documents.clone(), epochs, &mut effects);
        self.carry_out(node, effects);
    }

    /// All hear of the newest epoch, and of each other.
    fn all_learn(&mut self) {
        for node in 0..self.nodes.len() {
            self.learn(node, self.documents.len());
        }
    }

    fn restart(&mut self, node: usize) {
        let mut effects = Vec::new();
        self.nodes[node].lane.crash(|_| 0);
        self.nodes[node].stop();
        self.nodes[node].start(&mut effects);
        self.carry_out(node, effects);
    }

    /// A node gets another disk, which is empty. It hears of the first epochs, and compares itself with its peers.
    fn lose_disk(&mut self, node: usize, disk: u128, epochs: usize) {
        self.nodes[node].stop();
        self.nodes[node].lose_disk(incarnation((node, disk)));
        self.learn(node, epochs);
        self.restart(node);
        self.learn(node, epochs);
    }

    /// A record of each run in a node's log is damaged, and it starts again.
    fn damage_log(&mut self, node: usize) {
        let held: Vec<(Segment, BatchId)> = { self.nodes[node].segments.iter() }
            .flat_map(|(segment, local)| {
                let held = local.replica.held().intervals().map(|(boot, number, _)| BatchId { boot, number });
                held.map(|batch| (segment.clone(), batch)).collect::<Vec<_>>()
            })
            .collect();
        for (segment, batch) in held {
            self.nodes[node].lane.damage(&segment, batch);
        }
        self.restart(node);
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => {
                    let to = self.nodes.iter().position(|node| node.id == to).expect("on stage");
                    self.mail.push_back((node, to, message));
                }
                Effect::Sync => self.sync(node),
                Effect::Finished(finished) => self.done.push(finished),
                // Nothing is retried, and nobody fetches documents: a fenced reader has done its part.
                Effect::Wake(..) | Effect::Fetch | Effect::Dropped => {}
                Effect::Seal => {
                    if !self.slow_seals.contains(&node) {
                        self.seal(node);
                    }
                }
                Effect::Ask(request) => self.ask_store(node, request),
                Effect::GoOn(number, _) if self.cuts_are_slow => self.cuts.push((node, number)),
                Effect::GoOn(number, _) => self.go_on(node, number),
            }
        }
    }

    fn sync(&mut self, node: usize) {
        if self.slow_disk != Some(node) && self.nodes[node].lane.begin_sync() {
            let mut effects = Vec::new();
            self.nodes[node].synced(&mut effects);
            self.carry_out(node, effects);
        }
    }

    /// Delivers what `passes`, until nothing is left; the rest is held back.
    fn deliver(&mut self, passes: impl Fn(usize, usize, &Message) -> bool) {
        while let Some((from, to, message)) = self.mail.pop_front() {
            self.pass(1);
            if !passes(from, to, &message) {
                self.held.push((from, to, message));
                continue;
            }
            let mut effects = Vec::new();
            let sender = self.nodes[from].id.clone();
            self.nodes[to].receive(sender, message, &mut self.rng, &mut effects);
            self.carry_out(to, effects);
        }
    }

    /// Delivers among some nodes only.
    fn deliver_among(&mut self, nodes: &[usize]) {
        self.deliver(|from, to, _| nodes.contains(&from) && nodes.contains(&to));
    }

    /// A client writes a point to a node.
    fn write(&mut self, node: usize, time: u64) {
        self.write_points(node, &[time]);
    }

    /// A client writes several points to a node.
    fn write_points(&mut self, node: usize, times: &[u64]) {
        let points: Points = times.iter().map(|time| ((self.key, *time), 5)).collect();
        self.ledger.sent(&points);
        let mut effects = Vec::new();
        self.nodes[node].write(self.now_us, points, u64::MAX / 2, &mut effects);
        self.carry_out(node, effects);
    }

    /// The same, among some nodes, and again: what is asked for first is that the segment be opened at its replicas.
    fn write_among(&mut self, node: usize, time: u64, nodes: &[usize]) {
        for _ in 0..3 {
            self.write(node, time);
            self.deliver_among(nodes);
        }
    }

    /// Clients are told what is durable.
    fn tell_clients(&mut self) {
        for finished in std::mem::take(&mut self.done) {
            if let Finished::Acked(written) = finished {
                let holds = |node: &&Node| node.lane.safe.has_all(&written, &self.store);
                let holders = self.nodes.iter().filter(holds).map(Node::replica).collect();
                self.ledger.acked(self.now_us, &written, holders);
            }
        }
        self.pass(1);
        self.mail.clear();
    }

    /// Time passes.
    fn pass(&mut self, time_us: u64) {
        self.now_us += time_us;
        for node in &mut self.nodes {
            node.now_us = self.now_us;
        }
    }

    /// A read that begins now. Nodes are asked in this order, and these alone are heard.
    fn read(&mut self, node: usize, prefer: &[usize]) -> Option<Violation> {
        self.answer(node, prefer).err()
    }

    /// Likewise; there must be an answer, with so many warnings.
    fn must_read(&mut self, node: usize, prefer: &[usize], warnings: usize) -> Option<Violation> {
        match self.answer(node, prefer) {
            Err(broken) => Some(broken),
            Ok(None) => no_answer(),
            Ok(Some((_, warned))) if warned > warnings => {
                let invariant = "I4";
                Some(Violation { invariant, what: format!("{warned} warnings, for {warnings} reasons") })
            }
            Ok(_) => None,
        }
    }

    /// Two nodes must answer, and alike.
    fn must_answer_alike(&mut self, one: Asked, other: Asked) -> Option<Violation> {
        let (one, other) = match (self.answer(one.0, one.1), self.answer(other.0, other.1)) {
            (Ok(Some((one, _))), Ok(Some((other, _)))) => (one, other),
            (Err(broken), _) | (_, Err(broken)) => return Some(broken),
            _ => return no_answer(),
        };
        let chain = crate::node::chain(&self.documents, &Rules::ALL);
        let spans = crate::node::spans(&chain, &TenantId::fake(), &Rules::ALL);
        let holds = |segment: &Segment, point: &Point, value: u64| {
            self.nodes.iter().any(|node| node.lane.safe.has_point(segment, point, value))
        };
        self.ledger.same_answer(&one, &other, &spans, holds)
    }

    /// An acknowledgement for this point.
    fn must_have_acked(&mut self, time: u64) -> Option<Violation> {
        self.tell_clients();
        let is_there = self.ledger.acks().iter().any(|ack| ack.point.1 == time);
        checks::answered((!is_there).then(|| "a write is not acknowledged".to_owned()))
    }

    /// An answer and the number of its warnings, if there is one.
    fn answer(&mut self, node: usize, prefer: &[usize]) -> Result<Option<(Answer, usize)>, Violation> {
        self.tell_clients();
        let names = prefer.iter().map(|number| self.nodes[*number].id.clone()).collect();
        let mut effects = Vec::new();
        self.nodes[node].read(self.now_us, self.key, u64::MAX / 2, names, &mut effects);
        self.carry_out(node, effects);
        let heard: Vec<usize> = prefer.iter().copied().chain([node]).collect();
        self.deliver_among(&heard);
        for finished in std::mem::take(&mut self.done) {
            if let Finished::Read { began_us, points, warned, .. } = finished {
                let is_left =
                    |holder: &gyre_ring::Replica| self.nodes.iter().any(|node| node.replica() == *holder);
                let may_miss =
                    |ack: &checks::Ack| warned.contains(&ack.batch.0) && !ack.holders.iter().any(is_left);
                self.ledger.each_once(&points).map_or(Ok(()), Err)?;
                let broken = self.ledger.read_your_acks(began_us, |_| true, may_miss, &points);
                return broken.map_or(Ok(Some((points, warned.len()))), Err);
            }
        }
        Ok(None)
    }

    /// A node compares itself with its peers, and pulls what it lacks.
    fn repair(&mut self, node: usize, among: &[usize]) {
        self.mail.clear();
        let mut effects = Vec::new();
        self.nodes[node].repair(&mut effects);
        self.carry_out(node, effects);
        self.deliver_among(among);
    }
}

fn no_answer() -> Option<Violation> {
    checks::answered(Some("a read has no answer".to_owned()))
}
