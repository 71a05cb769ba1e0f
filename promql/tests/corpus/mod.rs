//! Prometheus's test scripts, wherever they are.

use std::fs;
use std::path::PathBuf;

/// The scripts by name, from `GYRE_PROMQLTEST_DIR` or `default`. `None`, and a note, where there are none.
pub fn scripts(default: &str) -> Option<Vec<(String, String)>> {
    let folder = std::env::var_os("GYRE_PROMQLTEST_DIR").map_or_else(|| default.into(), PathBuf::from);
    let Ok(entries) = fs::read_dir(&folder) else {
        let reason = format!("skipped: no promqltest corpus in {}", folder.display());
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "{reason}");
        println!("{reason}");
        return None;
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no scripts in {}", folder.display());
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("a script can be read"))
    };
    Some(files.into_iter().map(read).collect())
}
