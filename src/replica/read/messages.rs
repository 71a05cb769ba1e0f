//! Methods with which a node reads segments of which another node is a replica.
//!
//! Replies are streamed: [`parts`](super::parts) says how.

use gyre_promql::storage::LabelMatcher;
use gyre_promql::syntax::MatchOp;

use crate::replica::messages::Head;
use crate::rpc::codec::{Decode, Encode};
use crate::rpc::{Lane, Method};
use crate::shard::read::TimeRange;

/// Series with their chunks.
pub const SELECT: Method = Method { number: 10, name: "select", lane: Lane::Bulk };
/// Label names, values or sets.
pub const LABELS: Method = Method { number: 11, name: "labels", lane: Lane::Bulk };

/// Parts of queries, computed beside the data.
pub const EVALUATE: Method = Method { number: 12, name: "evaluate", lane: Lane::Bulk };

/// The data that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// Whom it is for.
    pub head: Head,
    /// The segment's name.
    pub segment: String,
    /// The callee's run that said that its data is complete: another one may have lost what was not durable yet.
    pub boot: u128,
}

/// Request of [`SELECT`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SelectRequest {
    /// Where.
    pub place: Place,
    /// All must be satisfied.
    pub matchers: Vec<MatcherOnWire>,
    /// Samples of interest.
    pub range: RangeOnWire,
    /// Whether series must come in order of their keys.
    pub by_key: bool,
}

/// Request of [`LABELS`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LabelsRequest {
    /// Where.
    pub place: Place,
    /// What.
    pub question: LabelsQuestion,
    /// Only of series with samples in here.
    pub range: RangeOnWire,
}

/// Request of [`EVALUATE`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EvaluateRequest {
    /// Segments of one tenant. Those whose series may meet stand together.
    pub groups: Vec<Vec<Place>>,
    /// What to compute from them: `gyre_promql::fragment::Fragment`s as bytes.
    pub fragments: Vec<Vec<u8>>,
    /// Different series that may be read, 0: any number.
    pub series_max: u64,
    /// Milliseconds from the first to the last time of interest, 0: any number.
    pub length_ms_max: i64,
    /// Bytes of results that the caller takes.
    pub bytes_max: u64,
}

/// Reply of [`EVALUATE`], or the first part of a streamed one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EvaluateReply {
    /// The other parts, put together, are the results of the fragments in their order.
    Results {
        /// Bytes of each.
        result_bytes: Vec<u64>,
        /// Different series that were read, if there was a limit.
        series: u64,
        /// Blocks that have what was dropped there, and the window of each.
        released: Vec<(u128, i64)>,
    },
    /// Whoever evaluated it would say so: it is not due to this replica.
    Failed {
        /// What kind of failure.
        kind: EvaluateFailure,
        /// The engine's text.
        text: String,
    },
    /// The callee cuts queries in another way.
    OtherVersion,
}

/// Why a query fails wherever it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EvaluateFailure {
    /// It is wrong.
    BadData,
    /// It cannot be computed, or hits a limit.
    Execution,
    /// Its time is up.
    Timeout,
}

/// A question about labels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LabelsQuestion {
    /// All label names.
    Names,
    /// All values of a label.
    Values(String),
    /// The canonical label sets of the series that satisfy all matchers.
    Sets(Vec<MatcherOnWire>),
}

/// A range of time, both ends included, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RangeOnWire {
    /// The first millisecond.
    pub min_ms: i64,
    /// The last millisecond.
    pub max_ms: i64,
}

impl From<TimeRange> for RangeOnWire {
    fn from(range: TimeRange) -> Self {
        RangeOnWire { min_ms: range.min_ms, max_ms: range.max_ms }
    }
}

impl From<RangeOnWire> for TimeRange {
    fn from(range: RangeOnWire) -> Self {
        TimeRange { min_ms: range.min_ms, max_ms: range.max_ms }
    }
}

/// A label matcher.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MatcherOnWire {
    /// How to compare.
    pub comparison: Comparison,
    /// The label.
    pub name: String,
    /// The value or the pattern.
    pub value: String,
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regexp,
    /// `!~`
    NotRegexp,
}

impl From<&LabelMatcher> for MatcherOnWire {
    fn from(matcher: &LabelMatcher) -> Self {
        let comparison = match matcher.op {
            MatchOp::Equal => Comparison::Equal,
            MatchOp::NotEqual => Comparison::NotEqual,
            MatchOp::Regexp => Comparison::Regexp,
            MatchOp::NotRegexp => Comparison::NotRegexp,
        };
        MatcherOnWire { comparison, name: matcher.name.clone(), value: matcher.value.clone() }
    }
}

impl MatcherOnWire {
    /// The matcher, ready to be applied. The error is a text for the caller.
    pub fn compile(&self) -> Result<LabelMatcher, String> {
        let op = match self.comparison {
            Comparison::Equal => MatchOp::Equal,
            Comparison::NotEqual => MatchOp::NotEqual,
            Comparison::Regexp => MatchOp::Regexp,
            Comparison::NotRegexp => MatchOp::NotRegexp,
        };
        LabelMatcher::new(op, &self.name, &self.value).map_err(|error| error.to_string())
    }
}
