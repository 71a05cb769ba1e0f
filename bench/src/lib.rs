//! Side-by-side measurements of gyre and the installed peers, and the parts they are made of.
//!
//! A run writes one byte-identical [`stream`] of remote-write requests to each [`server`] in turn, over the
//! blocking [`http`] client, and reads what it cost from the kernel's own accounting ([`process`]). [`ingest`]
//! and [`query`] are runs beside peers, [`blocks`] is about gyre's blocks alone; [`report`] prints them. The end-to-end tests of the main package start
//! and feed servers with the same parts.
//!
//! What may go wrong: the machine is shared, so absolute times wander. Every table is made in one run, and its
//! ratios are what to quote.

pub mod alloc;
pub mod blocks;
pub mod cli;
pub mod error;
pub mod http;
pub mod ingest;
pub mod process;
pub mod query;
pub mod remote_write;
pub mod report;
pub mod rng;
pub mod sender;
pub mod server;
pub mod shape;
pub mod stream;
pub mod targets;

pub use error::{Error, Result};
