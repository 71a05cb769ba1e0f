//! The data directory: its lock, and the few facts about this node that must outlive it.
//!
//! `node.json` is written once, when an empty directory is first used. What it says must never change while
//! there is data: another number of lanes, and shards look for their log in the wrong place. Data directories from
//! before there were clusters also have the seed of series keys and the number of shards there, which the cluster that
//! they found takes over.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gyre_ring::{HashSeed, Incarnation, ShardCount};
use serde::{Deserialize, Serialize};

use crate::env::Env;

const FORMAT_VERSION: u32 = 1;
const FACTS: &str = "node.json";
const LOCK: &str = "LOCK";

/// The folder of the logs.
pub const WAL: &str = "wal";

/// Lanes (and arbiters) of a node, at most.
const LANES_MAX: usize = 16;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses it.
    #[error("data directory {0} is in use by another process; give this one another --data-dir")]
    InUse(PathBuf),
    /// It cannot be read or written.
    #[error("cannot use data directory {path}: {source}")]
    Io {
        /// The path that made trouble.
        path: PathBuf,
        /// The trouble.
        source: io::Error,
    },
    /// `node.json` makes no sense, or is from the future.
    #[error("{path}: {reason}")]
    Facts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a node keeps for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Of this data directory.
    pub incarnation: Incarnation,
    /// How many lanes there are.
    pub lanes: usize,
    /// The seed that its series keys were made with, if it is older than its cluster.
    pub seed: Option<HashSeed>,
    /// How many shards its tenants have, if it is older than its cluster.
    pub shards_per_tenant: Option<ShardCount>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsFile {
    format_version: u32,
    incarnation: String,
    lanes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash_seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shards_per_tenant: Option<u32>,
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    /// Where it is.
    pub path: PathBuf,
    /// What is known of it.
    pub facts: Facts,
    _lock: File,
}

impl DataDir {
    /// Locks a directory, which is made if it is not there.
    pub fn open(path: &Path, env: &dyn Env, cores: usize) -> Result<Self, DataDirError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        std::fs::create_dir_all(path).map_err(io(path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path)(source)),
        }
        let facts_path = path.join(FACTS);
        let facts = match std::fs::read(&facts_path) {
            Ok(bytes) => {
                parse(&bytes).map_err(|reason| DataDirError::Facts { path: facts_path.clone(), reason })?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let facts = Facts {
                    incarnation: Incarnation(env.random()),
                    lanes: cores.clamp(1, LANES_MAX),
                    seed: None,
                    shards_per_tenant: None,
                };
                write(path, &facts).map_err(io(&facts_path))?;
                facts
            }
            Err(source) => return Err(io(&facts_path)(source)),
        };
        Ok(DataDir { path: path.to_owned(), facts, _lock: lock })
    }

    /// Whether a node has stored anything here.
    pub fn has_data(&self) -> bool {
        self.path.join(WAL).is_dir()
    }
}

fn parse(bytes: &[u8]) -> Result<Facts, String> {
    let file: FactsFile = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if file.format_version != FORMAT_VERSION {
        return Err(format!("format version {} is not known to this version of gyre", file.format_version));
    }
    let incarnation = u128::from_str_radix(&file.incarnation, 16).map_err(|e| format!("incarnation: {e}"))?;
    if !(1..=LANES_MAX).contains(&file.lanes) {
        return Err(format!("lanes: {} is not between 1 and {LANES_MAX}", file.lanes));
    }
    let shards = file.shards_per_tenant.map(ShardCount::try_from).transpose();
    Ok(Facts {
        incarnation: Incarnation(incarnation),
        lanes: file.lanes,
        seed: file.hash_seed.map(HashSeed),
        shards_per_tenant: shards.map_err(|error| format!("shards_per_tenant: {error}"))?,
    })
}

fn write(folder: &Path, facts: &Facts) -> io::Result<()> {
    let file = FactsFile {
        format_version: FORMAT_VERSION,
        incarnation: facts.incarnation.to_string(),
        lanes: facts.lanes,
        hash_seed: facts.seed.map(|seed| seed.0),
        shards_per_tenant: facts.shards_per_tenant.map(ShardCount::get),
    };
    let unfinished = folder.join("node.json.unfinished");
    let mut out = File::create(&unfinished)?;
    serde_json::to_writer_pretty(&mut out, &file)?;
    out.write_all(b"\n")?;
    out.sync_all()?;
    std::fs::rename(&unfinished, folder.join(FACTS))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OsEnv;

    #[test]
    fn facts_are_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let env = OsEnv::shared();
        let first = DataDir::open(folder.path(), env.as_ref(), 2).unwrap().facts;
        let again = DataDir::open(folder.path(), env.as_ref(), 8).unwrap().facts;
        assert_eq!(first, again, "also on a machine with more cores");
    }

    #[test]
    fn a_directory_from_before_there_were_clusters_keeps_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"format_version":1,"incarnation":"1f","hash_seed":18446744073709551615,"lanes":2,"shards_per_tenant":4}"#;
        std::fs::write(folder.path().join(FACTS), text).unwrap();
        let facts = DataDir::open(folder.path(), OsEnv::shared().as_ref(), 8).unwrap().facts;
        assert_eq!((facts.incarnation, facts.lanes), (Incarnation(0x1f), 2));
        assert_eq!((facts.seed, facts.shards_per_tenant), (Some(HashSeed(u64::MAX)), ShardCount::new(4)));
    }

    #[test]
    fn a_second_user_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let env = OsEnv::shared();
        let first = DataDir::open(folder.path(), env.as_ref(), 2).unwrap();
        let second = DataDir::open(folder.path(), env.as_ref(), 2);
        assert!(matches!(second, Err(DataDirError::InUse(_))));
        drop(first);
        assert!(DataDir::open(folder.path(), env.as_ref(), 2).is_ok());
    }

    #[test]
    fn facts_that_make_no_sense_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let env = OsEnv::shared();
        for (text, says) in [
            ("{}", "missing field"),
            ("[", "EOF"),
            (
                r#"{"format_version":1,"incarnation":"1","lanes":1,"shards_per_tenant":3}"#,
                "shards_per_tenant: 3 is no power of two",
            ),
            (
                r#"{"format_version":9,"incarnation":"1","hash_seed":1,"lanes":1,"shards_per_tenant":4}"#,
                "format version 9",
            ),
        ] {
            std::fs::write(folder.path().join(FACTS), text).unwrap();
            let error = DataDir::open(folder.path(), env.as_ref(), 2).unwrap_err().to_string();
            assert!(error.contains("node.json") && error.contains(says), "{error}");
        }
    }
}
