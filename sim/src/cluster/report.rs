//! What a run did, for whoever wants to know that it did enough.

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
    /// Windows that replicas dropped to blocks.
    pub dropped_windows: u64,
    /// Segments that replicas dropped since they were closed.
    pub dropped_segments: u64,
    /// Blocks that were listed at the end.
    pub blocks: u64,
    /// Reads that began again by a newer list of blocks.
    pub newer_lists: u64,
    /// Documents that closed segments.
    pub closings: u64,
    /// Nodes that had left, and were switched off for good.
    pub switched_off: u64,
    /// Crashes, pauses, partitions, lost disks.
    pub faults: u64,
    /// Epochs at the end.
    pub epochs: u64,
    /// Events.
    pub events: u64,
    /// Virtual time.
    pub virtual_us: u64,
}
