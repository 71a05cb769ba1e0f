//! The first words on a connection: who is there, do we speak the same version, does it know the secret.
//!
//! Four short messages; their bytes are in `docs/format/rpc.md`. Both introduce themselves with a fresh nonce;
//! the connecting side proves the secret, then the other one does. What either got is checked by the same
//! function on both sides, so that both can say what is wrong. Nothing a stranger sends is kept beyond
//! [`HELLO_BYTES_MAX`] bytes and a deadline.
//!
//! What this does not do: it neither hides nor signs what follows. Where the network itself is not trusted, TLS
//! belongs around it.
//!
//! - [`hello`]: the two introductions.
//! - `proof`: proofs of the secret.

mod hello;
mod proof;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::Replica;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

pub use hello::{ClientHello, HELLO_BYTES_MAX, ServerHello};
use hello::{Nonce, agree, read_hello};
use proof::{PROOF_BYTES, Role, Transcript};

use super::identity::{ClusterId, LocalNode, Versions};
use super::method::Lane;

/// What the accepting side grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Series ids its decoder of samples holds.
    pub series_ids_max: u32,
    /// Requests of this connection that may wait for their replies.
    pub requests_max: u32,
}

/// A connection whose two ends know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The node at the other end.
    pub peer: Replica,
    /// The protocol version spoken.
    pub version: u16,
    /// What the connection is for.
    pub lane: Lane,
    /// What the accepting side grants.
    pub grants: Grants,
}

/// Why two nodes do not talk. Cheap to copy, since one failure answers many calls.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Something else than a Gyre node.
    #[error("the other side does not speak Gyre's peer protocol")]
    NotGyre,
    /// A Gyre node, but its message makes no sense.
    #[error("the other side's {0} is malformed")]
    Malformed(&'static str),
    /// There is no version that both speak.
    #[error(
        "this node speaks protocol version {ours}, the other side {theirs}: upgrade one version at a time"
    )]
    Version {
        /// This node's.
        ours: Versions,
        /// The other's.
        theirs: Versions,
    },
    /// The other node belongs to another cluster.
    #[error("this node belongs to cluster {ours}, the other side to cluster {theirs}")]
    Cluster {
        /// This node's.
        ours: ClusterId,
        /// The other's.
        theirs: ClusterId,
    },
    /// The address belongs to another node than the one that was looked for, or to one that lost its disk.
    #[error("{wanted} was looked for, but {found} answers here")]
    Node {
        /// Whom the connecting side expected.
        wanted: Box<Replica>,
        /// Who accepts connections there.
        found: Box<Replica>,
    },
    /// The secrets differ.
    #[error("the two sides have different cluster secrets")]
    Secret,
    /// The accepting node has as many connections as it takes.
    #[error("the other side has no room for more connections")]
    Full,
    /// It took too long.
    #[error("the handshake was not over after {0:?}")]
    Deadline(Duration),
    /// The other side closed the connection: it refused, or is none of ours.
    #[error("the other side closed the connection during the handshake")]
    Closed,
    /// The connection broke.
    #[error("the connection broke during the handshake: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => HandshakeError::Closed,
            _ => HandshakeError::Io(Arc::new(error)),
        }
    }
}

impl HandshakeError {
    /// Its kind in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            HandshakeError::NotGyre => "not_gyre",
            HandshakeError::Malformed(_) => "malformed",
            HandshakeError::Version { .. } => "version",
            HandshakeError::Cluster { .. } => "cluster",
            HandshakeError::Node { .. } => "node",
            HandshakeError::Secret => "secret",
            HandshakeError::Full => "full",
            HandshakeError::Deadline(_) => "deadline",
            HandshakeError::Closed => "closed",
            HandshakeError::Io(_) => "io",
        }
    }

    /// Whether the other side is a Gyre node that somebody has set up in a way that does not fit, rather than a
    /// stranger or a broken connection.
    pub fn is_about_a_node(&self) -> bool {
        matches!(
            self,
            HandshakeError::Version { .. }
                | HandshakeError::Cluster { .. }
                | HandshakeError::Node { .. }
                | HandshakeError::Secret
                | HandshakeError::Full
        )
    }
}

/// First byte of the accepting side's last message.
mod verdict {
    pub(super) const WELCOME: u8 = 0;
    pub(super) const WRONG_SECRET: u8 = 1;
    pub(super) const FULL: u8 = 2;
}

/// Introduces this node to `wanted`, which accepted a connection.
pub async fn connect<S>(
    stream: &mut S,
    local: &LocalNode,
    wanted: &Replica,
    lane: Lane,
    deadline: Duration,
) -> Result<Agreement, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(deadline, connect_in_time(stream, local, wanted, lane))
        .await
        .unwrap_or(Err(HandshakeError::Deadline(deadline)))
}

async fn connect_in_time<S>(
    stream: &mut S,
    local: &LocalNode,
    wanted: &Replica,
    lane: Lane,
) -> Result<Agreement, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = ClientHello {
        versions: local.versions,
        lane,
        nonce: Nonce::draw(),
        cluster: local.cluster.clone(),
        name: local.name.clone(),
        wanted: wanted.clone(),
    };
    let mut transcript = Transcript::new(&local.secret);
    let bytes = hello.to_bytes();
    transcript.add(&bytes);
    stream.write_all(&bytes).await?;
    let bytes = read_hello(stream).await?;
    transcript.add(&bytes);
    let theirs = ServerHello::parse(&bytes)?;
    let version = agree(&hello, &theirs, Role::Client)?;
    stream.write_all(&transcript.prove(Role::Client)).await?;

    match stream.read_u8().await? {
        verdict::WELCOME => {}
        verdict::WRONG_SECRET => return Err(HandshakeError::Secret),
        verdict::FULL => return Err(HandshakeError::Full),
        _ => return Err(HandshakeError::Malformed("verdict")),
    }
    let mut granted = [0; 8];
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut granted).await?;
    stream.read_exact(&mut proof).await?;
    transcript.add(&granted);
    if !transcript.is_proof(Role::Server, &proof) {
        return Err(HandshakeError::Secret);
    }
    Ok(Agreement { peer: theirs.name, version, lane, grants: Grants::of_bytes(granted) })
}

/// Lets a node introduce itself that has connected. `has_room` is asked once it has proved the secret; what it
/// gives is kept with the connection.
pub async fn accept<S, P>(
    stream: &mut S,
    local: &LocalNode,
    grants: Grants,
    deadline: Duration,
    has_room: impl FnOnce() -> Option<P>,
) -> Result<(Agreement, P), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(deadline, accept_in_time(stream, local, grants, has_room))
        .await
        .unwrap_or(Err(HandshakeError::Deadline(deadline)))
}

async fn accept_in_time<S, P>(
    stream: &mut S,
    local: &LocalNode,
    grants: Grants,
    has_room: impl FnOnce() -> Option<P>,
) -> Result<(Agreement, P), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut transcript = Transcript::new(&local.secret);
    let bytes = read_hello(stream).await?;
    transcript.add(&bytes);
    let theirs = ClientHello::parse(&bytes)?;
    let hello = ServerHello {
        versions: local.versions,
        nonce: Nonce::draw(),
        cluster: local.cluster.clone(),
        name: local.name.clone(),
    };
    let bytes = hello.to_bytes();
    transcript.add(&bytes);
    // Also if nothing can come of it: the other side then knows why.
    stream.write_all(&bytes).await?;
    let version = agree(&theirs, &hello, Role::Server)?;

    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    if !transcript.is_proof(Role::Client, &proof) {
        stream.write_all(&[verdict::WRONG_SECRET]).await?;
        return Err(HandshakeError::Secret);
    }
    let Some(room) = has_room() else {
        stream.write_all(&[verdict::FULL]).await?;
        return Err(HandshakeError::Full);
    };
    let granted = grants.to_bytes();
    transcript.add(&granted);
    let proof = transcript.prove(Role::Server);
    stream.write_all(&[&[verdict::WELCOME][..], &granted, &proof].concat()).await?;
    Ok((Agreement { peer: theirs.name, version, lane: theirs.lane, grants }, room))
}

impl Grants {
    fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.series_ids_max.to_le_bytes());
        bytes[4..].copy_from_slice(&self.requests_max.to_le_bytes());
        bytes
    }

    fn of_bytes([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Grants {
            series_ids_max: u32::from_le_bytes([a, b, c, d]),
            requests_max: u32::from_le_bytes([e, f, g, h]),
        }
    }
}
