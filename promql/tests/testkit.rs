//! The script runner itself: it must notice what is wrong.

use gyre_promql::Engine;
use gyre_promql::testkit::{EngineTarget, FileReport, run_script, test_engine_options};

fn run(script: &str) -> FileReport {
    let mut target = EngineTarget::new(Engine::new(test_engine_options()));
    run_script(script, &mut target).expect("a script that can be read")
}

const LOAD: &str = "load 1m\n  m{a=\"1\"} 1+1x10\n  m{a=\"2\"} 5x10\n\n";

fn passes(eval: &str) -> bool {
    let report = run(&format!("{LOAD}{eval}\n"));
    assert_eq!(report.evals, 1, "{eval}");
    report.passed == 1
}

#[test]
fn a_right_expectation_passes_with_all_its_variants() {
    let report = run(&format!("{LOAD}eval instant at 5m sum(m)\n  {{}} 11\n"));
    // As it is and pinned at five times; each of them once more as a range query.
    assert_eq!((report.evals, report.passed, report.queries), (1, 1, 12));
}

#[test]
fn a_wrong_value_fails() {
    assert!(passes("eval instant at 5m sum(m)\n  {} 11"));
    assert!(!passes("eval instant at 5m sum(m)\n  {} 11.001"));
    assert!(!passes("eval instant at 5m 1 + 1\n  3"));
    assert!(!passes("eval range from 0 to 2m step 1m m{a=\"1\"}\n  m{a=\"1\"} 1 2 4"));
}

#[test]
fn missing_and_surplus_series_fail() {
    assert!(!passes("eval instant at 5m m\n  m{a=\"1\"} 6"));
    assert!(!passes("eval instant at 5m m\n  m{a=\"1\"} 6\n  m{a=\"2\"} 5\n  m{a=\"3\"} 5"));
    assert!(!passes("eval instant at 5m m > 100\n  m{a=\"1\"} 6"));
    assert!(passes("eval instant at 5m m > 100"));
}

#[test]
fn a_wrong_order_fails_where_order_counts() {
    assert!(passes("eval instant at 5m sort(m)\n  expect ordered\n  m{a=\"2\"} 5\n  m{a=\"1\"} 6"));
    assert!(!passes("eval instant at 5m sort(m)\n  expect ordered\n  m{a=\"1\"} 6\n  m{a=\"2\"} 5"));
    assert!(passes("eval instant at 5m sort(m)\n  m{a=\"1\"} 6\n  m{a=\"2\"} 5"));
}

#[test]
fn expected_failures_must_happen_and_say_so() {
    assert!(passes("eval instant at 5m topk(NaN, m)\n  expect fail msg:Parameter value is NaN"));
    assert!(!passes("eval instant at 5m topk(NaN, m)\n  expect fail msg:Parameter value"));
    assert!(passes("eval instant at 5m topk(NaN, m)\n  expect fail regex:value is"));
    assert!(!passes("eval instant at 5m topk(1, m)\n  expect fail\n  m{a=\"1\"} 6"));
    assert!(!passes("eval instant at 5m topk(NaN, m)\n  m{a=\"1\"} 6"));
}

#[test]
fn annotations_must_be_as_expected() {
    let rate = "eval instant at 5m rate(m[5m])\n  {a=\"1\"} 0.016666666\n  {a=\"2\"} 0\n";
    assert!(passes(
        &rate.replace("[5m])\n", "[5m])\n  expect info regex:might not be a counter.*\"m\" \\(1:6\\)\n")
    ));
    assert!(passes(&rate.replace("[5m])\n", "[5m])\n  expect no_warn\n")));
    assert!(!passes(&rate.replace("[5m])\n", "[5m])\n  expect no_info\n")));
    assert!(!passes(&rate.replace("[5m])\n", "[5m])\n  expect warn\n")));
    assert!(!passes(&rate.replace("[5m])\n", "[5m])\n  expect info msg:something else\n")));
}

#[test]
fn a_difference_that_shows_only_in_a_variant_fails() {
    // Right at five minutes, but the value is not the same at all times once pinned to five minutes.
    assert!(!passes(
        "eval instant at 5m m{a=\"1\"} + on() group_left() vector(5) * (vector(1) > bool 2)\n  {a=\"1\"} 7"
    ));
}

#[test]
fn histograms_are_compared_field_by_field() {
    let load = "load 1m\n  h {{schema:0 count:3 sum:6 buckets:[1 2]}}x5\n\n";
    let eval = |expected: &str| {
        let report = run(&format!("{load}eval instant at 2m h\n  h {expected}\n"));
        report.passed == 1
    };
    assert!(eval("{{schema:0 count:3 sum:6 buckets:[1 2]}}"));
    assert!(eval("{{schema:0 count:3 sum:6 buckets:[1 2 0]}}"));
    assert!(!eval("{{schema:1 count:3 sum:6 buckets:[1 2]}}"));
    assert!(!eval("{{schema:0 count:3 sum:7 buckets:[1 2]}}"));
    assert!(!eval("{{schema:0 count:3 sum:6 buckets:[2 1]}}"));
    assert!(!eval("{{schema:0 count:3 sum:6 offset:1 buckets:[1 2]}}"));
    assert!(!eval("{{schema:0 count:3 sum:6 buckets:[1 2] counter_reset_hint:gauge}}"));
}

#[test]
fn a_script_that_cannot_be_read_names_the_line() {
    let mut target = EngineTarget::new(Engine::new(test_engine_options()));
    let error = run_script("clear\n\nfrobnicate\n", &mut target).expect_err("an unknown command");
    assert_eq!(error.to_string(), "line 3: invalid command \"frobnicate\"");
}
