//! Windows become blocks and are dropped, as the node's `archive/ship` does it, one window at a time:
//!
//! 1. The blocks are listed. If they cover all that is noted for the window, 4.
//! 2. The window is cut; the block covers what was noted when that began.
//! 3. The block is put, and the blocks are listed again.
//! 4. Readers are told of the blocks that cover the window; their names are written down.
//! 5. The window is dropped, if all that is noted for it by then is covered.
//!
//! Wherever it fails or the node crashes, it begins again later. The list is the one that reads go by.

use std::sync::Arc;

use gyre_ring::{BatchSet, Epoch, Segment};

use super::{Effect, Local, Node};
use crate::blocks::{Block, BlockId, Cover, Covering, Listing};
use crate::message::Answer;
use crate::rng::Rng;
use crate::series::window_of_time;
use crate::shelf::Named;

/// A list that is older is not read by.
const LIST_AGE_MAX_US: u64 = 30_000_000;

/// Names of blocks are told to readers for so long.
const NAMES_KEPT_US: u64 = 75_000_000;

/// Time that a cut takes, at most, and the writing of names.
const CUT_US_MAX: u64 = 300_000;

/// A request to the store. It reaches the store even if who sent it does not live to see the answer.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the answer is for.
    pub purpose: Purpose,
    /// A block to be put; `None`: blocks are to be listed.
    pub put: Option<Arc<Block>>,
    /// When it was sent.
    pub asked_us: u64,
    /// Through which epoch segments were closed, as far as who asks knew then.
    pub closed: Epoch,
}

/// What the answer to a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reads to come.
    Reads,
    /// The operation of this number.
    Op(u64),
    /// The window that is shipped.
    Ship(u64),
    /// A compaction.
    Compact,
}

/// The store's answer.
#[derive(Clone, Debug)]
pub enum Answered {
    /// The blocks.
    Listed(Arc<Listing>),
    /// The block was put.
    Put,
    /// It failed, or does not say what became of it.
    Failed,
}

/// A list of blocks that a node has got.
#[derive(Clone, Debug)]
pub struct KnownList {
    /// The list.
    pub listing: Arc<Listing>,
    asked_us: u64,
    closed: Epoch,
}

/// A window on its way.
#[derive(Debug)]
pub struct Shipping {
    number: u64,
    segment: Segment,
    window: i64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Looking,
    Cutting(BatchSet, Answer),
    Putting,
    LookingAgain,
    Writing(Covering),
}

impl Node {
    fn ask(&self, purpose: Purpose, put: Option<Arc<Block>>, effects: &mut Vec<Effect>) {
        let closed = self.chain.closed_through();
        effects.push(Effect::Ask(Request { purpose, put, asked_us: self.now_us, closed }));
    }

    /// Has the blocks listed.
    pub fn list_blocks(&self, purpose: Purpose, effects: &mut Vec<Effect>) {
        self.ask(purpose, None, effects);
    }

    /// The list that a read may go by, if there is one; with a time, it must have been asked for then or later.
    pub(crate) fn usable_list(&self, newer_than_us: Option<u64>) -> Option<&Arc<Listing>> {
        let list = self.list.as_ref().filter(|list| Some(list.asked_us) >= newer_than_us)?;
        let is_young = self.now_us - list.asked_us < LIST_AGE_MAX_US;
        let knows_closed = list.closed >= self.chain.closed_through() || !self.rules.closed_needs_fresh_list;
        (is_young && knows_closed).then_some(&list.listing)
    }

    /// How old the list is.
    pub(crate) fn list_age_us(&self) -> Option<u64> {
        self.list.as_ref().map(|list| self.now_us - list.asked_us)
    }

    /// Picks a window to be shipped, any that is over and now and then one that is not, and begins.
    pub fn ship(&mut self, rng: &mut Rng, effects: &mut Vec<Effect>) {
        if self.shipping.is_some() {
            return;
        }
        let newest = self.segments.values().filter_map(|local| local.windows.keys().last()).max().copied();
        let is_early = rng.chance(100);
        let mut due = Vec::new();
        for span in self.spans.iter().filter(|span| !self.is_damaged(&span.segment)) {
            let Some(local) = self.segments.get(&span.segment) else { continue };
            let windows = local.windows.keys().copied();
            let is_due = |window: &i64| is_early || span.ended.is_some() || Some(*window) < newest;
            due.extend(windows.filter(is_due).map(|window| (span.segment.clone(), window)));
        }
        if !due.is_empty() {
            let (segment, window) = rng.pick(&due).clone();
            self.ship_window(segment, window, effects);
        }
    }

    /// All windows that it has data of, by segment.
    pub fn windows(&self) -> impl Iterator<Item = (&Segment, i64)> {
        let windows = |local: &Local| local.windows.keys().copied().collect::<Vec<_>>();
        self.segments
            .iter()
            .flat_map(move |(segment, local)| windows(local).into_iter().map(move |window| (segment, window)))
    }

    /// Begins with a window.
    pub fn ship_window(&mut self, segment: Segment, window: i64, effects: &mut Vec<Effect>) {
        self.next_shipping += 1;
        let number = self.next_shipping;
        self.shipping = Some(Shipping { number, segment, window, stage: Stage::Looking });
        self.list_blocks(Purpose::Ship(number), effects);
    }

    /// The store has answered.
    pub fn store_answered(
        &mut self,
        request: &Request,
        answered: Answered,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) {
        if let Answered::Listed(listing) = &answered {
            let Request { asked_us, closed, .. } = *request;
            if self.list.as_ref().is_none_or(|known| known.asked_us <= asked_us) {
                self.list = Some(KnownList { listing: listing.clone(), asked_us, closed });
            }
        }
        match (request.purpose, answered) {
            (Purpose::Ship(number), answered) => {
                let shipping = self.shipping.take_if(|shipping| shipping.number == number);
                if let Some(shipping) = shipping {
                    self.shipping = self.go_on_shipping(shipping, &answered, rng, effects);
                }
            }
            (Purpose::Op(number), Answered::Listed(_)) => self.list_came(number, effects),
            (Purpose::Compact, Answered::Listed(listing)) if listing.blocks().len() > 1 => {
                let one = rng.pick(listing.blocks());
                let other = rng.pick(listing.blocks());
                if one.id != other.id {
                    self.ask(Purpose::Compact, Some(Arc::new(Block::compacted(one, other))), effects);
                }
            }
            _ => {}
        }
    }

    /// Compacts two blocks.
    pub fn compact(&self, effects: &mut Vec<Effect>) {
        self.list_blocks(Purpose::Compact, effects);
    }

    /// What comes next, if it does not end here.
    fn go_on_shipping(
        &mut self,
        mut shipping: Shipping,
        answered: &Answered,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) -> Option<Shipping> {
        let Shipping { number, window, .. } = shipping;
        let local = self.segments.get_mut(&shipping.segment)?;
        let noted = local.windows.get(&window)?.clone();
        match (&shipping.stage, answered) {
            (Stage::Looking | Stage::LookingAgain, Answered::Listed(listing)) => {
                let covering = listing.covering(&shipping.segment, window);
                let may_drop = !self.driver.drop_what_is_covered && !covering.blocks.is_empty();
                if covering.batches.contains_all(&noted) || may_drop {
                    return Some(self.announce(shipping, covering, rng, effects));
                }
                if matches!(shipping.stage, Stage::LookingAgain) {
                    // More has come since.
                    return None;
                }
                shipping.stage = Stage::Cutting(noted, of_window(local, window));
                effects.push(Effect::GoOn(number, rng.range(1_000, CUT_US_MAX)));
                Some(shipping)
            }
            (Stage::Putting, Answered::Put) => {
                shipping.stage = Stage::LookingAgain;
                self.list_blocks(Purpose::Ship(number), effects);
                Some(shipping)
            }
            _ => None,
        }
    }

    fn announce(
        &mut self,
        shipping: Shipping,
        covering: Covering,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) -> Shipping {
        let now_us = self.now_us;
        let names = self.released.entry(shipping.segment.clone()).or_default();
        names.retain(|named| named.at_us + NAMES_KEPT_US > now_us);
        for block in &covering.blocks {
            if !names.iter().any(|named| named.block == *block) {
                names.push(Named { block: *block, at_us: now_us });
            }
        }
        effects.push(Effect::GoOn(shipping.number, rng.range(1_000, CUT_US_MAX)));
        Shipping { stage: Stage::Writing(covering), ..shipping }
    }

    /// A cut is done, or names are written.
    pub fn go_on(&mut self, number: u64, rng: &mut Rng, effects: &mut Vec<Effect>) {
        let Some(mut shipping) = self.shipping.take_if(|shipping| shipping.number == number) else { return };
        let (segment, window) = (shipping.segment.clone(), shipping.window);
        let Some(local) = self.segments.get_mut(&segment) else { return };
        let Some(noted) = local.windows.get(&window).cloned() else { return };
        match shipping.stage {
            Stage::Cutting(batches_then, points_then) => {
                // Slice by slice: what comes while it is cut may be in the block.
                let (batches, points) = match self.driver.cover_is_of_the_cut {
                    true => (batches_then, of_window(local, window)),
                    false => (noted, points_then),
                };
                let id = BlockId(rng.next());
                if points.is_empty() {
                    let covering = Covering { batches, blocks: Vec::new() };
                    shipping.stage = Stage::Looking;
                    self.shipping = Some(self.announce(shipping, covering, rng, effects));
                    return;
                }
                let block = Block::cut(
                    id,
                    Cover { segment: segment.clone(), window, batches: batches.clone() },
                    points,
                );
                self.ask(Purpose::Ship(number), Some(Arc::new(block)), effects);
                if self.driver.drop_after_listing {
                    shipping.stage = Stage::Putting;
                    self.shipping = Some(shipping);
                } else {
                    self.drop_window(&segment, window, &batches, effects);
                }
            }
            Stage::Writing(covering) => {
                let names = self.released.get(&segment).cloned().unwrap_or_default();
                self.shelf.released.insert(segment.clone(), names);
                let is_covered = covering.batches.contains_all(&noted);
                if is_covered || !self.driver.drop_what_is_covered {
                    self.drop_window(&segment, window, &noted, effects);
                }
            }
            _ => {}
        }
    }

    fn drop_window(&mut self, segment: &Segment, window: i64, noted: &BatchSet, effects: &mut Vec<Effect>) {
        let Some(local) = self.segments.get_mut(segment) else { return };
        local.windows.remove(&window);
        if let Some(samples) = &mut local.samples {
            samples.release(window);
        }
        let dropped = self.dropped.entry(segment.clone()).or_default();
        dropped.entry(window).or_default().extend(noted);
        self.lane.safe.release(segment, window, noted);
        self.dropped_windows += 1;
        effects.push(Effect::Dropped);
    }

    /// What was dropped does not come back with the log from now on.
    pub fn snapshot(&mut self) {
        self.shelf.note_dropped(&mut self.dropped);
    }

    /// The blocks that have what was dropped of a segment, as readers are told.
    pub(super) fn names_of(&self, segment: &Segment) -> Vec<BlockId> {
        self.released.get(segment).into_iter().flatten().map(|named| named.block).collect()
    }

    /// The batches that it says it holds.
    pub(super) fn vector(&self, local: &Local) -> BatchSet {
        let held = local.replica.held();
        if self.driver.vector_has_the_dropped {
            return held.clone();
        }
        let mut noted = BatchSet::default();
        local.windows.values().for_each(|batches| noted.extend(batches));
        held.intersection(&noted)
    }
}

/// The points of a window.
fn of_window(local: &mut Local, window: i64) -> Answer {
    let shown = local.shown();
    shown.iter().filter(|((_, time), _)| window_of_time(*time) == window).copied().collect()
}
