//! What a worker does with series: read them, and pass them through the stages of each branch.

use std::sync::atomic::Ordering;

use super::branch::{OpenSink, Sinks, widest};
use super::count::SampleCounts;
use super::drive::Chunk;
use super::pipeline::{Scan, Step, Worker};
use super::row::Row;
use super::rows::SeriesRow;
use crate::annotations::Annotations;
use crate::engine::{QueryError, Tracker};
use crate::labels::Labels;
use crate::storage::{LabelMatcher, SampleBuffer, SeriesBatch};

/// What labels and calls of a series cost, in units of [`Pace`](crate::engine::Pace).
const UNITS_PER_SERIES: u64 = 200;

/// What all workers do with the series of one branch.
pub(super) struct Pass<'b> {
    steps: Vec<Step<'b>>,
    sinks: &'b dyn Sinks,
    counts: Option<&'b SampleCounts>,
    /// Something looks at labels after a metric name was dropped.
    names_matter: bool,
}

impl<'b> Pass<'b> {
    pub fn new(steps: Vec<Step<'b>>, sinks: &'b dyn Sinks, counts: Option<&'b SampleCounts>) -> Self {
        let names_matter = names_matter(&steps, &*sinks.open());
        Self { steps, sinks, counts, names_matter }
    }

    fn push(&self, seat: &mut Seat<'_>) -> Result<(), QueryError> {
        let Seat { sink, worker, series, .. } = seat;
        if series.row.is_empty() {
            return Ok(());
        }
        for step in &self.steps {
            match step {
                Step::Stage(stage) => {
                    stage.apply(series, worker)?;
                    if series.row.is_empty() {
                        return Ok(());
                    }
                }
                Step::DropOneName => {
                    worker.saw_type_or_unit |= series.labels.has_type_or_unit();
                    // What is said about histograms names them.
                    if self.names_matter || !series.row.histograms().is_empty() {
                        series.labels = series.labels.without_metadata();
                    }
                    series.drop_name = true;
                }
                Step::Guard(at) => worker.guards[*at].push(series.labels.hash128()),
            }
        }
        sink.consume(series, worker)
    }
}

/// Whether anything looks at metric names that [`Step::DropOneName`] drops. If not, they need not be dropped: making
/// label sets is a good part of what a series costs.
fn names_matter(steps: &[Step<'_>], sink: &dyn OpenSink) -> bool {
    let after = steps.iter().skip_while(|step| !matches!(step, Step::DropOneName));
    sink.sees_metric_name()
        || after.into_iter().any(|step| match step {
            Step::Stage(stage) => stage.sees_labels(),
            Step::Guard(_) => true,
            Step::DropOneName => false,
        })
}

/// What a worker has for one branch.
struct Seat<'b> {
    sink: Box<dyn OpenSink + 'b>,
    worker: Worker<'b>,
    series: SeriesRow,
    /// What the reader said about the series, of several branches.
    notes: Annotations,
}

impl Seat<'_> {
    fn begin(&mut self, labels: Labels, order: u64) {
        self.series.labels = labels;
        self.series.drop_name = false;
        self.series.order = order;
    }

    /// Makes the row of the samples in the buffer, and remembers what that gave rise to.
    fn read_apart(&mut self, scan: &Scan<'_>) -> Result<(), QueryError> {
        let all = std::mem::take(&mut self.worker.annotations);
        let outcome = scan.reader.read(&mut self.series, &mut self.worker);
        self.notes = std::mem::replace(&mut self.worker.annotations, all);
        outcome?;
        self.worker.annotations.merge(self.notes.clone());
        count(scan, &self.worker, &self.series.row, &self.worker.buffer);
        Ok(())
    }

    /// Takes the row of another branch, whose reader does the same for another place in the query.
    fn copy_row(&mut self, scan: &Scan<'_>, other: &Self) -> Result<(), QueryError> {
        self.worker.pace.spend(other.series.row.steps() as u64)?;
        self.series.row.copy_from(&other.series.row);
        let span = scan.computes.map(|computes| computes.span()).unwrap_or_default();
        self.worker.annotations.merge(other.notes.at(span));
        count(scan, &self.worker, &self.series.row, &other.worker.buffer);
        Ok(())
    }
}

/// Counts the samples looked at, if anybody asks.
fn count(scan: &Scan<'_>, worker: &Worker<'_>, row: &Row, samples: &SampleBuffer) {
    let Some(counts) = worker.counts else { return };
    let mut sizes = vec![0; row.steps()];
    scan.reader.count(row, samples, &mut sizes);
    counts.add(scan.counted, &sizes);
}

/// What a worker has for all branches.
pub(super) struct Seats<'b> {
    seats: Vec<Seat<'b>>,
    /// Samples as read, for several branches.
    samples: SampleBuffer,
}

impl<'b> Seats<'b> {
    /// Closes the sinks.
    pub fn leave(self, worker: usize) -> Vec<Worker<'b>> {
        let close = |seat: Seat<'b>| {
            seat.sink.close(worker);
            seat.worker
        };
        self.seats.into_iter().map(close).collect()
    }
}

/// One of the scans that are driven together.
struct Part<'b> {
    scan: Scan<'b>,
    /// The times it needs samples of, milliseconds.
    range: (i64, i64),
    /// What its series satisfy beyond what all do.
    narrowing: Vec<&'b LabelMatcher>,
    /// The branch before that computes the same rows.
    same_as: Option<usize>,
}

impl<'b> Part<'b> {
    fn all_of(scans: Vec<Scan<'b>>) -> Vec<Self> {
        let common = widest(&scans).map_or(&[][..], |scan| scan.matchers);
        let mut parts: Vec<Self> = Vec::with_capacity(scans.len());
        for scan in scans {
            let computes_same = |part: &Self| match (part.scan.computes, scan.computes) {
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            };
            let same_as = parts.iter().position(computes_same);
            let range = scan.reader.time_range_ms();
            let narrowing = scan.matchers.iter().filter(|matcher| !common.contains(matcher)).collect();
            parts.push(Self { scan, range, narrowing, same_as });
        }
        parts
    }
}

/// What all workers share.
pub(super) struct Run<'b> {
    passes: Vec<Pass<'b>>,
    /// Of each branch; none if the series are rows already.
    parts: Vec<Part<'b>>,
    tracker: &'b Tracker,
}

impl<'b> Run<'b> {
    pub fn new(passes: Vec<Pass<'b>>, scans: Vec<Scan<'b>>, tracker: &'b Tracker) -> Self {
        Self { passes, parts: Part::all_of(scans), tracker }
    }

    pub fn seats(&self, guards: &[usize]) -> Seats<'b> {
        let seat = |(pass, guards): (&Pass<'b>, &usize)| Seat {
            sink: pass.sinks.open(),
            worker: Worker::new(self.tracker, pass.counts, *guards),
            series: SeriesRow::new(Labels::empty(), Row::default()),
            notes: Annotations::default(),
        };
        Seats { seats: self.passes.iter().zip(guards).map(seat).collect(), samples: SampleBuffer::default() }
    }

    /// Takes in some series.
    pub fn chunk(&self, chunk: Chunk<'_>, seats: &mut Seats<'_>) -> Result<(), QueryError> {
        match chunk {
            Chunk::Rows(rows) => {
                let (Some(pass), Some(seat)) = (self.passes.first(), seats.seats.first_mut()) else {
                    return Ok(());
                };
                for series in rows {
                    seat.worker.pace.spend(UNITS_PER_SERIES + series.row.steps() as u64)?;
                    seat.series = series;
                    pass.push(seat)?;
                }
                Ok(())
            }
            Chunk::Batch { mut batch, first_order } => {
                let samples_read = match &mut *seats.seats {
                    [seat] => self.alone(&mut *batch, first_order, seat)?,
                    _ => self.together(&mut *batch, first_order, seats)?,
                };
                self.tracker.samples_read.fetch_add(samples_read, Ordering::Relaxed);
                self.tracker.series_read.fetch_add(batch.len() as u64, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// A batch for the only branch.
    fn alone(
        &self,
        batch: &mut dyn SeriesBatch,
        first_order: u64,
        seat: &mut Seat<'_>,
    ) -> Result<u64, QueryError> {
        let (Some(part), Some(pass)) = (self.parts.first(), self.passes.first()) else { return Ok(0) };
        let (scan, (mint_ms, maxt_ms)) = (&part.scan, part.range);
        let mut samples_read = 0;
        for at in 0..batch.len() {
            let buffer = &mut seat.worker.buffer;
            buffer.clear();
            batch.read(at, mint_ms, maxt_ms, buffer)?;
            let samples = (buffer.floats.len() + buffer.histograms.len()) as u64;
            seat.worker.pace.spend(UNITS_PER_SERIES + samples)?;
            if samples == 0 {
                continue;
            }
            samples_read += samples;
            seat.begin(batch.labels(at), first_order + at as u64);
            scan.reader.read(&mut seat.series, &mut seat.worker)?;
            count(scan, &seat.worker, &seat.series.row, &seat.worker.buffer);
            pass.push(seat)?;
        }
        Ok(samples_read)
    }

    /// A batch for several branches.
    fn together(
        &self,
        batch: &mut dyn SeriesBatch,
        first_order: u64,
        seats: &mut Seats<'_>,
    ) -> Result<u64, QueryError> {
        let Seats { seats, samples } = seats;
        let mint_ms = self.parts.iter().map(|part| part.range.0).min().unwrap_or(0);
        let maxt_ms = self.parts.iter().map(|part| part.range.1).max().unwrap_or(0);
        let mut samples_read = 0;
        for at in 0..batch.len() {
            samples.clear();
            batch.read(at, mint_ms, maxt_ms, samples)?;
            let count = (samples.floats.len() + samples.histograms.len()) as u64;
            seats[0].worker.pace.spend(UNITS_PER_SERIES * self.parts.len() as u64 + count)?;
            if count == 0 {
                continue;
            }
            samples_read += count;
            let labels = batch.labels(at);
            for (branch, part) in self.parts.iter().enumerate() {
                let (before, seats) = seats.split_at_mut(branch);
                let seat = &mut seats[0];
                if part.narrowing.iter().any(|matcher| !matcher.matches(labels.get(&matcher.name))) {
                    seat.series.row.reset(0);
                    continue;
                }
                seat.begin(labels.clone(), first_order + at as u64);
                if let Some(first) = part.same_as {
                    seat.copy_row(&part.scan, &before[first])?;
                } else {
                    samples.copy_range(part.range, &mut seat.worker.buffer);
                    seat.read_apart(&part.scan)?;
                }
            }
            for (pass, seat) in self.passes.iter().zip(&mut *seats) {
                pass.push(seat)?;
            }
        }
        Ok(samples_read)
    }
}
