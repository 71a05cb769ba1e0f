//! Parts of objects: what reading blocks takes.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange};

use super::bucket::Bucket;
use super::error::{Meaning, StoreError, meaning};

/// What a store has of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// These bytes; fewer than were asked for if the object ends there.
    Bytes(Bytes),
    /// There is no such object.
    Absent,
    /// The object has only so many bytes, and the range begins behind them.
    Behind(u64),
}

impl Bucket {
    /// Whether the bucket is a folder of this machine, or its memory: what lies there is as near as a cache would be.
    pub fn is_near(&self) -> bool {
        self.root.is_some() || self.name().starts_with("memory:")
    }

    /// A part of an object.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Ranged, StoreError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let location = ObjectPath::from(format!("{}{path}", self.prefix));
        let read = async {
            let found = self.store.get_opts(&location, options).await?;
            let end = range.end.min(found.meta.size);
            Ok((end.saturating_sub(range.start), found.bytes().await?))
        };
        let error = match tokio::time::timeout(self.deadline, read).await {
            Err(_) => return Err(self.late(path)),
            Ok(Ok((len, bytes))) if len == bytes.len() as u64 => return Ok(Ranged::Bytes(bytes)),
            Ok(Ok((len, bytes))) => {
                let problem = format!("{} bytes came of {len} at {}", bytes.len(), range.start);
                return Err(StoreError::Failed { object: self.object(path), problem });
            }
            Ok(Err(error)) => error,
        };
        match self.explain(path, error) {
            Ok(None) => Ok(Ranged::Absent),
            // Stores say in many ways that an object is shorter.
            Err(error) => match self.size(path).await {
                Ok(Some(bytes)) if bytes <= range.start => Ok(Ranged::Behind(bytes)),
                _ => Err(error),
            },
            Ok(Some(never)) => match never {},
        }
    }

    /// How many bytes an object has; `None` if there is no such object.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let location = ObjectPath::from(format!("{}{path}", self.prefix));
        match tokio::time::timeout(self.deadline, self.store.get_opts(&location, options)).await {
            Err(_) => Err(self.late(path)),
            Ok(Ok(found)) => Ok(Some(found.meta.size)),
            Ok(Err(error)) => {
                Ok(self.explain(path, error)?.map(|never: std::convert::Infallible| match never {}))
            }
        }
    }

    /// What an error means for a read: the object is not there, or another error.
    fn explain(
        &self,
        path: &str,
        error: object_store::Error,
    ) -> Result<Option<std::convert::Infallible>, StoreError> {
        let failed =
            |problem: &str| StoreError::Failed { object: self.object(path), problem: problem.to_owned() };
        match meaning(self.object(path), error) {
            // A folder that is not mounted is not an empty one.
            Meaning::Absent if self.root.as_ref().is_some_and(|root| !root.is_dir()) => {
                Err(failed("the folder is gone"))
            }
            Meaning::Absent => Ok(None),
            Meaning::Exists => Err(failed("odd answer")),
            Meaning::Error(error) => Err(error),
        }
    }
}
