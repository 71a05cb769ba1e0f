//! Experimental parts of PromQL, switched on by Prometheus's own names: `enable-feature`.
//!
//! Only the names that change what a query means exist here. Those of Prometheus's scraping and storage are refused
//! like any unknown name, since they would do nothing.

use std::collections::BTreeSet;

use super::nearest::nearest;

/// A part of PromQL that is off unless asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Functions and aggregations marked experimental.
    ExperimentalFunctions,
    /// Metric names are dropped at the end of a query, not by each operator.
    DelayedNameRemoval,
    /// Arithmetic where a duration is expected. Prometheus has it on always, and so has gyre.
    DurationExpr,
    /// The modifiers `anchored` and `smoothed`.
    ExtendedRangeSelectors,
    /// `fill`, `fill_left` and `fill_right`.
    BinopFillModifiers,
    /// Counters are known by their `__type__` label, not by their name.
    TypeAndUnitLabels,
    /// Statistics of each step of a query. Always on: only queries that ask for them pay.
    PerStepStats,
    /// `rate` and the like use the time at which a counter started.
    UseStartTimestamps,
}

/// All names, in the order in which they are shown.
const NAMES: [(&str, Feature); 8] = [
    ("promql-experimental-functions", Feature::ExperimentalFunctions),
    ("promql-delayed-name-removal", Feature::DelayedNameRemoval),
    ("promql-duration-expr", Feature::DurationExpr),
    ("promql-extended-range-selectors", Feature::ExtendedRangeSelectors),
    ("promql-binop-fill-modifiers", Feature::BinopFillModifiers),
    ("promql-per-step-stats", Feature::PerStepStats),
    ("type-and-unit-labels", Feature::TypeAndUnitLabels),
    ("use-start-timestamps", Feature::UseStartTimestamps),
];

/// The features that are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    enabled: BTreeSet<Feature>,
}

impl Features {
    /// Whether a feature is on.
    pub fn has(&self, feature: Feature) -> bool {
        self.enabled.contains(&feature)
    }

    /// Switches on features named in a list with commas, besides those that are on already.
    ///
    /// # Errors
    /// A name that does not exist, with the nearest one that does.
    pub(super) fn enable(&mut self, names: &str) -> Result<(), String> {
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some((_, feature)) = NAMES.iter().find(|(known, _)| *known == name) else {
                return Err(unknown(name));
            };
            self.enabled.insert(*feature);
        }
        Ok(())
    }

    /// The list that [`Features::enable`] reads.
    pub(super) fn show(&self) -> String {
        let names = NAMES.iter().filter(|(_, feature)| self.has(*feature)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(",")
    }
}

fn unknown(name: &str) -> String {
    match nearest(name, NAMES.iter().map(|(known, _)| *known)) {
        Some(nearest) => format!("there is no feature {name}, did you mean {nearest}?"),
        None => {
            let all = NAMES.map(|(known, _)| known).join(", ");
            format!("there is no feature {name} here, only {all}")
        }
    }
}
