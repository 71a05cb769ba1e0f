//! `gyre drain`: has a running node leave its cluster, and waits until it has stopped.

use std::io::Write;
use std::time::Duration;

use super::status::fetch;
use crate::node::drain::{DrainState, DrainStatus};

/// How often the node is asked how far it is.
const POLL: Duration = Duration::from_millis(500);

/// Has the node at a URL leave; returns when it has. What happens meanwhile goes to `out`, a line for each change.
pub(super) fn drain(url: &str, out: &mut dyn Write) -> Result<(), String> {
    let ask = |method| {
        let body = fetch(method, url, "/drain").map_err(|problem| format!("{url}: {problem}"))?;
        serde_json::from_str::<DrainStatus>(&body)
            .map_err(|error| format!("{url}: this is not the answer of a gyre node: {error}"))
    };
    let mut status = ask("POST")?;
    let mut said = String::new();
    loop {
        let line = line(&status);
        if line != said {
            // Whoever does not read on is no reason to stop.
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            said = line;
        }
        if status.state == DrainState::Drained {
            return Ok(());
        }
        let has_left = status.state == DrainState::Draining;
        std::thread::sleep(POLL);
        status = match ask("GET") {
            Ok(status) => status,
            // A node that has left stops by itself when it is not needed any more.
            Err(_) if has_left => {
                let _ = writeln!(out, "{}: stopped", status.node);
                return Ok(());
            }
            Err(problem) => return Err(problem),
        };
    }
}

fn line(status: &DrainStatus) -> String {
    let DrainStatus { node, state, problem, segments_left, .. } = status;
    let because = problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
    match state {
        DrainState::Member => format!("{node}: a member"),
        DrainState::Leaving => format!("{node}: a member yet{because}"),
        DrainState::Draining if *segments_left > 0 => {
            format!("{node}: has left; {segments_left} segments are not in blocks yet{because}")
        }
        DrainState::Draining => {
            format!(
                "{node}: has left; all that it held is in blocks; waiting for the others to close it{because}"
            )
        }
        DrainState::Drained => format!("{node}: not needed any more"),
    }
}
