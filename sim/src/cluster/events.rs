//! What happens in a run, one event after the other.

use gyre_ring::NodeId;

use super::{Cluster, SECOND_US};
use crate::checks::Violation;
use crate::message::Message;
use crate::node::{Answered, Purpose, Request};

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    Arrive { to: usize, from: NodeId, message: Message },
    Synced { node: usize, run: u64 },
    Wake { node: usize, run: u64, op: u64 },
    Fetch { node: usize, run: u64 },
    Repair { node: usize },
    Gossip { node: usize },
    Seal { node: usize, run: u64 },
    Ship { node: usize },
    GoOn { node: usize, run: u64, number: u64 },
    AtStore { node: usize, run: u64, request: Request },
    StoreAnswered { node: usize, run: u64, request: Request, answered: Answered },
    Snapshot { node: usize },
    Compact,
    Clean,
    Close { node: usize },
    SwitchOff,
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

impl Cluster {
    pub(super) fn happen(&mut self, event: Event) -> Result<(), Violation> {
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
                if self.is_awake(node) {
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
                    if self.healed {
                        self.nodes[node].list_blocks(Purpose::Reads, &mut effects);
                    }
                }
                node
            }
            Event::Seal { node, run } => {
                if !self.is_run(node, run) || self.asleep(node, |node| Event::Seal { node, run }) {
                    return Ok(());
                }
                self.nodes[node].seal_what_has_ended(&mut effects);
                node
            }
            Event::GoOn { node, run, number } => {
                if !self.is_run(node, run) || self.asleep(node, |node| Event::GoOn { node, run, number }) {
                    return Ok(());
                }
                self.nodes[node].go_on(number, &mut self.rng, &mut effects);
                node
            }
            Event::AtStore { node, run, request } => {
                self.at_store(node, run, request);
                return Ok(());
            }
            Event::StoreAnswered { node, run, request, answered } => {
                let again = |node| Event::StoreAnswered {
                    node,
                    run,
                    request: request.clone(),
                    answered: answered.clone(),
                };
                if !self.is_run(node, run) || self.asleep(node, again) {
                    return Ok(());
                }
                self.nodes[node].store_answered(&request, answered, &mut self.rng, &mut effects);
                node
            }
            Event::Ship { node } => {
                let (least, most) =
                    if self.healed { (50_000, 100_000) } else { (SECOND_US, self.swarm.ship_us_max) };
                let pause = self.rng.range(least, most);
                self.schedule(pause, Event::Ship { node });
                if self.is_awake(node) {
                    self.nodes[node].ship(&mut self.rng, &mut effects);
                }
                node
            }
            Event::Snapshot { node } => {
                let pause = self.rng.range(5 * SECOND_US, 60 * SECOND_US);
                self.schedule(pause, Event::Snapshot { node });
                if self.is_awake(node) {
                    self.nodes[node].snapshot();
                }
                return Ok(());
            }
            Event::Compact => {
                let pause = self.rng.range(2 * SECOND_US, 20 * SECOND_US);
                self.schedule(pause, Event::Compact);
                let Some(node) = self.any_up() else { return Ok(()) };
                self.nodes[node].compact(&mut effects);
                node
            }
            Event::Clean => {
                let pause = self.rng.range(5 * SECOND_US, 40 * SECOND_US);
                self.schedule(pause, Event::Clean);
                self.store.clean();
                return Ok(());
            }
            Event::Close { node } => {
                let most = if self.healed { SECOND_US } else { 15 * SECOND_US };
                let pause = self.rng.range(SECOND_US / 2, most);
                self.schedule(pause, Event::Close { node });
                self.close(node);
                return self.only_proposed();
            }
            Event::SwitchOff => {
                if !self.healed {
                    self.schedule(15 * SECOND_US, Event::SwitchOff);
                    self.switch_off();
                }
                return Ok(());
            }
            Event::Restart { node } => {
                if self.nodes[node].up || self.off[node] {
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
        self.look_at_drops()?;
        self.finished()
    }

    /// Whether a node runs and does something.
    pub(super) fn is_awake(&self, node: usize) -> bool {
        self.nodes[node].up && self.nodes[node].paused_until_us <= self.now_us
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
}
