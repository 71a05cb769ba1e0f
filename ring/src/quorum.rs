//! How many replicas must answer (protocol, section 3).
//!
//! Any two write quorums and read quorums of one segment share a replica, and any seal leaves too few replicas for a
//! write. With two replicas a read needs one and a seal both: a seal on one of two would leave the other taking writes.

/// Quorums of a segment with a number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Durable acks before a client is answered.
    pub write: usize,
    /// Replicas that a read asks.
    pub read: usize,
    /// Sealed replicas that end a segment.
    pub seal: usize,
}

impl Quorum {
    /// The quorums of `replicas` replicas; at least one.
    pub fn of(replicas: usize) -> Self {
        let replicas = replicas.max(1);
        let write = replicas.min(2);
        let read = replicas - write + 1;
        Quorum { write, read, seal: write.max(read) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quorums_are_those_that_were_model_checked() {
        assert_eq!(Quorum::of(1), Quorum { write: 1, read: 1, seal: 1 });
        assert_eq!(Quorum::of(2), Quorum { write: 2, read: 1, seal: 2 });
        assert_eq!(Quorum::of(3), Quorum { write: 2, read: 2, seal: 2 });
    }

    #[test]
    fn every_read_meets_every_write_and_no_write_fits_beside_a_seal() {
        for replicas in 1..=7 {
            let Quorum { write, read, seal } = Quorum::of(replicas);
            assert!(read + write > replicas, "{replicas}");
            assert!(replicas - seal < write, "{replicas}");
        }
    }
}
