//! Directed scenarios: the shortest ways into trouble, step by step, where random runs seldom go.
//!
//! Each follows a trace that the model checker found for a rule left out. With all rules it must end well: either the
//! write is not acknowledged, or the read sees it.

use std::collections::VecDeque;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{
    BootId, EpochDocument, Incarnation, Member, NodeId, Proposer, Role, ShardCount, TenantId, Weight, Zone,
};

use crate::checks::{Ledger, Violation};
use crate::client::Finished;
use crate::message::{Body, Documents, Message, Points};
use crate::node::{Effect, Node};
use crate::rng::Rng;

/// A scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What happens.
    pub name: &'static str,
    /// Plays it under some rules.
    pub play: fn(Rules) -> Option<Violation>,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "a reader two epochs behind, the epoch between never used", play: skipped_epoch },
    Scenario { name: "one old replica sealed, the reader meets the other two", play: one_sealed },
    Scenario { name: "a sealed replica restarts before the old reader comes", play: sealed_restarts },
    Scenario {
        name: "an old reader: data from an unsealed replica, vector from a sealed one",
        play: sealed_vector,
    },
    Scenario {
        name: "an old reader: data from a sealed replica, vector from an unsealed one",
        play: sealed_data,
    },
    Scenario { name: "a replica loses its disk between its ack and the second one", play: lost_between_acks },
    Scenario { name: "a replica loses its disk after the second ack", play: lost_after_acks },
    Scenario { name: "a replica's record of an acknowledged batch is damaged", play: damaged },
];

const KEY: u128 = 7;

/// Five nodes, of which documents list three each: 0 to 2, then 1 to 3, then 2 to 4. Nothing happens by itself.
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
}

impl Stage {
    fn new(rules: Rules) -> Self {
        let tenant = TenantId::fake();
        let node = |number: usize| {
            let id = NodeId::new(&format!("n{number}")).expect("a letter and a digit");
            Node::new(id, Incarnation(number as u128 + 1), tenant.clone(), rules)
        };
        let nodes: Vec<Node> = (0..5).map(node).collect();
        let member = |node: &Node| Member {
            node: node.id.clone(),
            incarnation: node.incarnation,
            zone: Zone::of_node(&node.id),
            weight: Weight::new(1).expect("in range"),
            roles: vec![Role::Write],
        };
        let members = |first: usize| nodes[first..first + 3].iter().map(member).collect::<Vec<_>>();
        let proposer = || Proposer { node: nodes[0].id.clone(), proposal: BootId(1) };
        let one = EpochDocument::first(proposer(), 3, ShardCount::ONE, members(0)).expect("valid");
        let two = one.next(proposer(), members(1)).expect("valid");
        let three = two.next(proposer(), members(2)).expect("valid");
        let documents = vec![Arc::new(one), Arc::new(two), Arc::new(three)];
        let mut stage = Stage {
            nodes,
            mail: VecDeque::new(),
            held: Vec::new(),
            documents,
            done: Vec::new(),
            ledger: Ledger::default(),
            rng: Rng::new(1),
            now_us: 0,
        };
        for number in 0..stage.nodes.len() {
            stage.learn(number, 1);
            stage.restart(number);
        }
        stage
    }

    fn learn(&mut self, node: usize, epochs: usize) {
        let mut effects = Vec::new();
        self.nodes[node].learn(&self.documents.clone(), epochs, &mut effects);
        self.carry_out(node, effects);
    }

    fn restart(&mut self, node: usize) {
        let mut effects = Vec::new();
        self.nodes[node].stop();
        self.nodes[node].start(&mut effects);
        self.carry_out(node, effects);
    }

    fn carry_out(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => {
                    let to = self.nodes.iter().position(|node| node.id == to).expect("on stage");
                    self.mail.push_back((node, to, message));
                }
                Effect::Sync => {
                    let up_to = self.nodes[node].disk.records.len();
                    let mut effects = Vec::new();
                    if up_to > self.nodes[node].disk.synced {
                        self.nodes[node].synced(up_to, &mut effects);
                    }
                    self.carry_out(node, effects);
                }
                Effect::Finished(finished) => self.done.push(finished),
                // Nothing is retried, and nobody fetches documents: a fenced reader has done its part.
                Effect::Wake(..) | Effect::Fetch => {}
            }
        }
    }

    /// Delivers what `passes`, until nothing is left; the rest is held back.
    fn deliver(&mut self, passes: impl Fn(usize, usize, &Message) -> bool) {
        while let Some((from, to, message)) = self.mail.pop_front() {
            self.now_us += 1;
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

    fn write(&mut self, node: usize) {
        let points = Points::from([((KEY, 1), 5)]);
        self.ledger.sent(&points);
        let mut effects = Vec::new();
        self.nodes[node].write(self.now_us, points, u64::MAX / 2, &mut effects);
        self.carry_out(node, effects);
    }

    /// A read that begins now; `data` is tried for its data first, `vector` for its vector. The two alone are heard.
    fn read(&mut self, node: usize, data: usize, vector: usize) -> Option<Violation> {
        for finished in std::mem::take(&mut self.done) {
            if let Finished::Acked { points, .. } = finished {
                self.ledger.acked(self.now_us, &points);
            }
        }
        self.now_us += 1;
        self.mail.clear();
        let prefer = [data, vector].map(|number| self.nodes[number].id.clone()).to_vec();
        let mut effects = Vec::new();
        self.nodes[node].read(self.now_us, KEY, u64::MAX / 2, prefer, &mut effects);
        self.carry_out(node, effects);
        self.deliver_among(&[node, data, vector]);
        for finished in std::mem::take(&mut self.done) {
            if let Finished::Read { began_us, points, .. } = finished {
                return self.ledger.read_your_acks(began_us, |_| true, &points);
            }
        }
        None
    }
}

fn skipped_epoch(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules);
    for node in [1, 3, 4] {
        stage.learn(node, 3);
    }
    // Twice: the first attempt makes the replicas ask for seals, the second finds what came of it.
    for _ in 0..2 {
        stage.write(3);
        stage.deliver_among(&[1, 3, 4]);
    }
    stage.read(0, 2, 0)
}

/// n1 alone of the old replicas hears of epoch 2; n1 and n3 take the write if they may.
fn write_at_two(stage: &mut Stage, hear: &[usize]) {
    for node in hear {
        stage.learn(*node, 2);
    }
    for _ in 0..2 {
        stage.write(3);
        stage.deliver_among(hear);
    }
}

fn one_sealed(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules);
    write_at_two(&mut stage, &[1, 3]);
    stage.read(0, 2, 0)
}

fn sealed_restarts(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules);
    write_at_two(&mut stage, &[0, 1, 3]);
    stage.restart(0);
    stage.read(2, 2, 0)
}

fn sealed_vector(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules);
    write_at_two(&mut stage, &[0, 1, 3]);
    stage.read(2, 2, 0)
}

fn sealed_data(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules);
    write_at_two(&mut stage, &[0, 1, 3]);
    stage.read(2, 0, 2)
}

/// A replica loses its disk, and compares itself with its peers when it is back.
fn lose_disk(stage: &mut Stage, node: usize) {
    stage.nodes[node].stop();
    stage.nodes[node].lose_disk(Incarnation(100));
    stage.learn(node, 1);
    stage.restart(node);
}

fn lost_between_acks(rules: Rules) -> Option<Violation> {
    let mut stage = Stage::new(rules);
    stage.write(2);
    // The replica at n0 takes it; the messages to the others are on their way.
    stage.deliver(|_, to, message| to == 0 || matches!(message.body, Body::Acked(_) | Body::Refused(..)));
    stage.write(2);
    stage.deliver(|_, to, message| to == 0 || matches!(message.body, Body::Acked(_) | Body::Refused(..)));
    let late: Vec<_> = std::mem::take(&mut stage.held);
    lose_disk(&mut stage, 0);
    stage.deliver_among(&[0, 1, 2]);
    // Now the one to n1 arrives. It opens the segment by the first, and takes the second.
    for _ in 0..2 {
        let to_one =
            late.iter().filter(|(_, to, message)| *to == 1 && matches!(message.body, Body::Append(_)));
        stage.mail.extend(to_one.cloned());
        stage.deliver_among(&[1, 2]);
    }
    stage.read(2, 2, 0)
}

fn acked_by_two(rules: Rules) -> Stage {
    let mut stage = Stage::new(rules);
    for _ in 0..2 {
        stage.write(1);
        stage.deliver_among(&[0, 1]);
    }
    stage
}

fn lost_after_acks(rules: Rules) -> Option<Violation> {
    let mut stage = acked_by_two(rules);
    lose_disk(&mut stage, 0);
    stage.mail.clear();
    stage.read(2, 2, 0)
}

fn damaged(rules: Rules) -> Option<Violation> {
    let mut stage = acked_by_two(rules);
    for _ in 0..stage.nodes[0].disk.synced {
        stage.nodes[0].damage(0);
    }
    stage.restart(0);
    stage.mail.clear();
    stage.read(2, 2, 0)
}
