//! Prometheus's JSON, byte for byte.
//!
//! - [`number`]: timestamps and sample values.
//! - [`text`]: strings, with and without Go's HTML-safe escapes.
//! - [`value`]: label sets, vectors, matrices.
//! - [`histogram`]: native histograms.
//! - [`envelope`]: status, data, errors, annotations.

pub mod envelope;
pub mod histogram;
pub mod number;
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
