//! The thread that carries sealed chunks from memory to disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gyre_tsdb::disk::{Disk, FileView};
use gyre_tsdb::sealed::Flush;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// How long to wait before writing to a full disk is tried again. Meanwhile the chunks stay in memory; there
/// will not be many more of them, since the log on the same disk stalls too.
const RETRY: Duration = Duration::from_secs(1);

/// Tries before chunks are left to be read from memory.
const TRIES_MAX: u32 = 600;

/// Sealed chunks that were written out, to be picked up by their shard.
pub type Spilled = Arc<Mutex<Vec<(Flush, Arc<dyn FileView>)>>>;

/// What the thread is asked to do.
pub enum Spill {
    /// Write sealed chunks out.
    Write {
        /// What to write.
        flush: Flush,
        /// The file's view, if there is one.
        view: Option<Arc<dyn FileView>>,
        /// Where to say that it is written.
        done: Spilled,
    },
    /// Say when all that was asked for before is done.
    Barrier(oneshot::Sender<()>),
}

/// Starts the thread. It ends when all senders are gone.
pub fn start(disk: Arc<dyn Disk>) -> std::io::Result<(UnboundedSender<Spill>, JoinHandle<()>)> {
    let (sender, receiver) = unbounded_channel();
    let thread = std::thread::Builder::new().name("spill".into()).spawn(move || run(disk, receiver))?;
    Ok((sender, thread))
}

fn run(disk: Arc<dyn Disk>, mut spills: UnboundedReceiver<Spill>) {
    while let Some(spill) = spills.blocking_recv() {
        match spill {
            Spill::Write { flush, view, done } => {
                if let Some(view) = write(disk.as_ref(), &flush, view) {
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((flush, view));
                }
            }
            Spill::Barrier(done) => drop(done.send(())),
        }
    }
}

fn write(disk: &dyn Disk, flush: &Flush, view: Option<Arc<dyn FileView>>) -> Option<Arc<dyn FileView>> {
    for tries in 0..TRIES_MAX {
        match flush.write(disk).and_then(|()| view.clone().map_or_else(|| flush.map(disk), Ok)) {
            Ok(view) => return Some(view),
            Err(error) => {
                if tries == 0 {
                    tracing::warn!(%error, "cannot write sealed chunks out; keeping them in memory");
                }
                std::thread::sleep(RETRY);
            }
        }
    }
    None
}
