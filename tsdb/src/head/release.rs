//! Dropping what blocks have.
//!
//! When a window of time lies in a block that everybody can read, its chunks go: references to sealed ones, open ones,
//! late samples. Labels stay, until the series is [forgotten](super::forget), and so do the newest sample's time and value,
//! by which a repeated one is known. A histogram's value costs memory, so it stays only while its series is alive: by it the
//! next chunk also says whether its counter was reset. What may go wrong: a repeated newest sample of a series of histograms
//! that has stopped is stored once more;
//! readers merge it with the block's.

use std::collections::BTreeSet;

use super::Head;
use super::append::window_of;
use super::forget::IdleSeries;
use super::series::Newest;
use crate::index::SeriesRef;

/// A series without a sample for so long before the head's newest one has stopped.
const STOPPED_MS: i64 = 60 * 60 * 1000;

impl Head {
    /// Drops what `count` series from `from` on have in a [window](window_of), and gives the series to go on with, if there
    /// is one. Series that have stopped, and of which nothing is here, are added to `idle`. Takes about a microsecond a series.
    pub fn release(
        &mut self,
        from: SeriesRef,
        count: usize,
        window: i64,
        idle: &mut IdleSeries,
    ) -> Option<SeriesRef> {
        let mut some: Vec<SeriesRef> = self.series_from(from).take(count.saturating_add(1)).collect();
        let next = if some.len() > count { some.pop() } else { None };
        for series in &some {
            self.release_series(*series, window);
        }
        self.releases += 1;
        let stopped_before_ms = idle.stopped_before_ms();
        let is_idle = |series: &SeriesRef| self.is_idle(*series, stopped_before_ms);
        idle.saw(self.releases, some.into_iter().filter(is_idle));
        next
    }

    fn release_series(&mut self, series: SeriesRef, window: i64) {
        let Head { sealed, sealed_refs, .. } = self;
        let place = self.index.place(series).expect("what is released is there");
        let state = &mut self.series[place];
        if !state.has_samples() {
            return;
        }
        state.sealed = sealed_refs.drop_some(state.sealed, |chunk| {
            // No chunk spans windows.
            let is_dropped = window_of(chunk.min_ms) == window;
            if is_dropped {
                sealed.forget(chunk.at);
            }
            is_dropped
        });
        if window_of(state.encoder.t_ms) == window {
            if state.encoder.count > 0 {
                state.close_chunk(&mut self.extents);
            } else if state.newest == Newest::Histogram {
                self.histograms.release(series.0);
                state.newest = Newest::Released;
            }
        }
        let newest_ms = self.newest_ms.unwrap_or(i64::MIN);
        if state.newest == Newest::Released && newest_ms.saturating_sub(STOPPED_MS) > state.encoder.t_ms {
            self.histograms.forget(series.0);
        }
        self.overlay.change(series, |late| {
            late.chunks.retain(|chunk| {
                let is_dropped = window_of(chunk.min_ms) == window && window_of(chunk.max_ms) == window;
                if is_dropped {
                    sealed.forget(chunk.at);
                }
                !is_dropped
            });
            late.buffer.retain(|(t_ms, _)| window_of(*t_ms) != window);
            late.histograms.retain(|(t_ms, _)| window_of(*t_ms) != window);
        });
    }

    /// The windows that there is data in.
    pub fn windows(&self) -> BTreeSet<i64> {
        let mut windows = BTreeSet::new();
        for series in self.series_from(SeriesRef(0)) {
            let state = self.state(series);
            windows.extend(self.sealed_refs.newest_first(state.sealed).map(|chunk| window_of(chunk.min_ms)));
            if state.encoder.count > 0 {
                windows.insert(window_of(state.encoder.t_ms));
            }
            if let Some(open) = self.histograms.open(series.0) {
                windows.extend([window_of(open.begin_ms()), window_of(state.encoder.t_ms)]);
            }
            if let Some(late) = self.overlay.get(series) {
                windows.extend(
                    late.chunks.iter().flat_map(|chunk| window_of(chunk.min_ms)..=window_of(chunk.max_ms)),
                );
                windows.extend(late.buffer.iter().map(|(t_ms, _)| window_of(*t_ms)));
                windows.extend(late.histograms.iter().map(|(t_ms, _)| window_of(*t_ms)));
            }
        }
        windows
    }

    /// Notes that a snapshot of the head has been written: files of sealed chunks that none of the last snapshots can refer
    /// to are given, to be removed.
    pub fn unneeded_files(&mut self) -> Vec<std::path::PathBuf> {
        self.sealed.unneeded_files()
    }
}
