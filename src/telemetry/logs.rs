//! Logs: to standard error, one line each, coloured on a terminal only.

use std::io::{self, IsTerminal};

use tracing::Level;

/// Sends messages of this level and above to standard error, from now on. Later calls change nothing.
pub fn start(level: Level) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .finish();
    // Fails only if a test or an embedding program has installed its own.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
