//! Series descriptions of the test language.

use gyre_promql::syntax::series_desc::{
    HistogramStep, ResetHint, SeriesItem, StartTimestampItem, is_start_timestamps_line,
    parse_series_description, parse_start_timestamps,
};

use crate::support::promqltest_scripts;

fn float(first: f64, step: Option<f64>, repeats: u64) -> SeriesItem {
    SeriesItem::Float { first, step, repeats }
}

#[test]
fn runs_of_floats_keep_their_start_step_and_count() {
    let series =
        parse_series_description("m{b=\"2\", a='1'} 1 -2x3 0+10x100  1.5e3-.5x2 _ _x4 +Inf NaN 010 1_000")
            .expect("it is valid");
    let labels: Vec<_> = series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("__name__", "m"), ("a", "1"), ("b", "2")]);
    let (nan, mut items): (Vec<_>, Vec<_>) = series
        .items
        .into_iter()
        .partition(|item| matches!(item, SeriesItem::Float { first, .. } if first.is_nan()));
    assert_eq!(nan.len(), 1);
    let last = items.pop();
    assert_eq!(last, Some(float(1000.0, None, 0)));
    assert_eq!(
        items,
        [
            float(1.0, None, 0),
            float(-2.0, None, 3),
            float(0.0, Some(10.0), 100),
            float(1500.0, Some(-0.5), 2),
            SeriesItem::Omitted { count: 1 },
            SeriesItem::Omitted { count: 4 },
            float(f64::INFINITY, None, 0),
            float(8.0, None, 0),
        ]
    );
}

#[test]
fn stale_is_the_stale_marker_bit_by_bit() {
    let series = parse_series_description("m stale").expect("it is valid");
    match series.items.as_slice() {
        [SeriesItem::Float { first, step: None, repeats: 0 }] => {
            assert_eq!(first.to_bits(), 0x7ff0_0000_0000_0002);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn histograms_keep_the_fields_that_were_written() {
    let text = "{\"m.x\"} {{schema:-53 sum:-1.5 count:4 custom_values:[5 10] buckets:[1 2 +Inf] offset:-2 \
                n_buckets:[1] n_offset:3 z_bucket:2 z_bucket_w:0.001 counter_reset_hint:not_reset}}+{{sum:1}}x3 {{}}x2";
    let series = parse_series_description(text).expect("it is valid");
    assert_eq!(series.labels, [("__name__".to_owned(), "m.x".to_owned())]);
    let [SeriesItem::Histogram { first, step: Some((HistogramStep::Add, step)), repeats: 3 }, empty] =
        series.items.as_slice()
    else {
        panic!("{:?}", series.items)
    };
    assert_eq!((first.schema, first.sum, first.count), (Some(-53), Some(-1.5), Some(4.0)));
    assert_eq!(first.custom_values.as_deref(), Some([5.0, 10.0].as_slice()));
    assert_eq!(first.positive_buckets.as_deref(), Some([1.0, 2.0, f64::INFINITY].as_slice()));
    assert_eq!((first.positive_offset, first.negative_offset), (Some(-2), Some(3)));
    assert_eq!((first.zero_count, first.zero_threshold), (Some(2.0), Some(0.001)));
    assert_eq!(first.reset_hint, Some(ResetHint::NotReset));
    assert_eq!((step.sum, step.schema, step.reset_hint), (Some(1.0), None, None));
    assert_eq!(empty, &SeriesItem::Histogram { first: Box::default(), step: None, repeats: 2 });
}

#[test]
fn start_timestamps_are_offsets_in_milliseconds() {
    let line = "  m{a=\"1\"}@st  _ _x2 -30s-1mx2 0 +1ms 1mx3 -0ms+59999msx15";
    assert!(is_start_timestamps_line(line));
    assert!(!is_start_timestamps_line("m{a=\"x@st\"} 1"));
    let offset = |first_ms, step_ms, repeats| StartTimestampItem::Offset { first_ms, step_ms, repeats };
    assert_eq!(
        parse_start_timestamps(line).expect("it is valid").items,
        [
            StartTimestampItem::Omitted { count: 1 },
            StartTimestampItem::Omitted { count: 2 },
            offset(-30_000, -60_000, 2),
            offset(0, 0, 0),
            offset(1, 0, 0),
            offset(60_000, 0, 3),
            offset(0, 59_999, 15),
        ]
    );
}

#[test]
fn invalid_descriptions_say_what_is_wrong() {
    for (text, expected) in [
        ("m 1 x", "unexpected \"x\" in series values, expected number or \"stale\""),
        ("m 1+2", "unexpected end of input in series values"),
        ("m{a=1} 1", "unexpected \"1}\" in label set"),
        ("m 1x99999999999", "invalid repetition in series values: \"99999999999\""),
        ("m {{sum:1 sum:2}}", "duplicate key \"sum\" in histogram"),
        ("m {{summ:1}}", "bad histogram descriptor found: \"summ\""),
        ("m {{buckets:[1 2}}", "unexpected \"}}\" in buckets description"),
        ("m{a=\"b} 1", "unterminated or invalid quoted string"),
    ] {
        let error = parse_series_description(text).expect_err(text);
        assert_eq!(error.message, expected, "for {text:?}");
    }
    assert_eq!(
        parse_start_timestamps("m@st -5").expect_err("no unit").message,
        "not a valid duration string: \"5\""
    );
}

#[test]
fn every_series_of_the_promqltest_scripts_parses() {
    let Some(scripts) = promqltest_scripts() else { return };
    let mut series = 0;
    for (name, text) in &scripts {
        let mut in_load = false;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                in_load = false;
            } else if line.starts_with("load") && line.split_whitespace().count() == 2 {
                in_load = true;
            } else if in_load && is_start_timestamps_line(line) {
                parse_start_timestamps(line).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            } else if in_load {
                parse_series_description(line).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
                series += 1;
            }
        }
    }
    assert!(series > 1_000, "found only {series} series");
}
