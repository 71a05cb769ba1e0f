//! What cannot pass through remote write and the API, and why.

/// Scripts that are not run.
const FILES: [(&str, &str); 1] =
    [("start_timestamps", "remote write 1.0 does not carry the time at which a counter started")];

/// How many evaluations of a script need native histograms, which are not stored yet. The same ones fail when the
/// engine runs by itself over series without their histograms.
const NEED_HISTOGRAMS: [(&str, usize); 10] = [
    ("aggregators", 34),
    ("extended_vectors", 46),
    ("functions", 51),
    ("histograms", 92),
    ("info", 1),
    ("limit", 22),
    ("native_histograms", 519),
    ("operators", 69),
    ("range_queries", 1),
    ("subquery", 2),
];

/// Why a script is not run.
pub fn of_file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, reason)| *reason)
}

/// How many evaluations of a script fail.
pub fn evals_of(name: &str) -> usize {
    NEED_HISTOGRAMS.iter().find(|(file, _)| *file == name).map_or(0, |(_, evals)| *evals)
}
