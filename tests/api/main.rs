//! The HTTP interface, tested from outside: what is refused, with which status and text, and what is accepted.

#[path = "../support/remote_write.rs"]
mod remote_write;

mod canonical_labels;
mod decode;
mod decode_against_prost;
