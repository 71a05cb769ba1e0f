//! Computing a query beside the data, when the data are in several places.
//!
//! Each place holds some of the series, whole ones. [`Engine::split`] cuts the query: a [`Fragment`] says what to
//! compute from the series of one place ([`Engine::evaluate_fragment`]), a [`PartialResult`] is what comes of it, and
//! [`Engine::merge`] makes the answer out of those of all places. Fragments and partial results are bytes to whoever
//! carries them; `docs/format/partial.md` describes them.
//!
//! `sum by (job) (rate(x[5m])) / on (job) group_left y` has two fragments: the sums, which come as unfinished groups,
//! and `y`, whose series come as rows. The division is done where they are merged. Parts that take the same series are
//! one fragment ([`bundle`](self::bundle)), so that each place reads them once. Where the parts cannot be told
//! apart before all is seen (two series, in different places, become one by a change of labels), merging asks for the
//! samples instead and computes everything itself, so the answer is always that of a single engine.
//!
//! A fragment names the query and the number of a bundle of cuts, not an expression of its own: everybody cuts the same way
//! ([`cut`](self::cut)), and positions in annotations stay those of the query. So the format's version also changes with
//! the planner.

mod bundle;
mod cut;
mod notes;
mod request;
mod result;
mod shipped;
pub(crate) mod values;
pub(crate) mod wire;

pub use request::{Fragment, QueryTimes};
pub use result::PartialResult;
pub use wire::WireError;

use self::bundle::{bundles, consumer};
use self::cut::{Cut, Style, Work, cut};
use self::result::Part;
use self::shipped::{Selection, ShippedStorage};
use self::values::{LABELS_BYTES_MIN, take_labels, take_samples, take_series};
use self::wire::{Reader, Writer};
use crate::annotations::Annotations;
use crate::engine::{Engine, QueryError, QueryOptions, QueryResult, Tracker};
use crate::exec::{Context, Executor, SeriesRow, merge_groups, put_groups};
use crate::plan::{Aggregate, Plan};
use crate::storage::Storage;

/// A query cut into fragments.
pub struct Split {
    request: Fragment,
    cuts: Vec<Cut>,
    /// Which cuts, by number, make up each fragment.
    bundles: Vec<Vec<usize>>,
    /// What is left to compute.
    rest: Plan,
}

impl Split {
    /// The fragments, each to be evaluated in every place.
    pub fn fragments(&self) -> Vec<Fragment> {
        (0..self.bundles.len()).map(|number| Fragment { number, ..self.request.clone() }).collect()
    }

    /// Whether a fragment gives samples as stored, which are many and whole in memory where they are merged.
    pub fn has_samples(&self) -> bool {
        self.cuts.iter().any(|cut| matches!(cut.work, Work::Samples { .. }))
    }
}

impl std::fmt::Debug for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Split")
            .field("request", &self.request)
            .field("fragments", &self.bundles.len())
            .finish()
    }
}

/// What comes of merging.
#[derive(Debug)]
pub enum Merged {
    /// The answer.
    Result(QueryResult),
    /// These fragments are needed instead; merging them gives the answer.
    Again(Split),
}

impl Engine {
    /// Cuts a query into fragments. A query without data has none.
    pub fn split(&self, query: &str, times: QueryTimes, options: &QueryOptions) -> Result<Split, QueryError> {
        self.options().parser_accepts(query)?;
        self.split_as(Fragment::new(query, times, self.options(), options))
    }

    /// The range of time in which a query may look at samples, both ends included, in milliseconds; `None` if it looks at
    /// none.
    pub fn data_range(
        &self,
        query: &str,
        times: QueryTimes,
        options: &QueryOptions,
    ) -> Result<Option<(i64, i64)>, QueryError> {
        self.options().parser_accepts(query)?;
        let request = Fragment::new(query, times, self.options(), options);
        let split = self.split_as(Fragment { style: Style::Samples, ..request })?;
        let ranges = split.cuts.iter().filter_map(|cut| match cut.work {
            Work::Samples { mint_ms, maxt_ms, .. } => Some((mint_ms, maxt_ms)),
            Work::Rows(_) | Work::Groups(_) => None,
        });
        Ok(ranges.reduce(|(min_ms, max_ms), (mint_ms, maxt_ms)| (min_ms.min(mint_ms), max_ms.max(maxt_ms))))
    }

    fn split_as(&self, request: Fragment) -> Result<Split, QueryError> {
        let (mut rest, grid) = request.plan()?;
        let cuts = cut(&mut rest, grid, request.lookback_ms, request.style)?;
        let bundles = bundles(&cuts, &request.settings(self.options()), request.lookback_ms);
        Ok(Split { request, cuts, bundles, rest })
    }

    /// Computes a fragment over the series of one place.
    pub fn evaluate_fragment(
        &self,
        storage: &dyn Storage,
        fragment: &Fragment,
        options: &QueryOptions,
    ) -> Result<PartialResult, QueryError> {
        let settings = fragment.settings(self.options());
        let number = fragment.number;
        let split = self.split_as(fragment.clone())?;
        let Some(bundle) = split.bundles.get(number) else {
            return Err(QueryError::bad_data(format!("the query has no fragment {number}")));
        };
        let tracker = self.tracker(options);
        tracker.check()?;
        let cuts: Vec<&Cut> = bundle.iter().map(|&cut| &split.cuts[cut]).collect();
        let mut executor = Executor::new(storage, &settings, &tracker, fragment.lookback_ms);
        executor.share_among(cuts.iter().filter_map(|cut| consumer(cut)).collect());
        let mut result = PartialResult::whole();
        for cut in cuts {
            let mut context = Context::of_fragment();
            let mut body = Writer::default();
            match compute(&executor, &cut.work, cut.grid, &mut context, &mut body) {
                Ok(()) => result.push(&context, &body),
                Err(_) if context.unfit => return Ok(PartialResult::unfit()),
                Err(error) => return Err(error),
            }
        }
        Ok(result)
    }

    /// Makes the answer out of the partial results of all places, for each fragment in order. Their bytes count as held.
    pub fn merge(
        &self,
        split: &Split,
        parts: &[Vec<PartialResult>],
        options: &QueryOptions,
    ) -> Result<Merged, QueryError> {
        if parts.len() != split.bundles.len() {
            let (given, wanted) = (parts.len(), split.bundles.len());
            return Err(QueryError::internal(format!(
                "partial results of {given} fragments, not of {wanted}"
            )));
        }
        let settings = split.request.settings(self.options());
        let tracker = self.tracker(options);
        let held: usize = parts.iter().flatten().map(|part| part.as_bytes().len()).sum();
        tracker.reserve(0, held as u64)?;
        let mut merging = Merging { annotations: Annotations::default(), tracker: &tracker };
        let mut given: Vec<Vec<SeriesRow>> = Vec::new();
        let mut shipped = ShippedStorage::default();
        let mut of_cuts: Vec<Vec<Part<'_>>> = split.cuts.iter().map(|_| Vec::new()).collect();
        for (bundle, results) in split.bundles.iter().zip(parts) {
            for result in results {
                let Some(parts) = result.read(bundle.len())? else {
                    let request = Fragment { style: Style::Samples, ..split.request.clone() };
                    return Ok(Merged::Again(self.split_as(request)?));
                };
                bundle.iter().zip(parts).for_each(|(&cut, part)| of_cuts[cut].push(part));
            }
        }
        for (cut, parts) in split.cuts.iter().zip(of_cuts) {
            tracker.check()?;
            let Some(bodies) = merging.heads(parts)? else {
                let request = Fragment { style: Style::Samples, ..split.request.clone() };
                return Ok(Merged::Again(self.split_as(request)?));
            };
            let mut rows = Vec::new();
            match &cut.work {
                Work::Rows(_) => rows = merging.rows(bodies, cut.grid.steps)?,
                Work::Groups(plan) => {
                    let executor = Executor::new(&shipped, &settings, &tracker, split.request.lookback_ms);
                    rows = merging.groups(&executor, plan, cut, bodies)?;
                }
                Work::Samples { matchers, mint_ms, maxt_ms } => shipped.selections.push(Selection {
                    matchers: matchers.clone(),
                    mint_ms: *mint_ms,
                    maxt_ms: *maxt_ms,
                    series: merging.samples(bodies)?,
                }),
            }
            given.push(rows);
        }
        let mut executor = Executor::new(&shipped, &settings, &tracker, split.request.lookback_ms);
        executor.given = given;
        let context = Context::with(merging.annotations);
        let (grid, is_range) = (split.request.grid(), split.request.is_range());
        executor.share_scans(&split.rest, grid);
        let (value, annotations) = executor.run(&split.rest, grid, is_range, context)?;
        Ok(Merged::Result(QueryResult { value, annotations, stats: tracker.stats() }))
    }
}

fn compute(
    executor: &Executor<'_>,
    work: &Work,
    grid: crate::exec::Grid,
    context: &mut Context,
    out: &mut Writer,
) -> Result<(), QueryError> {
    match work {
        Work::Rows(plan) => {
            let rows = executor.rows(plan, grid, context)?;
            out.length(rows.series.len());
            rows.series.iter().for_each(|series| values::put_series(out, series));
        }
        Work::Groups(plan) => put_groups(executor, plan, grid, context, out)?,
        Work::Samples { matchers, mint_ms, maxt_ms } => {
            let series = executor.samples(matchers, (*mint_ms, *maxt_ms), context)?;
            out.length(series.len());
            for (labels, samples) in &series {
                values::put_labels(out, labels);
                values::put_samples(out, samples);
            }
        }
    }
    executor.tracker.check()
}

/// What accumulates while partial results are read.
struct Merging<'t> {
    annotations: Annotations,
    tracker: &'t Tracker,
}

impl Merging<'_> {
    /// The contents of what all places give for one cut; `None` if they cannot be merged.
    fn heads<'b>(&mut self, parts: Vec<Part<'b>>) -> Result<Option<Vec<Reader<'b>>>, QueryError> {
        let mut bodies = Vec::with_capacity(parts.len());
        let mut guards: Vec<(bool, Vec<u128>)> = Vec::new();
        for (at, part) in parts.into_iter().enumerate() {
            let Part { annotations, guards: own, body } = part;
            self.annotations.merge(annotations);
            if at == 0 {
                guards = own.into_iter().map(|guard| (guard.fails, guard.hashes)).collect();
            } else {
                if own.len() != guards.len() {
                    return Err(QueryError::internal("partial results of different plans".to_owned()));
                }
                for ((_, all), guard) in guards.iter_mut().zip(own) {
                    all.extend(guard.hashes);
                }
            }
            bodies.push(body);
        }
        for (fails, hashes) in &mut guards {
            self.tracker.check()?;
            hashes.sort_unstable();
            if hashes.windows(2).any(|pair| pair[0] == pair[1]) {
                return if *fails { Err(QueryError::same_labelset()) } else { Ok(None) };
            }
        }
        Ok(Some(bodies))
    }

    fn rows(&self, bodies: Vec<Reader<'_>>, steps: usize) -> Result<Vec<SeriesRow>, QueryError> {
        self.tracker.check_steps(steps)?;
        let mut rows = Vec::new();
        for mut body in bodies {
            for _ in 0..body.count(LABELS_BYTES_MIN + 2)? {
                let series = take_series(&mut body, steps)?;
                self.tracker.reserve(0, series.row.size_bytes() as u64)?;
                rows.push(series);
            }
            body.end()?;
        }
        Ok(rows)
    }

    fn groups(
        &mut self,
        executor: &Executor<'_>,
        plan: &Aggregate,
        cut: &Cut,
        bodies: Vec<Reader<'_>>,
    ) -> Result<Vec<SeriesRow>, QueryError> {
        self.tracker.check_steps(cut.grid.steps)?;
        let mut context = Context::with(std::mem::take(&mut self.annotations));
        let rows = merge_groups(executor, plan, cut.grid, &mut context, bodies);
        self.annotations = context.annotations;
        rows
    }

    fn samples(
        &self,
        bodies: Vec<Reader<'_>>,
    ) -> Result<Vec<(crate::labels::Labels, crate::storage::SampleBuffer)>, QueryError> {
        let mut all = Vec::new();
        for mut body in bodies {
            for _ in 0..body.count(LABELS_BYTES_MIN + 4)? {
                let labels = take_labels(&mut body)?;
                let samples = take_samples(&mut body)?;
                let histograms: usize = samples.histograms.iter().map(|h| h.size_bytes()).sum();
                self.tracker.reserve(0, (16 * samples.floats.len() + histograms) as u64)?;
                all.push((labels, samples));
            }
            body.end()?;
        }
        Ok(all)
    }
}

impl From<WireError> for QueryError {
    fn from(error: WireError) -> Self {
        Self::internal(format!("partial result: {error}"))
    }
}
