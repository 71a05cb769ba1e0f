//! This node's own copies of what the cluster agreed on, in the folder `cluster` of the data directory.
//!
//! A document is copied, and the copy fsynced with its name, before anybody acts on it (protocol rule 4). So a node
//! comes up while the bucket is away, and never acts on an epoch that it could forget. A copy never changes: another
//! document under the number of one that was acted upon means that somebody has tampered with the bucket, or that it is
//! the wrong one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_ring::{Epoch, EpochDocument};
use gyre_tsdb::disk::{Disk, replace_file};

use super::epochs::{CLUSTER_FILE, epoch_path};
use super::identity::ClusterFacts;

const FOLDER: &str = "cluster";
const EPOCHS: &str = "epochs";
const GENERATION: &str = "generation";
const LEAVING: &str = "leaving";

/// Why a copy cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The trouble.
        source: io::Error,
    },
    /// It makes no sense.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl LocalError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// The copies.
#[derive(Clone)]
pub struct LocalCopies {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl LocalCopies {
    /// Those in a data directory.
    pub fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Self, LocalError> {
        let folder = data_dir.join(FOLDER);
        let copies = LocalCopies { disk, folder };
        let epochs = copies.folder.join(EPOCHS);
        let made = copies.disk.create_dir_all(&epochs);
        let made = made.and_then(|()| copies.disk.sync_dir(&copies.folder));
        let made = made.and_then(|()| copies.disk.sync_dir(data_dir));
        made.map_err(|source| LocalError::Io { path: epochs, source })?;
        Ok(copies)
    }

    /// The identity of the cluster that the data directory belongs to; `None` if it is new.
    pub fn cluster(&self) -> Result<Option<ClusterFacts>, LocalError> {
        let path = self.folder.join(CLUSTER_FILE);
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        let facts = ClusterFacts::parse(&bytes);
        facts.map(Some).map_err(|problem| LocalError::Content { path, problem })
    }

    /// From now on the data directory belongs to this cluster.
    pub fn keep_cluster(&self, facts: &ClusterFacts) -> Result<(), LocalError> {
        self.write(&self.folder.join(CLUSTER_FILE), &facts.to_bytes())
    }

    /// All documents, oldest first, as far as they follow one another.
    pub fn documents(&self) -> Result<Vec<EpochDocument>, LocalError> {
        let folder = self.folder.join(EPOCHS);
        let names = self.disk.list(&folder).map_err(|source| LocalError::Io { path: folder, source })?;
        let mut documents: Vec<EpochDocument> = Vec::new();
        for path in names.into_iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
            let content = |problem: String| LocalError::Content { path: path.clone(), problem };
            let Some(bytes) = self.read(&path)? else { continue };
            let document = EpochDocument::parse(&bytes).map_err(|error| content(error.to_string()))?;
            if path != self.path(document.epoch) {
                return Err(content(format!("it says that it is epoch {}", document.epoch.0)));
            }
            let newest = documents.last().map(|newest| newest.epoch.0);
            if newest.is_some_and(|newest| newest + 1 != document.epoch.0) {
                return Err(content("the document before it is missing; the bucket has it".to_owned()));
            }
            documents.push(document);
        }
        Ok(documents)
    }

    /// Copies a document; when this returns it is durable, and may be acted upon.
    pub fn keep(&self, document: &EpochDocument) -> Result<(), LocalError> {
        let path = self.path(document.epoch);
        match self.read(&path)? {
            None => self.write(&path, &document.to_bytes()),
            Some(bytes) if bytes == document.to_bytes() => Ok(()),
            Some(_) => Err(LocalError::Content {
                path,
                problem: "another document of this number has been acted upon".to_owned(),
            }),
        }
    }

    /// A number that is greater with every call, over all runs of the node. It is durable when this returns.
    pub fn next_generation(&self) -> Result<u64, LocalError> {
        let path = self.folder.join(GENERATION);
        let last = match self.read(&path)? {
            None => 0,
            Some(bytes) => match str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse::<u64>().ok())
            {
                Some(last) => last,
                None => return Err(LocalError::Content { path, problem: "not a number".to_owned() }),
            },
        };
        let next = last + 1;
        self.write(&path, format!("{next}\n").as_bytes())?;
        Ok(next)
    }

    /// Whether the node was told to leave its cluster.
    pub fn is_leaving(&self) -> Result<bool, LocalError> {
        Ok(self.read(&self.folder.join(LEAVING))?.is_some())
    }

    /// Notes durably that the node is to leave its cluster, or that it has.
    pub fn set_leaving(&self, leaving: bool) -> Result<(), LocalError> {
        let path = self.folder.join(LEAVING);
        if leaving {
            return self.write(&path, b"leaving\n");
        }
        let removed = match self.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(&self.folder),
        };
        removed.map_err(|source| LocalError::Io { path, source })
    }

    fn path(&self, epoch: Epoch) -> PathBuf {
        self.folder.join(epoch_path(epoch))
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, LocalError> {
        match self.disk.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LocalError::Io { path: path.to_owned(), source }),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), LocalError> {
        let written = replace_file(self.disk.as_ref(), path, bytes);
        written.map_err(|source| LocalError::Io { path: path.to_owned(), source })
    }
}
