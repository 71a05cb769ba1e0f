//! Methods, and the lanes they travel on.

/// A connection of its own between two nodes, so that one kind of traffic does not stand in another's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Small messages that others wait for: seals, vectors, documents.
    Control,
    /// Samples on their way to replicas.
    Append,
    /// Long streamed replies: data of reads and repairs.
    Bulk,
}

impl Lane {
    /// All lanes, in the order of their numbers.
    pub const ALL: [Lane; 3] = [Lane::Control, Lane::Append, Lane::Bulk];

    /// Its byte in the handshake.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    pub(super) fn of_byte(byte: u8) -> Option<Lane> {
        Lane::ALL.get(usize::from(byte)).copied()
    }

    /// Its name in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Control => "control",
            Lane::Append => "append",
            Lane::Bulk => "bulk",
        }
    }
}

/// What is asked for. Who defines methods gives each a number that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method {
    /// Its number in frames.
    pub number: u16,
    /// Its name in messages.
    pub name: &'static str,
    /// The connection it goes over.
    pub lane: Lane,
}
