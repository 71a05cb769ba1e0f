//! What a script runs against.

use std::time::Duration;

use super::load::LoadedSeries;
use crate::memory::MemoryStorage;
use crate::syntax::ParserOptions;
use crate::value::Value;
use crate::{Engine, EngineOptions, QueryOptions, QueryResult};

/// A system that stores series and evaluates queries.
pub trait Target {
    /// Forgets all series.
    fn clear(&mut self) -> Result<(), String>;

    /// Stores series, besides those already there.
    fn load(&mut self, series: &[LoadedSeries]) -> Result<(), String>;

    /// Evaluates at one time. An error is the text that the user sees, without position or prefix.
    fn instant(&mut self, query: &str, time_ms: i64) -> Result<Evaluated, String>;

    /// Evaluates at `start_ms`, `start_ms + step_ms`, ... up to `end_ms`.
    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Evaluated, String>;

    /// Whether histograms come back as buckets with their bounds alone, as an API shows them. Then neither resolution
    /// nor hints nor empty buckets are compared.
    fn shows_buckets_alone(&self) -> bool {
        false
    }
}

/// The result of a query.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// What it evaluates to.
    pub value: Value,
    /// Warnings, with positions.
    pub warnings: Vec<String>,
    /// Infos, with positions.
    pub infos: Vec<String>,
}

/// The engine over a storage in memory.
pub struct EngineTarget {
    engine: Engine,
    storage: MemoryStorage,
}

/// The settings that Prometheus runs its own scripts with.
pub fn test_engine_options() -> EngineOptions {
    EngineOptions {
        parser: ParserOptions::all(),
        samples_max: 10_000,
        timeout: Duration::from_secs(100),
        default_subquery_step: Duration::from_secs(60),
        delayed_name_removal: true,
        use_start_timestamps: true,
        ..EngineOptions::default()
    }
}

impl EngineTarget {
    /// A target without series.
    pub fn new(engine: Engine) -> Self {
        Self::with_storage(engine, MemoryStorage::default())
    }

    /// A target that loads into `storage`.
    pub fn with_storage(engine: Engine, storage: MemoryStorage) -> Self {
        Self { engine, storage }
    }
}

fn evaluated(query: &str, result: QueryResult) -> Evaluated {
    let (warnings, infos) = result.annotations.texts(query, 0);
    Evaluated { value: result.value, warnings, infos }
}

impl Target for EngineTarget {
    fn clear(&mut self) -> Result<(), String> {
        self.storage.clear();
        Ok(())
    }

    fn load(&mut self, series: &[LoadedSeries]) -> Result<(), String> {
        for series in series {
            for sample in &series.samples {
                let (time_ms, start_ms) = (sample.timestamp_ms, sample.start_timestamp_ms);
                self.storage.append_with_start(&series.labels, time_ms, start_ms, sample.value.clone());
            }
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, time_ms: i64) -> Result<Evaluated, String> {
        let result = self.engine.instant(&self.storage, query, time_ms, &QueryOptions::default());
        result.map(|result| evaluated(query, result)).map_err(|error| error.to_string())
    }

    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Evaluated, String> {
        let result =
            self.engine.range(&self.storage, query, start_ms, end_ms, step_ms, &QueryOptions::default());
        result.map(|result| evaluated(query, result)).map_err(|error| error.to_string())
    }
}
