//! Blocks in an object store, through public interfaces: on a folder, in memory, on stores that fail as real ones do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../tsdb/tests/blocks/scene.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod blocks;
#[path = "../support/faulty.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod faulty;
mod scene;

mod listing;
mod uploads;
