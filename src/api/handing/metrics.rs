//! What becomes of questions that are handed on.

use std::borrow::Cow;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type ByLabel = Family<[(&'static str, Cow<'static, str>); 1], Counter>;

/// Counters of questions between nodes.
#[derive(Clone, Debug, Default)]
pub struct HandingMetrics {
    handed_on: ByLabel,
    failures: ByLabel,
    taken: Counter,
}

/// What became of a question that a node without the role `read` was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Another node's answer was passed on, an error that it found included.
    Answered,
    /// Another node's answer broke off.
    BrokenOff,
    /// No node with the role could be reached: computed here.
    Here,
    /// The nodes with the role have too much to do, or failed over it.
    Refused,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::BrokenOff => "broken_off",
            Outcome::Here => "here",
            Outcome::Refused => "refused",
        }
    }
}

impl HandingMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Questions that this node, without the role read, was asked, by what became of them";
        registry.register("gyre_queries_handed_on", help, self.handed_on.clone());
        let help = "Nodes that were handed a question and did not begin to answer it, by reason";
        registry.register("gyre_query_hand_on_failures", help, self.failures.clone());
        let help = "Questions that other nodes handed on to this one";
        registry.register("gyre_queries_taken", help, self.taken.clone());
    }

    /// Counts a question.
    pub fn handed_on(&self, outcome: Outcome) {
        self.handed_on.get_or_create(&[("outcome", Cow::Borrowed(outcome.name()))]).inc();
    }

    /// Counts a node that did not answer.
    pub fn failure(&self, reason: &'static str) {
        self.failures.get_or_create(&[("reason", Cow::Borrowed(reason))]).inc();
    }

    /// Counts a question of another node.
    pub fn taken(&self) {
        self.taken.inc();
    }
}
