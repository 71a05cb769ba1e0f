//! What cannot pass through remote write and the API, and why.

/// Scripts that are not run.
const SCRIPTS: [(&str, &str); 1] =
    [("start_timestamps", "remote write 1.0 does not carry the time at which a counter started")];

/// Why a script is not run.
pub fn of_script(name: &str) -> Option<&'static str> {
    SCRIPTS.iter().find(|(script, _)| *script == name).map(|(_, reason)| *reason)
}
