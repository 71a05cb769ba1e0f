//! A started node answers from blocks in its bucket: those of a real Prometheus, whole, damaged, and gone.

mod bucket;
mod foreign;
#[path = "../support/histograms.rs"]
mod histograms;
mod prometheus;
#[path = "../support/remote_write.rs"]
mod remote_write;
#[path = "../support/series.rs"]
mod series;
#[path = "../support/server.rs"]
mod server;
