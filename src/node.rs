//! A node: what lies behind the HTTP interface.
//!
//! Placeholder with the signatures that the handlers need; its storage is in memory of nobody: writes are counted and
//! forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use gyre_promql::syntax::Matcher;
use gyre_ring::TenantId;

use crate::api::push::decode::WriteBatch;
use crate::config::Config;

/// A running node.
#[derive(Debug)]
pub struct Node {
    started: Instant,
    samples: AtomicU64,
}

/// What became of a write.
#[derive(Debug, Default)]
pub struct WriteOutcome {
    /// Samples that are now stored durably.
    pub accepted_samples: u64,
    /// Samples that were refused, by Cortex's reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Why the first of them was refused.
    pub first_error: Option<String>,
}

/// Why a write was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The node has more to do than it can hold.
    #[error("too many inflight push requests on this node")]
    Overloaded,
}

impl WriteError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Overloaded => true,
        }
    }
}

/// Series chosen by the `match[]`, `start` and `end` of a metadata request.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Alternatives; a series must satisfy all matchers of one. None at all: every series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// First millisecond.
    pub start_ms: i64,
    /// Last millisecond.
    pub end_ms: i64,
    /// Entries wanted, if not all.
    pub limit: Option<usize>,
}

/// An instant query.
#[derive(Clone, Debug, PartialEq)]
pub struct InstantQuery {
    /// The expression.
    pub expr: String,
    /// When to evaluate it.
    pub time_ms: i64,
    /// What both kinds of query have.
    pub options: QueryOptions,
}

/// A range query.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeQuery {
    /// The expression.
    pub expr: String,
    /// First evaluation.
    pub start_ms: i64,
    /// No evaluation after it.
    pub end_ms: i64,
    /// Time between evaluations, above 0.
    pub step_ms: i64,
    /// What both kinds of query have.
    pub options: QueryOptions,
}

/// What both kinds of query have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// When to give up.
    pub timeout_ms: i64,
    /// How far back to look for a sample, if not the default.
    pub lookback_ms: Option<i64>,
}

/// A series' labels, sorted by name.
pub type LabelPairs = Vec<(String, String)>;

/// The value of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    /// A number.
    Scalar(i64, f64),
    /// A text.
    String(i64, String),
    /// One sample per series.
    Vector(Vec<(LabelPairs, i64, f64)>),
    /// Many samples per series.
    Matrix(Vec<(LabelPairs, Vec<(i64, f64)>)>),
}

/// A value and what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// The value.
    pub value: T,
    /// What may make it wrong.
    pub warnings: Vec<String>,
    /// What may make it unexpected.
    pub infos: Vec<String>,
}

impl<T> Answer<T> {
    /// An answer about which there is nothing to say.
    pub fn plain(value: T) -> Self {
        Self { value, warnings: Vec::new(), infos: Vec::new() }
    }
}

/// Why a query has no answer. The texts are shown to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The expression cannot be parsed.
    #[error("{0}")]
    Parse(String),
    /// The expression cannot be evaluated.
    #[error("{0}")]
    Execution(String),
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// Nobody waits for it any more.
    #[error("{0}")]
    Canceled(String),
    /// Our fault.
    #[error("{0}")]
    Internal(String),
    /// The tenant has too many queries running.
    #[error("{0}")]
    TooManyRequests(String),
}

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMetadata {
    /// `counter`, `gauge` and so on.
    pub metric_type: &'static str,
    /// Help text.
    pub help: String,
    /// Unit.
    pub unit: String,
}

/// Figures for `/` and `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Series in the heads of all tenants.
    pub memory_series: u64,
    /// Tenants with a head.
    pub memory_tenants: u64,
}

impl Node {
    /// Opens the data directory and starts.
    pub async fn start(_config: &Config) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self { started: Instant::now(), samples: AtomicU64::new(0) }))
    }

    /// Writes what is in memory to disk and stops.
    pub async fn shutdown(&self) {}

    /// Why the node does not serve yet, or no more.
    pub fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    /// Figures of this moment.
    pub fn stats(&self) -> NodeStats {
        NodeStats::default()
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
    }

    /// Nanoseconds of a clock that never goes back.
    pub fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Stores a batch; returns when it is durable.
    pub async fn write(&self, _tenant: &TenantId, batch: WriteBatch) -> Result<WriteOutcome, WriteError> {
        let accepted_samples = batch.samples.len() as u64;
        self.samples.fetch_add(accepted_samples, Ordering::Relaxed);
        Ok(WriteOutcome { accepted_samples, ..WriteOutcome::default() })
    }

    /// Evaluates an expression at one time.
    pub async fn query(
        &self,
        _tenant: &TenantId,
        _query: InstantQuery,
    ) -> Result<Answer<QueryValue>, QueryError> {
        Ok(Answer::plain(QueryValue::Vector(Vec::new())))
    }

    /// Evaluates an expression at many times.
    pub async fn query_range(
        &self,
        _tenant: &TenantId,
        _query: RangeQuery,
    ) -> Result<Answer<QueryValue>, QueryError> {
        Ok(Answer::plain(QueryValue::Matrix(Vec::new())))
    }

    /// The label sets of the selected series.
    pub async fn series(
        &self,
        _tenant: &TenantId,
        _selection: Selection,
    ) -> Result<Answer<Vec<LabelPairs>>, QueryError> {
        Ok(Answer::plain(Vec::new()))
    }

    /// The label names of the selected series, sorted.
    pub async fn label_names(
        &self,
        _tenant: &TenantId,
        _selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        Ok(Answer::plain(Vec::new()))
    }

    /// The values of a label in the selected series, sorted.
    pub async fn label_values(
        &self,
        _tenant: &TenantId,
        _name: &str,
        _selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        Ok(Answer::plain(Vec::new()))
    }

    /// Metadata by metric name, of one metric or of all.
    pub async fn metadata(
        &self,
        _tenant: &TenantId,
        _metric: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, QueryError> {
        Ok(BTreeMap::new())
    }
}
