//! The canonical form of label sets: what is accepted, rewritten and refused.

use gyre::tenant::canonical::{Canonical, LabelError, LabelLimits, canonicalize};
use proptest::prelude::*;
use prost::Message;

use crate::remote_write::{Label, TimeSeries};

fn limits() -> LabelLimits {
    LabelLimits {
        names_per_series_max: 30,
        name_bytes_max: 1024,
        value_bytes_max: 2048,
        labels_bytes_max: 0,
        enforce_metric_name: true,
    }
}

fn fields(labels: &[(&str, &str)]) -> Vec<u8> {
    let labels =
        labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect();
    // A series of nothing but labels is encoded as its label fields.
    TimeSeries { labels, ..Default::default() }.encode_to_vec()
}

fn canonical(raw: &[u8], limits: &LabelLimits) -> Result<Vec<u8>, LabelError> {
    let mut out = vec![1, 2, 3];
    Ok(match canonicalize(raw, limits, &mut out)? {
        Canonical::AsIs => {
            assert!(out.is_empty());
            raw.to_vec()
        }
        Canonical::Rewritten => {
            assert_ne!(out, raw);
            out
        }
    })
}

fn refusal(labels: &[(&str, &str)], limits: &LabelLimits) -> (&'static str, String) {
    let error = canonical(&fields(labels), limits).expect_err("the labels break a rule");
    (error.reason(), error.to_string())
}

#[test]
fn sorted_labels_are_canonical_as_they_are() {
    let raw = fields(&[("__name__", "up"), ("instance", "a:1"), ("job", "node")]);
    assert_eq!(canonicalize(&raw, &limits(), &mut Vec::new()), Ok(Canonical::AsIs));
}

#[test]
fn unsorted_labels_are_sorted_and_empty_values_stripped() {
    let raw = fields(&[("job", "node"), ("gone", ""), ("__name__", "up"), ("", "")]);
    let expected = fields(&[("__name__", "up"), ("job", "node")]);
    assert_eq!(canonical(&raw, &limits()), Ok(expected));
}

#[test]
fn one_label_set_has_one_form_however_it_is_encoded() {
    // Value before name, a length padded to two bytes, an unknown field, a name given twice (the last one counts).
    let value_first: &[u8] = &[0x0a, 0x09, 0x12, 0x02, b'u', b'p', 0x0a, 0x03, b'f', b'o', b'o'];
    let padded: &[u8] = &[0x0a, 0x8a, 0x00, 0x0a, 0x83, 0x00, b'f', b'o', b'o', 0x12, 0x02, b'u', b'p'];
    let unknown: &[u8] = &[0x0a, 0x0b, 0x0a, 0x03, b'f', b'o', b'o', 0x12, 0x02, b'u', b'p', 0x18, 0x01];
    let twice: &[u8] = &[0x0a, 0x0c, 0x0a, 0x01, b'x', 0x0a, 0x03, b'f', b'o', b'o', 0x12, 0x02, b'u', b'p'];
    let limits = LabelLimits { enforce_metric_name: false, ..limits() };
    for raw in [value_first, padded, unknown, twice] {
        assert_eq!(canonical(raw, &limits), Ok(fields(&[("foo", "up")])), "{raw:x?}");
    }
}

#[test]
fn names_may_be_any_utf8_but_not_empty() {
    let raw = fields(&[("__name__", "température"), ("http.route", "/"), ("ünï", "x")]);
    assert_eq!(canonicalize(&raw, &limits(), &mut Vec::new()), Ok(Canonical::AsIs));
    assert_eq!(
        refusal(&[("__name__", "up"), ("", "x")], &limits()),
        ("label_invalid", r#"sample invalid label: "" metric "up{=\"x\"}""#.to_owned())
    );
}

#[test]
fn the_metric_name_is_required_unless_the_tenant_waives_it() {
    let expected = ("missing_metric_name", "sample missing metric name".to_owned());
    assert_eq!(refusal(&[("job", "node")], &limits()), expected);
    assert_eq!(refusal(&[], &limits()), expected);
    assert_eq!(refusal(&[("__name__", "")], &limits()), expected);
    let waived = LabelLimits { enforce_metric_name: false, ..limits() };
    assert_eq!(canonical(&fields(&[("job", "node")]), &waived), Ok(fields(&[("job", "node")])));
}

// The texts are those of Cortex's `pkg/util/validation/errors.go`.
#[test]
fn each_violation_has_cortexs_reason_and_names_the_series() {
    let up = ("__name__", "up");
    assert_eq!(
        refusal(&[up, ("a", "1"), ("a", "2")], &limits()),
        ("duplicate_label_names", r#"duplicate label name: "a" metric "up{a=\"1\", a=\"2\"}""#.to_owned())
    );
    let small = LabelLimits { name_bytes_max: 8, value_bytes_max: 4, ..limits() };
    assert_eq!(
        refusal(&[up, ("too_long_a", "1")], &small),
        (
            "label_name_too_long",
            r#"label name too long for metric (actual: 10, limit: 8) metric: "up{too_long_a=\"1\"}" label name: "too_long_a""#
                .to_owned()
        )
    );
    assert_eq!(
        refusal(&[up, ("a", "12345")], &small),
        (
            "label_value_too_long",
            r#"label value too long for metric (actual: 5, limit: 4) metric: "up{a=\"12345\"}" label name: "a" label value: "12345""#
                .to_owned()
        )
    );
    let few = LabelLimits { names_per_series_max: 2, ..limits() };
    assert_eq!(
        refusal(&[up, ("a", "1"), ("b", "2")], &few),
        (
            "max_label_names_per_series",
            r#"series has too many labels (actual: 3, limit: 2) series: 'up{a="1", b="2"}'"#.to_owned()
        )
    );
    // `__name__` and `up` take 14 bytes of protobuf, `a` and `1` take 6.
    let light = LabelLimits { labels_bytes_max: 19, ..limits() };
    assert_eq!(
        refusal(&[up, ("a", "1")], &light),
        (
            "labels_size_bytes_exceeded",
            r#"labels size bytes exceeded for metric (actual: 20, limit: 19) metric: "up{a=\"1\"}""#
                .to_owned()
        )
    );
    let enough = LabelLimits { labels_bytes_max: 20, ..limits() };
    assert!(canonical(&fields(&[up, ("a", "1")]), &enough).is_ok());
}

#[test]
fn bytes_that_are_not_utf8_are_refused_and_shown_escaped() {
    let raw_label = |name: &[u8], value: &[u8]| {
        let inner = [&[0x0a, name.len() as u8], name, &[0x12, value.len() as u8], value].concat();
        [&[0x0a, inner.len() as u8], &inner[..]].concat()
    };
    let error = |raw: Vec<u8>| canonical(&raw, &limits()).unwrap_err().to_string();
    let up = raw_label(b"__name__", b"up");
    assert_eq!(error(raw_label(b"__name__", b"u\xff")), r#"sample invalid metric name: "u\xff""#);
    assert!(
        error([&up[..], &raw_label(b"a\xfe", b"1")].concat())
            .starts_with(r#"sample invalid label: "a\xfe" metric "#)
    );
    assert!(
        error([&up[..], &raw_label(b"a", b"\xfe")].concat())
            .starts_with(r#"sample invalid label value: "\xfe" for label "a" metric "#)
    );
}

#[test]
fn malformed_label_messages_are_refused_as_invalid_labels() {
    // A label whose name is a varint.
    let error = canonical(&[0x0a, 0x02, 0x08, 0x01], &limits()).unwrap_err();
    assert_eq!(error.reason(), "label_invalid");
    assert_eq!(
        error.to_string(),
        "sample invalid label: wire type 0 where 2 belongs, in labels.name 3 bytes into the labels of metric \"{}\""
    );
}

#[test]
fn a_huge_label_set_makes_a_short_error() {
    let huge = "v".repeat(10 << 20);
    let (reason, text) = refusal(&[("__name__", "up"), ("big", &huge)], &limits());
    assert_eq!(reason, "label_value_too_long");
    assert!(text.len() < 2000, "{} bytes", text.len());
    let names: Vec<String> = (0..100_000).map(|i| format!("label_{i:06}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    many.push(("__name__", "up"));
    let (reason, text) = refusal(&many, &limits());
    assert_eq!(reason, "max_label_names_per_series");
    assert!(text.len() < 2000, "{} bytes", text.len());
}

proptest! {
    #[test]
    fn the_canonical_form_is_sorted_and_its_own_canonical_form(
        labels in prop::collection::vec(("[a-f]{1,3}", "[x-z]{0,2}"), 0..8),
    ) {
        let limits = LabelLimits { enforce_metric_name: false, ..limits() };
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut expected: Vec<_> = pairs.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
        expected.sort_unstable();
        let has_duplicate = expected.windows(2).any(|pair| pair[0].0 == pair[1].0);
        match canonical(&fields(&pairs), &limits) {
            Ok(form) => {
                prop_assert!(!has_duplicate);
                prop_assert_eq!(&form, &fields(&expected));
                prop_assert_eq!(canonicalize(&form, &limits, &mut Vec::new()), Ok(Canonical::AsIs));
            }
            Err(error) => {
                prop_assert!(has_duplicate);
                prop_assert_eq!(error.reason(), "duplicate_label_names");
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(canonical(&raw, &limits()));
    }
}
