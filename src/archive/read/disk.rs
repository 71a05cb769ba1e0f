//! The part of the page cache that is on disk: one file of slots of equal length (`docs/format/block-cache.md`).
//!
//! Each slot says whose page it holds, and has checksums over that and over the bytes. So nothing needs to be synced or
//! written in order: what a crash or a bad disk leaves is noticed when it is read, and is a miss. After a restart the
//! slots' headers are read again, in the background. The oldest page goes first, unless it was used since the hand came by.
//!
//! One thread writes, from a queue that is short: who reads does not wait for it, and what does not fit into the queue is
//! not written. Reading is done on threads for blocking work.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use gyre_ring::TenantId;
use gyre_tsdb::block::Ulid;

use super::metrics::BlockMetrics;
use super::object::{BlockKey, PageKey, Tenants};
use super::pages::PAGE_BYTES;

/// What a slot begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"gyrepg\0\x01";

/// A slot's header, with room for the longest tenant.
const HEADER_BYTES: usize = 256;

/// Where in a header the tenant stands: its length, then its bytes.
const TENANT_AT: usize = 48;

/// Bytes of a slot.
const SLOT_BYTES: u64 = HEADER_BYTES as u64 + PAGE_BYTES;

/// Pages that wait to be written.
const QUEUE_PAGES: usize = 256;

const CRC_BYTES: usize = 4;

/// Pages on disk.
pub struct DiskPages {
    shared: Arc<Shared>,
    queue: SyncSender<(PageKey, Bytes)>,
}

struct Shared {
    file: File,
    index: Mutex<Index>,
    tenants: Arc<Tenants>,
    metrics: BlockMetrics,
    /// A write has failed: the cache is as it is.
    is_broken: AtomicBool,
}

#[derive(Default)]
struct Index {
    slots: HashMap<PageKey, u32>,
    /// By slot.
    held: Vec<Held>,
    hand: usize,
}

#[derive(Clone, Copy)]
struct Held {
    key: Option<PageKey>,
    was_used: bool,
}

impl DiskPages {
    /// Opens the file, or makes it, for at most so many bytes.
    pub fn open(
        path: &Path,
        bytes_max: u64,
        tenants: Arc<Tenants>,
        metrics: BlockMetrics,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let slots = u32::try_from(bytes_max / SLOT_BYTES).unwrap_or(u32::MAX);
        let there = (file.metadata()?.len() / SLOT_BYTES).min(u64::from(slots)) as u32;
        file.set_len(u64::from(there) * SLOT_BYTES)?;
        let (index, is_broken) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { file, index, tenants, metrics, is_broken });
        let (queue, pages) = sync_channel(QUEUE_PAGES);
        let writer = shared.clone();
        let write = move || writer.run(there, slots, &pages);
        std::thread::Builder::new().name("block-cache".into()).spawn(write)?;
        Ok(DiskPages { shared, queue })
    }

    /// Pages, where they are on disk.
    pub async fn get(&self, keys: Vec<PageKey>) -> Vec<Option<Bytes>> {
        let slots: Vec<(PageKey, Option<u32>)> = {
            let mut index = self.shared.index.lock().unwrap_or_else(PoisonError::into_inner);
            keys.into_iter().map(|key| (key, index.find(&key))).collect()
        };
        let count = slots.len();
        if slots.iter().all(|(_, slot)| slot.is_none()) {
            return vec![None; count];
        }
        let shared = self.shared.clone();
        let read = move || slots.into_iter().map(|(key, slot)| shared.read(&key, slot?)).collect();
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| vec![None; count])
    }

    /// Adds a page, some time soon.
    pub fn put(&self, key: PageKey, page: Bytes) {
        if self.shared.is_broken.load(Ordering::Relaxed) || self.queue.try_send((key, page)).is_err() {
            self.shared.metrics.disk_skipped.inc();
        }
    }
}

impl Index {
    fn find(&mut self, key: &PageKey) -> Option<u32> {
        let slot = *self.slots.get(key)?;
        self.held[slot as usize].was_used = true;
        Some(slot)
    }

    /// The slot for the next page, emptied; `None` if there is no room at all.
    fn take_slot(&mut self, slots_max: u32) -> Option<u32> {
        if self.held.len() < slots_max as usize {
            self.held.push(Held { key: None, was_used: false });
            return Some(self.held.len() as u32 - 1);
        }
        // Twice around, and everybody has been forgotten once.
        for _ in 0..2 * self.held.len() {
            let slot = self.hand;
            self.hand = (slot + 1) % self.held.len();
            let held = &mut self.held[slot];
            if std::mem::take(&mut held.was_used) {
                continue;
            }
            if let Some(key) = held.key.take() {
                self.slots.remove(&key);
            }
            return Some(slot as u32);
        }
        None
    }

    fn set(&mut self, slot: u32, key: PageKey) {
        if let Some(old) = self.slots.insert(key, slot) {
            self.held[old as usize].key = None;
        }
        self.held[slot as usize] = Held { key: Some(key), was_used: false };
    }
}

impl Shared {
    /// The writer's work, until nobody can send any more.
    fn run(&self, there: u32, slots_max: u32, pages: &Receiver<(PageKey, Bytes)>) {
        self.scan(there);
        while let Ok((key, page)) = pages.recv() {
            if let Err(error) = self.write(&key, &page, slots_max)
                && !self.is_broken.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%error, "the cache of blocks on disk is not written any more");
            }
        }
    }

    /// Learns what the file held before.
    fn scan(&self, there: u32) {
        for slot in 0..there {
            let mut header = [0; HEADER_BYTES];
            let key = match self.file.read_exact_at(&mut header, u64::from(slot) * SLOT_BYTES) {
                Ok(()) => self.parse_header(&header).map(|(key, _)| key),
                Err(_) => None,
            };
            let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            index.held.push(Held { key: None, was_used: false });
            if let Some(key) = key {
                index.set(slot, key);
            }
        }
    }

    fn write(&self, key: &PageKey, page: &[u8], slots_max: u32) -> io::Result<()> {
        let slot = {
            let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            if index.slots.contains_key(key) {
                return Ok(());
            }
            let Some(slot) = index.take_slot(slots_max) else { return Ok(()) };
            slot
        };
        let Some(mut bytes) = self.header(key, page) else { return Ok(()) };
        bytes.extend_from_slice(page);
        // The file has whole slots only: another start would cut the last one off.
        bytes.resize(SLOT_BYTES as usize, 0);
        self.file.write_all_at(&bytes, u64::from(slot) * SLOT_BYTES)?;
        self.index.lock().unwrap_or_else(PoisonError::into_inner).set(slot, *key);
        Ok(())
    }

    /// A slot's page, if it is this one. Meanwhile it may have become another one, which its header says.
    fn read(&self, key: &PageKey, slot: u32) -> Option<Bytes> {
        let mut bytes = vec![0; SLOT_BYTES as usize];
        let begin = u64::from(slot) * SLOT_BYTES;
        let mut len = 0;
        while len < bytes.len() {
            match self.file.read_at(&mut bytes[len..], begin + len as u64) {
                Ok(0) | Err(_) => break,
                Ok(more) => len += more,
            }
        }
        let page = self.parse_header(bytes.first_chunk()?).and_then(|(found, page)| {
            let end = HEADER_BYTES + page.len;
            let is_it = found == *key && end <= len && crc32c::crc32c(&bytes[HEADER_BYTES..end]) == page.crc;
            is_it.then_some(end)
        });
        let Some(end) = page else {
            self.metrics.disk_damaged.inc();
            let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
            if index.slots.get(key) == Some(&slot) {
                index.slots.remove(key);
                index.held[slot as usize].key = None;
            }
            return None;
        };
        bytes.truncate(end);
        Some(Bytes::from(bytes).slice(HEADER_BYTES..))
    }

    fn header(&self, key: &PageKey, page: &[u8]) -> Option<Vec<u8>> {
        let tenant = self.tenants.id(key.block.tenant)?;
        let tenant = tenant.as_str().as_bytes();
        let mut header = Vec::with_capacity(SLOT_BYTES as usize);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&key.block.ulid.0.to_le_bytes());
        header.extend_from_slice(&key.file.to_le_bytes());
        header.extend_from_slice(&key.page.to_le_bytes());
        header.extend_from_slice(&(page.len() as u32).to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(page).to_le_bytes());
        header.resize(TENANT_AT, 0);
        header.push(u8::try_from(tenant.len()).ok()?);
        header.extend_from_slice(tenant);
        if header.len() + CRC_BYTES > HEADER_BYTES {
            return None;
        }
        header.resize(HEADER_BYTES - CRC_BYTES, 0);
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        Some(header)
    }

    fn parse_header(&self, header: &[u8; HEADER_BYTES]) -> Option<(PageKey, PageBytes)> {
        let (fields, crc) = header.split_last_chunk::<CRC_BYTES>()?;
        let mut rest = fields.strip_prefix(&MAGIC)?;
        if crc32c::crc32c(fields).to_le_bytes() != *crc {
            return None;
        }
        let (ulid, behind) = rest.split_first_chunk()?;
        rest = behind;
        let mut number = || {
            let (number, behind) = rest.split_first_chunk()?;
            rest = behind;
            Some(u32::from_le_bytes(*number))
        };
        let (file, page, len, crc) = (number()?, number()?, number()? as usize, number()?);
        let (tenant_len, tenant) = fields[TENANT_AT..].split_first()?;
        let tenant: TenantId =
            TenantId::new(str::from_utf8(tenant.get(..usize::from(*tenant_len))?).ok()?).ok()?;
        let block = BlockKey { tenant: self.tenants.number(&tenant), ulid: Ulid(u128::from_le_bytes(*ulid)) };
        let is_page = len as u64 <= PAGE_BYTES;
        is_page.then_some((PageKey { block, file, page }, PageBytes { len, crc }))
    }
}

/// What a header says of a page's bytes.
struct PageBytes {
    len: usize,
    crc: u32,
}
