//! What blocks need of a bucket: put, facts of objects, listings, ranges, removal.
//!
//! All of these may be repeated, and are, where they fail in passing ([`Bucket::retrying`]). What may go wrong: a listing
//! of some stores lags behind, so that absence in a listing proves nothing; and it may be long, so it is bounded.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt, PutMode, PutOptions};

use super::bucket::Bucket;
use super::error::{Meaning, StoreError, meaning};

/// No listing has more entries: some 200 MB of names.
const LISTED_MAX: usize = 1_000_000;

/// An object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Its path in the bucket.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// When it was put, milliseconds since 1970 by the store's clock.
    pub modified_ms: i64,
}

/// What is directly in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The names of its folders, without the path before them and without slashes, sorted.
    pub folders: Vec<String>,
    /// Its objects, sorted by path.
    pub objects: Vec<ObjectFacts>,
}

impl Bucket {
    /// Puts an object, in the place of one that may be there. Readers see one or the other, whole.
    pub async fn put(&self, path: &str, content: Bytes) -> Result<(), StoreError> {
        self.retrying(|| self.put_once(path, content.clone())).await
    }

    pub(super) async fn put_once(&self, path: &str, content: Bytes) -> Result<(), StoreError> {
        self.check_mounted(path)?;
        let location = self.location(path)?;
        let options = PutOptions { mode: PutMode::Overwrite, ..PutOptions::default() };
        let put = self.store.put_opts(&location, content.into(), options);
        self.within_for(self.part_deadline(), path, put).await?.ok_or_else(|| self.no_bucket(path)).map(drop)
    }

    /// An object's facts; `None` if there is no such object.
    pub async fn head(&self, path: &str) -> Result<Option<ObjectFacts>, StoreError> {
        let location = self.location(path)?;
        self.retrying(|| async {
            let facts = self.within(path, self.store.head(&location)).await?;
            Ok(facts.map(|meta| self.facts(meta)))
        })
        .await
    }

    /// A range of an object's bytes. `None` if there is no such object; an error if it ends before the range does.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        let location = self.location(path)?;
        self.retrying(|| async {
            let read = async {
                let options =
                    GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                self.store.get_opts(&location, options).await?.bytes().await
            };
            let read = self.within_for(self.part_deadline(), path, read);
            let Some(bytes) = read.await? else { return Ok(None) };
            // A store gives what there is of a range.
            if bytes.len() as u64 != range.end - range.start {
                return Err(StoreError::Refused {
                    object: self.object(path),
                    problem: format!(
                        "bytes {} to {} were asked for, {} came: the object is shorter",
                        range.start,
                        range.end,
                        bytes.len()
                    ),
                });
            }
            Ok(Some(bytes))
        })
        .await
    }

    /// What is directly in a folder, which is named without a slash at its end; `""` is the whole bucket.
    pub async fn list_folder(&self, folder: &str) -> Result<Listing, StoreError> {
        let location = self.location(folder)?;
        let found = self
            .retrying(|| async {
                self.within_for(self.part_deadline(), folder, self.store.list_with_delimiter(Some(&location)))
                    .await
            })
            .await?;
        let Some(found) = found else {
            self.check_mounted(folder)?;
            return Ok(Listing::default());
        };
        if found.common_prefixes.is_empty() && found.objects.is_empty() {
            self.check_mounted(folder)?;
        }
        let mut folders: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| Some(path.filename()?.to_owned())).collect();
        folders.sort_unstable();
        let mut objects: Vec<_> = found.objects.into_iter().map(|meta| self.facts(meta)).collect();
        objects.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Listing { folders, objects })
    }

    /// All objects in a folder and in those below it, sorted by path.
    pub async fn list(&self, folder: &str) -> Result<Vec<ObjectFacts>, StoreError> {
        let location = self.location(folder)?;
        let mut found = self
            .retrying(|| async {
                let mut found = Vec::new();
                let mut listing = self.store.list(Some(&location));
                // Each page has the deadline, not the whole of it.
                while let Some(Some(meta)) = self.within(folder, listing.try_next()).await? {
                    found.push(self.facts(meta));
                    if found.len() > LISTED_MAX {
                        return Err(StoreError::Refused {
                            object: self.object(folder),
                            problem: format!("more than {LISTED_MAX} objects"),
                        });
                    }
                }
                Ok(found)
            })
            .await?;
        if found.is_empty() {
            self.check_mounted(folder)?;
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Removes an object. That it is not there is no error.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let location = self.location(path)?;
        self.retrying(|| async {
            let gone = stream::iter([Ok(location.clone())]).boxed();
            let delete = async { self.store.delete_stream(gone).try_collect::<Vec<ObjectPath>>().await };
            match self.within(path, delete).await? {
                Some(_) => Ok(()),
                None => self.check_mounted(path),
            }
        })
        .await
    }

    /// Waits for a request as long as the deadline allows; `None`: there is no such object.
    pub(super) async fn within<T>(
        &self,
        path: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>, StoreError> {
        self.within_for(self.deadline, path, request).await
    }

    /// As [`Bucket::within`], with another deadline.
    pub(super) async fn within_for<T>(
        &self,
        deadline: Duration,
        path: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Option<T>, StoreError> {
        match tokio::time::timeout(deadline, request).await {
            Err(_) => Err(StoreError::Deadline { object: self.object(path), deadline }),
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) => match meaning(self.object(path), error) {
                Meaning::Absent => self.check_mounted(path).map(|()| None),
                Meaning::Exists => {
                    Err(StoreError::Failed { object: self.object(path), problem: "odd answer".to_owned() })
                }
                Meaning::Error(error) => Err(error),
            },
        }
    }

    /// The deadline of a request that carries a part of a file: six times that of a small one.
    pub(super) fn part_deadline(&self) -> Duration {
        self.deadline * 6
    }

    /// The error of a put that the store answered with "there is no such thing".
    pub(super) fn no_bucket(&self, path: &str) -> StoreError {
        StoreError::Failed { object: self.object(path), problem: "the bucket is not there".to_owned() }
    }

    pub(super) fn facts(&self, meta: ObjectMeta) -> ObjectFacts {
        let path = String::from(meta.location);
        let path = path.strip_prefix(&*self.prefix).map(str::to_owned).unwrap_or(path);
        ObjectFacts { path, size_bytes: meta.size, modified_ms: meta.last_modified.timestamp_millis() }
    }
}
