//! A replica's samples: the storage crate's head, as the node uses it.
//!
//! Which series there are is fixed for a run (the [`Catalog`]), since labels travelling between nodes are tested
//! elsewhere. What a head does with samples is not: they come late, again and in conflict, from clients, from other
//! replicas and from the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::HashSeed;
use gyre_tsdb::disk::Disk;
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::wal::LaneEncoder;
use gyre_tsdb::winner::{Value, compare};
use gyre_tsdb::{Appended, Decoded, Head, IdleSeries, SeriesBatch, SeriesRef, window_of};

use crate::message::{Answer, Points};

/// Time between two points: as far apart as scrapes, so that chunks end where they do in practice, and a run has many windows
/// of two hours.
const STEP_MS: i64 = 60_000;

const SEED: HashSeed = HashSeed(11);

/// The series of a run: labels by key.
#[derive(Clone, Debug, Default)]
pub struct Catalog(BTreeMap<u128, Vec<u8>>);

impl Catalog {
    /// So many series; another number gives others.
    pub fn new(series: u64, number: u64) -> Self {
        let labels = (0..series).map(|of| {
            let values = (of.to_string(), number.to_string());
            labels::encode([("__name__", "up"), ("instance", &values.0), ("run", &values.1)])
        });
        Catalog(labels.map(|labels| (SEED.key(&labels).0, labels)).collect())
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = u128> {
        self.0.keys().copied()
    }
}

/// Whether one value counts where there is another for the same time, or is the same.
pub fn wins(one: u64, other: u64) -> bool {
    compare(Value::Float(one), Value::Float(other)).is_ge()
}

/// The samples that a replica holds of a segment.
pub struct Samples {
    head: Head,
    catalog: Arc<Catalog>,
    /// What reads see, until something changes.
    shown: Option<Arc<Answer>>,
}

impl Samples {
    /// None.
    pub fn new(disk: &dyn Disk, catalog: Arc<Catalog>) -> Self {
        let head = Head::new(disk, Path::new("/shard")).expect("nothing is read from an empty folder");
        Samples { head, catalog, shown: None }
    }

    /// Finds a series, or makes it and has the log know.
    fn series(&mut self, key: u128, encoder: &mut LaneEncoder) -> SeriesRef {
        if let Some(series) = self.head.find(key) {
            return series;
        }
        let labels = &self.catalog.0[&key];
        let parsed = Labels::parse(labels).expect("encoded as they should be");
        let series = self.head.create(key, parsed).expect("few series, all different");
        encoder.new_series(series, labels);
        series
    }

    fn log(&mut self, series: SeriesRef, time: u64, value: u64, encoder: &mut LaneEncoder) {
        encoder.sample(series, t_ms(time), value, self.head.wal_base_mut(series));
        self.shown = None;
    }

    /// Samples from a client: those that are admitted (all but the ones whose time is taken by another value). What is
    /// new goes into the encoder's batch.
    pub fn admit(&mut self, points: &Points, encoder: &mut LaneEncoder) -> Points {
        let mut admitted = Points::new();
        for (&(key, time), &value) in points {
            let series = self.series(key, encoder);
            match self.head.append(series, t_ms(time), value) {
                Appended::Conflict => continue,
                Appended::Again => {}
                Appended::InOrder | Appended::Late => self.log(series, time, value, encoder),
            }
            admitted.insert((key, time), value);
        }
        admitted
    }

    /// Samples that another replica has admitted: all are taken, and of two values for one time the winner counts.
    pub fn apply(&mut self, points: &Points, encoder: &mut LaneEncoder, rules: &Rules) {
        for (&(key, time), &value) in points {
            let series = self.series(key, encoder);
            if self.store(series, t_ms(time), value, rules) {
                self.log(series, time, value, encoder);
            }
        }
    }

    /// A sample from the log; false if the series is not known.
    pub fn replay(&mut self, series: SeriesRef, t_ms: i64, value: u64, rules: &Rules) -> bool {
        self.shown = None;
        self.head.is_known(series) && {
            self.store(series, t_ms, value, rules);
            true
        }
    }

    /// A series from the log; false if it is not the one that is there.
    pub fn replay_series(&mut self, number: u32, labels: &[u8]) -> bool {
        self.head.replay_series(number, SEED.key(labels).0, labels)
    }

    /// Whether it was new.
    fn store(&mut self, series: SeriesRef, t_ms: i64, value: u64, rules: &Rules) -> bool {
        if rules.greater_value_wins {
            self.head.apply(series, t_ms, value).is_stored()
        } else {
            matches!(self.head.append(series, t_ms, value), Appended::InOrder | Appended::Late)
        }
    }

    /// The key of a series by its number in the log, from its labels; `None` if it was forgotten.
    pub fn key(&self, number: u32) -> Option<u128> {
        let series = SeriesRef(number);
        let mut labels = Vec::new();
        self.head.put_labels(series, &mut labels);
        (!self.head.is_gone(series)).then(|| SEED.key(&labels).0)
    }

    /// Drops a window, and forgets the series that have nothing left.
    pub fn release(&mut self, window: i64) {
        let hour_ms = 60 * STEP_MS;
        let mut idle = IdleSeries::stopped_before(self.head.newest_ms().unwrap_or(0) - hour_ms);
        self.head.release(SeriesRef(0), usize::MAX, window, &mut idle);
        self.head.forget(&idle, |_| {}).expect("there was room for more");
        self.shown = None;
    }

    /// All samples.
    pub fn shown(&mut self) -> Arc<Answer> {
        if self.shown.is_none() {
            self.shown = Some(Arc::new(self.read()));
        }
        self.shown.clone().unwrap_or_default()
    }

    fn read(&self) -> Answer {
        let mut batch = SeriesBatch::default();
        for series in self.head.series_from(SeriesRef(0)) {
            self.head.read(series, i64::MIN, i64::MAX, &mut batch);
        }
        let mut answer = Answer::new();
        let mut scratch = Vec::new();
        for series in batch.series() {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            let mut to = Decoded { times: &mut times, values: &mut values, histogram: &mut |_, _| {} };
            let read = batch.decode(series, (i64::MIN, i64::MAX), &mut to, &mut scratch);
            read.expect("nothing is spilled, so nothing can be damaged");
            let key = SEED.key(batch.labels(series).as_bytes()).0;
            let points = times.iter().map(|t_ms| (key, time(*t_ms))).zip(values.iter().map(|v| v.to_bits()));
            answer.extend(points);
        }
        answer.sort_unstable_by_key(|(point, _)| *point);
        answer
    }
}

/// The time of a point, as a head has it.
pub fn t_ms(time: u64) -> i64 {
    time as i64 * STEP_MS
}

/// And back.
pub fn time(t_ms: i64) -> u64 {
    (t_ms / STEP_MS) as u64
}

/// The window that a point lies in.
pub fn window_of_time(time: u64) -> i64 {
    window_of(t_ms(time))
}
