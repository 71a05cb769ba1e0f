//! `gyre blocks ...`: from flags and words to what is to be done.

use std::path::PathBuf;

use gyre_ring::TenantId;
use gyre_tsdb::block::Ulid;

use crate::api::query::params::time::parse_time_ms;
use crate::config::ConfigError;
use crate::config::load::Flag;

/// What to do with blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show which there are.
    List {
        /// Of one tenant, or of all.
        tenant: Option<TenantId>,
    },
    /// Show what one is.
    Inspect {
        /// Whose it is.
        tenant: TenantId,
        /// Which.
        block: Ulid,
    },
    /// Look for damage.
    Verify {
        /// Of one tenant, or of all.
        tenant: Option<TenantId>,
        /// These, or all.
        blocks: Vec<Ulid>,
    },
    /// Take blocks from folders.
    Import {
        /// For whom.
        tenant: TenantId,
        /// Blocks, or folders of blocks.
        paths: Vec<PathBuf>,
    },
    /// Make a folder for Prometheus.
    Export {
        /// Whose.
        tenant: TenantId,
        /// No sample from before, milliseconds.
        from_ms: i64,
        /// No sample from then on, milliseconds.
        to_ms: i64,
        /// Where to.
        folder: PathBuf,
    },
}

/// A command line about blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlocksCommand {
    /// What to do.
    pub action: Action,
    /// Print JSON.
    pub json: bool,
    /// The node's settings: `--storage.url` and what else there is.
    pub settings: Vec<Flag>,
}

const USAGE: &str = "expected one of list, inspect, verify, import, export";

/// Reads what stands behind `gyre blocks`.
pub fn parse(
    flags: Vec<Flag>,
    mut words: impl Iterator<Item = String>,
) -> Result<BlocksCommand, ConfigError> {
    let wrong = |message: String| ConfigError::CommandLine(message);
    let mut settings = Vec::new();
    let (mut tenant, mut json, mut from, mut to) = (None, false, None, None);
    for flag in flags {
        let given =
            |value: Option<String>| value.ok_or_else(|| wrong(format!("--{} needs a value", flag.name)));
        match flag.name.as_str() {
            "tenant" => {
                let id = given(flag.value.clone())?;
                tenant = Some(TenantId::new(&id).map_err(|error| wrong(format!("--tenant: {error}")))?);
            }
            "from" | "to" => {
                let text = given(flag.value.clone())?;
                let time_ms =
                    parse_time_ms(&text).map_err(|error| wrong(format!("--{}: {error}", flag.name)))?;
                let place = if flag.name == "from" { &mut from } else { &mut to };
                *place = Some(time_ms);
            }
            "json" => json = flag.value.as_deref() != Some("false"),
            _ => settings.push(flag),
        }
    }
    let name = words.next().ok_or_else(|| wrong(format!("gyre blocks: {USAGE}")))?;
    let words: Vec<String> = words.collect();
    let needs_tenant = || tenant.clone().ok_or_else(|| wrong(format!("blocks {name} needs --tenant")));
    let block =
        |word: &String| word.parse::<Ulid>().map_err(|_| wrong(format!("{word} is no block's name (ULID)")));
    let is_in_time = from.is_some() || to.is_some();
    let action = match (name.as_str(), words.as_slice()) {
        ("list", []) => Action::List { tenant },
        ("inspect", [word]) => Action::Inspect { tenant: needs_tenant()?, block: block(word)? },
        ("inspect", _) => return Err(wrong("blocks inspect needs one block's name".to_owned())),
        ("verify", words) => {
            Action::Verify { tenant, blocks: words.iter().map(block).collect::<Result<_, _>>()? }
        }
        ("import", []) => {
            return Err(wrong("blocks import needs folders: blocks, or folders of blocks".to_owned()));
        }
        ("import", words) => {
            Action::Import { tenant: needs_tenant()?, paths: words.iter().map(PathBuf::from).collect() }
        }
        ("export", [folder]) => {
            let (from_ms, to_ms) = (from.unwrap_or(i64::MIN), to.unwrap_or(i64::MAX));
            if from_ms >= to_ms {
                return Err(wrong("--from is not before --to".to_owned()));
            }
            Action::Export { tenant: needs_tenant()?, from_ms, to_ms, folder: PathBuf::from(folder) }
        }
        ("export", _) => return Err(wrong("blocks export needs one folder to write to".to_owned())),
        ("list", [word, ..]) => return Err(wrong(format!("unexpected argument {word}"))),
        (other, _) => return Err(wrong(format!("unknown command blocks {other}, {USAGE}"))),
    };
    if is_in_time && !matches!(action, Action::Export { .. }) {
        return Err(wrong(format!("--from and --to are for export, not for {name}")));
    }
    Ok(BlocksCommand { action, json, settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<BlocksCommand, String> {
        let words = line.split_whitespace().map(str::to_owned);
        match crate::cli::args::parse(words) {
            Ok(crate::cli::args::Command::Blocks(command)) => Ok(command),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn settings_of_the_node_and_own_flags_stand_anywhere() {
        let command =
            parse_line("blocks --storage.url=file:///b import --tenant acme --json a b --data-dir d")
                .unwrap();
        let tenant = TenantId::new("acme").unwrap();
        let paths = vec![PathBuf::from("a"), PathBuf::from("b")];
        assert_eq!((command.action, command.json), (Action::Import { tenant, paths }, true));
        let names: Vec<&str> = command.settings.iter().map(|flag| flag.name.as_str()).collect();
        assert_eq!(names, ["storage.url", "data-dir"]);
    }

    #[test]
    fn export_takes_times_as_queries_do() {
        let command =
            parse_line("blocks export --tenant=a --from 1970-01-01T00:00:10Z --to=20.5 out").unwrap();
        let tenant = TenantId::new("a").unwrap();
        let export = Action::Export { tenant, from_ms: 10_000, to_ms: 20_500, folder: PathBuf::from("out") };
        assert_eq!(command.action, export);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, says) in [
            ("blocks", "expected one of list"),
            ("blocks remove", "unknown command blocks remove"),
            ("blocks list x", "unexpected argument x"),
            ("blocks import x", "blocks import needs --tenant"),
            ("blocks import --tenant a", "needs folders"),
            ("blocks import --tenant a/b x", "unsupported character '/'"),
            ("blocks inspect --tenant a x", "x is no block's name"),
            ("blocks export --tenant a --from 2 --to 2 x", "--from is not before --to"),
            ("blocks export --tenant a --from never x", "--from: cannot parse"),
            ("blocks list --from 1", "are for export"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
