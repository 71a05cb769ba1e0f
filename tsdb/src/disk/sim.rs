//! A disk in memory that forgets what was not synced, for tests and simulation.
//!
//! `kill -9` does not test fsync, since the page cache survives it. A [`SimDisk::crash`] does: every file goes
//! back to what its last successful `sync_data` covered (plus, as real disks do, any part of what came after,
//! as the caller's choice function says), and names that no `sync_dir` covered are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile, FileView, ReadAt};

/// Faults to be injected, until changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimFaults {
    /// Bytes that can still be written before the disk is full; `None`: no bound.
    pub room_bytes: Option<u64>,
    /// Every `sync_data` fails.
    pub sync_fails: bool,
}

/// A disk in memory; clones share it.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// Names as they would be found after a crash.
    durable_names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    folders: BTreeSet<PathBuf>,
    /// Folders that were moved, and whose new name no sync has covered yet.
    moved: Vec<(PathBuf, PathBuf)>,
    faults: Arc<Mutex<SimFaults>>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// Content as of the last sync.
    synced: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds the simulated disk")
}

impl SimDisk {
    /// Loses power: what was not synced is gone. `keep` decides, for a file with unsynced bytes at its end,
    /// how many of them had reached the platter anyway (it gets the path and their number).
    pub fn crash(&self, mut keep: impl FnMut(&Path, usize) -> usize) {
        let mut state = lock(&self.state);
        // New contents: handles that tests still hold from before the crash must not write any more.
        let mut survivors = BTreeMap::new();
        for (path, content) in &state.durable_names {
            let content = lock(content);
            let mut bytes = content.synced.clone();
            if let Some(tail) = content.bytes.get(bytes.len()..) {
                let kept = keep(path, tail.len()).min(tail.len());
                bytes.extend_from_slice(&tail[..kept]);
            }
            survivors.insert(path.clone(), Arc::new(Mutex::new(Content { synced: bytes.clone(), bytes })));
        }
        state.files = survivors.clone();
        state.durable_names = survivors;
        state.moved.clear();
    }

    /// Sets the faults from now on.
    pub fn set_faults(&self, faults: SimFaults) {
        *lock(&lock(&self.state).faults) = faults;
    }

    /// Changes a file's bytes behind everyone's back, as a bad disk does.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let content = self.content(path)?;
        let mut content = lock(&content);
        change(&mut content.bytes);
        content.synced = content.bytes.clone();
        Ok(())
    }

    fn content(&self, path: &Path) -> io::Result<Arc<Mutex<Content>>> {
        lock(&self.state).files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        lock(&self.state).folders.insert(path.to_owned());
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = lock(&self.state);
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Arc::new(Mutex::new(Content::default()));
        state.files.insert(path.to_owned(), content.clone());
        Ok(Box::new(SimFile { content, faults: state.faults.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let faults = lock(&self.state).faults.clone();
        Ok(Box::new(SimFile { content: self.content(path)?, faults }))
    }

    fn map(&self, path: &Path, _len: u64) -> io::Result<Arc<dyn FileView>> {
        Ok(Arc::new(SimView(self.content(path)?)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(self.read(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(lock(&*self.content(path)?).bytes.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(lock(&*self.content(path)?).bytes.len() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        if let Some(content) = state.files.remove(from) {
            state.files.insert(to.to_owned(), content);
            return Ok(());
        }
        if !state.folders.iter().chain(state.files.keys()).any(|path| path.starts_with(from)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.folders.iter().chain(state.files.keys()).any(|path| path.starts_with(to)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.files =
            take(&mut state.files).into_iter().map(|(path, c)| (moved(path, from, to), c)).collect();
        state.folders = take(&mut state.folders).into_iter().map(|path| moved(path, from, to)).collect();
        state.moved.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.files.retain(|name, _| !name.starts_with(path));
        state.folders.retain(|name| !name.starts_with(path));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.state).files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = lock(&self.state);
        let names = state.files.keys().chain(&state.folders);
        let children: BTreeSet<PathBuf> = names
            .filter_map(|name| {
                let below = name.strip_prefix(path).ok()?;
                Some(path.join(below.components().next()?))
            })
            .collect();
        Ok(children.into_iter().collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = lock(&self.state);
        let State { files, durable_names, moved: moves, .. } = &mut *state;
        for (from, to) in moves.extract_if(.., |(_, to)| to.parent() == Some(path)) {
            *durable_names =
                take(durable_names).into_iter().map(|(p, c)| (moved(p, &from, &to), c)).collect();
        }
        durable_names.retain(|name, _| name.parent() != Some(path));
        let here = files.iter().filter(|(name, _)| name.parent() == Some(path));
        durable_names.extend(here.map(|(name, content)| (name.clone(), content.clone())));
        Ok(())
    }
}

/// A path after its folder `from` was moved to `to`.
fn moved(path: PathBuf, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        Ok(below) => to.join(below),
        Err(_) => path,
    }
}

struct SimFile {
    content: Arc<Mutex<Content>>,
    faults: Arc<Mutex<SimFaults>>,
}

impl DiskFile for SimFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut faults = lock(&self.faults);
        let room = faults.room_bytes.unwrap_or(u64::MAX);
        let written = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if let Some(room) = &mut faults.room_bytes {
            *room -= written as u64;
        }
        let mut content = lock(&self.content);
        let (begin, end) = (offset as usize, offset as usize + written);
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[begin..end].copy_from_slice(&bytes[..written]);
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        if lock(&self.faults).sync_fails {
            return Err(io::Error::other("injected fsync failure"));
        }
        let mut content = lock(&self.content);
        content.synced = content.bytes.clone();
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        lock(&self.content).bytes.resize(len as usize, 0);
        Ok(())
    }
}

struct SimView(Arc<Mutex<Content>>);

impl FileView for SimView {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = lock(&self.0);
        let source = content.bytes.get(offset as usize..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
