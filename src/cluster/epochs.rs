//! Epoch documents in the bucket. The only place where nodes agree on anything.
//!
//! ```text
//! cluster.json                         the cluster's identity
//! epochs/00000000000000000001.json     the documents, numbered without a gap
//! ```
//!
//! Objects are made with a conditional create and read back (protocol rule 3). A proposer that got an error, a time-out
//! or "exists already" may have won all the same, and one that got success is believed no more than others: the
//! document that is stored has won, and its proposal id says whose it is.

use bytes::Bytes;
use gyre_ring::document::DOCUMENT_BYTES_MAX;
use gyre_ring::{DocumentError, Epoch, EpochDocument};

use super::identity::ClusterFacts;
use super::store::{Bucket, StoreError};

/// No object of the cluster is larger.
const OBJECT_BYTES_MAX: u64 = DOCUMENT_BYTES_MAX as u64;

/// The name of the identity.
pub const CLUSTER_FILE: &str = "cluster.json";

/// The name of a document; names sort as the numbers do.
pub fn epoch_path(epoch: Epoch) -> String {
    format!("epochs/{:020}.json", epoch.0)
}

/// Why the cluster's objects could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there is not understood.
    #[error("{bucket}/{path}: {source}")]
    Document {
        /// The bucket.
        bucket: String,
        /// The object.
        path: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// What is there is not understood.
    #[error("{bucket}/{path}: {problem}")]
    Object {
        /// The bucket.
        bucket: String,
        /// The object.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl EpochError {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, EpochError::Store(error) if error.is_retryable())
    }
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the document of its number.
    Won,
    /// Another one is.
    Lost(Box<EpochDocument>),
}

/// The cluster's objects in a bucket.
#[derive(Clone, Debug)]
pub struct EpochStore {
    bucket: Bucket,
}

impl EpochStore {
    /// Those of a bucket.
    pub fn new(bucket: Bucket) -> Self {
        EpochStore { bucket }
    }

    /// What the bucket is called in messages.
    pub fn bucket_name(&self) -> &str {
        self.bucket.name()
    }

    /// The identity of the cluster that has the bucket; `None` if there is none.
    pub async fn cluster(&self) -> Result<Option<ClusterFacts>, EpochError> {
        let found = self.bucket.get(CLUSTER_FILE, OBJECT_BYTES_MAX).await?;
        found.map(|bytes| self.parse_cluster(&bytes)).transpose()
    }

    /// Makes sure that the bucket is this cluster's before something is put there that must not be lost: where nothing is
    /// mounted, a folder is empty and takes everything.
    pub async fn check(&self, facts: &ClusterFacts) -> Result<(), EpochError> {
        match self.cluster().await? {
            Some(found) if found == *facts => Ok(()),
            found => Err(EpochError::Store(StoreError::Failed {
                object: self.bucket.object(CLUSTER_FILE),
                problem: match found {
                    Some(other) => format!("the bucket is of cluster {other} now, this node of {facts}"),
                    None => "it is gone: is the bucket what it was?".to_owned(),
                },
            })),
        }
    }

    /// Founds a cluster, unless the bucket has one; returns the one it has then.
    pub async fn create_cluster(&self, facts: &ClusterFacts) -> Result<ClusterFacts, EpochError> {
        let stored =
            self.bucket.create(CLUSTER_FILE, Bytes::from(facts.to_bytes()), OBJECT_BYTES_MAX).await?;
        self.parse_cluster(&stored)
    }

    /// Proposes a document for its number.
    ///
    /// # Errors
    /// After a [retryable](EpochError::is_retryable) one the outcome is not known: it may have won, or win yet. Propose
    /// the same document again, or load what is there.
    pub async fn create(&self, document: &EpochDocument) -> Result<Outcome, EpochError> {
        let path = epoch_path(document.epoch);
        let stored = self.bucket.create(&path, Bytes::from(document.to_bytes()), OBJECT_BYTES_MAX).await?;
        let stored = self.parse(document.epoch, &stored)?;
        if stored.proposer == document.proposer {
            return Ok(Outcome::Won);
        }
        Ok(Outcome::Lost(Box::new(stored)))
    }

    /// The document of a number; `None` if nobody has made it yet.
    pub async fn load(&self, epoch: Epoch) -> Result<Option<EpochDocument>, EpochError> {
        let found = self.bucket.get(&epoch_path(epoch), OBJECT_BYTES_MAX).await?;
        found.map(|bytes| self.parse(epoch, &bytes)).transpose()
    }

    /// All documents from a number on, oldest first.
    pub async fn load_chain(&self, from: Epoch) -> Result<Vec<EpochDocument>, EpochError> {
        let mut documents = Vec::new();
        // By number rather than by a listing: some stores list what they have with a delay.
        let mut next = from;
        while let Some(document) = self.load(next).await? {
            documents.push(document);
            next = Epoch(next.0 + 1);
        }
        Ok(documents)
    }

    fn parse(&self, epoch: Epoch, bytes: &[u8]) -> Result<EpochDocument, EpochError> {
        let (bucket, path) = (self.bucket.name().to_owned(), epoch_path(epoch));
        match EpochDocument::parse(bytes) {
            Ok(document) if document.epoch == epoch => Ok(document),
            Ok(document) => {
                let problem = format!("it says that it is epoch {}", document.epoch.0);
                Err(EpochError::Object { bucket, path, problem })
            }
            Err(source) => Err(EpochError::Document { bucket, path, source }),
        }
    }

    fn parse_cluster(&self, bytes: &[u8]) -> Result<ClusterFacts, EpochError> {
        ClusterFacts::parse(bytes).map_err(|problem| EpochError::Object {
            bucket: self.bucket.name().to_owned(),
            path: CLUSTER_FILE.to_owned(),
            problem,
        })
    }
}
