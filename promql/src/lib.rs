//! PromQL: language, planner and engine. No I/O: data comes in through the storage trait.
//!
//! [`syntax`] is the language (text to a checked syntax tree and back), [`gostd`] the parts of Go's standard
//! library whose behaviour is visible in PromQL: number formats, string literals, regular expressions.
//!
//! [`Engine`] evaluates: a syntax tree becomes a plan (`plan`), which is computed (`exec`) over series that a
//! [`storage::Storage`] hands out, into a [`value::Value`] with [`annotations`]. Where series are in several places,
//! [`fragment`]s are computed beside them.

pub mod annotations;
mod engine;
mod exec;
pub mod fragment;
pub mod gostd;
pub mod histogram;
pub mod kahan;
pub mod labels;
pub mod memory;
mod plan;
pub mod storage;
pub mod syntax;
pub mod testkit;
pub mod value;

pub use engine::{
    CancelToken, Engine, EngineOptions, Query, QueryError, QueryErrorKind, QueryOptions, QueryResult,
    QueryStats, ScopedThreads, Serial, Workers,
};

pub(crate) use exec::almost_equal;
pub(crate) use plan::depends_on_evaluation_time as plan_depends_on_evaluation_time;
