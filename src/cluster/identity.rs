//! The cluster's identity: an id, so that nothing is mixed up with another cluster's, and the seed of series keys.
//!
//! It is made once, with the first node that ever uses the bucket, and never changes: with another seed no series would
//! be found any more. See `docs/format/cluster.md`.

use std::fmt;

use gyre_ring::{ClusterId, HashSeed};
use serde::{Deserialize, Serialize};

/// The version of the format this code writes and reads.
const VERSION: u32 = 1;

/// What all nodes of a cluster share for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Which cluster it is.
    pub cluster: ClusterId,
    /// For series keys.
    pub seed: HashSeed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsFile {
    version: u32,
    cluster: ClusterId,
    /// As digits: a JSON reader that takes numbers for floats would change it.
    hash_seed: String,
}

impl ClusterFacts {
    /// Its bytes in the bucket and in data directories.
    pub fn to_bytes(self) -> Vec<u8> {
        let hash_seed = format!("{:016x}", self.seed.0);
        let file = FactsFile { version: VERSION, cluster: self.cluster, hash_seed };
        serde_json::to_vec_pretty(&file).expect("names and numbers always serialize")
    }

    /// Reads them; the error says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("version {version}, this program knows {VERSION}: upgrade this node first"));
        }
        let file: FactsFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let digits = file.hash_seed.len() == 16 && file.hash_seed.bytes().all(|b| b.is_ascii_hexdigit());
        let seed = if digits { u64::from_str_radix(&file.hash_seed, 16).ok() } else { None };
        let seed =
            seed.ok_or_else(|| format!("hash_seed: {:?} is not 16 hexadecimal digits", file.hash_seed))?;
        Ok(ClusterFacts { cluster: file.cluster, seed: HashSeed(seed) })
    }
}

impl fmt::Display for ClusterFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cluster.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_read_back_and_anything_else_is_refused() {
        let facts = ClusterFacts { cluster: ClusterId(7), seed: HashSeed(u64::MAX - 1) };
        assert_eq!(ClusterFacts::parse(&facts.to_bytes()), Ok(facts));
        let text = String::from_utf8(facts.to_bytes()).unwrap();
        for (from, to, says) in [
            ("\"version\": 1", "\"version\": 2", "upgrade this node first"),
            ("fffffffffffffffe", "fffe", "16 hexadecimal digits"),
            ("\"cluster\"", "\"clutser\"", "clutser"),
            ("0007", "7", "32 hexadecimal digits"),
        ] {
            assert!(text.contains(from));
            let error = ClusterFacts::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(ClusterFacts::parse(b"").is_err());
    }
}
