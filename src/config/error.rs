//! What can be wrong with a configuration: always one line that names the key, its place and the nearest valid one.

use std::fmt;

/// Where a key was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the command line, with this flag.
    Flag(String),
    /// In this environment variable.
    Variable(String),
    /// In a file; line and column count from 1.
    File {
        /// Its path as given.
        path: String,
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such key.
    #[error("{place}: unknown key {key}{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// Where it was given.
        place: Place,
        /// The key as given.
        key: String,
        /// The valid key nearest to it.
        nearest: Option<String>,
    },
    /// The value does not fit the key.
    #[error("{place}: invalid value \"{value}\" for {key}: {problem}")]
    InvalidValue {
        /// Where it was given.
        place: Place,
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that needs a value has none, or a list or mapping in its place.
    #[error("{place}: {key} must be {wanted}")]
    WrongShape {
        /// Where it was given.
        place: Place,
        /// The key.
        key: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A setting of a later version.
    #[error("{place}: {key} does not exist yet in this version")]
    NotYet {
        /// Where it was given.
        place: Place,
        /// The key.
        key: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Together(String),
    /// The file is no YAML, or uses a variable that is not set.
    #[error("{place}: {problem}")]
    File {
        /// Where in the file.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// The file cannot be read.
    #[error("flag --config.file: cannot read {path}: {problem}")]
    Unreadable {
        /// Its path as given.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// The command line is wrong in another way.
    #[error("{0}")]
    CommandLine(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!(", did you mean {nearest}?")).unwrap_or_default()
}
