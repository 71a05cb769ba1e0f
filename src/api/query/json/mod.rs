//! Prometheus's JSON, byte for byte.
//!
//! - [`number`]: timestamps and sample values.
//! - [`text`]: strings, with and without Go's HTML-safe escapes.
//! - [`value`]: label sets, samples, series.
//! - [`data`]: what a query evaluates to.
//! - [`ast`]: syntax trees.
//! - [`histogram`]: native histograms.
//! - [`stats`]: what a query took.
//! - [`envelope`]: status, data, errors, annotations.

pub mod ast;
pub mod data;
pub mod envelope;
pub mod histogram;
pub mod number;
pub mod stats;
pub mod text;
pub mod value;

/// Warnings and infos of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// What may make the answer wrong.
    pub warnings: Vec<String>,
    /// What may make it unexpected.
    pub infos: Vec<String>,
}
