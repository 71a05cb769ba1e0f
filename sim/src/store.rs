//! The object store, as far as epochs need it: documents by number, made with a conditional create that may time out
//! before or after it has done its work.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::EpochDocument;

use crate::rng::Rng;
use crate::swarm::Swarm;

/// The stored documents.
#[derive(Clone, Debug, Default)]
pub struct Store {
    documents: BTreeMap<u64, Arc<EpochDocument>>,
}

impl Store {
    /// Makes a document, or not: nothing is learned from the attempt but by reading (rule 3).
    pub fn create(&mut self, document: Arc<EpochDocument>, swarm: &Swarm, rules: &Rules, rng: &mut Rng) {
        let fails_before = rng.chance(swarm.store_fails);
        if fails_before {
            return;
        }
        if rules.create_is_conditional {
            self.documents.entry(document.epoch.0).or_insert(document);
        } else {
            self.documents.insert(document.epoch.0, document);
        }
    }

    /// The document of an epoch.
    pub fn get(&self, epoch: u64) -> Option<Arc<EpochDocument>> {
        self.documents.get(&epoch).cloned()
    }

    /// The newest epoch.
    pub fn newest(&self) -> u64 {
        self.documents.keys().last().copied().unwrap_or(0)
    }
}
