//! The HTTP interface, tested from outside: what is refused, with which status and text, and what is accepted.

#[path = "../support/remote_write.rs"]
mod remote_write;
#[path = "../support/series.rs"]
mod series;
#[path = "../support/server.rs"]
mod server;

mod canonical_labels;
mod command_line;
mod decode;
mod decode_against_prost;
mod query_answers;
mod query_parameters;
mod query_stops;
mod status_pages;
mod write_refusals;
mod write_validation;
