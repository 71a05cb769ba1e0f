//! The two introductions. Their layout is the same in all versions of the protocol, since they are read before a
//! version is agreed on; what a later version appends is skipped by earlier ones, and signed nevertheless.

use gyre_ring::{Incarnation, NodeId, Replica};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::HandshakeError;
use super::proof::Role;
use crate::rpc::identity::{ClusterId, Versions};
use crate::rpc::method::Lane;

/// What a Gyre node says first.
const MAGIC: [u8; 8] = *b"GYRERPC\0";
/// Magic and length.
const HEAD_BYTES: usize = 10;
/// Bytes of an introduction. Strangers cannot make a node hold more.
pub const HELLO_BYTES_MAX: usize = 512;

/// Makes each handshake another one, so that a recorded proof is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

impl Nonce {
    /// Draws one.
    pub fn draw() -> Self {
        let mut bytes = [0; 32];
        // As in `OsEnv::random`. Not from `Env`: a simulated one could be guessed, and this never may be.
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        Nonce(bytes)
    }
}

/// What the connecting side says of itself and of whom it looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// What it speaks.
    pub versions: Versions,
    /// What the connection is for.
    pub lane: Lane,
    /// Drawn for this connection.
    pub nonce: Nonce,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub name: Replica,
    /// Whom it looks for.
    pub wanted: Replica,
}

/// What the accepting side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// What it speaks.
    pub versions: Versions,
    /// Drawn for this connection.
    pub nonce: Nonce,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its name.
    pub name: Replica,
}

/// Whether the two can talk, and in which version. Both sides ask this, `asking` is which of them does.
pub(super) fn agree(client: &ClientHello, server: &ServerHello, asking: Role) -> Result<u16, HandshakeError> {
    let Some(version) = client.versions.common(server.versions) else {
        let (ours, theirs) = asking.sorted(client.versions, server.versions);
        return Err(HandshakeError::Version { ours, theirs });
    };
    if client.cluster != server.cluster {
        let (ours, theirs) = asking.sorted(client.cluster.clone(), server.cluster.clone());
        return Err(HandshakeError::Cluster { ours, theirs });
    }
    if client.wanted != server.name {
        let (wanted, found) = (Box::new(client.wanted.clone()), Box::new(server.name.clone()));
        return Err(HandshakeError::Node { wanted, found });
    }
    Ok(version)
}

/// Reads an introduction's bytes, head included.
pub(super) async fn read_hello<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, HandshakeError> {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).await?;
    if head[..8] != MAGIC {
        return Err(HandshakeError::NotGyre);
    }
    let len = usize::from(u16::from_le_bytes([head[8], head[9]]));
    if len > HELLO_BYTES_MAX - HEAD_BYTES {
        return Err(HandshakeError::Malformed("introduction"));
    }
    let mut bytes = vec![0; HEAD_BYTES + len];
    bytes[..HEAD_BYTES].copy_from_slice(&head);
    stream.read_exact(&mut bytes[HEAD_BYTES..]).await?;
    Ok(bytes)
}

impl ClientHello {
    /// Its bytes, head included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HELLO_BYTES_MAX);
        put_versions(&mut body, self.versions);
        body.push(self.lane.byte());
        body.extend(self.nonce.0);
        put_name(&mut body, self.cluster.as_str());
        put_replica(&mut body, &self.name);
        put_replica(&mut body, &self.wanted);
        with_head(&body)
    }

    /// Reads all of an introduction's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let parse = || {
            let mut fields = Fields(bytes.get(HEAD_BYTES..)?);
            Some(ClientHello {
                versions: fields.versions()?,
                lane: Lane::of_byte(fields.array::<1>()?[0])?,
                nonce: Nonce(fields.array()?),
                cluster: ClusterId::new(fields.name()?)?,
                name: fields.replica()?,
                wanted: fields.replica()?,
            })
        };
        parse().ok_or(HandshakeError::Malformed("introduction"))
    }
}

impl ServerHello {
    /// Its bytes, head included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HELLO_BYTES_MAX);
        put_versions(&mut body, self.versions);
        body.extend(self.nonce.0);
        put_name(&mut body, self.cluster.as_str());
        put_replica(&mut body, &self.name);
        with_head(&body)
    }

    /// Reads all of an introduction's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let parse = || {
            let mut fields = Fields(bytes.get(HEAD_BYTES..)?);
            Some(ServerHello {
                versions: fields.versions()?,
                nonce: Nonce(fields.array()?),
                cluster: ClusterId::new(fields.name()?)?,
                name: fields.replica()?,
            })
        };
        parse().ok_or(HandshakeError::Malformed("introduction"))
    }
}

fn with_head(body: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &(body.len() as u16).to_le_bytes(), body].concat()
}

fn put_versions(out: &mut Vec<u8>, versions: Versions) {
    out.extend(versions.min.to_le_bytes());
    out.extend(versions.max.to_le_bytes());
}

/// Names have at most 63 bytes.
fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
}

fn put_replica(out: &mut Vec<u8>, replica: &Replica) {
    put_name(out, replica.node.as_str());
    out.extend(replica.incarnation.0.to_le_bytes());
}

/// What is left of an introduction.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn versions(&mut self) -> Option<Versions> {
        let [min, max] = [u16::from_le_bytes(self.array()?), u16::from_le_bytes(self.array()?)];
        (min <= max).then_some(Versions { min, max })
    }

    fn name(&mut self) -> Option<&'a str> {
        let len = usize::from(self.array::<1>()?[0]);
        let (name, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(name).ok()
    }

    fn replica(&mut self) -> Option<Replica> {
        let node = NodeId::new(self.name()?)?;
        Some(Replica { node, incarnation: Incarnation(u128::from_le_bytes(self.array()?)) })
    }
}
