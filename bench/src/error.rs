//! One error type for the crate: every variant says what was being done and to what.

use std::io;
use std::path::PathBuf;

/// Shorthand for a result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, in the -ing form.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program that the run needs is not on this machine.
    #[error("{program} is not installed: {hint}")]
    Missing {
        /// Path or name looked for.
        program: PathBuf,
        /// How to get it.
        hint: String,
    },
    /// A server exited, or was not ready or quiet in time.
    #[error("{server}: {problem}")]
    Server {
        /// The server's name in the tables.
        server: String,
        /// What it did, with the end of its log where there is one.
        problem: String,
    },
    /// A server answered, but not as asked.
    #[error("{path} answered {status}: {body}")]
    Answer {
        /// Request path.
        path: String,
        /// HTTP status.
        status: u16,
        /// Start of the body.
        body: String,
    },
    /// Text or JSON that cannot be read.
    #[error("{what} cannot be read: {problem}")]
    Malformed {
        /// What was being read.
        what: String,
        /// Why not.
        problem: String,
    },
}

impl Error {
    /// A closure for `map_err` on an [`io::Result`], naming the action.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }

    /// A [`Error::Malformed`].
    pub fn malformed(what: impl Into<String>, problem: impl ToString) -> Error {
        Error::Malformed { what: what.into(), problem: problem.to_string() }
    }

    /// A [`Error::Server`].
    pub fn server(server: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::Server { server: server.into(), problem: problem.into() }
    }
}
