//! Proofs of the secret: HMAC-SHA256, keyed with it, over who proves and all that both have said.
//!
//! The nonces make a recorded proof worthless, the role makes a reflected one worthless, and the names of both
//! sides in the introductions make one worthless that was got from a third node.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::rpc::identity::Secret;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    /// This side's and the other's.
    pub(super) fn sorted<T>(self, client: T, server: T) -> (T, T) {
        match self {
            Role::Client => (client, server),
            Role::Server => (server, client),
        }
    }
}

/// What was said so far. Each message tells its own length, so that no two conversations have the same bytes.
pub(super) struct Transcript {
    mac: Hmac<Sha256>,
}

impl Transcript {
    pub(super) fn new(secret: &Secret) -> Self {
        Transcript { mac: Hmac::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length") }
    }

    pub(super) fn add(&mut self, message: &[u8]) {
        self.mac.update(message);
    }

    /// This side's proof that it knows the secret.
    pub(super) fn prove(&self, role: Role) -> [u8; PROOF_BYTES] {
        self.with_role(role).finalize().into_bytes().into()
    }

    /// Whether it is the other side's proof; compared in constant time.
    pub(super) fn is_proof(&self, role: Role, proof: &[u8; PROOF_BYTES]) -> bool {
        self.with_role(role).verify(proof.into()).is_ok()
    }

    fn with_role(&self, role: Role) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(match role {
            Role::Client => b"gyre rpc client",
            Role::Server => b"gyre rpc server",
        });
        mac
    }
}
