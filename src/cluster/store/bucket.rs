//! A bucket: how it is opened, get, and create if absent. Every request has a deadline. The rest of its operations are in
//! `objects.rs` and `files.rs`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions};

use super::error::{Meaning, StoreError, meaning};
use super::objects::ObjectFacts;
use super::url::StorageUrl;

/// The folder in the data directory that is the bucket of a node without another one.
const FOLDER: &str = "bucket";

/// A request for a small object that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(10);

/// An object store, or a part of one.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    /// For messages.
    name: Arc<str>,
    /// Before each path, with a slash at its end; empty: none.
    pub(super) prefix: Arc<str>,
    /// The folder that it is, if it is one.
    pub(super) root: Option<Arc<Path>>,
    pub(super) deadline: Duration,
}

impl Bucket {
    /// Opens the store of a URL. A folder is made if the one above it exists.
    pub fn open(url: &StorageUrl, data_dir: &Path) -> Result<Self, StoreError> {
        match url {
            StorageUrl::DataDir => Self::folder(&data_dir.join(FOLDER)),
            StorageUrl::File(path) => Self::folder(path),
            StorageUrl::Memory => Ok(Self::new("memory://", Arc::new(InMemory::new()), DEADLINE)),
            #[cfg(feature = "cloud")]
            StorageUrl::Cloud(url) => Self::cloud(url),
        }
    }

    /// A store that is already there.
    pub fn new(name: &str, store: Arc<dyn ObjectStore>, deadline: Duration) -> Self {
        Bucket { store, name: name.into(), prefix: "".into(), root: None, deadline }
    }

    fn folder(path: &Path) -> Result<Self, StoreError> {
        let failed = |problem: String| StoreError::Open { url: path.display().to_string(), problem };
        make_folder(path).map_err(|error| failed(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(path).map_err(|error| failed(error.to_string()))?;
        // Without it a document could be gone after a crash that others have acted upon.
        let store = store.with_fsync(true);
        let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let root = Some(Arc::from(path.as_path()));
        let name = StorageUrl::File(path).to_string();
        Ok(Bucket { root, ..Self::new(&name, Arc::new(store), DEADLINE) })
    }

    #[cfg(feature = "cloud")]
    fn cloud(url: &url::Url) -> Result<Self, StoreError> {
        // Credentials, regions and endpoints come from the variables that the clouds' own tools read.
        let variables = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let opened = object_store::parse_url_opts(url, variables);
        let (store, prefix) =
            opened.map_err(|error| StoreError::Open { url: url.to_string(), problem: error.to_string() })?;
        let mut bucket = Self::new(url.as_str().trim_end_matches('/'), Arc::from(store), DEADLINE);
        if !prefix.as_ref().is_empty() {
            bucket.prefix = format!("{prefix}/").into();
        }
        Ok(bucket)
    }

    /// What the bucket is called in messages: its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An object's content; `None` if there is no such object.
    pub async fn get(&self, path: &str, bytes_max: u64) -> Result<Option<Bytes>, StoreError> {
        Ok(self.fetch(path, bytes_max).await?.map(|(_, bytes)| bytes))
    }

    /// An object's facts and content; `None` if there is no such object.
    pub async fn fetch(
        &self,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<(ObjectFacts, Bytes)>, StoreError> {
        let location = self.location(path)?;
        let read = async {
            let found = self.store.get_opts(&location, GetOptions::default()).await?;
            // Before the content is fetched: it may be anything.
            match found.meta.size {
                bytes if bytes > bytes_max => Ok(Err(bytes)),
                _ => {
                    let facts = self.facts(found.meta.clone());
                    Ok(Ok((facts, found.bytes().await?)))
                }
            }
        };
        match self.within(path, read).await? {
            None => Ok(None),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(bytes)) => Err(StoreError::TooLarge { object: self.object(path), bytes, bytes_max }),
        }
    }

    /// Makes an object if there is none of its name, and returns the content of the one that is there then: this or an
    /// earlier one.
    ///
    /// # Errors
    /// After one that [may pass](StoreError::is_retryable) the object may have been made, or be made yet. Whoever asks
    /// again with the same content learns which one it is.
    pub async fn create(&self, path: &str, content: Bytes, bytes_max: u64) -> Result<Bytes, StoreError> {
        let made = self.put_if_absent(path, content).await;
        // Also after success, and after every error: the store's word is what others will read.
        let stored = self.get(path, bytes_max).await;
        match (made, stored) {
            (_, Ok(Some(stored))) => Ok(stored),
            (Err(error), _) => Err(error),
            (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(None)) => Err(StoreError::Failed {
                object: self.object(path),
                problem: "it was made, but is not there".to_owned(),
            }),
        }
    }

    async fn put_if_absent(&self, path: &str, content: Bytes) -> Result<(), StoreError> {
        let location = self.location(path)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(&location, content.into(), options);
        match tokio::time::timeout(self.deadline, put).await {
            Err(_) => Err(self.late(path)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => match meaning(self.object(path), error) {
                // The read that follows says whose it is.
                Meaning::Exists => Ok(()),
                Meaning::Error(error) => Err(error),
                Meaning::Absent => Err(StoreError::Failed {
                    object: self.object(path),
                    problem: "the bucket is not there".to_owned(),
                }),
            },
        }
    }

    /// The library's name of a path. Paths are kept as they are: the library would write a `*` in a tenant's name in
    /// another way than others do.
    pub(super) fn location(&self, path: &str) -> Result<ObjectPath, StoreError> {
        ObjectPath::parse(format!("{}{path}", self.prefix))
            .map_err(|error| StoreError::Refused { object: self.object(path), problem: error.to_string() })
    }

    /// A folder that is not mounted is not an empty one.
    pub(super) fn check_mounted(&self, path: &str) -> Result<(), StoreError> {
        match &self.root {
            Some(root) if !root.is_dir() => Err(StoreError::Failed {
                object: self.object(path),
                problem: "the folder is gone".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn late(&self, path: &str) -> StoreError {
        StoreError::Deadline { object: self.object(path), deadline: self.deadline }
    }

    /// What a path is called in messages.
    pub fn object(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }
}

/// Makes one folder, durably. Those above it must exist: a mistyped path should not become a new bucket.
fn make_folder(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Ok(()) => {
            let above: PathBuf =
                std::path::absolute(path)?.parent().map_or_else(|| "/".into(), PathBuf::from);
            File::open(above)?.sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
