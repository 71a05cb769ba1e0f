//! A batch's way into a shard that another replica has admitted: whole, whatever this one's limits and windows say.
//!
//! What may go wrong: the sender left out the labels of a series that this shard does not know; then nothing is touched
//! and the sender repeats them. Two replicas that admit different values for one time at the same moment: both apply
//! both, and the [winner](gyre_tsdb::Head::apply) does not depend on the order.

use gyre_ring::HashSeed;
use gyre_tsdb::labels::{Labels, METRIC_NAME};
use gyre_tsdb::wal::LaneEncoder;
use gyre_tsdb::{CreateError, Head, IndexFull, SeriesRef, TOUCHED_TOGETHER};

use super::histogram;
use super::tenant_state::TenantState;
use super::windows::BatchWindows;
use crate::rpc::samples::{SampleBatch, Series};

/// Why a batch was not applied. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A series is new here, and its labels did not come along.
    #[error("labels are missing")]
    LabelsMissing,
    /// What came is not what an admitted batch may hold.
    #[error("not a batch: {0}")]
    Malformed(String),
    /// Its new series have no room here.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// What applying needs beside the batch. Made for one batch.
pub struct Applier<'a> {
    /// The shard's series.
    pub head: &'a mut Head,
    /// The lane's encoder, with no batch begun.
    pub encoder: &'a mut LaneEncoder,
    /// The tenant's shared state.
    pub tenant: &'a TenantState,
    /// Whether series that are made count for the tenant: those of a segment that has ended do not.
    pub counts: bool,
    /// The cluster's seed for series keys.
    pub seed: HashSeed,
}

impl Applier<'_> {
    /// Applies a batch to the head and encodes what was new; gives the windows of time that it has samples in. The caller
    /// ends the encoder's batch. `histogram_buckets_max` is the limit under which the batch was admitted.
    pub fn apply(
        &mut self,
        batch: &SampleBatch,
        histogram_buckets_max: usize,
    ) -> Result<BatchWindows, ApplyError> {
        let mut windows = BatchWindows::default();
        let mut histograms = Vec::with_capacity(batch.histograms.len());
        for sample in &batch.histograms {
            let admitted = histogram::admit(batch.histogram(sample), histogram_buckets_max, &[]);
            histograms.push(admitted.map_err(|refusal| ApplyError::Malformed(refusal.to_string()))?);
        }
        let series = self.find_all(batch)?;
        let of = |series: &[SeriesRef], place: u32| {
            let found = series.get(place as usize).copied();
            found.ok_or_else(|| ApplyError::Malformed(format!("there is no series {place}")))
        };
        for samples in batch.samples.chunks(TOUCHED_TOGETHER) {
            self.head.touch(samples.iter().filter_map(|sample| series.get(sample.series as usize)).copied());
            for sample in samples {
                let series = of(&series, sample.series)?;
                windows.add(sample.t_ms);
                if self.head.apply(series, sample.t_ms, sample.v_bits).is_stored() {
                    let base = self.head.wal_base_mut(series);
                    self.encoder.sample(series, sample.t_ms, sample.v_bits, base);
                }
            }
        }
        for (sample, admitted) in batch.histograms.iter().zip(&histograms) {
            let series = of(&series, sample.series)?;
            windows.add(admitted.t_ms);
            if self.head.apply_histogram(series, admitted.t_ms, &admitted.histogram).is_stored() {
                self.encoder.histogram(series, admitted.t_ms, &admitted.histogram);
            }
        }
        if let Some(newest) = self.head.newest_ms() {
            self.tenant.saw(newest);
        }
        Ok(windows)
    }

    /// All series of a batch; those that are new are made once it is certain that all can be.
    fn find_all(&mut self, batch: &SampleBatch) -> Result<Vec<SeriesRef>, ApplyError> {
        let mut found = Vec::with_capacity(batch.series.len());
        let mut guess = SeriesRef(0);
        let mut new = Vec::new();
        for (place, series) in batch.series.iter().enumerate() {
            let key = series.key.0;
            let known = if self.head.is(guess, key) { Some(guess) } else { self.head.find(key) };
            if known.is_none() {
                new.push((place, self.labels_of(batch, series)?));
            }
            guess = known.map_or(guess, |known| SeriesRef(known.0 + 1));
            found.push(known.unwrap_or(guess));
        }
        let label_bytes = new.iter().map(|(_, labels)| labels.as_bytes().len()).sum();
        if !self.head.has_room(new.len(), label_bytes) {
            return Err(CreateError::Full(IndexFull).into());
        }
        for (place, labels) in new {
            found[place] = self.create(batch.series[place].key.0, labels)?;
        }
        Ok(found)
    }

    fn labels_of<'b>(&self, batch: &'b SampleBatch, series: &Series) -> Result<Labels<'b>, ApplyError> {
        let bytes = batch.labels(series).ok_or(ApplyError::LabelsMissing)?;
        let labels = Labels::parse(bytes).map_err(|error| ApplyError::Malformed(error.to_string()))?;
        if self.seed.key(bytes) != series.key {
            return Err(ApplyError::Malformed(format!("labels {labels:?} have another key")));
        }
        Ok(labels)
    }

    fn create(&mut self, key: u128, labels: Labels<'_>) -> Result<SeriesRef, ApplyError> {
        if let Some(known) = self.head.find(key) {
            return Ok(known);
        }
        if self.counts {
            let metric = labels.get(METRIC_NAME).unwrap_or_default();
            self.tenant.add_series_of_others(metric.as_bytes());
        }
        let series = self.head.create(key, labels)?;
        self.encoder.new_series(series, labels.as_bytes());
        Ok(series)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use gyre_ring::{SeriesKey, TenantId};
    use gyre_tsdb::disk::SimDisk;
    use gyre_tsdb::labels;

    use super::*;
    use crate::rpc::samples::{BatchWriter, Decoder, Encoder, SampleSource};
    use crate::tenant::limits::Limits;

    const SEED: HashSeed = HashSeed(5);

    /// One float of one series, under this key.
    struct OneFloat {
        key: SeriesKey,
        labels: Vec<u8>,
        v_bits: u64,
    }

    impl OneFloat {
        fn of(metric: &str, v_bits: u64) -> Self {
            let labels = labels::encode([("__name__", metric)]);
            OneFloat { key: SEED.key(&labels), labels, v_bits }
        }
    }

    impl SampleSource for OneFloat {
        fn segment(&self) -> &str {
            "acme/0-of-1@1"
        }

        fn series_len(&self) -> usize {
            1
        }

        fn write_to(&self, out: &mut BatchWriter<'_>) {
            out.series(self.key, || &self.labels);
            out.sample(1000, self.v_bits);
        }

        fn memory_bytes(&self) -> usize {
            0
        }
    }

    /// What arrives of batches that are sent over one connection.
    fn sent(floats: &[OneFloat]) -> Vec<SampleBatch> {
        let (mut encoder, mut decoder) = (Encoder::new(100), Decoder::new(100));
        let send = |float: &OneFloat| {
            let (mut bytes, mut batch) = (Vec::new(), SampleBatch::default());
            encoder.encode(float, &mut bytes).unwrap();
            decoder.decode(&bytes, &mut batch).unwrap();
            batch
        };
        floats.iter().map(send).collect()
    }

    struct Replica {
        head: Head,
        encoder: LaneEncoder,
        tenant: TenantState,
    }

    impl Replica {
        fn new() -> Self {
            // A limit that a replica does not look at.
            let limits = Limits { max_series_per_user: 1, ..Limits::default() };
            Replica {
                head: Head::new(&SimDisk::default(), Path::new("/shard")).unwrap(),
                encoder: LaneEncoder::new(1, 1 << 20),
                tenant: TenantState::new(TenantId::new("acme").unwrap(), Arc::new(limits)),
            }
        }

        fn apply(&mut self, batch: &SampleBatch) -> Result<(), ApplyError> {
            let Replica { head, encoder, tenant } = self;
            Applier { head, encoder, tenant, counts: true, seed: SEED }.apply(batch, 0).map(|_| ())
        }
    }

    #[test]
    fn a_batch_is_applied_whatever_the_limits_and_windows_say() {
        let mut replica = Replica::new();
        for batch in sent(&[OneFloat::of("a", 1), OneFloat::of("b", 2)]) {
            replica.apply(&batch).unwrap();
        }
        assert_eq!((replica.head.series_count(), replica.tenant.series()), (2, 2));
    }

    #[test]
    fn without_the_labels_of_a_new_series_nothing_is_touched() {
        let batches = sent(&[OneFloat::of("a", 1), OneFloat::of("a", 2)]);
        let mut replica = Replica::new();
        assert_eq!(replica.apply(&batches[1]), Err(ApplyError::LabelsMissing));
        assert!(replica.encoder.batch_is_empty() && replica.head.series_count() == 0);
        replica.apply(&batches[0]).unwrap();
        replica.apply(&batches[1]).unwrap();
        assert_eq!(replica.head.series_count(), 1);
    }

    #[test]
    fn labels_that_do_not_hash_to_their_key_are_refused() {
        let key = SeriesKey(SEED.key(b"other").0);
        let mut replica = Replica::new();
        let batches = sent(&[OneFloat { key, ..OneFloat::of("a", 1) }]);
        let error = replica.apply(&batches[0]).unwrap_err().to_string();
        assert!(error.contains("another key"), "{error}");
        assert_eq!(replica.head.series_count(), 0);
    }
}
