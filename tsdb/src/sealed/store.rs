//! The files of a shard's sealed chunks, and the part of them that is still in memory.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, FrameError, SealedChunk};
use crate::disk::{Disk, FileView};

/// Magic, version 1, three bytes of zero.
const FILE_HEADER: [u8; 12] = *b"GYRECHNK\x01\0\0\0";

/// A file takes no more frames past this length.
const FILE_BYTES_MAX: u32 = 64 << 20;

/// Room for the last frame of a file that was just short of [`FILE_BYTES_MAX`].
const FILE_BYTES_MAPPED: u64 = FILE_BYTES_MAX as u64 + (1 << 20);

/// So many bytes gather in memory before they are worth a write.
const FLUSH_BYTES: usize = 64 << 10;

/// Where a sealed chunk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file's number, from 1.
    pub file: u32,
    /// The frame's first byte.
    pub offset: u32,
}

/// Bytes to be written to a sealed file, away from the thread that owns the shard.
#[derive(Clone)]
pub struct Flush {
    path: PathBuf,
    at: Location,
    bytes: Arc<Vec<u8>>,
}

/// A chunk's frame, wherever it is at the moment.
pub(crate) enum Stored<'a> {
    Memory(&'a [u8]),
    File(&'a Arc<dyn FileView>),
}

/// A file's use.
#[derive(Clone, Copy, Debug, Default)]
struct Live {
    chunks: u32,
    snapshots_without: u32,
}

/// A file goes when so many snapshots were written that do not refer to it. The first of them may have been written, in
/// part, before the last reference went; one more is kept in case that the newest cannot be read.
const SNAPSHOTS_WITHOUT: u32 = 3;

/// All sealed chunks of a shard.
pub struct SealedStore {
    folder: PathBuf,
    /// By file: chunks that are referred to; and for how many snapshots there were none.
    live: BTreeMap<u32, Live>,
    /// Where the next frame goes.
    end: Location,
    views: BTreeMap<u32, Arc<dyn FileView>>,
    /// Handed to a writer, not yet known to be written. In order.
    in_flight: VecDeque<(Location, Arc<Vec<u8>>)>,
    /// Frames from `tail_begin` to `end`.
    tail: Vec<u8>,
    tail_begin: Location,
}

impl SealedStore {
    /// A store whose next frame goes to `end`; what the files hold before is readable, what they hold after
    /// is overwritten, and later files are removed.
    pub(crate) fn open(disk: &dyn Disk, folder: &Path, end: Option<Location>) -> io::Result<Self> {
        let end = end.unwrap_or(Location { file: 1, offset: FILE_HEADER.len() as u32 });
        let mut views = BTreeMap::new();
        for path in disk.list(folder)? {
            let Some(file) = file_number(&path) else { continue };
            if file > end.file || (file == end.file && end.offset as usize == FILE_HEADER.len()) {
                disk.remove(&path)?;
            } else {
                views.insert(file, disk.map(&path, FILE_BYTES_MAPPED)?);
            }
        }
        let folder = folder.to_owned();
        // Files that no reference turns up for are found unneeded, too.
        let live = views.keys().map(|file| (*file, Live::default())).collect();
        let (in_flight, tail) = (VecDeque::new(), Vec::new());
        Ok(SealedStore { folder, live, end, views, in_flight, tail, tail_begin: end })
    }

    /// Appends a chunk.
    pub(crate) fn push(&mut self, chunk: &SealedChunk, data: &[u8]) -> Location {
        let at = self.end;
        frame::put(&mut self.tail, chunk, data);
        self.end.offset = self.tail_begin.offset + self.tail.len() as u32;
        self.refer(at);
        at
    }

    /// Somebody refers to a chunk.
    pub(crate) fn refer(&mut self, at: Location) {
        self.live.entry(at.file).or_default().chunks += 1;
    }

    /// Nobody refers to a chunk any more.
    pub(crate) fn forget(&mut self, at: Location) {
        if let Some(live) = self.live.get_mut(&at.file) {
            live.chunks = live.chunks.saturating_sub(1);
        }
    }

    /// Counts a snapshot. Gives the files that are not needed any more, and forgets them.
    pub(crate) fn unneeded_files(&mut self) -> Vec<PathBuf> {
        let mut unneeded = Vec::new();
        for (file, live) in &mut self.live {
            let is_unused = live.chunks == 0 && *file < self.tail_begin.file;
            live.snapshots_without = if is_unused { live.snapshots_without + 1 } else { 0 };
            if live.snapshots_without >= SNAPSHOTS_WITHOUT {
                unneeded.push(*file);
            }
        }
        for file in &unneeded {
            self.live.remove(file);
            self.views.remove(file);
        }
        unneeded.into_iter().map(|file| file_path(&self.folder, file)).collect()
    }

    /// Where the next frame will go.
    pub fn end(&self) -> Location {
        self.end
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.tail.capacity() + self.in_flight.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    /// The bytes that are due to be written: some 64 KiB, or with `all` whatever there is.
    pub fn take_flush(&mut self, all: bool) -> Option<Flush> {
        if self.tail.is_empty() || (!all && self.tail.len() < FLUSH_BYTES) {
            return None;
        }
        let bytes = Arc::new(std::mem::take(&mut self.tail));
        let at = self.tail_begin;
        self.in_flight.push_back((at, bytes.clone()));
        if self.end.offset >= FILE_BYTES_MAX {
            self.end = Location { file: self.end.file + 1, offset: FILE_HEADER.len() as u32 };
        }
        self.tail_begin = self.end;
        Some(Flush { path: file_path(&self.folder, at.file), at, bytes })
    }

    /// Notes that a flush was written; its bytes are read from the file from now on.
    pub fn flushed(&mut self, flush: &Flush, view: Arc<dyn FileView>) {
        self.views.insert(flush.at.file, view);
        self.in_flight.retain(|(at, _)| *at != flush.at);
    }

    /// Bytes that were handed out and not reported as written.
    pub fn in_flight(&self) -> impl Iterator<Item = Flush> {
        self.in_flight.iter().map(|(at, bytes)| Flush {
            path: file_path(&self.folder, at.file),
            at: *at,
            bytes: bytes.clone(),
        })
    }

    /// The view of a file that has one already, so that a later flush need not make another.
    pub fn view(&self, flush: &Flush) -> Option<Arc<dyn FileView>> {
        self.views.get(&flush.at.file).cloned()
    }

    /// Where a chunk's frame can be read.
    pub(crate) fn find(&self, at: Location) -> Option<Stored<'_>> {
        if at >= self.tail_begin {
            return self.tail.get((at.offset - self.tail_begin.offset) as usize..).map(Stored::Memory);
        }
        // In flight bytes are at the end of what was written, so the search goes from there.
        let holds = |(begin, bytes): &&(Location, Arc<Vec<u8>>)| {
            begin.file == at.file && (begin.offset..begin.offset + bytes.len() as u32).contains(&at.offset)
        };
        if let Some((begin, bytes)) = self.in_flight.iter().rev().find(holds) {
            return Some(Stored::Memory(&bytes[(at.offset - begin.offset) as usize..]));
        }
        self.views.get(&at.file).map(Stored::File)
    }

    /// Copies a whole frame to the end of `out`, unchecked.
    pub(crate) fn copy_frame(&self, at: Location, out: &mut Vec<u8>) -> Result<(), FrameError> {
        match self.find(at).ok_or(FrameError)? {
            Stored::Memory(bytes) => {
                let header = bytes.first_chunk().ok_or(FrameError)?;
                let len = frame::HEADER_BYTES + frame::data_len(header);
                out.extend_from_slice(bytes.get(..len).ok_or(FrameError)?);
                Ok(())
            }
            Stored::File(view) => read_frame(view.as_ref(), at.offset, out),
        }
    }

    /// All files that are needed, and the one that is written to.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let older = self.live.keys().filter(|file| **file < self.end.file).copied();
        older.chain([self.end.file]).map(|file| file_path(&self.folder, file))
    }
}

impl Flush {
    /// Writes the bytes. May block. Can be repeated after an error, and done by several threads at a time.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let mut file = if self.at.offset as usize == FILE_HEADER.len() {
            let create = || match disk.create(&self.path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => disk.open(&self.path),
                other => other,
            };
            match create() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    disk.create_dir_all(self.path.parent().unwrap_or(Path::new("")))?;
                    create()?
                }
                other => other?,
            }
        } else {
            disk.open(&self.path)?
        };
        if self.at.offset as usize == FILE_HEADER.len() {
            file.write_all_at(&FILE_HEADER, 0)?;
        }
        file.write_all_at(&self.bytes, u64::from(self.at.offset))
    }

    /// A view of the file that was written to. May block.
    pub fn map(&self, disk: &dyn Disk) -> io::Result<Arc<dyn FileView>> {
        disk.map(&self.path, FILE_BYTES_MAPPED)
    }
}

/// Appends a whole frame to `out`, unchecked.
pub(crate) fn read_frame(view: &dyn FileView, offset: u32, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let mut header = [0; frame::HEADER_BYTES];
    view.read_at(u64::from(offset), &mut header).map_err(|_| FrameError)?;
    let begin = out.len();
    out.extend_from_slice(&header);
    out.resize(begin + frame::HEADER_BYTES + frame::data_len(&header), 0);
    let data_at = u64::from(offset) + frame::HEADER_BYTES as u64;
    view.read_at(data_at, &mut out[begin + frame::HEADER_BYTES..]).map_err(|_| FrameError)
}

fn file_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.chunks"))
}

fn file_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".chunks")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn chunk(series: u32) -> SealedChunk {
        SealedChunk { series, encoding: 1, out_of_order: false, min_ms: 1, max_ms: 2 }
    }

    fn read(store: &SealedStore, at: Location) -> Result<(u32, Vec<u8>), FrameError> {
        let mut out = Vec::new();
        store.copy_frame(at, &mut out)?;
        Ok((frame::check(&out)?.series, out[frame::HEADER_BYTES..].to_vec()))
    }

    #[test]
    fn chunks_are_readable_before_during_and_after_they_are_written() {
        let disk = SimDisk::default();
        let mut store = SealedStore::open(&disk, Path::new("s"), None).unwrap();
        let mut places = Vec::new();
        let mut flushes = Vec::new();
        for series in 0..5000u32 {
            places.push(store.push(&chunk(series), &series.to_le_bytes().repeat(20)));
            flushes.extend(store.take_flush(false));
            // Written some time later, in order.
            if flushes.len() > 1 {
                let flush = flushes.remove(0);
                flush.write(&disk).unwrap();
                let view = store.view(&flush).unwrap_or_else(|| flush.map(&disk).unwrap());
                store.flushed(&flush, view);
            }
        }
        for (series, at) in places.iter().enumerate() {
            let data = (series as u32).to_le_bytes().repeat(20);
            assert_eq!(read(&store, *at), Ok((series as u32, data)));
        }
        assert!(store.memory_bytes() < 4 * FLUSH_BYTES, "the rest is in files");
    }

    #[test]
    fn the_first_chunks_may_be_written_by_two_threads_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let disk = crate::disk::OsDisk;
            let mut store = SealedStore::open(&disk, &folder.path().join(round.to_string()), None).unwrap();
            let at = store.push(&chunk(1), b"data");
            let flush = store.take_flush(true).unwrap();
            let both = std::sync::Barrier::new(2);
            let write = || {
                both.wait();
                flush.write(&disk)
            };
            std::thread::scope(|scope| {
                let other = scope.spawn(write);
                write().unwrap();
                other.join().unwrap().unwrap();
            });
            store.flushed(&flush, flush.map(&disk).unwrap());
            assert_eq!(read(&store, at), Ok((1, b"data".to_vec())));
        }
    }

    #[test]
    fn what_lies_beyond_the_given_end_is_written_over() {
        let disk = SimDisk::default();
        let mut store = SealedStore::open(&disk, Path::new("s"), None).unwrap();
        let kept = store.push(&chunk(1), b"kept");
        let end = store.end();
        store.push(&chunk(2), b"forgotten");
        store.take_flush(true).unwrap().write(&disk).unwrap();

        let mut store = SealedStore::open(&disk, Path::new("s"), Some(end)).unwrap();
        assert_eq!(store.push(&chunk(3), b"instead"), end);
        store.take_flush(true).unwrap().write(&disk).unwrap();
        let store = SealedStore::open(&disk, Path::new("s"), Some(store.end())).unwrap();
        assert_eq!(read(&store, kept), Ok((1, b"kept".to_vec())));
        assert_eq!(read(&store, end), Ok((3, b"instead".to_vec())));
    }
}
