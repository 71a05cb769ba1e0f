//! The `gyre` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let arguments = std::env::args_os().skip(1).map(lossy);
    let environment = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
    gyre::cli::run(arguments, environment)
}
