//! A batch's way into a shard: which samples are admitted, and what is said of the others.
//!
//! Admission happens once, at the first replica that gets the batch: what it refuses is [stripped](Stripped), and what
//! is left is the batch, which the other replicas [apply](super::apply) whole. So label, time and limit failures never
//! make replicas differ.
//!
//! A series is looked for by the hash of its label bytes as they were sent. Only if that finds nothing are the
//! labels looked at: canonical ones make a new series, others go back to the coordinator, which brings them
//! into canonical form and sends them to the shard they then belong to.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use gyre_tsdb::labels::{Labels, METRIC_NAME};
use gyre_tsdb::wal::LaneEncoder;
use gyre_tsdb::{Appended, CreateError, Head, SeriesRef, TOUCHED_TOGETHER};

use super::histogram::{self, Admitted};
use super::refusal::{Refusal, metric_of};
use super::tenant_state::{SeriesLimit, TenantState};
use super::windows::BatchWindows;
use crate::api::push::decode::{HistogramSlice, Sample, WriteBatch};
use crate::tenant::canonical::{Canonical, canonicalize};

/// In-order samples may be this much older than the tenant's newest one even if late ones are not allowed: what
/// Prometheus's head takes.
const IN_ORDER_WINDOW_MS: i64 = 60 * 60 * 1000;

/// Part of a request: what goes to one shard. It has no number before it is admitted.
pub struct RequestPart {
    /// The request; samples are taken from it.
    pub request: Arc<WriteBatch>,
    /// Where the label bytes are, if not in the request.
    pub rewritten: Option<Arc<Vec<u8>>>,
    /// The series, in request order.
    pub entries: Vec<Entry>,
}

/// One series of a batch.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Hash of the label bytes.
    pub key: u128,
    /// The label bytes' place.
    pub labels: Range<u32>,
    /// The series' number in the request.
    pub series: u32,
}

impl RequestPart {
    /// The label bytes of an entry.
    pub fn labels(&self, entry: &Entry) -> &[u8] {
        let bytes = self.rewritten.as_deref().unwrap_or(&self.request.body);
        &bytes[entry.labels.start as usize..entry.labels.end as usize]
    }

    /// The float samples of an entry.
    pub fn samples(&self, entry: &Entry) -> &[Sample] {
        self.request.samples_of(&self.request.series[entry.series as usize])
    }

    /// The native histograms of an entry.
    pub fn histograms(&self, entry: &Entry) -> &[HistogramSlice] {
        self.request.histograms_of(entry.series)
    }

    /// Checks a histogram of an entry, all but its time.
    fn admit(
        &self,
        entry: &Entry,
        slice: &HistogramSlice,
        tenant: &TenantState,
    ) -> Result<Admitted, Refusal> {
        let buckets_max = tenant.limits.max_native_histogram_buckets;
        histogram::admit(self.request.histogram_message(slice), buckets_max, self.labels(entry))
    }
}

/// What was refused of a part, by place: floats and histograms are each counted through all its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stripped {
    /// Ascending.
    pub floats: Vec<u32>,
    /// Ascending.
    pub histograms: Vec<u32>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Admission {
    /// Samples stored now.
    pub stored: u64,
    /// Samples that were there already.
    pub repeated: u64,
    /// How many of those two are native histograms.
    pub histograms: u64,
    /// Histograms that were stored with fewer buckets than were sent.
    pub reduced_histograms: u64,
    /// Samples refused, by reason.
    pub refused: Vec<(Cow<'static, str>, u64)>,
    /// The first refusal: the series' number in the request, and what to tell the sender.
    pub first: Option<(u32, String)>,
    /// Series whose labels must be brought into canonical form first; nothing of them was stored.
    pub not_canonical: Vec<u32>,
    /// What the other replicas must not get.
    pub stripped: Stripped,
}

impl Admission {
    fn refuse(&mut self, samples: u64, refusal: &Refusal, series: u32, text: impl FnOnce() -> String) {
        self.count(refusal.reason().into(), samples);
        if self.first.is_none() {
            self.first = Some((series, text()));
        }
    }

    fn count(&mut self, reason: Cow<'static, str>, samples: u64) {
        match self.refused.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, count)) => *count += samples,
            None => self.refused.push((reason, samples)),
        }
    }

    /// Adds what became of another part of the same request.
    pub fn merge(&mut self, other: Admission) {
        self.stored += other.stored;
        self.repeated += other.repeated;
        self.histograms += other.histograms;
        self.reduced_histograms += other.reduced_histograms;
        for (reason, samples) in other.refused {
            self.count(reason, samples);
        }
        self.not_canonical.extend(other.not_canonical);
        self.first = [self.first.take(), other.first].into_iter().flatten().min_by_key(|(series, _)| *series);
    }
}

/// What appending needs beside the batch. Made for one batch.
pub struct Appender<'a> {
    /// The shard's series.
    pub head: &'a mut Head,
    /// The lane's encoder, with no batch begun.
    pub encoder: &'a mut LaneEncoder,
    /// The tenant's shared state.
    pub tenant: &'a TenantState,
    /// The wall clock.
    pub now_ms: i64,
    /// Working memory for labels.
    pub scratch: &'a mut Vec<u8>,
    /// Floats and histograms of the batch that were looked at.
    pub seen: Seen,
    /// Windows of time that the batch has samples in.
    pub windows: BatchWindows,
}

/// How far a batch was gone through.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    floats: u32,
    histograms: u32,
}

/// Times a sample may have.
#[derive(Clone, Copy)]
struct Window {
    oldest_ms: i64,
    oldest_late_ms: i64,
    newest_ms: i64,
}

impl Window {
    fn of(tenant: &TenantState, now_ms: i64) -> Self {
        let back = |window: i64| tenant.newest_ms().map_or(i64::MIN, |newest| newest.saturating_sub(window));
        let late = tenant.limits.out_of_order_time_window_ms;
        Window {
            oldest_ms: back(late.max(IN_ORDER_WINDOW_MS)),
            oldest_late_ms: if late > 0 { back(late) } else { i64::MAX },
            newest_ms: now_ms.saturating_add(tenant.limits.creation_grace_period_ms),
        }
    }
}

impl Window {
    /// Whether a sample of this time may be stored in some series.
    #[inline]
    fn contains(&self, t_ms: i64) -> bool {
        (self.oldest_ms..=self.newest_ms).contains(&t_ms)
    }

    /// Why a time outside of the window is refused.
    #[cold]
    fn refusal(&self, t_ms: i64, labels: &[u8]) -> Refusal {
        if t_ms < self.oldest_ms {
            Refusal::TooOld
        } else {
            Refusal::TooNew { t_ms, metric: metric_of(labels) }
        }
    }
}

impl Appender<'_> {
    /// Applies a batch to the head and encodes what was admitted. The caller ends the encoder's batch.
    pub fn append(&mut self, batch: &RequestPart) -> Admission {
        let mut admission = Admission::default();
        let window = Window::of(self.tenant, self.now_ms);
        // Senders keep their order, so the series after the last one is a good guess and saves a search.
        let mut guess = SeriesRef(0);
        for (place, entry) in batch.entries.iter().enumerate() {
            if place % TOUCHED_TOGETHER == 0 {
                self.touch_from(guess);
            }
            let series = if self.head.is(guess, entry.key) { Some(guess) } else { self.head.find(entry.key) };
            let Some(series) = series.or_else(|| self.new_series(batch, entry, &window, &mut admission))
            else {
                self.strip_entry(batch, entry, &mut admission.stripped);
                continue;
            };
            guess = SeriesRef(series.0 + 1);
            for sample in batch.samples(entry) {
                self.append_sample(batch, entry, series, *sample, &window, &mut admission);
                self.seen.floats += 1;
            }
            for slice in batch.histograms(entry) {
                self.append_histogram(batch, entry, series, slice, &window, &mut admission);
                self.seen.histograms += 1;
            }
        }
        if let Some(newest) = self.head.newest_ms() {
            self.tenant.saw(newest);
        }
        admission
    }

    /// Gets the series from this one on ready to be appended to, which are those that follow if the sender keeps its order.
    fn touch_from(&self, first: SeriesRef) {
        let behind = self.head.series_end().0.min(first.0.saturating_add(TOUCHED_TOGETHER as u32));
        self.head.touch((first.0..behind).map(SeriesRef));
    }

    /// Nothing of an entry was taken.
    #[cold]
    fn strip_entry(&mut self, batch: &RequestPart, entry: &Entry, stripped: &mut Stripped) {
        let seen = self.seen;
        self.seen.floats += batch.samples(entry).len() as u32;
        self.seen.histograms += batch.histograms(entry).len() as u32;
        stripped.floats.extend(seen.floats..self.seen.floats);
        stripped.histograms.extend(seen.histograms..self.seen.histograms);
    }

    #[inline]
    fn append_sample(
        &mut self,
        batch: &RequestPart,
        entry: &Entry,
        series: SeriesRef,
        Sample { t_ms, v_bits }: Sample,
        window: &Window,
        admission: &mut Admission,
    ) {
        let refusal = match self.check_time(batch, entry, series, t_ms, window) {
            Some(refusal) => refusal,
            None => match self.head.append(series, t_ms, v_bits) {
                Appended::InOrder | Appended::Late => {
                    self.encoder.sample(series, t_ms, v_bits, self.head.wal_base_mut(series));
                    self.windows.add(t_ms);
                    admission.stored += 1;
                    return;
                }
                Appended::Again => {
                    self.windows.add(t_ms);
                    admission.repeated += 1;
                    return;
                }
                Appended::Conflict => Refusal::Conflict,
            },
        };
        admission.stripped.floats.push(self.seen.floats);
        admission.refuse(1, &refusal, entry.series, || {
            refusal.of_sample(&self.tenant.id, t_ms, batch.labels(entry))
        });
    }

    /// Whether a sample of a series is not wanted because of its time.
    #[inline]
    fn check_time(
        &self,
        batch: &RequestPart,
        entry: &Entry,
        series: SeriesRef,
        t_ms: i64,
        window: &Window,
    ) -> Option<Refusal> {
        if !window.contains(t_ms) {
            return Some(window.refusal(t_ms, batch.labels(entry)));
        }
        let is_refused = t_ms < window.oldest_late_ms && self.head.is_late(series, t_ms);
        is_refused.then_some(Refusal::OutOfOrder)
    }

    fn append_histogram(
        &mut self,
        batch: &RequestPart,
        entry: &Entry,
        series: SeriesRef,
        slice: &HistogramSlice,
        window: &Window,
        admission: &mut Admission,
    ) {
        let Admitted { t_ms, histogram, is_reduced } = match batch.admit(entry, slice, self.tenant) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                admission.stripped.histograms.push(self.seen.histograms);
                return admission.refuse(1, &refusal, entry.series, || refusal.to_string());
            }
        };
        let refusal = match self.check_time(batch, entry, series, t_ms, window) {
            Some(refusal) => refusal,
            None => {
                let appended = self.head.append_histogram(series, t_ms, &histogram);
                if appended == Appended::Conflict {
                    Refusal::Conflict
                } else {
                    self.windows.add(t_ms);
                    admission.histograms += 1;
                    if appended == Appended::Again {
                        admission.repeated += 1;
                    } else {
                        self.encoder.histogram(series, t_ms, &histogram);
                        admission.stored += 1;
                        admission.reduced_histograms += u64::from(is_reduced);
                    }
                    return;
                }
            }
        };
        admission.stripped.histograms.push(self.seen.histograms);
        admission.refuse(1, &refusal, entry.series, || {
            refusal.of_sample(&self.tenant.id, t_ms, batch.labels(entry))
        });
    }

    /// Makes the series of an entry, unless something is wrong with it.
    #[cold]
    fn new_series(
        &mut self,
        batch: &RequestPart,
        entry: &Entry,
        window: &Window,
        admission: &mut Admission,
    ) -> Option<SeriesRef> {
        let raw = batch.labels(entry);
        let samples = batch.samples(entry);
        let refusal = match canonicalize(raw, &self.tenant.limits.labels, self.scratch) {
            Ok(Canonical::Rewritten) => {
                admission.not_canonical.push(entry.series);
                return None;
            }
            Ok(Canonical::AsIs) => {
                // A series without a sample that can be stored would only take up room.
                let in_time =
                    |slice| batch.admit(entry, slice, self.tenant).is_ok_and(|a| window.contains(a.t_ms));
                if !samples.iter().any(|sample| window.contains(sample.t_ms))
                    && !batch.histograms(entry).iter().any(in_time)
                {
                    self.refuse_all(batch, entry, window, admission);
                    return None;
                }
                match self.create(entry.key, raw) {
                    Ok(series) => return Some(series),
                    Err(refusal) => refusal,
                }
            }
            Err(error) => Refusal::Labels(error),
        };
        let refused = (samples.len() + batch.histograms(entry).len()) as u64;
        admission.refuse(refused, &refusal, entry.series, || match &refusal {
            Refusal::Labels(error) => error.to_string(),
            other => format!("user={}: {other}", self.tenant.id),
        });
        None
    }

    fn create(&mut self, key: u128, raw: &[u8]) -> Result<SeriesRef, Refusal> {
        let Ok(labels) = Labels::parse(raw) else {
            return Err(Refusal::Create(CreateError::Collision));
        };
        let metric = labels.get(METRIC_NAME).unwrap_or_default();
        self.tenant.add_series(metric.as_bytes()).map_err(|limit| match limit {
            SeriesLimit::User => Refusal::UserSeries { limit: self.tenant.limits.max_series_per_user },
            SeriesLimit::Metric => Refusal::MetricSeries {
                limit: self.tenant.limits.max_series_per_metric,
                metric: metric.to_owned(),
            },
        })?;
        let series = self.head.create(key, labels).map_err(Refusal::Create)?;
        self.encoder.new_series(series, raw);
        Ok(series)
    }

    fn refuse_all(&mut self, batch: &RequestPart, entry: &Entry, window: &Window, admission: &mut Admission) {
        let refuse = |admission: &mut Admission, t_ms: i64| {
            let refusal = window.refusal(t_ms, batch.labels(entry));
            let explain = || refusal.of_sample(&self.tenant.id, t_ms, batch.labels(entry));
            admission.refuse(1, &refusal, entry.series, explain);
        };
        batch.samples(entry).iter().for_each(|sample| refuse(admission, sample.t_ms));
        for slice in batch.histograms(entry) {
            match batch.admit(entry, slice, self.tenant) {
                Ok(admitted) => refuse(admission, admitted.t_ms),
                Err(refusal) => admission.refuse(1, &refusal, entry.series, || refusal.to_string()),
            }
        }
    }
}
