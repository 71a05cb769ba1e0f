//! `info`: adds the labels of info metrics (such as `target_info`) to series of the same target.
//!
//! Series belong together if they have the same `instance` and `job`. Of several series of an info metric for one
//! target the one with the newest sample counts, which may be another one at each step.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::executor::{Context, Executor};
use super::finish::{FloatBesideHistogram, merge_same_labels};
use super::grid::Grid;
use super::pipeline::Failure;
use super::row::Row;
use super::rows::{Collect, Rows, SeriesRow};
use super::select::{TimeOf, TimesReader};
use crate::engine::{Pace, QueryError};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME_LABEL};
use crate::plan::{Info, Selector};
use crate::storage::LabelMatcher;
use crate::syntax::{MatchOp, Span};

/// The labels that tell targets apart.
const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];
/// The info metric that is used if none is asked for.
const TARGET_INFO: &str = "target_info";

/// What it costs to look a series up, in units of [`Pace`].
const UNITS_PER_SERIES: u64 = 300;
/// What it costs to look at an info series at one step.
const UNITS_PER_CANDIDATE: u64 = 4;

type Target = [String; 2];

/// The info series by metric name, then by target.
type InfoSeries = BTreeMap<String, HashMap<Target, Vec<SeriesRow>>>;

impl Executor<'_> {
    pub(super) fn info<'p>(
        &'p self,
        info: &'p Info,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        let base = self.rows(&info.input, grid, context)?;
        let given = info.matchers.as_deref().unwrap_or(&[]);
        let (name_matchers, data_matchers): (Vec<&LabelMatcher>, Vec<&LabelMatcher>) =
            given.iter().partition(|matcher| matcher.name == METRIC_NAME_LABEL);
        let name_matchers = effective_name_matchers(&name_matchers)?;
        let is_info = |series: &SeriesRow| {
            name_matchers.iter().all(|matcher| matcher.matches(series.labels.metric_name()))
        };
        let matchers = id_matchers(base.series.iter().filter(|series| !is_info(series)))?;
        let info_series = if matchers.is_empty() {
            InfoSeries::new()
        } else {
            let data = data_matchers.iter().map(|&matcher| matcher.clone());
            let matchers = matchers.into_iter().chain(data).chain(name_matchers.iter().cloned()).collect();
            self.info_series(info, matchers, grid, context)?
        };
        let optional = data_matchers.iter().all(|matcher| matcher.matches(""));
        let join = InfoJoin { info_series: &info_series, data_matchers: &data_matchers, optional };
        let mut results = Vec::with_capacity(base.series.len());
        let pace = &mut base.pace();
        for series in &base.series {
            pace.spend(UNITS_PER_SERIES)?;
            if is_info(series) {
                results.push(series.clone());
            } else {
                join.series(series, &mut results, pace)?;
            }
        }
        drop(base);
        merge_same_labels(Rows::new(self.tracker, results)?, FloatBesideHistogram::Allowed)
    }

    fn info_series(
        &self,
        info: &Info,
        matchers: Vec<LabelMatcher>,
        grid: Grid,
        context: &mut Context,
    ) -> Result<InfoSeries, QueryError> {
        let selector = Selector {
            matchers,
            offset_ms: info.offset_ms,
            at_ms: info.at_ms,
            extended: None,
            span: Span::default(),
            hint_func: "info",
            hint_grouping: Vec::new(),
            hint_by: false,
            histogram_stats: false,
        };
        let reader =
            TimesReader { selector: &selector, grid, lookback_ms: self.lookback_ms, of: TimeOf::InfoSample };
        let make = || Collect::new(self.tracker);
        let pipeline = self.scan(&selector, 0, grid, reader, None);
        let sinks = self.drive(pipeline, context, &make).map_err(|failure| match failure {
            Failure::Query(error) => error,
            Failure::Duplicates(_) => QueryError::same_labelset(),
        })?;
        let mut by_name = InfoSeries::new();
        for series in Collect::merge(sinks, self.tracker).series {
            let name = series.labels.metric_name().to_owned();
            by_name.entry(name).or_default().entry(target(&series.labels)).or_default().push(series);
        }
        Ok(by_name)
    }
}

fn target(labels: &Labels) -> Target {
    IDENTIFYING_LABELS.map(|name| labels.get(name).to_owned())
}

/// What all info series satisfy that a call may need.
pub(crate) fn info_matchers(info: &Info) -> Result<Vec<LabelMatcher>, QueryError> {
    let given = info.matchers.as_deref().unwrap_or(&[]);
    let (names, data): (Vec<&LabelMatcher>, Vec<&LabelMatcher>) =
        given.iter().partition(|matcher| matcher.name == METRIC_NAME_LABEL);
    let names = effective_name_matchers(&names)?;
    Ok(data.into_iter().cloned().chain(names).collect())
}

/// Without a matcher that says which metrics are meant: `target_info`, or, if some are excluded, all others that are
/// named like info metrics.
fn effective_name_matchers(given: &[&LabelMatcher]) -> Result<Vec<LabelMatcher>, QueryError> {
    let new = |op, value: &str| {
        LabelMatcher::new(op, METRIC_NAME_LABEL, value)
            .map_err(|error| QueryError::internal(error.to_string()))
    };
    let given_matchers = given.iter().map(|&matcher| matcher.clone());
    if given.iter().any(|matcher| matches!(matcher.op, MatchOp::Equal | MatchOp::Regexp)) {
        return Ok(given_matchers.collect());
    }
    if given.is_empty() {
        return Ok(vec![new(MatchOp::Equal, TARGET_INFO)?]);
    }
    Ok([new(MatchOp::Regexp, ".+_info")?].into_iter().chain(given_matchers).collect())
}

/// Matchers for the targets of the series.
fn id_matchers<'s>(series: impl Iterator<Item = &'s SeriesRow>) -> Result<Vec<LabelMatcher>, QueryError> {
    let mut values: [BTreeSet<&str>; 2] = Default::default();
    for series in series {
        for (values, name) in values.iter_mut().zip(IDENTIFYING_LABELS) {
            let value = series.labels.get(name);
            if !value.is_empty() {
                values.insert(value);
            }
        }
    }
    let mut matchers = Vec::new();
    for (values, name) in values.iter().zip(IDENTIFYING_LABELS) {
        if values.is_empty() {
            continue;
        }
        let alternatives: Vec<String> = values.iter().map(|value| quote_meta(value)).collect();
        let matcher = LabelMatcher::new(MatchOp::Regexp, name, &alternatives.join("|"));
        matchers.push(matcher.map_err(|error| QueryError::execution(error.to_string()))?);
    }
    Ok(matchers)
}

/// A pattern that matches exactly `text`.
fn quote_meta(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

struct InfoJoin<'j> {
    info_series: &'j InfoSeries,
    data_matchers: &'j [&'j LabelMatcher],
    /// Series without info stay.
    optional: bool,
}

impl InfoJoin<'_> {
    /// Adds the series with its new labels, one result for each combination of info series over time.
    fn series(
        &self,
        series: &SeriesRow,
        results: &mut Vec<SeriesRow>,
        pace: &mut Pace<'_>,
    ) -> Result<(), QueryError> {
        let target = target(&series.labels);
        let candidates: Vec<&Vec<SeriesRow>> =
            self.info_series.values().filter_map(|by_target| by_target.get(&target)).collect();
        let steps = series.row.steps();
        let mut current: Option<(Vec<&Labels>, Option<usize>)> = None;
        let first_result = results.len();
        for step in series.row.presence().ones() {
            let mut chosen = Vec::with_capacity(candidates.len());
            for &candidates in &candidates {
                pace.spend(UNITS_PER_CANDIDATE * candidates.len() as u64)?;
                chosen.extend(newest(candidates, step)?);
            }
            if current.as_ref().is_none_or(|(known, _)| *known != chosen) {
                let labels = self.labels(&series.labels, &chosen)?;
                let result = labels.map(|labels| {
                    let known = results[first_result..].iter().position(|result| result.labels == labels);
                    known.map_or_else(
                        || {
                            let row = Row::new(steps);
                            results.push(SeriesRow { labels, drop_name: series.drop_name, order: 0, row });
                            results.len() - 1
                        },
                        |at| first_result + at,
                    )
                });
                current = Some((chosen, result));
            }
            let Some((_, Some(result))) = current else { continue };
            if let Some(value) = series.row.float(step) {
                results[result].row.set(step, value);
            } else if let Some(histogram) = series.row.histogram(step) {
                results[result].row.push_histogram(step, histogram.clone());
            }
        }
        Ok(())
    }

    /// The labels with those of the chosen info series; `None` if the series is to be left out.
    fn labels(&self, base: &Labels, chosen: &[&Labels]) -> Result<Option<Labels>, QueryError> {
        if chosen.is_empty() && !self.optional {
            return Ok(None);
        }
        let mut added = LabelsBuilder::default();
        for info in chosen {
            for (name, value) in info.iter().filter(|(name, _)| *name != METRIC_NAME_LABEL) {
                let is_wanted = self.data_matchers.is_empty()
                    || self.data_matchers.iter().any(|matcher| matcher.name == name);
                if !is_wanted {
                    continue;
                }
                let known = added.get(name);
                if !known.is_empty() && known != value {
                    return Err(QueryError::execution(format!("conflicting label: {name}")));
                }
                if !base.has(name) {
                    added.set(name, value);
                }
            }
        }
        let added = added.build();
        let mut builder = LabelsBuilder::new(base);
        for (name, value) in added.iter() {
            builder.set(name, value);
        }
        Ok(Some(builder.build()))
    }
}

/// The series with the newest sample at a step.
fn newest(candidates: &[SeriesRow], step: usize) -> Result<Option<&Labels>, QueryError> {
    let mut best: Option<(f64, &Labels)> = None;
    for candidate in candidates {
        let Some(time_ms) = candidate.row.float(step) else { continue };
        match best {
            Some((known, _)) if known > time_ms => {}
            Some((known, labels)) if known == time_ms => {
                return Err(QueryError::execution(format!(
                    "found duplicate series for info metric: existing {labels} @ {known}, new {} @ {time_ms}",
                    candidate.labels
                )));
            }
            _ => best = Some((time_ms, &candidate.labels)),
        }
    }
    Ok(best.map(|(_, labels)| labels))
}
