//! The HTTP interface, tested from outside: what is refused, with which status and text, and what is accepted.

#[path = "../support/histograms.rs"]
mod histograms;
#[path = "../support/remote_write.rs"]
mod remote_write;
#[path = "../support/series.rs"]
mod series;
#[path = "../support/server.rs"]
mod server;

mod canonical_labels;
mod cluster_of_one;
mod command_line;
mod decode;
mod decode_against_prost;
mod native_histograms;
mod query_answers;
mod query_language;
mod query_limits;
mod query_parameters;
mod query_streaming;
mod status_pages;
mod write_refusals;
mod write_validation;
