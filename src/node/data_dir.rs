//! The data directory: its lock, and the few facts about this node that must outlive it.
//!
//! `node.json` is written once, when an empty directory is first used. What it says must never change while
//! there is data: another seed and no series is found any more, another number of lanes and shards look for
//! their log in the wrong place.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gyre_ring::{HashSeed, Incarnation, ShardCount};
use serde::{Deserialize, Serialize};

use crate::env::Env;

const FORMAT_VERSION: u32 = 1;
const FACTS: &str = "node.json";
const LOCK: &str = "LOCK";

/// Shards of a tenant.
const SHARDS_PER_TENANT: u32 = 4;

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
    /// For series keys.
    pub seed: HashSeed,
    /// How many lanes there are.
    pub lanes: usize,
    /// How many shards a tenant gets.
    pub shards_per_tenant: ShardCount,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsFile {
    format_version: u32,
    incarnation: String,
    hash_seed: u64,
    lanes: usize,
    shards_per_tenant: u32,
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
                    seed: HashSeed(env.random() as u64),
                    lanes: cores.clamp(1, LANES_MAX),
                    shards_per_tenant: ShardCount::new(SHARDS_PER_TENANT).expect("a power of two"),
                };
                write(path, &facts).map_err(io(&facts_path))?;
                facts
            }
            Err(source) => return Err(io(&facts_path)(source)),
        };
        Ok(DataDir { path: path.to_owned(), facts, _lock: lock })
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
    let shards = ShardCount::new(file.shards_per_tenant);
    Ok(Facts {
        incarnation: Incarnation(incarnation),
        seed: HashSeed(file.hash_seed),
        lanes: file.lanes,
        shards_per_tenant: shards.ok_or("shards_per_tenant: not a power of two")?,
    })
}

fn write(folder: &Path, facts: &Facts) -> io::Result<()> {
    let file = FactsFile {
        format_version: FORMAT_VERSION,
        incarnation: facts.incarnation.to_string(),
        hash_seed: facts.seed.0,
        lanes: facts.lanes,
        shards_per_tenant: facts.shards_per_tenant.get(),
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
