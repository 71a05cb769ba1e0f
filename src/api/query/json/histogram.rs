//! Native histograms: `{"count":"4","sum":"3","buckets":[[0,"0.5","1","2"],...]}`.

use gyre_promql::histogram::{Bucket, FloatHistogram};

use super::number::write_value;

/// Writes a histogram. Empty buckets are left out, and so is the list if there are no others.
pub fn write_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.extend_from_slice(b"{\"count\":");
    write_value(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    write_value(out, histogram.sum);
    let mut separator: &[u8] = b",\"buckets\":[";
    for bucket in histogram.all_buckets().filter(|bucket| bucket.count != 0.0) {
        out.extend_from_slice(separator);
        separator = b",";
        write_bucket(out, &bucket);
    }
    if separator == b"," {
        out.push(b']');
    }
    out.push(b'}');
}

fn write_bucket(out: &mut Vec<u8>, bucket: &Bucket) {
    // Which of its boundaries belong to it.
    let boundaries = match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    };
    out.extend_from_slice(&[b'[', boundaries]);
    for number in [bucket.lower, bucket.upper, bucket.count] {
        out.push(b',');
        write_value(out, number);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use gyre_promql::histogram::Buckets;

    fn text(histogram: &FloatHistogram) -> String {
        let mut out = Vec::new();
        write_histogram(&mut out, histogram);
        String::from_utf8(out).unwrap()
    }

    // Bounds by the definition of schema 0: bucket i reaches from 2^(i-1) to 2^i, the upper bound included.
    #[test]
    fn buckets_have_bounds_and_say_which_are_included() {
        let mut positive = Buckets::with_capacity(3);
        positive.push(0, 2.0);
        positive.push(1, 0.0);
        positive.push(2, 1.5);
        let mut negative = Buckets::with_capacity(1);
        negative.push(1, 3.0);
        let histogram = FloatHistogram {
            zero_threshold: 0.001,
            zero_count: 1.0,
            count: 7.5,
            sum: -3.25,
            positive,
            negative,
            ..FloatHistogram::default()
        };
        assert_eq!(
            text(&histogram),
            concat!(
                r#"{"count":"7.5","sum":"-3.25","buckets":["#,
                r#"[1,"-2","-1","3"],[3,"-0.001","0.001","1"],[0,"0.5","1","2"],[0,"2","4","1.5"]]}"#
            )
        );
    }

    #[test]
    fn a_histogram_of_nothing_has_no_buckets() {
        assert_eq!(text(&FloatHistogram::default()), r#"{"count":"0","sum":"0"}"#);
    }
}
