//! What the HTTP interface asks of a node, and what it is told.

use gyre_promql::syntax::Matcher;

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

/// A value and what there is to say about it.
#[derive(Clone, Debug)]
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
