//! What a node has of one segment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_protocol::{Activation, Rules, SegmentReplica};
use gyre_ring::{BatchId, BatchSet, NodeId, Segment};

use crate::conduct::Driver;
use crate::message::{Answer, Message, Points};
use crate::series::{Samples, window_of_time};
use crate::shelf::Windows;

/// A data request that waits for batches to be pulled.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) from: NodeId,
    pub(super) request: Message,
    pub(super) as_of: BatchSet,
}

/// One segment on a node.
pub struct Local {
    /// The protocol's state.
    pub replica: SegmentReplica,
    /// What reads see; made with the first batch.
    pub(super) samples: Option<Samples>,
    /// By window, the batches that have points in it, until these are dropped.
    pub(super) windows: Windows,
    pub(super) activation: Option<Activation>,
    pub(super) append_waiters: BTreeMap<BatchId, Vec<(NodeId, Message)>>,
    pub(super) seal_waiters: Vec<(NodeId, Message)>,
    pub(super) data_waiters: Vec<Waiting>,
    /// Nodes that it has been compared with, and had nothing to pull from.
    pub(super) compared: BTreeSet<NodeId>,
}

impl Local {
    pub(super) fn new(replica: SegmentReplica) -> Self {
        Local {
            replica,
            samples: None,
            windows: Windows::default(),
            activation: None,
            append_waiters: BTreeMap::new(),
            seal_waiters: Vec::new(),
            data_waiters: Vec::new(),
            compared: BTreeSet::new(),
        }
    }

    /// A batch with these points is in the log.
    pub(super) fn note(&mut self, id: BatchId, points: &Points, driver: &Driver) {
        let windows = points.keys().map(|(_, time)| window_of_time(*time));
        let noted = if driver.noted_for_all_windows { usize::MAX } else { 1 };
        for window in windows.take(noted) {
            self.windows.entry(window).or_default().insert(id);
        }
    }

    /// What reads see.
    pub fn shown(&mut self) -> Arc<Answer> {
        self.samples.as_mut().map(Samples::shown).unwrap_or_default()
    }
}

/// A segment's state; made if there is none.
pub(super) fn local<'a>(
    segments: &'a mut BTreeMap<Segment, Local>,
    segment: &Segment,
    rules: &Rules,
) -> &'a mut Local {
    segments.entry(segment.clone()).or_insert_with(|| Local::new(SegmentReplica::new(*rules)))
}
