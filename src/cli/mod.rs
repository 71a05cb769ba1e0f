//! The command line.
//!
//! - [`args`]: from arguments to a command.
//! - [`help`]: `--help`, made from the settings.
//! - [`serve`]: runs a node until it is told to stop.
//! - [`status`]: shows the ring of a running node.
//! - [`drain`]: has a running node leave.
//! - [`blocks`]: shows, checks and moves blocks in the object store.

pub mod args;
pub mod blocks;
mod drain;
mod help;
mod serve;
mod status;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use self::args::Command;
use crate::config::ConfigError;
use crate::config::load::{Flag, load};
use crate::version;

/// Exit status for a wrong command line or configuration, as most programs have it.
const EXIT_USAGE: u8 = 2;

/// Runs the program.
pub fn run(arguments: impl Iterator<Item = String>, environment: Vec<(String, String)>) -> ExitCode {
    match args::parse(arguments).and_then(|command| execute(command, &environment)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gyre: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn execute(command: Command, environment: &[(String, String)]) -> Result<ExitCode, ConfigError> {
    match command {
        Command::Help => Ok(print(&help::text())),
        Command::Version => {
            Ok(print(&format!("gyre {} (revision {})\n", version::VERSION, version::REVISION)))
        }
        Command::CheckConfig(flags) => check_config(&flags, environment),
        Command::Status { url, json } => Ok(match status::status(&url, json) {
            Ok(text) => print(&text),
            Err(problem) => {
                eprintln!("gyre: {problem}");
                ExitCode::FAILURE
            }
        }),
        Command::Drain { url } => Ok(match drain::drain(&url, &mut io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("gyre: {problem}");
                ExitCode::FAILURE
            }
        }),
        Command::Blocks(command) => Ok(blocks::run(&command, &load(&command.settings, environment)?)),
        Command::Serve(flags) => Ok(serve::serve(load(&flags, environment)?)),
    }
}

fn check_config(flags: &[Flag], environment: &[(String, String)]) -> Result<ExitCode, ConfigError> {
    let config = load(flags, environment)?;
    Ok(print(&format!("{}# the configuration is valid\n", config.to_yaml())))
}

/// Prints to standard output. A reader that has gone away, such as `head`, is no failure.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
