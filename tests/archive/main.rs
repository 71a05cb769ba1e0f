//! Blocks in an object store, through public interfaces and the command line: on a folder, in memory, on an S3 server, and
//! on stores that fail as real ones do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/faulty.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod faulty;
#[path = "../../tsdb/tests/blocks/peers.rs"]
mod peers;
mod rig;
#[path = "../../tsdb/tests/blocks/scene.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod scene;

mod commands;
mod compaction;
mod crashes;
mod listing;
mod planning;
#[cfg(feature = "cloud")]
mod s3;
#[cfg(feature = "cloud")]
#[path = "../support/s3.rs"]
mod s3_server;
mod uploads;
