//! The language through its public interface: what parses, what it prints, what it says about errors.

mod corpus;
#[path = "../shared/document.rs"]
mod document;
mod errors;
mod generate;
mod property;
mod robustness;
mod round_trip;
mod series;
mod spans;
mod support;
