//! A started node answers from blocks in its bucket: those of a real Prometheus, whole, damaged, and gone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../tsdb/tests/blocks/scene.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod blocks;
mod bucket;
mod caching;
mod churn;
mod compaction;
mod damage;
#[path = "../support/faulty.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod faulty;
mod flush;
mod foreign;
#[path = "../support/histograms.rs"]
mod histograms;
mod node;
mod prometheus;
#[path = "../support/remote_write.rs"]
mod remote_write;
#[cfg(feature = "cloud")]
mod s3;
#[cfg(feature = "cloud")]
#[path = "../support/s3.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod s3_server;
mod scene;
#[path = "../support/series.rs"]
mod series;
mod served;
#[path = "../support/server.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod server;
mod shipping;
