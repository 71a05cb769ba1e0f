//! Files in a bucket: put in parts where they are large, read back, and got again.
//!
//! What may go wrong: a success that is none (a proxy that cut the body, a store that kept an earlier object), and an
//! error that was a success. [`Bucket::put_file`] therefore reads back what is stored, byte by byte, and compares length
//! and checksum with what was read from the disk. Why not the store's own checksums: each store has others, of objects in
//! parts some have none; and whoever removes the other copies after this wants to know that the bytes can be read. It costs
//! one read of each object, once in a block's life.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use object_store::{MultipartUpload, PutMultipartOptions};

use super::bucket::Bucket;
use super::error::StoreError;

/// Files are put, and read back, in parts of so many bytes; up to this size in one request. S3 takes parts from 5 MiB on
/// and 10,000 of them, which is more than an index can be.
pub const PART_BYTES: u64 = 8 << 20;

/// So many parts are on their way at once; each is in memory.
const PARTS_AT_ONCE: usize = 3;

/// Length and CRC-32C of a file or object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSum {
    /// The length.
    pub size_bytes: u64,
    /// The checksum.
    pub crc32c: u32,
}

impl Default for FileSum {
    fn default() -> Self {
        FileSum { size_bytes: 0, crc32c: crc32c::crc32c(&[]) }
    }
}

impl FileSum {
    fn add(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }
}

impl Bucket {
    /// Puts a file that nobody writes to, and proves by reading it back that the object has its bytes. If the object is
    /// there already with these bytes, nothing is sent. `progress` is told of bytes that were sent or read back: in the
    /// end twice the file's length.
    pub async fn put_file(
        &self,
        path: &str,
        file: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<FileSum, StoreError> {
        let source = Source::open(file)?;
        // From an earlier attempt, perhaps.
        if self.head(path).await?.is_some_and(|found| found.size_bytes == source.size_bytes) {
            let local = source.sum().await?;
            if self.sum(path, local.size_bytes, &|_| ()).await? == Some(local) {
                progress(2 * local.size_bytes);
                return Ok(local);
            }
        }
        let sent = self.retrying(|| self.send(path, &source)).await?;
        progress(sent.size_bytes);
        let problem = match self.head(path).await?.map(|facts| facts.size_bytes) {
            None => "it was put, but is not there".to_owned(),
            Some(stored_bytes) if stored_bytes != sent.size_bytes => {
                format!("{} bytes were put, {stored_bytes} are there", sent.size_bytes)
            }
            Some(_) if self.sum(path, sent.size_bytes, progress).await? == Some(sent) => return Ok(sent),
            Some(_) => "it does not have the content that was put".to_owned(),
        };
        Err(StoreError::Failed { object: self.object(path), problem })
    }

    /// The checksum of an object of a known length, from its bytes; `None` if there is no such object.
    pub async fn sum(
        &self,
        path: &str,
        size_bytes: u64,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<FileSum>, StoreError> {
        let mut sum = FileSum::default();
        while sum.size_bytes < size_bytes {
            let end = size_bytes.min(sum.size_bytes + PART_BYTES);
            let Some(bytes) = self.get_range(path, sum.size_bytes..end).await? else { return Ok(None) };
            sum.add(&bytes);
            progress(bytes.len() as u64);
        }
        Ok(Some(sum))
    }

    /// Writes an object to a new file, durably, and gives its length; `None` if there is no such object. `progress` is told of
    /// bytes that have come.
    pub async fn get_file(
        &self,
        path: &str,
        file: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Option<u64>, StoreError> {
        let failed = |error: io::Error| StoreError::File {
            path: file.display().to_string(),
            problem: error.to_string(),
        };
        let Some(facts) = self.head(path).await? else { return Ok(None) };
        let mut out = File::create_new(file).map_err(failed)?;
        let mut done_bytes = 0;
        while done_bytes < facts.size_bytes {
            let end = facts.size_bytes.min(done_bytes + PART_BYTES);
            let Some(bytes) = self.get_range(path, done_bytes..end).await? else { return Ok(None) };
            out.write_all(&bytes).map_err(failed)?;
            done_bytes = end;
            progress(bytes.len() as u64);
        }
        out.sync_all().map_err(failed)?;
        Ok(Some(done_bytes))
    }

    async fn send(&self, path: &str, source: &Source) -> Result<FileSum, StoreError> {
        let location = self.location(path)?;
        let mut sum = FileSum::default();
        if source.size_bytes <= PART_BYTES {
            let bytes = source.read(0).await?;
            sum.add(&bytes);
            self.put_once(path, bytes).await?;
            return Ok(sum);
        }
        self.check_mounted(path)?;
        let begin = self.store.put_multipart_opts(&location, PutMultipartOptions::default());
        let mut upload = self.within(path, begin).await?.ok_or_else(|| self.no_bucket(path))?;
        match self.send_parts(path, source, upload.as_mut()).await {
            Ok(sum) => Ok(sum),
            Err(error) => {
                // So that its parts cost nothing any more. The store's own rules find those that this does not.
                let _ = self.within(path, upload.abort()).await;
                Err(error)
            }
        }
    }

    async fn send_parts(
        &self,
        path: &str,
        source: &Source,
        upload: &mut dyn MultipartUpload,
    ) -> Result<FileSum, StoreError> {
        let mut sum = FileSum::default();
        let mut on_their_way = FuturesUnordered::new();
        while sum.size_bytes < source.size_bytes {
            let bytes = source.read(sum.size_bytes).await?;
            sum.add(&bytes);
            on_their_way.push(self.within_for(self.part_deadline(), path, upload.put_part(bytes.into())));
            if on_their_way.len() == PARTS_AT_ONCE {
                on_their_way.next().await.transpose()?;
            }
        }
        while let Some(sent) = on_their_way.next().await {
            sent?.ok_or_else(|| self.no_bucket(path))?;
        }
        let complete = self.within_for(self.part_deadline(), path, upload.complete());
        complete.await?.ok_or_else(|| self.no_bucket(path))?;
        Ok(sum)
    }
}

/// A file of this machine, read in parts by threads that may block.
struct Source {
    path: String,
    file: Arc<File>,
    size_bytes: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let text = path.display().to_string();
        let open = || -> io::Result<(File, u64)> {
            let file = File::open(path)?;
            let size_bytes = file.metadata()?.len();
            Ok((file, size_bytes))
        };
        match open() {
            Ok((file, size_bytes)) => Ok(Source { path: text, file: Arc::new(file), size_bytes }),
            Err(error) => Err(StoreError::File { path: text, problem: error.to_string() }),
        }
    }

    /// The part that begins at an offset.
    async fn read(&self, offset: u64) -> Result<Bytes, StoreError> {
        let (file, len) = (self.file.clone(), PART_BYTES.min(self.size_bytes - offset));
        let read = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; len as usize];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        });
        let failed = |problem: String| StoreError::File { path: self.path.clone(), problem };
        let read = read.await.map_err(|error| failed(error.to_string()))?;
        read.map(Bytes::from).map_err(|error| failed(error.to_string()))
    }

    async fn sum(&self) -> Result<FileSum, StoreError> {
        let mut sum = FileSum::default();
        while sum.size_bytes < self.size_bytes {
            sum.add(&self.read(sum.size_bytes).await?);
        }
        Ok(sum)
    }
}
