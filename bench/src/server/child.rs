//! Child processes and folders that never outlive the run: not on return, not on a panic, not on Ctrl-C.
//!
//! Drop covers the first two. For signals, [`clean_up_on_signals`] starts a thread that kills what is registered,
//! removes the folders and exits. SIGKILL of the bench itself cannot be covered.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::process::Process;

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
static CHILDREN: Mutex<BTreeMap<u64, Arc<Mutex<Child>>>> = Mutex::new(BTreeMap::new());
static FOLDERS: Mutex<BTreeMap<u64, PathBuf>> = Mutex::new(BTreeMap::new());

/// A panic elsewhere must not keep children alive: the data under these locks is valid at all times.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills children and removes folders when the run is interrupted, then exits with 130.
pub fn clean_up_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Error::io("taking over signals"))?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            for child in lock(&CHILDREN).values() {
                let mut child = lock(child);
                // Both fail only for a child that is gone already.
                let _ = child.kill();
                let _ = child.wait();
            }
            for folder in lock(&FOLDERS).values() {
                let _ = fs::remove_dir_all(folder);
            }
            eprintln!("interrupted: servers killed, folders removed");
            std::process::exit(130);
        }
    });
    Ok(())
}

/// A child process that is killed when dropped.
#[derive(Debug)]
pub struct ManagedChild {
    name: String,
    key: u64,
    child: Arc<Mutex<Child>>,
    /// To read its usage by.
    pub process: Process,
}

impl ManagedChild {
    /// Starts the command.
    pub fn spawn(name: &str, command: &mut Command) -> Result<ManagedChild> {
        let child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        let process = Process(child.id());
        let child = Arc::new(Mutex::new(child));
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        lock(&CHILDREN).insert(key, Arc::clone(&child));
        Ok(ManagedChild { name: name.to_owned(), key, child, process })
    }

    /// Its exit status if it has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// SIGKILL, then waits until the kernel has torn it down.
    pub fn kill(&self) -> Result<()> {
        let mut child = lock(&self.child);
        child.kill().map_err(Error::io(format!("killing {}", self.name)))?;
        child.wait().map_err(Error::io(format!("waiting for {}", self.name)))?;
        Ok(())
    }

    /// SIGTERM, then waits for the exit, at most `limit`.
    pub fn terminate(&self, limit: Duration) -> Result<ExitStatus> {
        let pid = self.process.0.to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        sent.map_err(Error::io(format!("terminating {}", self.name)))?;
        let give_up = Instant::now() + limit;
        while Instant::now() < give_up {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(Error::server(&self.name, format!("still running {limit:?} after SIGTERM")))
    }
}

impl Drop for ManagedChild {
    fn drop(&mut self) {
        // Fails only for a child that is gone already.
        let _ = self.kill();
        lock(&CHILDREN).remove(&self.key);
    }
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub struct ManagedFolder {
    key: u64,
    path: PathBuf,
}

impl ManagedFolder {
    /// A fresh folder in `parent`.
    pub fn create_in(parent: &Path) -> Result<ManagedFolder> {
        let path = tempfile::Builder::new()
            .prefix("gyre-bench-")
            .tempdir_in(parent)
            .map_err(Error::io(format!("creating a folder in {}", parent.display())))?
            .keep();
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        lock(&FOLDERS).insert(key, path.clone());
        Ok(ManagedFolder { key, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ManagedFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("{} stays: {error}", self.path.display());
        }
        lock(&FOLDERS).remove(&self.key);
    }
}

/// Ports that the system gives to nobody who does not ask for them by number: an outgoing connection could take one of
/// the others before the server does that it was found for.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Ports that were looked at in this process.
static LOOKED_AT: AtomicU32 = AtomicU32::new(0);

/// A loopback address whose port was free a moment ago, and is not given twice by this process.
pub fn free_port() -> Result<SocketAddr> {
    let count = u32::from(PORTS.end - PORTS.start);
    // Processes that run at the same time begin far from each other.
    let begin = std::process::id().wrapping_mul(1_009) % count;
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for _ in 0..count {
        let place = begin.wrapping_add(LOOKED_AT.fetch_add(1, Ordering::Relaxed)) % count;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + place as u16));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(taken) => error = taken,
        }
    }
    Err(Error::io("finding a free port")(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> ManagedChild {
        ManagedChild::spawn("sleep", Command::new("sleep").arg("60")).unwrap()
    }

    #[test]
    fn a_dropped_child_is_dead_and_a_terminated_one_says_how() {
        let child = sleeper();
        let process = child.process;
        assert!(child.exited().is_none());
        drop(child);
        assert!(process.cpu_seconds().is_err());

        let status = sleeper().terminate(Duration::from_secs(5)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn a_panic_kills_the_child_and_removes_the_folder() {
        let seen = Arc::new(Mutex::new(None));
        let out = Arc::clone(&seen);
        let outcome = thread::spawn(move || {
            let child = sleeper();
            let folder = ManagedFolder::create_in(&std::env::temp_dir()).unwrap();
            *out.lock().unwrap() = Some((child.process, folder.path().to_owned()));
            panic!("on purpose");
        })
        .join();
        assert!(outcome.is_err());
        let (process, path) = seen.lock().unwrap().take().unwrap();
        assert!(process.cpu_seconds().is_err());
        assert!(!path.exists());
    }
}
