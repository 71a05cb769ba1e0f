//! Tenant ids: Cortex's character rules, so that ids and bucket prefixes move over unchanged.
//!
//! An id becomes a folder name on disk and a prefix in the object store; accepting a path separator or `..`
//! would let one tenant reach another's data.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest tenant id, in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 150;

/// A valid tenant id. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// Why a string is no tenant id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// No characters at all.
    #[error("tenant ID is empty")]
    Empty,
    /// More than [`TENANT_ID_BYTES_MAX`] bytes.
    #[error("tenant ID is too long: max {TENANT_ID_BYTES_MAX} characters")]
    TooLong,
    /// A character outside Cortex's set.
    #[error("tenant ID '{id}' contains unsupported character '{character}'")]
    Character {
        /// The id as it was sent.
        id: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// A name that means something else in a bucket or a file system.
    #[error("tenant ID '{0}' is not allowed")]
    Reserved(String),
}

impl TenantId {
    /// The tenant of requests without a header where authentication is optional, as in Cortex.
    pub const FAKE: &'static str = "fake";

    /// Checks and takes an id.
    pub fn new(id: &str) -> Result<Self, TenantIdError> {
        if id.is_empty() {
            return Err(TenantIdError::Empty);
        }
        if let Some(character) = id.chars().find(|c| !is_allowed(*c)) {
            let id = id.chars().take(TENANT_ID_BYTES_MAX).collect();
            return Err(TenantIdError::Character { id, character });
        }
        if id.len() > TENANT_ID_BYTES_MAX {
            return Err(TenantIdError::TooLong);
        }
        if matches!(id, "." | ".." | "__markers__" | "user-index.json.gz") {
            return Err(TenantIdError::Reserved(id.to_owned()));
        }
        Ok(TenantId(id.into()))
    }

    /// The tenant `fake`.
    pub fn fake() -> Self {
        TenantId(Self::FAKE.into())
    }

    /// The id's characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TenantId {
    type Error = TenantIdError;

    fn try_from(id: String) -> Result<Self, TenantIdError> {
        TenantId::new(&id)
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> String {
        id.as_str().to_owned()
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '!' | '-' | '_' | '.' | '*' | '\'' | '(' | ')')
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_cortex_allows_are_allowed() {
        for id in ["a", "fake", "acme-1", "A!-_.*'()z", &"x".repeat(150)] {
            assert_eq!(TenantId::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn ids_that_could_reach_other_paths_are_refused() {
        for id in
            ["", ".", "..", "__markers__", "user-index.json.gz", "a/b", "a\\b", "a|b", "é", "a b", "a\0"]
        {
            assert!(TenantId::new(id).is_err(), "{id:?}");
        }
        assert_eq!(TenantId::new(&"x".repeat(151)), Err(TenantIdError::TooLong));
    }
}
