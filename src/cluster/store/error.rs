//! Errors of object stores, and which of them may pass. The only file that looks into the library's errors.

use std::time::Duration;

use object_store::Error;

/// Why the object store did not do what it was asked. Each names the object and the bucket.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer in time. A create may or may not have happened.
    #[error("{object}: no answer within {} s", deadline.as_secs_f32())]
    Deadline {
        /// Bucket and path.
        object: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// It failed, perhaps only now.
    #[error("{object}: {problem}")]
    Failed {
        /// Bucket and path.
        object: String,
        /// What it said.
        problem: String,
    },
    /// It will not do this, however often it is asked: permissions, names, operations that it does not have.
    #[error("{object}: refused: {problem}")]
    Refused {
        /// Bucket and path.
        object: String,
        /// What it said.
        problem: String,
    },
    /// An object is larger than its kind can be.
    #[error("{object} has {bytes} bytes, more than the {bytes_max} allowed")]
    TooLarge {
        /// Bucket and path.
        object: String,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        bytes_max: u64,
    },
    /// A file of this machine cannot be read or written.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// Why.
        problem: String,
    },
    /// It cannot be opened.
    #[error("cannot use object store {url}: {problem}")]
    Open {
        /// The URL.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

impl StoreError {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Deadline { .. } | StoreError::Failed { .. })
    }
}

/// What a library's error means for a request that reads or creates an object.
pub(super) enum Meaning {
    /// There is no such object.
    Absent,
    /// There is one already. Some stores say so to the one who has just made it.
    Exists,
    /// Something else.
    Error(StoreError),
}

/// Reads the library's error about an object.
pub(super) fn meaning(object: String, error: Error) -> Meaning {
    // Causes are nested, and the outermost message often says only "Generic error".
    let problem = with_causes(&error);
    match error {
        Error::NotFound { .. } => Meaning::Absent,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => Meaning::Exists,
        Error::InvalidPath { .. }
        | Error::NotSupported { .. }
        | Error::NotImplemented { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. }
        | Error::UnknownConfigurationKey { .. } => Meaning::Error(StoreError::Refused { object, problem }),
        _ => Meaning::Error(StoreError::Failed { object, problem }),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Most messages contain those of their causes.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    // One line, whatever a proxy has put into its error page.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
