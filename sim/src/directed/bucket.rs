//! What is done on stage with the object store: blocks, and documents that close segments.

use std::sync::Arc;

use gyre_ring::{BootId, Proposer, Segment, TenantId};

use super::Stage;
use crate::checks::{self, Violation};
use crate::node::{Answered, Request};

impl Stage {
    pub(super) fn seal(&mut self, node: usize) {
        let mut effects = Vec::new();
        self.nodes[node].seal_what_has_ended(&mut effects);
        self.carry_out(node, effects);
    }

    pub(super) fn ask_store(&mut self, node: usize, request: Request) {
        let answered = match request.put.clone() {
            Some(_) if self.store_is_full => Answered::Failed,
            Some(block) => {
                self.store.put(block);
                Answered::Put
            }
            None => Answered::Listed(self.store.listing()),
        };
        let mut effects = Vec::new();
        self.nodes[node].store_answered(&request, answered, &mut self.rng, &mut effects);
        self.carry_out(node, effects);
    }

    pub(super) fn go_on(&mut self, node: usize, number: u64) {
        let mut effects = Vec::new();
        self.nodes[node].go_on(number, &mut self.rng, &mut effects);
        self.carry_out(node, effects);
    }

    /// A node makes blocks of the windows that it has, of some or of all.
    pub(super) fn ship(&mut self, node: usize, which: impl Fn(i64) -> bool) {
        let all: Vec<(Segment, i64)> =
            self.nodes[node].windows().map(|(segment, window)| (segment.clone(), window)).collect();
        for (segment, window) in all.into_iter().filter(|(_, window)| which(*window)) {
            let mut effects = Vec::new();
            self.nodes[node].ship_window(segment, window, &mut effects);
            self.carry_out(node, effects);
        }
    }

    /// What has been dropped does not come back.
    pub(super) fn snapshot(&mut self, node: usize) {
        self.nodes[node].snapshot();
    }

    /// A node has heard what others say, and has closed what can be closed: whether a document says so.
    pub(super) fn close(&mut self, node: usize, among: &[usize]) -> bool {
        self.repair(node, among);
        let Some(through) = self.nodes[node].closable() else { return false };
        let proposer = Proposer { node: self.nodes[node].id.clone(), proposal: BootId(1) };
        let newest = self.documents.last().expect("there is a first one");
        let next = newest.next_with_closed(proposer, through).expect("valid");
        self.documents.push(Arc::new(next));
        true
    }

    /// Some node compacts two blocks, if it happens to pick two.
    pub(super) fn compact(&mut self, node: usize) {
        let mut effects = Vec::new();
        self.nodes[node].compact(&mut effects);
        self.carry_out(node, effects);
    }

    /// From now on clients are of a tenant whom nobody knows.
    pub(super) fn new_tenant(&mut self) {
        let tenant = TenantId::new("late").expect("letters");
        for node in &mut self.nodes {
            node.serve(tenant.clone());
        }
    }

    pub(super) fn must_close(&mut self, node: usize, among: &[usize]) -> Option<Violation> {
        let what = || "what has ended cannot be closed".to_owned();
        checks::closed((!self.close(node, among)).then(what))
    }
}
