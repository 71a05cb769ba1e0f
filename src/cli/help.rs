//! `--help`: one screen, made from the settings.

use std::fmt::Write;

use crate::config::load::FILE_FLAGS;
use crate::config::{Config, SETTINGS};

pub(super) fn text() -> String {
    let defaults = Config::default();
    let mut out = String::from(
        "Prometheus storage for many tenants. Without arguments: a complete node on 127.0.0.1:9009.\n\n\
         Usage:\n  \
         gyre [serve] [flags]               run a node\n  \
         gyre check-config [flags] [FILE]   say what a configuration comes to, or what is wrong with it\n  \
         gyre status [--url URL] [--json]   members of a running node's cluster, and who holds what\n  \
         gyre drain [--url URL]             have a running node leave its cluster, and stop\n  \
         gyre blocks list|verify|inspect [--tenant T] [--json] [BLOCK...]   blocks in the object store, and damage in them\n  \
         gyre blocks import --tenant T [--json] PATH...   from Prometheus, Thanos or Cortex\n  \
         gyre blocks export --tenant T [--from TIME] [--to TIME] [--json] FOLDER   for a Prometheus\n\n\
         Flags, also as GYRE_... variables and in the file (--http.listen, GYRE_HTTP_LISTEN, http: {listen: ...}):\n",
    );
    for (name, help) in FILE_FLAGS {
        push_flag(&mut out, name, help, "");
    }
    for setting in &SETTINGS {
        push_flag(&mut out, setting.name, setting.help, &setting.show(&defaults));
    }
    out.push_str(
        "  --help, --version\n\nThe file also holds the tenants' limits, under limits: and overrides:.\n",
    );
    out
}

fn push_flag(out: &mut String, name: &str, help: &str, default: &str) {
    let default = if default.is_empty() { String::new() } else { format!(" (default {default})") };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  --{name:<25} {help}{default}");
}
