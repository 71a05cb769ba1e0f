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

use bench::Error;
use bench::query::api::{Call, Data, seconds};
use bench::query::compare::{RELATIVE_TOLERANCE, difference};
use bench::server::{Gyre, ManagedFolder, Product, Prometheus, clean_up_on_signals};
use bench::stream::now_ms;
use bench::stream::recording::NODE_EXPORTER;

use queries::Refused;
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
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let config = folder.path().join("gyre.yaml");
    std::fs::write(&config, "enable_feature: promql-experimental-functions\n")
        .expect("the folder is writable");
    let gyre = Gyre::committing(env!("CARGO_BIN_EXE_gyre").into()).with_config(config);
    let gyre: Arc<dyn Product> = Arc::new(gyre);
    let mut comparison = Comparison { scene: Scene::start(&gyre, SCRAPES)?, asked: 0, failures: Vec::new() };
    comparison.same_answers();
    comparison.same_listings();
    comparison.renamed_functions();
    comparison.one_sided_refusals();
    comparison.different_answers();
    comparison.left_edges()?;
    let Comparison { asked, failures, .. } = comparison;
    println!("{} expressions, {asked} calls, {} failures", queries::EXPRESSIONS.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn is_formatted_differently(expr: &str) -> bool {
    queries::FORMATTED_DIFFERENTLY.iter().any(|(_, different)| *different == expr)
}

/// Both servers, and what was found so far.
struct Comparison {
    scene: Scene,
    asked: usize,
    failures: Vec<String>,
}

impl Comparison {
    fn compare(&mut self, there: &Call, here: &Call, tolerance: f64) -> Option<Data> {
        self.asked += 1;
        match (self.scene.ask_prometheus(there), self.scene.ask_gyre(here)) {
            (Ok(expected), Ok(found)) => {
                let difference = difference(&expected, &found, tolerance);
                self.failures.extend(difference.map(|difference| format!("{here:?}: {difference}")));
                Some(expected)
            }
            (Err(error), _) | (_, Err(error)) => {
                self.failures.push(format!("{here:?}: {error}"));
                None
            }
        }
    }

    /// An expression at one time, and at many times unless it is a range vector.
    fn calls(&self, expr: &str) -> Vec<Call> {
        let (start_ms, end_ms) = (self.scene.start_ms, self.scene.end_ms);
        let expr = expr.replace("$AT", &seconds(end_ms - 9_000));
        let mut calls = vec![Call::Instant { expr: expr.clone(), at_ms: end_ms }];
        if !queries::is_range_vector(&expr) {
            calls.push(Call::Range { expr, start_ms, end_ms, step_ms: 3_000 });
        }
        calls
    }

    fn same_answers(&mut self) {
        for expr in queries::EXPRESSIONS {
            if self.scene.scraped_at_whole_seconds && queries::has_subquery(expr) {
                println!("not compared, since it is evaluated at samples' own times: {expr}");
                continue;
            }
            let mut is_empty = false;
            for call in self.calls(expr) {
                let expected = self.compare(&call, &call, RELATIVE_TOLERANCE);
                match self.scene.samples(&call) {
                    Ok((there, here)) if there == here => {}
                    Ok((there, here)) => self
                        .failures
                        .push(format!("{call:?} looks at {here} samples, in Prometheus at {there}")),
                    Err(error) => self.failures.push(format!("{call:?}: {error}")),
                }
                is_empty |= expected.is_some_and(|expected| expected.is_empty());
            }
            match self.scene.formatted(&expr.replace("$AT", "1.5")) {
                Ok((there, here)) if (there == here) != is_formatted_differently(expr) => {}
                other => self.failures.push(format!("{expr} is formatted differently: {other:?}")),
            }
            // What compares nothing proves nothing: only the ones meant to be empty may be.
            if is_empty && !queries::MAY_BE_EMPTY.contains(expr) {
                self.failures.push(format!("no data for {expr}"));
            }
        }
    }

    /// Prometheus lists everything in its head, whatever the range: a network device that was gone before the window
    /// began is still there. So both are asked about all that was ever scraped.
    fn same_listings(&mut self) {
        for call in queries::listings(self.scene.started_ms, now_ms()) {
            self.compare(&call, &call, 0.0);
        }
    }

    fn renamed_functions(&mut self) {
        for (there, here) in queries::RENAMED {
            for (there, here) in self.calls(there).iter().zip(&self.calls(here)) {
                self.compare(there, here, RELATIVE_TOLERANCE);
            }
        }
    }

    fn one_sided_refusals(&mut self) {
        for (number, refused, expr) in queries::DIFFERENT {
            self.asked += 1;
            let call = Call::Instant { expr: (*expr).into(), at_ms: self.scene.end_ms };
            let (there, here) = (self.scene.ask_prometheus(&call), self.scene.ask_gyre(&call));
            let (refusal, answer) = match refused {
                Refused::There => (there, here),
                Refused::Here => (here, there),
            };
            if !matches!(refusal, Err(Error::Answer { status: 400 | 422, .. })) || answer.is_err() {
                self.failures.push(format!(
                    "difference {number} is none: {expr} gives {refusal:?}, expected to be refused, and {answer:?}"
                ));
            }
        }
    }

    fn different_answers(&mut self) {
        for (number, expr) in queries::ANSWERED_DIFFERENTLY {
            for call in self.calls(expr) {
                self.asked += 1;
                let found = (self.scene.ask_prometheus(&call), self.scene.ask_gyre(&call));
                let (Ok(there), Ok(here)) = &found else {
                    self.failures.push(format!("{call:?}: {found:?}"));
                    continue;
                };
                if difference(there, here, RELATIVE_TOLERANCE).is_none() {
                    self.failures.push(format!("difference {number} is none: {call:?}"));
                }
            }
        }
    }

    /// Difference 8: at a sample's own time a window whose other end is at a sample, too, holds one less.
    fn left_edges(&mut self) -> bench::Result<()> {
        let at_ms = self.scene.end_ms;
        let times = self
            .scene
            .ask_prometheus(&Call::Instant { expr: r#"up{job="prometheus"}[20s]"#.into(), at_ms })?;
        let Data::Series(_, series) = times else { return Err(Error::malformed("up", "no series")) };
        let times: Vec<i64> = series.values().flatten().map(|point| point.timestamp_ms).collect();
        let Some(at_ms) = times.iter().copied().find(|time| times.contains(&(time - 3_000))) else {
            println!(
                "no two scrapes lie three seconds apart to the millisecond: the left edge is not compared"
            );
            return Ok(());
        };
        self.asked += 1;
        let call = Call::Instant { expr: r#"sum(count_over_time(up{job="prometheus"}[3s]))"#.into(), at_ms };
        let count = |data: Data| match data {
            Data::Series(_, series) => series.values().flatten().map(|point| point.value).sum::<f64>(),
            _ => f64::NAN,
        };
        let (there, here) = (count(self.scene.ask_prometheus(&call)?), count(self.scene.ask_gyre(&call)?));
        if there != here + 1.0 {
            self.failures
                .push(format!("difference 8 is none: {there} samples in 2.42's window, {here} in gyre's"));
        }
        Ok(())
    }
}
