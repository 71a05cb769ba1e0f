//! Who speaks: names that both sides must agree on before they say anything else.

use std::fmt;
use std::sync::Arc;

use gyre_ring::{NodeId, Replica};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of the shortest secret: whoever records a handshake can try secrets as fast as it can hash.
pub const SECRET_BYTES_MIN: usize = 16;

/// What all nodes of a cluster know and nobody else. Never sent, never printed.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

/// A secret that is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster secret has {got} bytes, it needs at least {SECRET_BYTES_MIN}, drawn at random")]
pub struct SecretTooShort {
    got: usize,
}

impl Secret {
    /// Takes the secret's bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretTooShort { got: bytes.len() });
        }
        Ok(Secret(bytes.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A signature that only those can make who know the secret. One for some purpose is worth nothing for another.
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        self.mac(purpose, message).finalize().into_bytes().into()
    }

    /// Whether somebody who knows the secret has signed this; compared in constant time.
    pub fn has_signed(&self, purpose: &str, message: &[u8], signature: &[u8]) -> bool {
        self.mac(purpose, message).verify_slice(signature).is_ok()
    }

    fn mac(&self, purpose: &str, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(message);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A cluster's name: 1 to 63 letters, digits, `-`, `_` and `.`, as for a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(NodeId);

impl ClusterId {
    /// Takes a name; `None` if it is none.
    pub fn new(id: &str) -> Option<Self> {
        NodeId::new(id).map(ClusterId)
    }

    /// The name's characters.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The versions of the protocol that a node speaks, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl Versions {
    /// What this program speaks. A new version keeps the one before, so that a cluster can be upgraded node by
    /// node.
    pub const OURS: Versions = Versions { min: 1, max: 1 };

    /// The newest version that both speak.
    pub fn common(self, other: Versions) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { self.min.fmt(f) } else { write!(f, "{} to {}", self.min, self.max) }
    }
}

/// This node, as it introduces itself.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Its name and its disk's: after the loss of its disk a node is somebody else.
    pub name: Replica,
    /// What proves that it belongs there.
    pub secret: Secret,
    /// What it speaks.
    pub versions: Versions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_versions_have_the_older_one_in_common() {
        let versions = |min, max| Versions { min, max };
        assert_eq!(versions(1, 2).common(versions(2, 3)), Some(2));
        assert_eq!(versions(2, 3).common(versions(1, 2)), Some(2));
        assert_eq!(versions(1, 3).common(versions(2, 2)), Some(2));
        assert_eq!(versions(1, 2).common(versions(3, 4)), None);
    }

    #[test]
    fn a_signature_is_of_one_secret_for_one_purpose_and_one_message() {
        let [secret, other] =
            [b"0123456789abcdef", b"0123456789abcdeg"].map(|bytes| Secret::new(bytes).unwrap());
        let signature = secret.sign("a", b"b");
        assert!(secret.has_signed("a", b"b", &signature));
        assert!(!other.has_signed("a", b"b", &signature));
        assert!(!secret.has_signed("b", b"b", &signature) && !secret.has_signed("a", b"c", &signature));
        assert!(!secret.has_signed("a", b"b", &signature[..31]) && !secret.has_signed("a", b"b", b""));
    }

    #[test]
    fn a_secret_is_not_printed_and_not_short() {
        let secret = Secret::new(b"0123456789abcdef").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
        assert!(Secret::new(b"0123456789abcde").unwrap_err().to_string().contains("15 bytes"));
    }
}
