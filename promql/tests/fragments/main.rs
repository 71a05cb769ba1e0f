//! Queries computed in parts, over series that lie in several places, give the answers of a single engine: all scripts of
//! the corpus, and partial results as bytes. Random queries are in `tests/oracle`.

#[path = "../oracle/random.rs"]
mod random;

#[path = "../shared/places.rs"]
mod places;

mod bytes;
mod scripts;
