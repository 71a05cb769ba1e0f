//! Prometheus's own test scripts, with the series of each script spread over three places.

use std::fs;
use std::path::PathBuf;

use gyre_promql::Engine;
use gyre_promql::fragment::QueryTimes;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::testkit::{Evaluated, LoadedSeries, Target, run_script, test_engine_options};

use crate::places::Ways;

struct Spread {
    engine: Engine,
    places: [MemoryStorage; 3],
    ways: Ways,
}

impl Spread {
    fn evaluate(&mut self, query: &str, times: QueryTimes) -> Result<Evaluated, String> {
        let result = crate::places::evaluate(&self.engine, &self.places, query, times, &mut self.ways);
        let result = result.map_err(|error| error.to_string())?;
        let (warnings, infos) = result.annotations.texts(query, 0);
        Ok(Evaluated { value: result.value, warnings, infos })
    }
}

impl Target for Spread {
    fn clear(&mut self) -> Result<(), String> {
        self.places.iter_mut().for_each(MemoryStorage::clear);
        Ok(())
    }

    fn load(&mut self, series: &[LoadedSeries]) -> Result<(), String> {
        for series in series {
            let place = &mut self.places[series.labels.hash64() as usize % 3];
            for sample in &series.samples {
                let (time_ms, start_ms) = (sample.timestamp_ms, sample.start_timestamp_ms);
                place.append_with_start(&series.labels, time_ms, start_ms, sample.value.clone());
            }
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, time_ms: i64) -> Result<Evaluated, String> {
        self.evaluate(query, QueryTimes::Instant { time_ms })
    }

    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Evaluated, String> {
        self.evaluate(query, QueryTimes::Range { start_ms, end_ms, step_ms })
    }
}

#[test]
fn every_evaluation_of_the_corpus_passes_over_three_places() {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest");
    let folder = std::env::var_os("GYRE_PROMQLTEST_DIR").map_or(default, PathBuf::from);
    let Ok(entries) = fs::read_dir(&folder) else {
        let reason = format!("skipped: no promqltest corpus in {}", folder.display());
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "{reason}");
        println!("{reason}");
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a listed file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    let mut ways = Ways::default();
    let (mut evals, mut failures) = (0, Vec::new());
    for path in files {
        let script = fs::read_to_string(&path).expect("a script can be read");
        let places = [(); 3].map(|()| MemoryStorage::with_series_per_batch(2));
        let mut target =
            Spread { engine: Engine::new(test_engine_options()), places, ways: std::mem::take(&mut ways) };
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let report = run_script(&script, &mut target).unwrap_or_else(|error| panic!("{name}: {error}"));
        ways = target.ways;
        evals += report.evals;
        failures.extend(report.failures.iter().map(|f| format!("{name}:{}: {}", f.line, f.reason)));
    }
    println!("{evals} evaluations, {ways:?}");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(evals > 0 && ways.fragments > 0 && ways.again > 0, "{ways:?}");
}
