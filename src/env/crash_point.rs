//! Places where a test may let the process die, between two steps whose order matters.
//!
//! A test starts the program with `GYRE_CRASH_POINT` naming one of them; there it aborts, as a power cut would end it
//! except that what was written is kept. Or with `GYRE_CRASH_FILES`, paths as in `PATH`, of files that need not exist: the
//! first process that comes to the place that one of them names then takes the file away and aborts, so that a test says at any
//! time which is next, and one of several dies. Programs without debug assertions, released ones, have no such places.

/// Ends the process if this is the place that it is to die at.
pub fn crash_point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("GYRE_CRASH_POINT").is_some_and(|wanted| wanted == name) || is_next(name) {
        eprintln!("crash point {name}");
        std::process::abort();
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Whether a file names this place, and nobody else was first to come there.
#[cfg(debug_assertions)]
fn is_next(name: &str) -> bool {
    let files = std::env::var_os("GYRE_CRASH_FILES").unwrap_or_default();
    std::env::split_paths(&files).any(|file| {
        // Of several that have read it, one can remove it.
        std::fs::read(&file).is_ok_and(|wanted| wanted == name.as_bytes())
            && std::fs::remove_file(&file).is_ok()
    })
}
