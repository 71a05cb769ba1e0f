//! Planted bugs: each rule left out, one at a time.

use gyre_protocol::Rules;

use crate::conduct::{Conduct, Driver};

/// A rule that is left out.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// What the bug does.
    pub name: &'static str,
    /// The rules that are left.
    pub conduct: Conduct,
}

const fn planted(name: &'static str, rules: Rules) -> Planted {
    Planted { name, conduct: Conduct { rules, driver: Driver::ALL } }
}

const fn driven(name: &'static str, driver: Driver) -> Planted {
    Planted { name, conduct: Conduct { rules: Rules::ALL, driver } }
}

const ALL: Rules = Rules::ALL;
const DRIVER: Driver = Driver::ALL;

/// All of them.
pub const PLANTED: &[Planted] = &[
    planted("a wiped node serves", Rules { incarnations_are_checked: false, ..ALL }),
    planted("a wiped node serves when it has copied all", Rules { copies_readmit_nobody: false, ..ALL }),
    planted("numbers of batches are reused", Rules { runs_have_names: false, ..ALL }),
    planted("an epoch is created without condition", Rules { create_is_conditional: false, ..ALL }),
    planted(
        "a new disk under an old name ends no segment",
        Rules { new_disk_ends_segment: false, incarnations_are_checked: false, ..ALL },
    ),
    planted("a split seals nothing", Rules { split_ends_segment: false, ..ALL }),
    planted("acks before the fsync", Rules { ack_after_fsync: false, ..ALL }),
    planted("acks a repeated batch before the fsync", Rules { repeat_waits_for_fsync: false, ..ALL }),
    planted("the highest number stands for all below", Rules { vector_is_a_set: false, ..ALL }),
    planted("a part of a batch counts as the batch", Rules { batch_is_whole: false, ..ALL }),
    planted("a doubled ack counts twice", Rules { acks_are_distinct: false, ..ALL }),
    planted("acks of two segments are added up", Rules { acks_are_of_one_segment: false, ..ALL }),
    planted("segments open unasked", Rules { activation: false, ..ALL }),
    planted("only the direct predecessor is sealed", Rules { activation_covers_all: false, ..ALL }),
    planted("one seal is enough", Rules { activation_by_quorum: false, ..ALL }),
    planted("a seal is forgotten on restart", Rules { seal_is_durable: false, ..ALL }),
    planted("reads cover the last two segments", Rules { read_covers_all: false, ..ALL }),
    planted("reads one, checks none", Rules { read_checks_one: false, ..ALL }),
    planted("data is not as of the vector", Rules { data_as_of_vector: false, ..ALL }),
    planted("no fence", Rules { fence_on_vector: false, fence_on_data: false, ..ALL }),
    planted("the fence looks at the data's replica only", Rules { fence_on_vector: false, ..ALL }),
    planted("the fence looks at the vector's replica only", Rules { fence_on_data: false, ..ALL }),
    planted("a damaged log serves", Rules { damage_ends_membership: false, ..ALL }),
    planted("who left the cluster counts as lost", Rules { the_lost_have_new_disks: false, ..ALL }),
    planted("where a replica is lost the others need not seal", Rules { those_left_seal: false, ..ALL }),
    planted("nobody is told that data may be missing", Rules { losses_are_told: false, ..ALL }),
    planted("one replica says that a segment is empty", Rules { empty_by_quorum: false, ..ALL }),
    planted("a segment counts as empty before it is sealed", Rules { empty_when_sealed: false, ..ALL }),
    planted("who is settled forgets the documents that say so", Rules { settled_when_durable: false, ..ALL }),
    planted("a new disk's word counts for the old one", Rules { settled_by_disk: false, ..ALL }),
    planted("who is settled names nothing that it hosts", Rules { settled_names_hosted: false, ..ALL }),
    planted("a pull asks for a part of what is missing", Rules { pull_asks_for_all: false, ..ALL }),
    planted("a peer gives what it finds of what was asked for", Rules { pull_gives_all: false, ..ALL }),
    planted("the first value to arrive wins", Rules { greater_value_wins: false, ..ALL }),
    planted("one clear replica closes", Rules { closing_by_quorum: false, ..ALL }),
    planted("one of two closes", Rules { closing_by_seals: false, ..ALL }),
    planted("clear before the seal", Rules { clear_when_sealed: false, ..ALL }),
    planted("clear without blocks", Rules { clear_when_covered: false, ..ALL }),
    planted("what is closed is left out by an old list", Rules { closed_needs_fresh_list: false, ..ALL }),
    planted(
        "what was dropped because it is closed counts as empty",
        Rules { settled_tells_closed: false, ..ALL },
    ),
    driven("the closing document is forgotten on restart", Driver { closed_is_durable: false, ..DRIVER }),
    driven("a block covers what came after its cut", Driver { cover_is_of_the_cut: false, ..DRIVER }),
    driven("a batch is noted for one window only", Driver { noted_for_all_windows: false, ..DRIVER }),
    driven("a window is dropped before it is listed", Driver { drop_after_listing: false, ..DRIVER }),
    driven("a window is dropped on any listing", Driver { drop_what_is_covered: false, ..DRIVER }),
    driven("released blocks are forgotten on restart", Driver { released_is_durable: false, ..DRIVER }),
    driven(
        "blocks that have what a pull leaves out are not named",
        Driver { pulled_names_are_noted: false, ..DRIVER },
    ),
    driven(
        "a replica's vector lacks what it has dropped",
        Driver { vector_has_the_dropped: false, ..DRIVER },
    ),
    driven("released blocks are not checked", Driver { released_is_checked: false, ..DRIVER }),
    driven("a window in a block closes its segment", Driver { window_closes_nothing: false, ..DRIVER }),
    driven("blocks and heads are not merged", Driver { blocks_are_merged: false, ..DRIVER }),
    driven("blocks that were removed are left out", Driver { gone_begins_again: false, ..DRIVER }),
];
