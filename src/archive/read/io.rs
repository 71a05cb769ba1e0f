//! Ranges of a block's files for threads that may wait: those of queries.
//!
//! What is in memory costs no thread switch. For the rest a task is started on a runtime of its own, and waited for as
//! long as the query may take. Pages are taken so many at a time, whatever the ranges come to.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_executor::block_on;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{Instant, timeout_at};

use super::failure::Trouble;
use super::metrics::{BlockMetrics, PageFrom};
use super::object::Object;
use super::pages::{PAGE_BYTES, Pages, ends_early};

/// Pages that one reader holds at a time, whether they are in the cache or not: 16 MiB.
const PAGES_AT_A_TIME: usize = 512;

/// Nothing that is read as one is longer: a series' entry, a chunk.
pub const ITEM_BYTES_MAX: u64 = 16 << 20;

/// Threads of the runtime: they wait for the bucket, and copy.
const THREADS: usize = 2;

/// The runtime of all requests for blocks. It ends with this value, and waits for nothing then.
pub(super) struct BlockRuntime(Option<Runtime>);

impl BlockRuntime {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("blocks").enable_all().build();
        runtime.map(|runtime| BlockRuntime(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken when this is dropped").handle().clone()
    }
}

impl Drop for BlockRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads for one query.
#[derive(Clone)]
pub struct BlockIo {
    pub(super) pages: Arc<Pages>,
    pub(super) metrics: BlockMetrics,
    /// Where requests to the bucket run.
    pub(super) io: Handle,
    /// When nobody waits any more.
    pub(super) deadline: Instant,
}

impl BlockIo {
    /// Waits for something that a task on the runtime does.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Trouble>> + Send + 'static,
    ) -> Result<T, Trouble> {
        let deadline = self.deadline;
        let task = self.io.spawn(async move { timeout_at(deadline, task).await });
        match block_on(task) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Trouble::Unavailable("it was not read before the query's deadline".to_owned())),
            Err(_) => Err(Trouble::Unavailable("this node is shutting down".to_owned())),
        }
    }

    /// The bytes of ranges of a file, in their order, each shorter if the file ends within it. Those that lie close together
    /// should stand together.
    pub(super) fn read(&self, object: &Object, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Trouble> {
        let mut out = Vec::with_capacity(ranges.len());
        let mut rest = ranges;
        while !rest.is_empty() {
            let mut wanted: Vec<u32> = Vec::new();
            let mut count = 0;
            for range in rest {
                let mut pages = pages_of(range);
                // Mostly they are in the page of the range before.
                if wanted.last() == Some(&pages.start) && !pages.is_empty() {
                    pages.start += 1;
                }
                if count > 0 && wanted.len() + pages.len() > PAGES_AT_A_TIME {
                    break;
                }
                wanted.extend(pages);
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            rest = later;
            if !wanted.is_sorted() {
                wanted.sort_unstable();
            }
            wanted.dedup();
            let pages = self.pages(object, &wanted)?;
            for range in now {
                out.push(cut(object, &wanted, &pages, range)?);
            }
        }
        Ok(out)
    }

    fn pages(&self, object: &Object, wanted: &[u32]) -> Result<Vec<Bytes>, Trouble> {
        let mut here: Vec<Option<Bytes>> =
            wanted.iter().map(|page| self.pages.in_memory(&object.page(*page))).collect();
        let missing: Vec<u32> =
            wanted.iter().zip(&here).filter(|(_, page)| page.is_none()).map(|(page, _)| *page).collect();
        self.metrics.pages(PageFrom::Memory, (wanted.len() - missing.len()) as u64);
        if !missing.is_empty() {
            let (pages, object) = (self.pages.clone(), object.clone());
            let got = self.wait(async move { pages.get(&object, &missing).await })?;
            let places = here.iter_mut().filter(|page| page.is_none());
            places.zip(got).for_each(|(place, page)| *place = Some(page));
        }
        Ok(here.into_iter().flatten().collect())
    }
}

fn pages_of(range: &Range<u64>) -> Range<u32> {
    let page = |at: u64| u32::try_from(at / PAGE_BYTES).unwrap_or(u32::MAX);
    if range.is_empty() { 0..0 } else { page(range.start)..page(range.end - 1).saturating_add(1) }
}

/// A range's bytes, from the pages that were got.
fn cut(object: &Object, wanted: &[u32], pages: &[Bytes], range: &Range<u64>) -> Result<Bytes, Trouble> {
    let of_range = pages_of(range);
    let Some(first) = of_range.clone().next() else { return Ok(Bytes::new()) };
    let at = wanted.partition_point(|page| *page < first);
    let skip = (range.start % PAGE_BYTES) as usize;
    let page = pages.get(at).filter(|page| page.len() > skip);
    let page = page.ok_or_else(|| ends_early(object, range.start))?;
    let len = (range.end - range.start) as usize;
    if skip + len <= page.len() || of_range.len() == 1 {
        return Ok(page.slice(skip..page.len().min(skip + len)));
    }
    let mut joined = Vec::with_capacity(len.min(of_range.len() * PAGE_BYTES as usize));
    joined.extend_from_slice(&page[skip..]);
    for page in pages.iter().skip(at + 1).take(of_range.len() - 1) {
        joined.extend_from_slice(&page[..page.len().min(len - joined.len())]);
        if (page.len() as u64) < PAGE_BYTES {
            break;
        }
    }
    Ok(joined.into())
}
