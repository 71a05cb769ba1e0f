//! Which cuts are computed together: those that take the same series, so that these are read once in each place.
//!
//! A fragment is a bundle. Everybody who cuts a query must bundle the cuts alike, so nothing here depends on the limits of
//! whoever does it.

use super::cut::{Cut, Work};
use super::shipped::ShippedStorage;
use crate::engine::{CancelToken, EngineOptions, Tracker};
use crate::exec::{Consumer, Executor};

/// Parts of a plan of which one row is larger than so many bytes are bundles of their own.
const ROW_BYTES_MAX: u64 = 64 << 20;

/// The numbers of the cuts in each bundle, ascending, as the bundles are.
pub(super) fn bundles(cuts: &[Cut], settings: &EngineOptions, lookback_ms: i64) -> Vec<Vec<usize>> {
    let consumers: Vec<(usize, Consumer<'_>)> =
        cuts.iter().enumerate().filter_map(|(number, cut)| Some((number, consumer(cut)?))).collect();
    let alone = (0..cuts.len()).filter(|number| consumers.iter().all(|(other, _)| other != number));
    let mut bundles: Vec<Vec<usize>> = alone.map(|number| vec![number]).collect();
    let (numbers, consumers): (Vec<usize>, Vec<Consumer<'_>>) = consumers.into_iter().unzip();
    let storage = ShippedStorage::default();
    let tracker = Tracker::new(u64::MAX, ROW_BYTES_MAX, None, CancelToken::default());
    let executor = Executor::new(&storage, settings, &tracker, lookback_ms);
    for bundle in executor.bundles(&consumers) {
        let mut bundle: Vec<usize> = bundle.into_iter().map(|consumer| numbers[consumer]).collect();
        bundle.sort_unstable();
        bundles.push(bundle);
    }
    bundles.sort_unstable();
    bundles
}

/// Who takes the series of a cut; `None` if their samples are wanted as stored.
pub(super) fn consumer(cut: &Cut) -> Option<Consumer<'_>> {
    match &cut.work {
        Work::Rows(plan) => Consumer::rows(plan, cut.grid),
        Work::Groups(aggregate) => Some(Consumer::unfinished(aggregate, cut.grid)),
        Work::Samples { .. } => None,
    }
}
