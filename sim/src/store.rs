//! The object store: epoch documents by number, made with a conditional create that may time out before or after it has done
//! its work, and blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::EpochDocument;

use crate::blocks::{Block, BlockId, Listing};
use crate::message::Point;
use crate::rng::Rng;
use crate::series::wins;
use crate::swarm::Swarm;

/// What is stored.
#[derive(Clone, Debug, Default)]
pub struct Store {
    documents: BTreeMap<u64, Arc<EpochDocument>>,
    blocks: Vec<Arc<Block>>,
    listing: Arc<Listing>,
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

    /// Puts a block, all of it.
    pub fn put(&mut self, block: Arc<Block>) {
        if self.blocks.iter().any(|known| known.id == block.id) {
            return;
        }
        self.blocks.push(block.clone());
        let is_cut = block.sources.len() == 1;
        let listing = if is_cut && !self.listing.has(block.id) {
            self.listing.with(block)
        } else {
            Listing::of(&self.blocks)
        };
        self.listing = Arc::new(listing);
    }

    /// The blocks as they are now.
    pub fn listing(&self) -> Arc<Listing> {
        self.listing.clone()
    }

    /// Removes what is in no list any more.
    pub fn clean(&mut self) {
        let listed: Vec<BlockId> = self.listing.blocks().iter().map(|block| block.id).collect();
        self.blocks.retain(|block| {
            let stays = listed.contains(&block.id);
            if !stays {
                block.remove();
            }
            stays
        });
    }

    /// Whether the blocks that are listed have a value for a point that counts as this one.
    pub fn has_point(&self, point: &Point, value: u64) -> bool {
        let points = self.listing.points();
        let at = points.binary_search_by_key(point, |(point, _)| *point);
        at.is_ok_and(|at| wins(points[at].1, value))
    }
}
