//! What the HTTP interface asks of a node, and what it is told.

use std::time::Duration;

use gyre_promql::fragment::QueryTimes;
use gyre_promql::syntax::Matcher;
use gyre_promql::value::Value;

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

/// An expression to evaluate.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryRequest {
    /// The expression.
    pub expr: String,
    /// When to evaluate it.
    pub times: QueryTimes,
    /// What may differ from query to query.
    pub options: QueryOptions,
}

/// What may differ from query to query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// When to give up.
    pub timeout_ms: i64,
    /// How far back to look for a sample, if not the default.
    pub lookback_ms: Option<i64>,
    /// Whether to count the samples that it looks at.
    pub count_samples: bool,
}

/// What a query came to.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Its value.
    pub value: Value,
    /// What it took.
    pub stats: QueryStats,
}

/// What a query took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Time it waited for its turn.
    pub waiting: Duration,
    /// Time it ran: all of the following, and what is between them.
    pub running: Duration,
    /// Time for parsing and planning.
    pub preparation: Duration,
    /// Time for evaluating it.
    pub evaluation: Duration,
    /// Time for sorting its result.
    pub sorting: Duration,
    /// Most samples it held at a time.
    pub samples_peak: u64,
    /// Samples that each of its steps looked at, if asked for.
    pub samples_per_step: Vec<u64>,
}

/// What an answer says that a limit cut short. Prometheus's words.
pub const TRUNCATED: &str = "results truncated due to limit";

/// Leaves at most `limit` entries, if there is a limit, and warns if there were more.
pub fn cut<T>(entries: &mut Vec<T>, limit: Option<usize>, warnings: &mut Vec<String>) {
    if let Some(limit) = limit.filter(|limit| *limit < entries.len()) {
        entries.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
}

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

    /// The same annotations to something made of the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { value: change(self.value), warnings: self.warnings, infos: self.infos }
    }
}

/// Why a query has no answer. The texts are shown to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The expression cannot be parsed.
    #[error("{0}")]
    Parse(String),
    /// The request asks for more than the tenant may have.
    #[error("{0}")]
    BadData(String),
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
    /// Some of the data cannot be read now.
    #[error("{0}")]
    Unavailable(String),
    /// The tenant has too many queries running.
    #[error("{0}")]
    TooManyRequests(String),
}

impl QueryError {
    /// The same, if it is because a replica could not be read.
    pub fn into_unavailable(self) -> Self {
        match self {
            Self::Internal(text) => Self::Unavailable(text),
            other => other,
        }
    }
}
