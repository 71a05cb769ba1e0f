//! Pushing series through pipelines.
//!
//! Workers take batches from the source, read each series once, and push it through all stages into a sink of their own.
//!
//! Several pipelines over the same series are driven together, as *branches*: the samples of a series are read once,
//! each branch gets those of its own range of time, and a row that several branches need is computed once. All branches
//! go on at once, so nothing is held but what their sinks hold.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::branch::{self, Branch, SinksOf};
use super::executor::{Context, Executor, GuardHashes};
use super::pass::{Pass, Run};
use super::pipeline::{Failure, Guard, Pipeline, Scan, Sink, Source, Worker};
use super::rows::SeriesRow;
use crate::annotations::Annotation;
use crate::engine::QueryError;
use crate::storage::{SERIES_PER_BATCH, SeriesBatch, SeriesSet};

/// Series taken from a source at once.
pub(super) enum Chunk<'s> {
    Batch { batch: Box<dyn SeriesBatch + 's>, first_order: u64 },
    Rows(Vec<SeriesRow>),
}

enum Feed<'s> {
    Storage { set: Box<dyn SeriesSet<'s> + 's>, batches: u64 },
    Rows(std::vec::IntoIter<SeriesRow>),
}

impl<'s> Feed<'s> {
    fn next(&mut self) -> Result<Option<Chunk<'s>>, QueryError> {
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

/// What workers saw of one branch.
pub(super) struct Driven<'b> {
    workers: Vec<Worker<'b>>,
    guards: Vec<Guard>,
    drops_one_name: Option<usize>,
    /// Of the storage.
    warnings: Vec<String>,
}

impl Driven<'_> {
    /// Looks for series that became the same, and adds what is to be known to `context`.
    pub fn settle(mut self, context: &mut Context) -> Result<(), Failure> {
        for message in self.warnings {
            context.annotations.add(Annotation::Storage { message }, Default::default());
        }
        if let Some(operator) = self.drops_one_name
            && self.workers.iter().any(|worker| worker.saw_type_or_unit)
        {
            return Err(Failure::Duplicates(operator));
        }
        check_guards(&self.guards, &mut self.workers, context)?;
        for worker in self.workers {
            context.annotations.merge(worker.annotations);
        }
        Ok(())
    }
}

fn check_guards(guards: &[Guard], workers: &mut [Worker<'_>], context: &mut Context) -> Result<(), Failure> {
    for (at, guard) in guards.iter().enumerate() {
        let mut hashes: Vec<u128> = Vec::new();
        for worker in workers.iter_mut() {
            hashes.append(&mut worker.guards[at]);
        }
        hashes.sort_unstable();
        if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(match guard {
                Guard::Fail => Failure::Query(QueryError::same_labelset()),
                Guard::Merge(operator) => Failure::Duplicates(*operator),
            });
        }
        if let Some(exported) = &mut context.exported {
            exported.push(GuardHashes { fails: matches!(guard, Guard::Fail), hashes });
        }
    }
    Ok(())
}

impl Executor<'_> {
    /// Runs a pipeline into sinks made by `make`; returns those of all workers.
    pub fn drive<S: Sink>(
        &self,
        pipeline: Pipeline<'_>,
        context: &mut Context,
        make: &(dyn Fn() -> S + Sync),
    ) -> Result<Vec<S>, Failure> {
        let sinks = SinksOf::new(make);
        let branch = Branch { pipeline, sinks: &sinks, counts: self.tracker.counts.as_ref() };
        for driven in self.drive_all(vec![branch])? {
            driven.settle(context)?;
        }
        Ok(sinks.into_closed())
    }

    /// Runs pipelines, all over the same series if there are several; what came of each, in order.
    pub(super) fn drive_all<'b>(&'b self, branches: Vec<Branch<'b>>) -> Result<Vec<Driven<'b>>, QueryError> {
        let tracker = self.tracker;
        let mut scans: Vec<Scan<'b>> = Vec::new();
        let mut rows = None;
        let mut passes = Vec::new();
        for Branch { pipeline, sinks, counts } in branches {
            let Pipeline { source, steps, guards, drops_one_name } = pipeline;
            match source {
                Source::Scan(scan) => scans.push(scan),
                Source::Rows(held) => rows = Some(held),
            }
            passes.push((Pass::new(steps, sinks, counts), guards, drops_one_name));
        }
        let mut reservation = None;
        let mut feed = match rows {
            Some(rows) => {
                reservation = Some(rows.reservation);
                let mut series = rows.series;
                for (order, series) in (0..).zip(&mut series) {
                    series.order = order;
                }
                Feed::Rows(series.into_iter())
            }
            None => Feed::Storage { set: branch::select(self.storage, &scans)?, batches: 0 },
        };
        let (passes, ends): (Vec<_>, Vec<_>) =
            passes.into_iter().map(|(pass, guards, drops_one_name)| (pass, (guards, drops_one_name))).unzip();
        let guard_counts: Vec<usize> = ends.iter().map(|(guards, _)| guards.len()).collect();
        let run = Run::new(passes, scans, tracker);

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
        let outcomes = if worker_count == 1 {
            let mut seats = run.seats(&guard_counts);
            while let Some(chunk) = chunks.pop().map_or_else(|| feed.next(), |chunk| Ok(Some(chunk)))? {
                run.chunk(chunk, &mut seats)?;
            }
            vec![seats.leave(0)]
        } else {
            let queue = Mutex::new((chunks, &mut feed));
            let outcomes = Mutex::new(Vec::new());
            let failure = Mutex::new(None);
            let stop = AtomicBool::new(false);
            self.options.workers.run(worker_count, &|number| {
                let mut seats = run.seats(&guard_counts);
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
                        run.chunk(chunk, &mut seats)?;
                    }
                    Ok::<(), QueryError>(())
                })();
                match result {
                    Ok(()) => lock(&outcomes).push((number, seats.leave(number))),
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        lock(&failure).get_or_insert(error);
                    }
                }
            });
            if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
                return Err(error);
            }
            let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            outcomes.sort_by_key(|(number, _)| *number);
            outcomes.into_iter().map(|(_, workers)| workers).collect()
        };
        let warnings = if let Feed::Storage { set, .. } = &mut feed { set.warnings() } else { Vec::new() };
        drop(reservation);
        let mut driven: Vec<Driven<'b>> = ends
            .into_iter()
            .map(|(guards, drops_one_name)| Driven {
                workers: Vec::new(),
                guards,
                drops_one_name,
                warnings: warnings.clone(),
            })
            .collect();
        for workers in outcomes {
            for (driven, worker) in driven.iter_mut().zip(workers) {
                driven.workers.push(worker);
            }
        }
        Ok(driven)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A worker that panicked takes the whole query down with it, so the state behind the lock is never used again.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
