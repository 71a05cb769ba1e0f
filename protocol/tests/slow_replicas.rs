//! Reads of which a replica does not answer for a while.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use gyre_protocol::{DataReply, ReadOutcome, ReadRequest, Rules, ShardRead, VectorReply};
use gyre_ring::{
    BatchId, BatchNumber, BatchSet, BootId, Epoch, Incarnation, NodeId, Replica, Segment, Shard, ShardCount,
    ShardIndex, Span, TenantId,
};

fn replica(name: &str) -> Replica {
    Replica { node: NodeId::new(name).unwrap(), incarnation: Incarnation(1) }
}

fn segment() -> Segment {
    let tenant = TenantId::new("acme").unwrap();
    Segment { shard: Shard { tenant, count: ShardCount::ONE, index: ShardIndex(0) }, epoch: Epoch(1) }
}

/// A read of a segment of replicas a, b and c, and what it asked last.
struct Read {
    read: ShardRead,
    asked: Vec<ReadRequest>,
}

impl Read {
    fn new() -> Self {
        let replicas = ["a", "b", "c"].map(replica).to_vec();
        let mut asked = Vec::new();
        let span = Span { segment: segment(), replicas, ended: None };
        let read = ShardRead::new(&[span], Rules::ALL, &mut asked);
        Read { read, asked }
    }

    fn vector(&mut self, from: &str, numbers: &[u64]) {
        self.asked.clear();
        let reply = VectorReply { held: set(numbers), sealed: false };
        self.read.on_vector(&segment(), &replica(from), reply, &mut self.asked);
    }

    fn data(&mut self, from: &str, as_of: bool, sealed: bool) {
        self.asked.clear();
        self.read.on_data(&segment(), &replica(from), DataReply { as_of, sealed }, &mut self.asked);
    }

    fn slow(&mut self, who: &str) {
        self.asked.clear();
        self.read.on_slow(&segment(), &replica(who), &mut self.asked);
    }

    fn failed(&mut self, who: &str) {
        self.asked.clear();
        self.read.on_failure(&segment(), &replica(who), &mut self.asked);
    }

    fn is_read_from(&self, who: &str) -> bool {
        let chosen = [(segment(), replica(who))].into();
        self.read.outcome() == Some(&ReadOutcome::Complete(chosen))
    }
}

fn set(numbers: &[u64]) -> BatchSet {
    let mut set = BatchSet::default();
    for number in numbers {
        set.insert(BatchId { boot: BootId(7), number: BatchNumber(*number) });
    }
    set
}

fn ask_vector(who: &str) -> Vec<ReadRequest> {
    vec![ReadRequest::Vector { segment: segment(), replica: replica(who) }]
}

fn ask_data(who: &str, numbers: &[u64], holder: &str) -> Vec<ReadRequest> {
    let (replica, holder) = (replica(who), Some(replica(holder)));
    vec![ReadRequest::Data { segment: segment(), replica, as_of: set(numbers), holder }]
}

#[test]
fn a_slow_vector_is_asked_elsewhere_as_well_and_either_will_do() {
    for first in ["b", "c"] {
        let mut read = Read::new();
        assert_eq!(read.asked, ask_vector("b"));
        read.slow("b");
        assert_eq!(read.asked, ask_vector("c"));
        read.vector(first, &[1]);
        assert_eq!(read.asked, ask_data("a", &[1], first));
        read.data("a", true, false);
        assert!(read.is_read_from("a"));
    }
}

#[test]
fn slow_data_is_read_elsewhere_as_well_and_either_will_do() {
    let begin = || {
        let mut read = Read::new();
        read.vector("b", &[1]);
        read.slow("a");
        assert_eq!(read.asked, ask_vector("c"), "b and c are the pair without a");
        read
    };
    let mut late = begin();
    late.data("a", true, false);
    assert!(late.is_read_from("a"));

    let mut other = begin();
    other.vector("c", &[1, 2]);
    assert_eq!(other.asked, ask_data("b", &[1, 2], "c"));
    other.data("a", false, false);
    assert_eq!((other.asked.len(), other.read.outcome()), (0, None), "b may still have it");
    other.data("b", true, false);
    assert!(other.is_read_from("b"));
}

#[test]
fn the_last_pair_is_waited_for_however_slow() {
    let mut read = Read::new();
    read.slow("b");
    read.slow("c");
    assert_eq!((read.asked.len(), read.read.outcome()), (0, None));
    read.failed("b");
    assert_eq!((read.asked.len(), read.read.outcome()), (0, None), "c has been asked");
    read.vector("c", &[1]);
    assert_eq!(read.asked, ask_data("a", &[1], "c"));
    read.failed("a");
    assert_eq!(read.read.outcome(), Some(&ReadOutcome::Unavailable(segment())));
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut read = Read::new();
    read.vector("c", &[]);
    read.vector("a", &[]);
    read.data("b", true, false);
    assert_eq!((read.asked.len(), read.read.outcome()), (0, None));
    read.slow("c");
    assert_eq!(read.asked.len(), 0, "it has not been asked anything");
}

#[test]
fn a_seal_is_a_fence_also_in_a_late_answer() {
    let mut read = Read::new();
    read.vector("b", &[1]);
    read.slow("a");
    read.data("a", true, true);
    assert_eq!(read.read.outcome(), Some(&ReadOutcome::Stale));
}
