//! From arguments to a command. Flags may have one dash or two, and their value behind `=` or as the next argument,
//! as users of Prometheus and Cortex are used to.

use super::blocks;
use super::blocks::args::BlocksCommand;
use crate::config::ConfigError;
use crate::config::load::{Flag, is_switch};

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a node.
    Serve(Vec<Flag>),
    /// Read the configuration, print what it comes to, and stop.
    CheckConfig(Vec<Flag>),
    /// Print the ring of a running node.
    Status {
        /// Where it serves HTTP.
        url: String,
        /// As JSON.
        json: bool,
    },
    /// Have a running node leave its cluster.
    Drain {
        /// Where it serves HTTP.
        url: String,
    },
    /// Show, check or move blocks in the object store.
    Blocks(BlocksCommand),
    /// Print help.
    Help,
    /// Print the version.
    Version,
}

/// The commands' names.
pub const COMMANDS: [&str; 5] = ["serve", "check-config", "status", "drain", "blocks"];

/// The node that `status` and `drain` ask unless told otherwise.
const STATUS_URL: &str = "http://127.0.0.1:9009";

/// The flag of `status` and `blocks` that has no value.
const JSON: &str = "json";

/// Reads the arguments behind the program's name.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, ConfigError> {
    let mut arguments = arguments.peekable();
    let mut flags = Vec::new();
    let mut words = Vec::new();
    while let Some(argument) = arguments.next() {
        let Some(name) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            words.push(argument);
            continue;
        };
        match name {
            "help" | "h" => return Ok(Command::Help),
            "version" | "V" => return Ok(Command::Version),
            _ => {}
        }
        let flag = match name.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), value: Some(value.to_owned()) },
            None => {
                let value = if is_switch(name) || name == JSON {
                    None
                } else {
                    arguments.next_if(|next| !is_flag(next))
                };
                Flag { name: name.to_owned(), value }
            }
        };
        flags.push(flag);
    }
    let mut words = words.into_iter();
    let command = words.next();
    let wrong = |message: String| Err(ConfigError::CommandLine(message));
    match command.as_deref() {
        None | Some("serve") => match words.next() {
            None => Ok(Command::Serve(flags)),
            Some(word) => wrong(format!("unexpected argument {word}")),
        },
        Some("check-config") => {
            // `gyre check-config FILE` is what everybody tries first.
            flags.extend(words.next().map(|path| Flag { name: "config.file".to_owned(), value: Some(path) }));
            match words.next() {
                None => Ok(Command::CheckConfig(flags)),
                Some(word) => wrong(format!("unexpected argument {word}")),
            }
        }
        Some("status") => match words.next() {
            None => status(flags),
            Some(word) => wrong(format!("unexpected argument {word}")),
        },
        Some("drain") => match words.next() {
            None => drain(flags),
            Some(word) => wrong(format!("unexpected argument {word}")),
        },
        Some("blocks") => Ok(Command::Blocks(blocks::args::parse(flags, words)?)),
        Some("help") => Ok(Command::Help),
        Some("version") => Ok(Command::Version),
        Some(other) => wrong(format!("unknown command {other}, expected one of {}", COMMANDS.join(", "))),
    }
}

fn status(flags: Vec<Flag>) -> Result<Command, ConfigError> {
    let (mut url, mut json) = (STATUS_URL.to_owned(), false);
    for flag in flags {
        match (flag.name.as_str(), flag.value) {
            ("url", Some(given)) => url = given,
            ("url", None) => return Err(ConfigError::CommandLine("--url needs a value".to_owned())),
            (JSON, value) => json = value.as_deref() != Some("false"),
            (name, _) => {
                let message = format!("unknown flag --{name}, status has --url and --json");
                return Err(ConfigError::CommandLine(message));
            }
        }
    }
    Ok(Command::Status { url, json })
}

fn drain(flags: Vec<Flag>) -> Result<Command, ConfigError> {
    let mut url = STATUS_URL.to_owned();
    for flag in flags {
        match (flag.name.as_str(), flag.value) {
            ("url", Some(given)) => url = given,
            ("url", None) => return Err(ConfigError::CommandLine("--url needs a value".to_owned())),
            (name, _) => {
                return Err(ConfigError::CommandLine(format!("unknown flag --{name}, drain has --url")));
            }
        }
    }
    Ok(Command::Drain { url })
}

/// True for an argument that begins another flag. A negative number is a value.
fn is_flag(argument: &str) -> bool {
    argument.strip_prefix('-').is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned)).map_err(|error| error.to_string())
    }

    fn flag(name: &str, value: Option<&str>) -> Flag {
        Flag { name: name.to_owned(), value: value.map(str::to_owned) }
    }

    #[test]
    fn no_arguments_serve() {
        assert_eq!(parse_line(""), Ok(Command::Serve(vec![])));
        assert_eq!(parse_line("serve"), Ok(Command::Serve(vec![])));
    }

    #[test]
    fn flags_have_one_dash_or_two_and_values_either_way() {
        let flags = vec![
            flag("http.listen", Some(":1")),
            flag("data-dir", Some("d")),
            flag("config.expand-env", None),
            flag("wal.sync", Some("os")),
            flag("log.level", None),
        ];
        assert_eq!(
            parse_line("-http.listen=:1 --data-dir d -config.expand-env serve --wal.sync=os -log.level"),
            Ok(Command::Serve(flags))
        );
    }

    #[test]
    fn check_config_takes_the_file_as_its_argument_too() {
        let flags = vec![flag("config.file", Some("gyre.yaml"))];
        assert_eq!(parse_line("check-config gyre.yaml"), Ok(Command::CheckConfig(flags.clone())));
        assert_eq!(parse_line("check-config --config.file=gyre.yaml"), Ok(Command::CheckConfig(flags)));
    }

    #[test]
    fn status_asks_the_default_node_or_another() {
        let status = |url: &str, json| Ok(Command::Status { url: url.to_owned(), json });
        assert_eq!(parse_line("status"), status("http://127.0.0.1:9009", false));
        assert_eq!(parse_line("status --json --url=http://a:1"), status("http://a:1", true));
        assert_eq!(parse_line("--url http://a:1 status"), status("http://a:1", false));
        assert_eq!(
            parse_line("status --data-dir=x"),
            Err("unknown flag --data-dir, status has --url and --json".to_owned())
        );
    }

    #[test]
    fn help_and_version_win_over_everything_else() {
        for line in ["--help", "-h", "help", "serve --bogus -help"] {
            assert_eq!(parse_line(line), Ok(Command::Help), "{line}");
        }
        for line in ["--version", "-version", "version"] {
            assert_eq!(parse_line(line), Ok(Command::Version), "{line}");
        }
    }

    #[test]
    fn a_wrong_command_names_the_right_ones() {
        assert_eq!(
            parse_line("server"),
            Err("unknown command server, expected one of serve, check-config, status, drain, blocks"
                .to_owned())
        );
        assert_eq!(parse_line("serve now"), Err("unexpected argument now".to_owned()));
    }
}
