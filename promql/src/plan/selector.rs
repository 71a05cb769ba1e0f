//! Selectors with their modifiers resolved.

use crate::exec::Grid;
use crate::storage::LabelMatcher;
use crate::syntax::Span;
use crate::syntax::ast::ExtendedRange;

/// An instant selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// All must match.
    pub matchers: Vec<LabelMatcher>,
    /// Shift into the past, milliseconds.
    pub offset_ms: i64,
    /// The time it is pinned to, milliseconds.
    pub at_ms: Option<i64>,
    /// `anchored` or `smoothed`.
    pub extended: Option<ExtendedRange>,
    /// Position.
    pub span: Span,
    /// Name of the function or aggregation around it, for the storage.
    pub hint_func: &'static str,
    /// Labels of the aggregation around it, for the storage.
    pub hint_grouping: Vec<String>,
    /// Whether those are the labels to keep.
    pub hint_by: bool,
    /// Only count and sum of native histograms are needed.
    pub histogram_stats: bool,
}

/// A range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSelector {
    /// The series and modifiers.
    pub selector: Selector,
    /// Length of the window, milliseconds.
    pub range_ms: i64,
}

impl Selector {
    /// Whether another one sees the same samples, wherever it stands.
    pub fn same_samples(&self, other: &Self) -> bool {
        let key = |selector: &Self| {
            (selector.offset_ms, selector.at_ms, selector.extended, selector.histogram_stats)
        };
        has_matchers(&self.matchers, &other.matchers)
            && has_matchers(&other.matchers, &self.matchers)
            && key(self) == key(other)
    }

    /// The time a step looks at, milliseconds.
    #[inline]
    pub fn reference_ms(&self, grid: &Grid, step: usize) -> i64 {
        self.at_ms.unwrap_or_else(|| grid.timestamp(step)).saturating_sub(self.offset_ms)
    }

    /// The first and last time any step looks at, milliseconds.
    pub fn reference_range_ms(&self, grid: &Grid) -> (i64, i64) {
        (self.reference_ms(grid, 0), self.reference_ms(grid, grid.steps.saturating_sub(1)))
    }
}

/// Whether matchers have all of some others among them.
pub(crate) fn has_matchers(all: &[LabelMatcher], some: &[LabelMatcher]) -> bool {
    some.iter().all(|matcher| all.contains(matcher))
}
