//! Logs: to standard error, one line each, coloured on a terminal only.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;

/// Sends messages of this level and above to standard error, from now on. Later calls change nothing.
pub fn start(level: Level) {
    // The HTTP server tells of its inner life at a level that is meant for ours.
    let filter = Targets::new()
        .with_default(level)
        .with_target("actix_server", LevelFilter::WARN.min(LevelFilter::from_level(level)));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_target(false);
    // Fails only if a test or an embedding program has installed its own.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(filter).with(lines));
}
