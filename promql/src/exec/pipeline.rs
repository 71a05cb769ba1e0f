//! Pushing series through operators.
//!
//! A [`Pipeline`] is a source of series and the stages each series passes. [`Executor::drive`] runs it: workers take
//! batches from the source, push each series through all stages and into a sink of their own. The caller merges the
//! sinks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::executor::Executor;
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use crate::annotations::Annotations;
use crate::engine::{QueryError, Tracker};
use crate::labels::Labels;
use crate::storage::{SERIES_PER_BATCH, SampleBuffer, SeriesBatch, SeriesSet};

/// What a worker has to itself.
pub(crate) struct Worker<'t> {
    pub tracker: &'t Tracker,
    pub annotations: Annotations,
    /// For decoded samples.
    pub buffer: SampleBuffer,
    /// For a stage that makes a new row of the old one.
    pub spare: Row,
    /// Hashes of the label sets that passed each guard.
    guards: Vec<Vec<u128>>,
}

impl<'t> Worker<'t> {
    fn new(tracker: &'t Tracker, guards: usize) -> Self {
        Self {
            tracker,
            annotations: Annotations::default(),
            buffer: SampleBuffer::default(),
            spare: Row::default(),
            guards: vec![Vec::new(); guards],
        }
    }
}

/// Turns the samples of a series into its row.
pub(crate) trait Reader: Sync {
    /// The times samples are needed for, milliseconds, both included.
    fn time_range_ms(&self) -> (i64, i64);

    /// Fills `series.row` (its labels are set) from `worker.buffer`.
    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError>;

    /// Adds how many samples each step looked at to `counts`, behind [`Reader::read`].
    fn count(&self, row: &Row, _buffer: &SampleBuffer, counts: &mut [u64]) {
        super::count::add_values(row, counts);
    }
}

/// Changes a series on its way. A series without values is not passed on.
pub(crate) trait Stage: Sync {
    fn apply(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError>;
}

/// Takes series in.
pub(crate) trait Sink: Send {
    /// May take the row out of `series`.
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError>;
}

/// Where a pipeline's series come from.
pub(crate) enum Source<'p> {
    Storage { set: Box<dyn SeriesSet<'p> + 'p>, reader: Box<dyn Reader + 'p> },
    Rows(Rows<'p>),
}

enum Step<'p> {
    Stage(Box<dyn Stage + 'p>),
    /// Label sets must be unique from here on.
    Guard(usize),
}

/// A source and what happens to each series.
pub(crate) struct Pipeline<'p> {
    source: Source<'p>,
    steps: Vec<Step<'p>>,
    guards: Vec<Guard>,
}

/// What to do if an operator gave two series the same labels.
#[derive(Clone, Copy)]
pub(crate) enum Guard {
    /// Fail.
    Fail,
    /// Evaluate again, holding the output of this operator (identified by its plan's address) and merging.
    Merge(usize),
}

/// Why a pipeline did not finish.
pub(crate) enum Failure {
    Query(QueryError),
    /// The guard of this operator was tripped.
    Duplicates(usize),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl<'p> Pipeline<'p> {
    pub fn new(source: Source<'p>) -> Self {
        Self { source, steps: Vec::new(), guards: Vec::new() }
    }

    pub fn rows(rows: Rows<'p>) -> Self {
        Self::new(Source::Rows(rows))
    }

    pub fn then(mut self, stage: impl Stage + 'p) -> Self {
        self.steps.push(Step::Stage(Box::new(stage)));
        self
    }

    pub fn guarded(mut self, guard: Guard) -> Self {
        self.steps.push(Step::Guard(self.guards.len()));
        self.guards.push(guard);
        self
    }
}

/// Series taken from a source at once.
enum Chunk<'p> {
    Batch { batch: Box<dyn SeriesBatch + 'p>, first_order: u64 },
    Rows(Vec<SeriesRow>),
}

enum Feed<'p> {
    Storage { set: Box<dyn SeriesSet<'p> + 'p>, batches: u64 },
    Rows(std::vec::IntoIter<SeriesRow>),
}

impl<'p> Feed<'p> {
    fn next(&mut self) -> Result<Option<Chunk<'p>>, QueryError> {
        match self {
            Self::Storage { set, batches } => {
                let Some(batch) = set.next_batch()? else { return Ok(None) };
                let first_order = *batches << 24;
                *batches += 1;
                Ok(Some(Chunk::Batch { batch, first_order }))
            }
            Self::Rows(rows) => {
                let chunk: Vec<SeriesRow> = rows.take(SERIES_PER_BATCH).collect();
                Ok((!chunk.is_empty()).then_some(Chunk::Rows(chunk)))
            }
        }
    }
}

impl<'a> Executor<'a> {
    /// Runs a pipeline into sinks made by `make`; returns those of all workers.
    pub fn drive<S: Sink>(
        &self,
        pipeline: Pipeline<'_>,
        annotations: &mut Annotations,
        make: &(dyn Fn() -> S + Sync),
    ) -> Result<Vec<S>, Failure> {
        let Pipeline { source, steps, guards } = pipeline;
        let tracker = self.tracker;
        let mut reservation = None;
        let (mut feed, reader) = match source {
            Source::Storage { set, reader } => (Feed::Storage { set, batches: 0 }, Some(reader)),
            Source::Rows(rows) => {
                reservation = Some(rows.reservation);
                let mut series = rows.series;
                for (order, series) in (0..).zip(&mut series) {
                    series.order = order;
                }
                (Feed::Rows(series.into_iter()), None)
            }
        };
        let run = Run { steps: &steps, reader: reader.as_deref(), tracker };

        // Threads are worth it from two chunks on.
        let mut chunks = Vec::new();
        while chunks.len() < 2 {
            match feed.next()? {
                Some(chunk) => chunks.push(chunk),
                None => break,
            }
        }
        let worker_count = if chunks.len() < 2 { 1 } else { self.options.workers.count() };
        chunks.reverse();
        let mut outcomes = if worker_count == 1 {
            let mut sink = make();
            let mut worker = Worker::new(tracker, guards.len());
            while let Some(chunk) = chunks.pop().map_or_else(|| feed.next(), |chunk| Ok(Some(chunk)))? {
                run.chunk(chunk, &mut sink, &mut worker)?;
            }
            vec![(sink, worker)]
        } else {
            let queue = Mutex::new((chunks, &mut feed));
            let outcomes = Mutex::new(Vec::new());
            let failure = Mutex::new(None);
            let stop = AtomicBool::new(false);
            self.options.workers.run(worker_count, &|number| {
                let mut sink = make();
                let mut worker = Worker::new(tracker, guards.len());
                let result = (|| {
                    while !stop.load(Ordering::Relaxed) {
                        let chunk = {
                            let mut queue = lock(&queue);
                            let queued = queue.0.pop();
                            match queued {
                                Some(chunk) => Some(chunk),
                                None => queue.1.next()?,
                            }
                        };
                        let Some(chunk) = chunk else { break };
                        run.chunk(chunk, &mut sink, &mut worker)?;
                    }
                    Ok::<(), QueryError>(())
                })();
                match result {
                    Ok(()) => lock(&outcomes).push((number, sink, worker)),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        lock(&failure).get_or_insert(error);
                    }
                }
            });
            if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
                return Err(error.into());
            }
            let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            outcomes.sort_by_key(|(number, ..)| *number);
            outcomes.into_iter().map(|(_, sink, worker)| (sink, worker)).collect()
        };
        if let Feed::Storage { set, .. } = &mut feed {
            for message in set.warnings() {
                annotations.add(crate::annotations::Annotation::Storage { message }, Default::default());
            }
        }
        drop(reservation);
        check_guards(&guards, &mut outcomes)?;
        let mut sinks = Vec::with_capacity(outcomes.len());
        for (sink, worker) in outcomes {
            annotations.merge(worker.annotations);
            sinks.push(sink);
        }
        Ok(sinks)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A worker that panicked takes the whole query down with it, so the state behind the lock is never used again.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn check_guards<S>(guards: &[Guard], outcomes: &mut [(S, Worker<'_>)]) -> Result<(), Failure> {
    for (at, guard) in guards.iter().enumerate() {
        let mut hashes: Vec<u128> = Vec::new();
        for (_, worker) in outcomes.iter_mut() {
            hashes.append(&mut worker.guards[at]);
        }
        hashes.sort_unstable();
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(match guard {
                Guard::Fail => Failure::Query(QueryError::same_labelset()),
                Guard::Merge(operator) => Failure::Duplicates(*operator),
            });
        }
    }
    Ok(())
}

/// What all workers of a pipeline share.
struct Run<'r, 'p> {
    steps: &'r [Step<'p>],
    reader: Option<&'r (dyn Reader + 'p)>,
    tracker: &'r Tracker,
}

impl Run<'_, '_> {
    fn chunk<S: Sink>(
        &self,
        chunk: Chunk<'_>,
        sink: &mut S,
        worker: &mut Worker<'_>,
    ) -> Result<(), QueryError> {
        match chunk {
            Chunk::Rows(rows) => {
                for mut series in rows {
                    self.tracker.check()?;
                    self.push(&mut series, sink, worker)?;
                }
            }
            Chunk::Batch { mut batch, first_order } => {
                let Some(reader) = self.reader else { return Ok(()) };
                let (mint_ms, maxt_ms) = reader.time_range_ms();
                let mut series = SeriesRow::new(Labels::empty(), Row::default());
                let mut samples_read = 0;
                for at in 0..batch.len() {
                    self.tracker.check()?;
                    worker.buffer.clear();
                    batch.read(at, mint_ms, maxt_ms, &mut worker.buffer)?;
                    let samples = worker.buffer.floats.len() + worker.buffer.histograms.len();
                    if samples == 0 {
                        continue;
                    }
                    samples_read += samples as u64;
                    series.labels = batch.labels(at).clone();
                    series.drop_name = false;
                    series.order = first_order + at as u64;
                    reader.read(&mut series, worker)?;
                    self.push(&mut series, sink, worker)?;
                }
                self.tracker.samples_read.fetch_add(samples_read, Ordering::Relaxed);
                self.tracker.series_read.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn push<S: Sink>(
        &self,
        series: &mut SeriesRow,
        sink: &mut S,
        worker: &mut Worker<'_>,
    ) -> Result<(), QueryError> {
        if series.row.is_empty() {
            return Ok(());
        }
        for step in self.steps {
            match step {
                Step::Stage(stage) => {
                    stage.apply(series, worker)?;
                    if series.row.is_empty() {
                        return Ok(());
                    }
                }
                Step::Guard(at) => worker.guards[*at].push(series.labels.hash128()),
            }
        }
        sink.consume(series, worker)
    }
}
