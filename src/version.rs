//! Which program this is.

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, if the build was told (`GYRE_BUILD_REVISION` in its environment).
pub const REVISION: &str = match option_env!("GYRE_BUILD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
