//! The page cache: files of blocks in pages of equal length, in memory, on disk, and else in the bucket.
//!
//! Pages rather than answers are kept, so that different queries share them. Who needs a page that somebody else is
//! getting waits for it. Pages that are near each other are got with one request, with what lies between them, and long
//! stretches in pieces at the same time; only so many pieces are in flight, for all queries together.
//!
//! Memory is `quick_cache`, which keeps what is used often through a scan. The disk part is our own ([`disk`](super::disk)):
//! `foyer`, which has both, brings a runtime of its own and C code, and rebuilds its index in ways that are not ours to
//! bound.
//!
//! What may go wrong: the object is shorter than its index says, or gone; the bucket does not answer. Whoever waits for
//! another's request that fails, or is given up, asks itself.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gyre_tsdb::block::coalesce;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, watch};

use super::disk::DiskPages;
use super::failure::Trouble;
use super::metrics::{BlockMetrics, PageFrom};
use super::object::{Object, PageKey};
use crate::cluster::store::{Bucket, Ranged};

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 32 << 10;

/// Pages between which there are at most so many bytes are got with one request.
const GAP_BYTES: u64 = 512 << 10;

/// A request asks for at most so many bytes.
const PIECE_BYTES: u64 = 4 << 20;

/// Requests that one reader has in flight.
const PIECES_PER_READ: usize = 8;

/// Requests that are in flight at all: with [`PIECE_BYTES`], the most memory that they take.
const PIECES_MAX: usize = 32;

/// What a page in memory takes beside its bytes.
const ENTRY_BYTES: u64 = 128;

/// The cache.
pub struct Pages {
    bucket: Bucket,
    memory: Cache<PageKey, Bytes, ByLength>,
    disk: Option<DiskPages>,
    coming: Mutex<HashMap<PageKey, watch::Receiver<Option<Bytes>>>>,
    pieces: Semaphore,
    metrics: BlockMetrics,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<PageKey, Bytes> for ByLength {
    fn weight(&self, _: &PageKey, page: &Bytes) -> u64 {
        page.len() as u64 + ENTRY_BYTES
    }
}

/// A page that this reader gets, for itself and whoever waits.
struct Claim<'a> {
    pages: &'a Pages,
    key: PageKey,
    place: usize,
    sender: watch::Sender<Option<Bytes>>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.pages.coming.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

enum Look<'a> {
    Here(Bytes),
    Mine(Claim<'a>),
    Coming(watch::Receiver<Option<Bytes>>),
}

impl Pages {
    /// A cache before a bucket, with so much memory.
    pub fn new(bucket: Bucket, memory_bytes: u64, disk: Option<DiskPages>, metrics: BlockMetrics) -> Self {
        let pages = (memory_bytes / PAGE_BYTES) as usize;
        let memory = Cache::with_weighter(pages.max(1), memory_bytes, ByLength);
        let (coming, pieces) = (Mutex::default(), Semaphore::new(PIECES_MAX));
        Pages { bucket, memory, disk, coming, pieces, metrics }
    }

    /// The bucket behind it.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// A page, if it is in memory.
    pub fn in_memory(&self, key: &PageKey) -> Option<Bytes> {
        self.memory.get(key)
    }

    /// Pages of an object, given and returned in ascending order. A page in which the object ends is shorter, one behind its
    /// end is empty.
    pub async fn get(&self, object: &Object, pages: &[u32]) -> Result<Vec<Bytes>, Trouble> {
        let mut got: Vec<Option<Bytes>> = vec![None; pages.len()];
        loop {
            let (mut mine, mut coming) = (Vec::new(), Vec::new());
            for (place, page) in pages.iter().enumerate() {
                if got[place].is_some() {
                    continue;
                }
                match self.look(object.page(*page), place) {
                    Look::Here(bytes) => got[place] = Some(bytes),
                    Look::Mine(claim) => mine.push(claim),
                    Look::Coming(receiver) => coming.push((place, receiver)),
                }
            }
            // First what others may wait for: so nobody waits in a circle.
            self.fetch(object, mine, &mut got).await?;
            for (place, mut receiver) in coming {
                // Where that failed, the next round asks.
                if let Ok(page) = receiver.wait_for(Option::is_some).await {
                    got[place].clone_from(&page);
                }
            }
            if got.iter().all(Option::is_some) {
                return Ok(got.into_iter().flatten().collect());
            }
        }
    }

    fn look(&self, key: PageKey, place: usize) -> Look<'_> {
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: what has come is in memory before it leaves `coming`.
        if let Some(page) = self.memory.get(&key) {
            return Look::Here(page);
        }
        if let Some(receiver) = coming.get(&key) {
            return Look::Coming(receiver.clone());
        }
        let (sender, receiver) = watch::channel(None);
        coming.insert(key, receiver);
        Look::Mine(Claim { pages: self, key, place, sender })
    }

    /// Gets what was claimed from the disk or the bucket.
    async fn fetch(
        &self,
        object: &Object,
        mut mine: Vec<Claim<'_>>,
        got: &mut [Option<Bytes>],
    ) -> Result<(), Trouble> {
        let mut arrived = |claim: &Claim<'_>, page: Bytes| {
            self.memory.insert(claim.key, page.clone());
            claim.sender.send_replace(Some(page.clone()));
            got[claim.place] = Some(page);
        };
        if let Some(disk) = self.disk.as_ref().filter(|_| !mine.is_empty()) {
            let keys: Vec<PageKey> = mine.iter().map(|claim| claim.key).collect();
            let mut found = disk.get(keys).await.into_iter();
            mine.retain(|claim| match found.next().flatten() {
                Some(page) => {
                    arrived(claim, page);
                    self.metrics.pages(PageFrom::Disk, 1);
                    false
                }
                None => true,
            });
        }
        self.metrics.pages(PageFrom::Bucket, mine.len() as u64);
        let range = |claim: &Claim<'_>| {
            let begin = u64::from(claim.key.page) * PAGE_BYTES;
            begin..begin + PAGE_BYTES
        };
        let pieces = coalesce(mine.iter().map(range).collect(), GAP_BYTES, PIECE_BYTES);
        let mut pieces = stream::iter(pieces)
            .map(|piece| async move { (piece.clone(), self.piece(object, piece).await) })
            .buffer_unordered(PIECES_PER_READ);
        let mut mine: HashMap<u32, Claim<'_>> =
            mine.into_iter().map(|claim| (claim.key.page, claim)).collect();
        while let Some((piece, bytes)) = pieces.next().await {
            let bytes = bytes?;
            let first = (piece.start / PAGE_BYTES) as u32;
            for (page, bytes) in (first..).zip(bytes.chunks(PAGE_BYTES as usize)) {
                // A copy: the piece as a whole would stay in memory for one of its pages.
                let bytes = Bytes::copy_from_slice(bytes);
                if let Some(disk) = &self.disk {
                    disk.put(object.page(page), bytes.clone());
                }
                match mine.remove(&page) {
                    Some(claim) => arrived(&claim, bytes),
                    None => self.memory.insert(object.page(page), bytes),
                }
            }
        }
        // What did not come although its piece did lies behind the object's end, which is for the reader to judge.
        for claim in mine.values() {
            if let Some(disk) = &self.disk {
                disk.put(claim.key, Bytes::new());
            }
            arrived(claim, Bytes::new());
        }
        Ok(())
    }

    async fn piece(&self, object: &Object, range: Range<u64>) -> Result<Bytes, Trouble> {
        let unavailable = |error: &dyn std::fmt::Display| Trouble::Unavailable(error.to_string());
        let _permit = self.pieces.acquire().await.map_err(|error| unavailable(&error))?;
        self.metrics.requests.inc();
        match self.bucket.get_part(&object.path, range).await {
            Ok(Ranged::Bytes(bytes)) => {
                self.metrics.request_bytes.inc_by(bytes.len() as u64);
                Ok(bytes)
            }
            Ok(Ranged::Absent) => Err(Trouble::Gone(object.block_file().to_string())),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// An object that is shorter than what points into it says.
pub fn ends_early(object: &Object, offset: u64) -> Trouble {
    Trouble::at(object.block_file(), offset, "the file ends before this")
}
