//! Operators between two vectors: which series belong together, and what comes of them.
//!
//! Series are joined by the labels of `on` or `ignoring`: each combination of values is a *match group*. Prometheus
//! joins anew at every step and fails at the first step where a group is ambiguous. Here a group is joined once for
//! all steps, and the failure that comes first in time is reported.

use std::collections::HashMap;

use super::bitmap::Bitmap;
use super::elementwise::{Combined, ElementOp};
use super::executor::{Context, Executor};
use super::finish::{FloatBesideHistogram, merge_same_labels};
use super::functions::changes_meaning;
use super::grid::Grid;
use super::grouping::{Groups, Key};
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use crate::engine::{Pace, QueryError};
use crate::labels::{Labels, LabelsBuilder, is_metadata_label};
use crate::plan::VectorBinary;
use crate::syntax::ast::{Cardinality, VectorMatching};

/// What it costs to look at a pair of series, in units of [`Pace`].
const UNITS_PER_PAIR: u64 = 50;

/// The labels that decide what matches, sorted, and how.
pub(super) struct MatchKey {
    names: Vec<String>,
    on: bool,
}

impl MatchKey {
    pub fn new(matching: &VectorMatching) -> Self {
        let mut names: Vec<String> = matching.labels.iter().map(|name| name.to_string()).collect();
        names.sort();
        Self { names, on: matching.on }
    }

    pub fn key(&self) -> Key<'_> {
        if self.on { Key::By(&self.names) } else { Key::Without(&self.names) }
    }
}

/// The series of a match group. "Many" is the side that `group_left` or `group_right` names, else the left one.
#[derive(Default)]
struct MatchGroup {
    many: Vec<usize>,
    one: Vec<usize>,
}

/// Steps at which a match group has results.
struct Taken {
    any: Bitmap,
    /// Of `group_left` and `group_right`, which allow several series with different labels.
    by_labels: HashMap<Labels, Bitmap>,
}

/// A failure at a step; the earliest is reported.
struct Conflict {
    step: usize,
    /// Within a step ambiguity of the "one" side comes first, then in the order of the series.
    rank: (u8, usize),
    error: QueryError,
}

struct Join<'j> {
    plan: &'j VectorBinary,
    delayed_name_removal: bool,
    many: &'j [SeriesRow],
    one: &'j [SeriesRow],
    /// Steps that are joined at all: those where neither side is empty, unless values are filled in.
    active: Bitmap,
    conflict: Option<Conflict>,
    results: Vec<SeriesRow>,
    pace: Pace<'j>,
}

fn any_present(rows: &[SeriesRow], steps: usize) -> Bitmap {
    let mut any = Bitmap::new(steps);
    for series in rows {
        any.union(&series.row.presence());
    }
    any
}

impl Executor<'_> {
    /// The result of an arithmetic, comparison or trim operator.
    pub(super) fn binary<'p>(
        &'p self,
        plan: &'p VectorBinary,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        let lhs = self.rows(&plan.lhs, grid, context)?;
        let rhs = self.rows(&plan.rhs, grid, context)?;
        let swapped = plan.matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&rhs.series, &lhs.series) } else { (&lhs.series, &rhs.series) };
        let match_key = MatchKey::new(&plan.matching);
        let key = match_key.key();
        let mut groups = Groups::default();
        let mut members: Vec<MatchGroup> = Vec::new();
        let fills = plan.matching.fill_left.is_some() || plan.matching.fill_right.is_some();
        for (at, series) in one.iter().enumerate() {
            let (group, is_new) = groups.find_or_add(&key, &series.labels);
            if is_new {
                members.push(MatchGroup::default());
            }
            members[group].one.push(at);
        }
        for (at, series) in many.iter().enumerate() {
            let (group, is_new) = groups.find_or_add(&key, &series.labels);
            if is_new {
                members.push(MatchGroup::default());
            }
            members[group].many.push(at);
        }
        let mut active = any_present(many, grid.steps);
        let other = any_present(one, grid.steps);
        if fills {
            active.union(&other);
        } else {
            active.intersect(&other);
        }
        let mut join = Join {
            plan,
            delayed_name_removal: self.options.delayed_name_removal,
            many,
            one,
            active,
            conflict: None,
            results: Vec::with_capacity(many.len()),
            pace: Pace::new(self.tracker),
        };
        for group in &members {
            join.group(group, context)?;
        }
        if let Some(conflict) = join.conflict {
            return Err(conflict.error);
        }
        let results = join.results;
        drop((lhs, rhs));
        merge_same_labels(Rows::new(self.tracker, results)?, FloatBesideHistogram::Refused)
    }
}

impl Join<'_> {
    fn is_swapped(&self) -> bool {
        self.plan.matching.cardinality == Cardinality::OneToMany
    }

    /// Remembers a failure if it is the first in time.
    fn conflict(&mut self, step: usize, rank: (u8, usize), error: QueryError) {
        if self.conflict.as_ref().is_none_or(|known| (step, rank) < (known.step, known.rank)) {
            self.conflict = Some(Conflict { step, rank, error });
        }
    }

    fn group(&mut self, group: &MatchGroup, context: &mut Context) -> Result<(), QueryError> {
        self.check_one_side(&group.one)?;
        let matching = &self.plan.matching;
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let steps = self.active.len();
        let mut taken = Taken { any: Bitmap::new(steps), by_labels: HashMap::new() };
        for &many in &group.many {
            let (many_labels, many_row) = (&self.many[many].labels, &self.many[many].row);
            let many_presence = many_row.presence();
            let mut unmatched = many_presence.clone();
            for &one in &group.one {
                self.pace.spend(UNITS_PER_PAIR + steps as u64 / 64)?;
                let (one_labels, one_row) = (&self.one[one].labels, &self.one[one].row);
                let mut both = one_row.presence();
                unmatched.subtract(&both);
                both.intersect(&many_presence);
                if both.any() {
                    let combined = self.combine(many_row, one_row, &both, context)?;
                    let labels = self.result_labels(many_labels, one_labels);
                    self.push(labels, combined, &mut taken);
                }
            }
            if let Some(fill) = fill_one
                && unmatched.any()
            {
                let filled = Row::constant(fill, steps);
                let combined = self.combine(many_row, &filled, &unmatched, context)?;
                let labels = self.result_labels(many_labels, &self.matching_labels(many_labels));
                self.push(labels, combined, &mut taken);
            }
        }
        let Some(fill) = fill_many else { return Ok(()) };
        for &one in &group.one {
            let (one_labels, one_row) = (&self.one[one].labels, &self.one[one].row);
            let mut unmatched = one_row.presence();
            unmatched.subtract(&taken.any);
            if unmatched.any() {
                let filled = Row::constant(fill, steps);
                let combined = self.combine(&filled, one_row, &unmatched, context)?;
                let labels = self.result_labels(&self.matching_labels(one_labels), one_labels);
                self.push(labels, combined, &mut taken);
            }
        }
        Ok(())
    }

    /// The "one" side must have a single series of each match group at each step.
    fn check_one_side(&mut self, one: &[usize]) -> Result<(), QueryError> {
        if one.len() < 2 {
            return Ok(());
        }
        let mut seen = Bitmap::new(self.active.len());
        for (i, &at) in one.iter().enumerate() {
            self.pace.spend(UNITS_PER_PAIR + self.active.len() as u64 / 64)?;
            let presence = self.one[at].row.presence();
            let step = presence.ones().find(|&step| seen.get(step) && self.active.get(step));
            if let Some(step) = step {
                let earlier =
                    one[..i].iter().rev().find(|&&other| self.one[other].row.has(step)).unwrap_or(&at);
                let error = self.duplicate(&self.one[at].labels, &self.one[*earlier].labels);
                self.conflict(step, (0, at), error);
            }
            seen.union(&presence);
        }
        Ok(())
    }

    fn duplicate(&self, labels: &Labels, earlier: &Labels) -> QueryError {
        let side = if self.is_swapped() { "left" } else { "right" };
        let mut texts = [labels.to_string(), earlier.to_string()];
        texts.sort();
        QueryError::execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            self.matching_labels(labels),
            texts[0],
            texts[1]
        ))
    }

    fn combine(
        &mut self,
        many: &Row,
        one: &Row,
        steps: &Bitmap,
        context: &mut Context,
    ) -> Result<Combined, QueryError> {
        let mut op = ElementOp {
            op: self.plan.op,
            return_bool: self.plan.return_bool,
            span: self.plan.span,
            annotations: &mut context.annotations,
        };
        let (lhs, rhs) = if self.is_swapped() { (one, many) } else { (many, one) };
        op.rows(lhs, rhs, steps, &mut self.pace)
    }

    /// Adds a result; one that collides with another of the same match group is a failure.
    fn push(&mut self, labels: Labels, combined: Combined, taken: &mut Taken) {
        let one_to_one = self.plan.matching.cardinality == Cardinality::OneToOne;
        let same = if one_to_one {
            &mut taken.any
        } else {
            taken.by_labels.entry(labels.clone()).or_insert_with(|| Bitmap::new(combined.matched.len()))
        };
        if let Some(step) = combined.matched.ones().find(|&step| same.get(step)) {
            let reason = if one_to_one {
                "many-to-one matching must be explicit (group_left/group_right)"
            } else {
                "grouping labels must ensure unique matches"
            };
            let error = QueryError::execution(format!("multiple matches for labels: {reason}"));
            self.conflict(step, (1, 0), error);
            return;
        }
        same.union(&combined.matched);
        if !one_to_one {
            taken.any.union(&combined.matched);
        }
        if !combined.row.is_empty() {
            let drop_name = self.plan.return_bool;
            self.results.push(SeriesRow { labels, drop_name, order: 0, row: combined.row });
        }
    }

    /// The labels of a match group.
    fn matching_labels(&self, labels: &Labels) -> Labels {
        let matching = &self.plan.matching;
        let key = MatchKey::new(matching);
        key.key().labels(labels)
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.plan.matching;
        let drops_name =
            changes_meaning(self.plan.op) || (self.plan.return_bool && !self.delayed_name_removal);
        let is_matching = |name: &str| matching.labels.iter().any(|candidate| *candidate == *name);
        let labels = many.filter(|name| {
            if drops_name && is_metadata_label(name) {
                return false;
            }
            matching.cardinality != Cardinality::OneToOne || is_matching(name) == matching.on
        });
        if matching.include.is_empty() {
            return labels;
        }
        let mut builder = LabelsBuilder::new(&labels);
        for name in &matching.include {
            builder.set(name, one.get(name));
        }
        builder.build()
    }
}
