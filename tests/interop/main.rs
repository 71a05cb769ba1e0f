//! A real Prometheus scrapes real exporters, remote-writes to gyre, and both are asked the same.
//!
//! Every query is evaluated off the sample boundaries: Debian's Prometheus 2.42 still has ranges closed on the left.
//! Two node_exporters give counters and gauges, Prometheus's own page gives histograms.

#[path = "../support/histograms.rs"]
mod histogram_messages;
mod histograms;
mod queries;
#[path = "../support/remote_write.rs"]
mod remote_write;
mod scene;

use std::path::Path;
use std::sync::Arc;

use bench::query::api::Call;
use bench::query::compare::{RELATIVE_TOLERANCE, difference};
use bench::server::{Gyre, Product, Prometheus, clean_up_on_signals};
use bench::stream::recording::NODE_EXPORTER;

use scene::Scene;

/// The window that is compared, in scrapes.
const SCRAPES: usize = 60;

/// True, with a line that says why, when a program that this test needs is absent.
fn skipped_without(programs: &[&Path]) -> bool {
    let Some(absent) = programs.iter().find(|program| !program.exists()) else { return false };
    let why = format!("skipped: {} is not installed", absent.display());
    assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
    println!("{why}");
    true
}

#[test]
fn gyre_answers_what_the_prometheus_that_feeds_it_answers() -> bench::Result<()> {
    if skipped_without(&[Prometheus::receiver().program(), Path::new(NODE_EXPORTER)]) {
        return Ok(());
    }
    clean_up_on_signals()?;
    let gyre: Arc<dyn Product> = Arc::new(Gyre::committing(env!("CARGO_BIN_EXE_gyre").into()));
    let scene = Scene::start(&gyre, SCRAPES)?;

    let mut asked = 0;
    let mut empty = Vec::new();
    let mut failures = Vec::new();
    for expr in queries::EXPRESSIONS {
        let instant = Call::Instant { expr: (*expr).into(), at_ms: scene.end_ms };
        let range = Call::Range {
            expr: (*expr).into(),
            start_ms: scene.start_ms,
            end_ms: scene.end_ms,
            step_ms: 3_000,
        };
        // A range selector by itself is only an instant query.
        let calls = if queries::is_range_selector(expr) { vec![instant] } else { vec![instant, range] };
        for call in calls {
            asked += 1;
            match scene.ask_both(&call) {
                Err(error) => failures.push(format!("{call:?}: {error}")),
                Ok((expected, found)) => {
                    if expected.is_empty() {
                        empty.push(*expr);
                    }
                    if let Some(difference) = difference(&expected, &found, RELATIVE_TOLERANCE) {
                        failures.push(format!("{call:?}: {difference}"));
                    }
                }
            }
        }
    }
    for call in queries::listings(scene.start_ms, scene.end_ms) {
        asked += 1;
        match scene.ask_both(&call) {
            Err(error) => failures.push(format!("{call:?}: {error}")),
            Ok((expected, found)) => failures.extend(
                difference(&expected, &found, 0.0).map(|difference| format!("{call:?}: {difference}")),
            ),
        }
    }
    println!("{asked} calls, {} unlike Prometheus's", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // What compares nothing proves nothing: only the ones meant to be empty may be.
    empty.retain(|expr| !queries::MAY_BE_EMPTY.contains(expr));
    assert!(empty.is_empty(), "no data for {empty:?}");
    Ok(())
}
