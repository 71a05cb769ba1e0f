//! What was sent, what was acknowledged, and whether the server's answer agrees.

use std::collections::{BTreeMap, BTreeSet};

use bench::query::api::{Call, Data};
use bench::server::Server;
use bench::stream::now_ms;
use bench::{Error, Result};

/// Enough to see the pattern of a failure.
const PROBLEMS_MAX: usize = 10;

/// A series of the test: the metric is `chaos`, its labels are `writer` and `series`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesKey {
    pub writer: usize,
    pub series: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    value: f64,
    acked: bool,
}

/// All samples ever sent, by series and timestamp. A timestamp of a series is only ever sent with one value.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<SeriesKey, BTreeMap<i64, Entry>>,
}

impl Ledger {
    /// Notes samples before they go out.
    pub fn sent(&mut self, samples: &[(SeriesKey, i64, f64)]) {
        for (key, timestamp_ms, value) in samples {
            let entry = Entry { value: *value, acked: false };
            self.entries.entry(*key).or_default().entry(*timestamp_ms).or_insert(entry);
        }
    }

    /// Notes that the server answered 2xx for them.
    pub fn acked(&mut self, samples: &[(SeriesKey, i64, f64)]) {
        for (key, timestamp_ms, _) in samples {
            let entry = self.entries.get_mut(key).and_then(|series| series.get_mut(timestamp_ms));
            entry.expect("a sample is noted as sent before it is acknowledged").acked = true;
        }
    }

    /// Takes over another ledger: an acknowledgement in either counts.
    pub fn merge(&mut self, other: Ledger) {
        for (key, series) in other.entries {
            let own = self.entries.entry(key).or_default();
            for (timestamp_ms, entry) in series {
                own.entry(timestamp_ms).and_modify(|known| known.acked |= entry.acked).or_insert(entry);
            }
        }
    }

    /// Samples acknowledged so far.
    pub fn acked_samples(&self) -> usize {
        self.entries.values().flat_map(BTreeMap::values).filter(|entry| entry.acked).count()
    }

    /// Reads all series back; a line for each of the first few samples that are lost, changed or made up.
    pub fn check(&self, server: &Server, start_ms: i64) -> Result<Vec<String>> {
        let mut found: BTreeMap<SeriesKey, BTreeMap<i64, f64>> = BTreeMap::new();
        let mut connection = server.connect();
        // After the newest timestamp that writers may reach.
        let at_ms = now_ms() + 3_600_000;
        let range_ms = at_ms - start_ms + 1_000;
        let mut problems = Vec::new();
        // Writer by writer, so that one answer stays small; then any series of another shape would be a phantom.
        let writers: BTreeSet<usize> = self.entries.keys().map(|key| key.writer).collect();
        let known: Vec<String> = writers.iter().map(usize::to_string).collect();
        let mut selectors: Vec<String> =
            known.iter().map(|writer| format!("chaos{{writer=\"{writer}\"}}")).collect();
        selectors.push(format!("{{__name__=~\".+\",writer!~\"{}\"}}", known.join("|")));
        for selector in selectors {
            let call = Call::Instant { expr: format!("{selector}[{range_ms}ms]"), at_ms };
            let Data::Series(_, series) = call.ask(server, &mut connection)? else {
                return Err(Error::malformed(selector, "the answer is no series"));
            };
            for (labels, points) in series {
                let number = |name: &str| labels.get(name).and_then(|text| text.parse().ok());
                match (labels.len(), number("writer"), number("series")) {
                    (3, Some(writer), Some(series)) => {
                        let points = points.iter().map(|point| (point.timestamp_ms, point.value));
                        found.entry(SeriesKey { writer, series }).or_default().extend(points);
                    }
                    _ => problems.push(format!("phantom series {labels:?}")),
                }
            }
        }

        let nothing = BTreeMap::new();
        for (key, series) in &self.entries {
            let points = found.get(key).unwrap_or(&nothing);
            for (timestamp_ms, entry) in series {
                let problem = match points.get(timestamp_ms) {
                    None if entry.acked => "was acknowledged and is gone".to_owned(),
                    Some(value) if !is_same(*value, entry.value) => {
                        format!("was sent as {:?} and came back as {value:?}", entry.value)
                    }
                    _ => continue,
                };
                problems.push(format!("{key:?} at {timestamp_ms} {problem}"));
            }
        }
        for (key, points) in &found {
            let sent = self.entries.get(key);
            let phantoms = points.keys().filter(|time| sent.is_none_or(|sent| !sent.contains_key(time)));
            problems.extend(phantoms.map(|time| format!("{key:?} at {time} was never sent")));
        }
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Ok(problems)
    }
}

/// Bit-exact, as far as the API can show: it prints every NaN as `NaN`.
fn is_same(left: f64, right: f64) -> bool {
    left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
}
