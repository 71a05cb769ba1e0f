//! Blocks: what is written is read back, by us and by Prometheus's own tools, and the other way round.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "what other tests need of it")]
#[path = "../common/mod.rs"]
mod common;

mod any_parts;
mod compaction;
mod damage;
mod head;
mod lookup;
mod peers;
mod prometheus;
mod promtool;
mod round_trip;
mod scene;
mod version_1;
