//! Runs promqltest scripts, Prometheus's own test format for PromQL.
//!
//! A script loads series, evaluates expressions and states what is expected. Each instant evaluation is run again, as
//! Prometheus does: with `@ <evaluation time>` on every selector at other evaluation times, and each of those as a
//! range query; so one line checks about ten queries. A script runs against any [`Target`]: the engine over a storage
//! in memory ([`EngineTarget`]), or a server.

mod compare;
mod load;
mod nhcb;
mod pinned;
mod runner;
mod script;
mod target;

pub use load::LoadedSeries;
pub use runner::{EvalFailure, FileReport, run_script};
pub use script::ScriptError;
pub use target::{EngineTarget, Evaluated, Target, test_engine_options};
