//! The protocol's rules as switches.
//!
//! A rule that a simulation cannot miss is a rule that is not tested. So each can be left out: the simulation does so
//! one by one and must find a violated invariant every time. Nothing but tests has a reason to use anything but
//! [`Rules::ALL`].

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// 1: a request for another incarnation is refused.
    pub incarnations_are_checked: bool,
    /// 1: no amount of copying makes a new incarnation the old one again.
    pub copies_readmit_nobody: bool,
    /// 2: numbers of batches never repeat: each run of a coordinator has a name of its own.
    pub runs_have_names: bool,
    /// 3: of two documents with one number, only the first is stored.
    pub create_is_conditional: bool,
    /// 5: another incarnation of the same node ends a segment.
    pub new_disk_ends_segment: bool,
    /// 5: another number of shards ends a segment, even if its replicas stay.
    pub split_ends_segment: bool,
    /// 6: an ack waits for the fsync.
    pub ack_after_fsync: bool,
    /// 6: so does the ack of a batch that is on its way already.
    pub repeat_waits_for_fsync: bool,
    /// 7: what a replica holds is a set, not a highest number.
    pub vector_is_a_set: bool,
    /// 7: a batch is held whole or not at all.
    pub batch_is_whole: bool,
    /// 8: acks of distinct replicas count, and each once.
    pub acks_are_distinct: bool,
    /// 8: a retry in a newer segment starts at no acks.
    pub acks_are_of_one_segment: bool,
    /// 9: a replica takes appends only after the segments before are sealed.
    pub activation: bool,
    /// 9: all of the segments before, not the last one alone.
    pub activation_covers_all: bool,
    /// 9: sealed by a quorum, not by one replica.
    pub activation_by_quorum: bool,
    /// 10: a seal is never forgotten.
    pub seal_is_durable: bool,
    /// 11: reads cover all segments that are not closed, not the last two alone.
    pub read_covers_all: bool,
    /// 12: a second replica is asked for what it holds.
    pub read_checks_one: bool,
    /// 12: and the data must be as of that at least.
    pub data_as_of_vector: bool,
    /// 13: the replica that is asked for its vector must say that the newest segment is open.
    pub fence_on_vector: bool,
    /// 13: and so must the one that is asked for its data.
    pub fence_on_data: bool,
    /// 17: a replica whose log is damaged in the middle is none any more, of the segments concerned.
    pub damage_ends_membership: bool,
    /// Lost replicas (ADR 9): only who is listed with another disk is lost, not who has left.
    pub the_lost_have_new_disks: bool,
    /// Lost replicas: those that are left must seal.
    pub those_left_seal: bool,
    /// Lost replicas: a reader is told that data may be missing.
    pub losses_are_told: bool,
    /// Empty segments (ADR 10): a seal quorum must say so, not one replica.
    pub empty_by_quorum: bool,
    /// Empty segments: only a sealed replica counts.
    pub empty_when_sealed: bool,
    /// Settled nodes (ADR 11): a node says that it acts upon an epoch when the documents are on its disk.
    pub settled_when_durable: bool,
    /// Settled nodes: what was said holds for the disk that was asked.
    pub settled_by_disk: bool,
    /// Settled nodes: what a node hosts it names.
    pub settled_names_hosted: bool,
    /// Closing (16, ADR 15): a seal quorum of each set of replicas must be clear, not one replica.
    pub closing_by_quorum: bool,
    /// Closing: and as many as a seal takes, not as many as a read takes, which is one of two.
    pub closing_by_seals: bool,
    /// Closing: a node is clear only when it is sealed, durably.
    pub clear_when_sealed: bool,
    /// Closing: a node is clear only when listed blocks have all that it ever held.
    pub clear_when_covered: bool,
    /// Closing: a reader that leaves out what a document closed goes by a list from after it had the document.
    pub closed_needs_fresh_list: bool,
    /// Closing: that a node does not host what it has dropped because it was closed does not mean that it held nothing.
    pub settled_tells_closed: bool,
    /// A pull asks for all that the peer holds and this replica lacks, not for a part: records lack what their holder
    /// had before.
    pub pull_asks_for_all: bool,
    /// A peer that cannot give all that was asked for gives nothing, for the same reason.
    pub pull_gives_all: bool,
    /// Of two values for one time the greater wins, in whatever order they come.
    pub greater_value_wins: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Rules = Rules {
        incarnations_are_checked: true,
        copies_readmit_nobody: true,
        runs_have_names: true,
        create_is_conditional: true,
        new_disk_ends_segment: true,
        split_ends_segment: true,
        ack_after_fsync: true,
        repeat_waits_for_fsync: true,
        vector_is_a_set: true,
        batch_is_whole: true,
        acks_are_distinct: true,
        acks_are_of_one_segment: true,
        activation: true,
        activation_covers_all: true,
        activation_by_quorum: true,
        seal_is_durable: true,
        read_covers_all: true,
        read_checks_one: true,
        data_as_of_vector: true,
        fence_on_vector: true,
        fence_on_data: true,
        damage_ends_membership: true,
        the_lost_have_new_disks: true,
        those_left_seal: true,
        losses_are_told: true,
        empty_by_quorum: true,
        empty_when_sealed: true,
        settled_when_durable: true,
        settled_by_disk: true,
        settled_names_hosted: true,
        closing_by_quorum: true,
        closing_by_seals: true,
        clear_when_sealed: true,
        clear_when_covered: true,
        closed_needs_fresh_list: true,
        settled_tells_closed: true,
        pull_asks_for_all: true,
        pull_gives_all: true,
        greater_value_wins: true,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Rules::ALL
    }
}
