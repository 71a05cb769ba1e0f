//! The `gyre` binary.

use std::process::ExitCode;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: gyre::telemetry::allocations::Counting = gyre::telemetry::allocations::Counting;

fn main() -> ExitCode {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let arguments = std::env::args_os().skip(1).map(lossy);
    let environment = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
    gyre::cli::run(arguments, environment)
}
