//! The holder's side of a pull: batches from the log, with the labels of their series from the head.
//!
//! Reading files blocks, so it happens on a thread of its own, at most a few batches ahead of what the connection
//! takes. If the log does not have some of the batches any more, it gives none, and it ends before one that cannot be
//! read: a record lacks the samples that were here before it, from batches which may be among those. A batch is logged
//! once. So one that is held and not found is never looked for again.
//!
//! Samples of series that are [gone](crate::shard::forget) are left out, for nobody knows their labels. Blocks have them, as
//! the peer must know before it holds such a batch, in order to name them to its readers.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId, HashSeed, SeriesKey};
use gyre_tsdb::wal::{BatchName, LoggedBatch, read_batches};
use tokio::sync::mpsc;

use super::wire::{put_header, put_released};
use crate::api::push::histogram;
use crate::rpc::ReplySink;
use crate::rpc::frame::CHUNK_BYTES_MAX;
use crate::rpc::samples::{BatchWriter, Encoder, SERIES_IDS_MAX, SampleSource};
use crate::shard::read::{LabelsOf, NumberedSeries, SERIES_PER_READ};
use crate::shard::recover::Layout;
use crate::shard::released::ReleasedTo;
use crate::shard::segment_name;
use crate::shard::supervisor::ShardHandle;

/// Batches read ahead of the connection.
const BATCHES_AHEAD_MAX: usize = 4;

/// Batches that one pull may name.
const WANTED_MAX: u64 = 1 << 20;

/// Sends the wanted batches in the order of the log, if it has all; gives those that it does not have.
pub async fn give(
    layout: &Layout,
    shard: &Arc<ShardHandle>,
    wanted: &BatchSet,
    sink: &mut ReplySink,
) -> Result<BatchSet, String> {
    // Only what is durable here is wanted, so that it lies before `end`.
    let wanted = wanted.intersection(&shard.state.vector().held);
    let end = shard.lane.position();
    shard.lane.barrier().await.map_err(|error| error.to_string())?;
    if wanted.len() > WANTED_MAX {
        return Ok(wanted);
    }
    let known_to_be_gone = shard.not_in_log().intersection(&wanted);
    if !known_to_be_gone.is_empty() {
        return Ok(known_to_be_gone);
    }
    let names = names(&wanted);
    let (batches, mut read) = mpsc::channel(BATCHES_AHEAD_MAX);
    let (disk, folder) = (layout.disk.clone(), layout.lane(shard.lane.number));
    let stream_name = segment_name::encode(&shard.segment);
    let reading = tokio::task::spawn_blocking(move || {
        let read = |visit: &mut dyn FnMut(Result<LoggedBatch, BatchName>) -> ControlFlow<()>| {
            read_batches(disk.as_ref(), &folder, end, &stream_name, &names, visit)
        };
        // Looks for all before any is sent.
        let missing = read(&mut |_| ControlFlow::Break(()))?;
        if !missing.is_empty() {
            return Ok(missing);
        }
        let mut unreadable = None;
        let missing = read(&mut |batch| match batch.map(|batch| batches.blocking_send(batch)) {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(name) => {
                unreadable = Some(name);
                ControlFlow::Break(())
            }
        })?;
        Ok::<_, io::Error>(missing.into_iter().chain(unreadable).collect())
    });
    let mut sender = Sender::new(shard, layout.seed);
    while let Some(batch) = read.recv().await {
        sender.send(batch, sink).await?;
    }
    let missing = reading.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let missing = missing.into_iter().map(id_of).fold(BatchSet::default(), |mut set, id| {
        set.insert(id);
        set
    });
    shard.not_in_log().extend(&missing);
    Ok(missing)
}

fn names(wanted: &BatchSet) -> HashSet<BatchName> {
    let numbers = wanted.intervals().flat_map(|(boot, first, last)| {
        (first.0..=last.0).map(move |number| BatchName { boot: boot.0, number })
    });
    numbers.collect()
}

fn id_of(name: BatchName) -> BatchId {
    BatchId { boot: BootId(name.boot), number: BatchNumber(name.number) }
}

/// Sends the batches of one reply.
struct Sender<'a> {
    shard: &'a Arc<ShardHandle>,
    seed: HashSeed,
    encoder: Encoder,
    /// Labels of series that were met, by number; `None` if one is gone. As many as the peer's decoder holds.
    labels: HashMap<u32, Option<Arc<[u8]>>>,
    /// The names of blocks that were sent.
    named: Vec<ReleasedTo>,
}

impl<'a> Sender<'a> {
    fn new(shard: &'a Arc<ShardHandle>, seed: HashSeed) -> Self {
        Sender {
            shard,
            seed,
            encoder: Encoder::new(SERIES_IDS_MAX),
            labels: HashMap::new(),
            named: Vec::new(),
        }
    }

    async fn send(&mut self, batch: LoggedBatch, sink: &mut ReplySink) -> Result<(), String> {
        let id = id_of(batch.name);
        let (source, has_gone) = self.source(batch).await?;
        let mut bytes = Vec::new();
        self.encoder.encode(&source, &mut bytes).map_err(|error| error.to_string())?;
        let mut out = Vec::with_capacity(bytes.len() + super::wire::HEADER_BYTES);
        if has_gone {
            // Asked after it was seen that a series is gone: so it names the block that has it.
            let named = self.shard.released.all();
            if named != self.named {
                put_released(&mut out, &named);
                self.named = named;
            }
        }
        put_header(&mut out, id, bytes.len());
        out.extend_from_slice(&bytes);
        let out = Bytes::from(out);
        for begin in (0..out.len()).step_by(CHUNK_BYTES_MAX) {
            let part = out.slice(begin..out.len().min(begin + CHUNK_BYTES_MAX));
            sink.send(part).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// A batch without series that are gone, and whether there are any.
    async fn source(&mut self, batch: LoggedBatch) -> Result<(LoggedSource, bool), String> {
        let mut series: Vec<u32> = batch.samples.iter().map(|sample| sample.series).collect();
        series.extend(batch.histograms.iter().map(|sample| sample.series));
        series.sort_unstable();
        series.dedup();
        if self.labels.len() + series.len() > SERIES_IDS_MAX as usize {
            self.labels.clear();
        }
        let unknown: Vec<u32> =
            series.iter().copied().filter(|series| !self.labels.contains_key(series)).collect();
        for some in unknown.chunks(SERIES_PER_READ) {
            let labels = self.shard.actor.ask(LabelsOf(some.to_vec())).await;
            let labels = labels.map_err(|gone| gone.to_string())?;
            let labels = labels.into_iter().map(|series| match series {
                NumberedSeries::Labels(labels) => Some(Arc::from(labels)),
                NumberedSeries::Gone => None,
            });
            self.labels.extend(some.iter().copied().zip(labels));
        }
        let count = series.len();
        let series = series.into_iter().filter_map(|number| {
            let labels = self.labels.get(&number)?.clone()?;
            Some(LoggedSeries { number, key: self.seed.key(&labels), labels })
        });
        let series: Vec<LoggedSeries> = series.collect();
        let has_gone = series.len() < count;
        Ok((LoggedSource { segment: self.shard.name.clone(), series, batch }, has_gone))
    }
}

struct LoggedSeries {
    number: u32,
    key: SeriesKey,
    labels: Arc<[u8]>,
}

/// A logged batch as something to be encoded.
struct LoggedSource {
    segment: Arc<str>,
    /// By number, without those that are gone.
    series: Vec<LoggedSeries>,
    batch: LoggedBatch,
}

impl SampleSource for LoggedSource {
    fn segment(&self) -> &str {
        &self.segment
    }

    fn series_len(&self) -> usize {
        self.series.len()
    }

    fn write_to(&self, out: &mut BatchWriter<'_>) {
        let mut samples: Vec<_> = self.batch.samples.iter().collect();
        // Stable: those of one series stay in the order in which they were logged.
        samples.sort_by_key(|sample| sample.series);
        let mut histograms: Vec<_> = self.batch.histograms.iter().collect();
        histograms.sort_by_key(|sample| sample.series);
        let (mut samples, mut histograms) =
            (samples.into_iter().peekable(), histograms.into_iter().peekable());
        let mut message = Vec::new();
        for series in &self.series {
            out.series(series.key, || &series.labels);
            while samples.next_if(|sample| sample.series < series.number).is_some() {}
            while histograms.next_if(|sample| sample.series < series.number).is_some() {}
            while let Some(sample) = samples.next_if(|sample| sample.series == series.number) {
                out.sample(sample.t_ms, sample.value);
            }
            while let Some(sample) = histograms.next_if(|sample| sample.series == series.number) {
                message.clear();
                histogram::encode(sample.t_ms, &sample.histogram, &mut message);
                out.histogram(sample.t_ms, &message);
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        self.batch.samples.len() * size_of::<gyre_tsdb::wal::LoggedSample>()
    }
}
