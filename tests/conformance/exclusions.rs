//! What cannot pass through remote write and the API, and why.

/// Scripts that are not run.
const FILES: [(&str, &str); 1] =
    [("start_timestamps", "remote write 1.0 does not carry the time at which a counter started")];

/// Why a script is not run.
pub fn of_file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, reason)| *reason)
}
