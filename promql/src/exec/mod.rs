//! Computing a plan.
//!
//! Everything works on whole series: a row of values, one per evaluation time ([`Row`]). Operators that treat each
//! series by itself (selectors, functions over windows, arithmetic with scalars) form *pipelines* through which
//! series are pushed one at a time by several workers; only operators that need many series at once (joins,
//! sorting) hold their input, and aggregations hold one row per group. So the memory of
//! `sum by (le) (rate(x[5m]))` is that of its groups, however many series match.
//!
//! [`Executor::pipeline`] says which operators stream, `drive` in [`pipeline`] how workers share the work. Where an
//! operator changes labels, two series may become one; that is checked on the way by hash, and only if it happens the
//! query is evaluated again with that operator's output held and merged.

mod aggregate;
mod binary;
mod bitmap;
mod branch;
mod consumers;
mod count;
mod drive;

mod elementwise;
mod executor;
mod finish;
mod functions;
mod grid;
mod grouping;
mod histogram_functions;
mod info;
mod math;
mod parked;
mod pass;
mod pipeline;
mod range;
mod relabel;
mod row;
mod rows;
mod scalar;
mod select;
mod sets;
mod share;
mod ship;
mod sort;
mod time;

pub(crate) use aggregate::{merge_groups, put_groups};
pub(crate) use bitmap::Bitmap;
pub(crate) use consumers::Consumer;
pub(crate) use count::SampleCounts;
pub(crate) use executor::{Context, Executor, GuardHashes};
pub use grid::{Counted, Grid};
pub(crate) use histogram_functions::almost_equal;
pub(crate) use info::info_matchers;
pub(crate) use math::{go_max, go_min, scalar_binary};
pub(crate) use parked::Parked;
pub use row::Row;
pub(crate) use rows::SeriesRow;

pub(crate) use time::civil_time;
