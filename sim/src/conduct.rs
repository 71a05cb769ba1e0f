//! How the nodes of a run conduct themselves: by the protocol's rules, and by those that only whoever drives it follows.

use gyre_protocol::Rules;

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conduct {
    /// Those that the protocol's code decides.
    pub rules: Rules,
    /// Those that the driver decides: here `node` and `client`, in the node `archive`, `shard` and `replica`.
    pub driver: Driver,
}

/// Rules of flushing, reading and closing that no state machine decides. Simulated nodes follow them in their own code, so
/// that leaving them out shows what they are for; that the real node follows them is for its own tests to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// 14: a block covers the batches that had come when its cut began, not those that have come since.
    pub cover_is_of_the_cut: bool,
    /// 14: a batch is noted for every window that it has samples in.
    pub noted_for_all_windows: bool,
    /// 15: a window is dropped only when it is listed what has it.
    pub drop_after_listing: bool,
    /// 15: and only if all that is noted for it is covered.
    pub drop_what_is_covered: bool,
    /// 15: the blocks that something was dropped to are named durably before it is dropped.
    pub released_is_durable: bool,
    /// 12: a replica that pulls batches names the blocks that have what is left out of them.
    pub pulled_names_are_noted: bool,
    /// 12: what a replica holds includes what it has dropped.
    pub vector_has_the_dropped: bool,
    /// 12: the blocks that a replica names must be in the reader's list.
    pub released_is_checked: bool,
    /// 11: a segment is closed by a document only, not by a block of one of its windows.
    pub window_closes_nothing: bool,
    /// What blocks and heads both have is shown once.
    pub blocks_are_merged: bool,
    /// A block that is not there any more was replaced: who read by it begins again.
    pub gone_begins_again: bool,
    /// Closing: the document is on the disk before what it closed is dropped.
    pub closed_is_durable: bool,
}

impl Driver {
    /// All of them.
    pub const ALL: Driver = Driver {
        cover_is_of_the_cut: true,
        noted_for_all_windows: true,
        drop_after_listing: true,
        drop_what_is_covered: true,
        released_is_durable: true,
        pulled_names_are_noted: true,
        vector_has_the_dropped: true,
        released_is_checked: true,
        window_closes_nothing: true,
        blocks_are_merged: true,
        gone_begins_again: true,
        closed_is_durable: true,
    };
}

impl Conduct {
    /// All rules hold.
    pub const ALL: Conduct = Conduct { rules: Rules::ALL, driver: Driver::ALL };
}
