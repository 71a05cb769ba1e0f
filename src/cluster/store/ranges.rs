//! Parts of objects whose length the reader does not know: what reading blocks takes.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange};

use super::bucket::Bucket;
use super::error::StoreError;

/// What a store has of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// These bytes; fewer than were asked for, or none, if the object ends there.
    Bytes(Bytes),
    /// There is no such object.
    Absent,
}

impl Bucket {
    /// Whether the bucket is a folder of this machine, or its memory: what lies there is as near as a cache would be.
    pub fn is_near(&self) -> bool {
        self.root.is_some() || self.name().starts_with("memory:")
    }

    /// What there is of a range of an object's bytes.
    pub async fn get_part(&self, path: &str, range: Range<u64>) -> Result<Ranged, StoreError> {
        let location = self.location(path)?;
        self.retrying(|| self.get_part_once(path, &location, range.clone())).await
    }

    async fn get_part_once(
        &self,
        path: &str,
        location: &ObjectPath,
        range: Range<u64>,
    ) -> Result<Ranged, StoreError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let read = async {
            let found = self.store.get_opts(location, options).await?;
            let end = range.end.min(found.meta.size);
            Ok((end.saturating_sub(range.start), found.bytes().await?))
        };
        match self.within(path, read).await {
            Ok(None) => Ok(Ranged::Absent),
            Ok(Some((len, bytes))) if len == bytes.len() as u64 => Ok(Ranged::Bytes(bytes)),
            Ok(Some((len, bytes))) => {
                let problem = format!("{} bytes came of {len} from {} on", bytes.len(), range.start);
                Err(StoreError::Failed { object: self.object(path), problem })
            }
            // Stores say in many ways that an object ends before the range begins.
            Err(error) => match self.head(path).await {
                Ok(Some(facts)) if facts.size_bytes <= range.start => Ok(Ranged::Bytes(Bytes::new())),
                _ => Err(error),
            },
        }
    }
}
