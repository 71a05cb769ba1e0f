//! Places where a test may let the process die, between two steps whose order matters.
//!
//! A test starts the program with `GYRE_CRASH_POINT` naming one of them; there it aborts, as a power cut would end it
//! except that what was written is kept. Programs without debug assertions, released ones, have no such places.

/// Ends the process if this is the place that `GYRE_CRASH_POINT` names.
pub fn crash_point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("GYRE_CRASH_POINT").is_some_and(|wanted| wanted == name) {
        eprintln!("crash point {name}");
        std::process::abort();
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
