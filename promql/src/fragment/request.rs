//! What to compute beside the data, as bytes.

use super::cut::Style;
use super::result::VERSION;
use super::wire::{Reader, WireError, Writer};
use crate::engine::{EngineOptions, QueryError, QueryOptions, Times, milliseconds};
use crate::exec::Grid;
use crate::plan::Plan;
use crate::syntax::{ParserOptions, parse_expr};

/// The first bytes of a fragment.
const MAGIC: [u8; 4] = *b"GYFR";

/// When a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryTimes {
    /// At one time, milliseconds.
    Instant {
        /// The time.
        time_ms: i64,
    },
    /// At `start_ms`, `start_ms + step_ms`, ... up to `end_ms`.
    Range {
        /// The first time, milliseconds.
        start_ms: i64,
        /// No time is after this, milliseconds.
        end_ms: i64,
        /// The distance of the times, milliseconds.
        step_ms: i64,
    },
}

/// A part of a query, to be computed from the series of one place: the query, its times and settings, and the number of
/// the part. Limits, timeout and threads are those of whoever computes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub(super) query: String,
    pub(super) times: QueryTimes,
    pub(super) lookback_ms: i64,
    pub(super) default_subquery_step_ms: i64,
    pub(super) delayed_name_removal: bool,
    pub(super) type_and_unit_labels: bool,
    pub(super) use_start_timestamps: bool,
    pub(super) style: Style,
    pub(super) number: usize,
}

impl Fragment {
    pub(super) fn new(
        query: &str,
        times: QueryTimes,
        engine: &EngineOptions,
        options: &QueryOptions,
    ) -> Self {
        Self {
            query: query.to_owned(),
            times,
            lookback_ms: milliseconds(options.lookback_delta.unwrap_or(engine.lookback_delta)),
            default_subquery_step_ms: milliseconds(engine.default_subquery_step),
            delayed_name_removal: engine.delayed_name_removal,
            type_and_unit_labels: engine.type_and_unit_labels,
            use_start_timestamps: engine.use_start_timestamps,
            style: Style::Computed,
            number: 0,
        }
    }

    /// The query that it is a part of.
    pub fn query(&self) -> &str {
        &self.query
    }

    fn times(&self) -> Result<Times, QueryError> {
        match self.times {
            QueryTimes::Instant { time_ms } => Ok(Times::instant(time_ms)),
            QueryTimes::Range { start_ms, end_ms, step_ms } => Times::range(start_ms, end_ms, step_ms),
        }
    }

    pub(super) fn grid(&self) -> Grid {
        match self.times {
            QueryTimes::Instant { time_ms } => Grid::instant(time_ms),
            QueryTimes::Range { start_ms, end_ms, step_ms } => Grid::range(start_ms, end_ms, step_ms.max(1)),
        }
    }

    pub(super) fn is_range(&self) -> bool {
        matches!(self.times, QueryTimes::Range { .. })
    }

    /// The plan of the query, and the times it is for.
    pub(super) fn plan(&self) -> Result<(Plan, Grid), QueryError> {
        let times = self.times()?;
        // Whoever split the query has refused what it does not accept.
        let expr = parse_expr(&self.query, &ParserOptions::all())?;
        Ok((times.plan(&expr, self.default_subquery_step_ms)?, times.grid))
    }

    /// An engine's settings with those of the fragment.
    pub(super) fn settings(&self, engine: &EngineOptions) -> EngineOptions {
        EngineOptions {
            delayed_name_removal: self.delayed_name_removal,
            type_and_unit_labels: self.type_and_unit_labels,
            use_start_timestamps: self.use_start_timestamps,
            ..engine.clone()
        }
    }

    /// To be sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.0.extend_from_slice(&MAGIC);
        out.u8(VERSION);
        out.text(&self.query);
        match self.times {
            QueryTimes::Instant { time_ms } => {
                out.u8(0);
                out.signed(time_ms);
            }
            QueryTimes::Range { start_ms, end_ms, step_ms } => {
                out.u8(1);
                [start_ms, end_ms, step_ms].into_iter().for_each(|time| out.signed(time));
            }
        }
        out.signed(self.lookback_ms);
        out.signed(self.default_subquery_step_ms);
        out.bool(self.delayed_name_removal);
        out.bool(self.type_and_unit_labels);
        out.bool(self.use_start_timestamps);
        out.bool(self.style == Style::Samples);
        out.length(self.number);
        out.0
    }

    /// Reads what [`Fragment::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader(bytes);
        if from.array()? != MAGIC {
            return Err(WireError("is no fragment"));
        }
        if from.u8()? != VERSION {
            return Err(WireError("has another version"));
        }
        let query = from.text()?.to_owned();
        let times = match from.u8()? {
            0 => QueryTimes::Instant { time_ms: from.signed()? },
            1 => QueryTimes::Range {
                start_ms: from.signed()?,
                end_ms: from.signed()?,
                step_ms: from.signed()?,
            },
            _ => return Err(WireError("has unknown times")),
        };
        let (lookback_ms, default_subquery_step_ms) = (from.signed()?, from.signed()?);
        if lookback_ms < 0 || default_subquery_step_ms <= 0 {
            return Err(WireError("has a duration that is not above zero"));
        }
        let fragment = Self {
            query,
            times,
            lookback_ms,
            default_subquery_step_ms,
            delayed_name_removal: from.bool()?,
            type_and_unit_labels: from.bool()?,
            use_start_timestamps: from.bool()?,
            style: if from.bool()? { Style::Samples } else { Style::Computed },
            number: usize::try_from(from.number()?).map_err(|_| WireError("has too high a number"))?,
        };
        from.end()?;
        Ok(fragment)
    }
}
