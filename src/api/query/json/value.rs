//! Label sets, samples, series.

use gyre_promql::value::{Sample, SampleValue, Series};

use super::histogram::write_histogram;
use super::number::{write_scalar_value, write_timestamp_ms, write_value};
use super::text::{write_html_safe_string, write_string};

/// Points that are written at a time. A float takes some 30 bytes, a histogram up to some thousand.
const FLOATS_AT_A_TIME: usize = 1024;
const HISTOGRAMS_AT_A_TIME: usize = 4;

/// Writes a scalar.
pub fn write_scalar(out: &mut Vec<u8>, t_ms: i64, value: f64) {
    write_pair(out, t_ms, |out| write_scalar_value(out, value));
}

/// Writes a string literal's value.
pub fn write_text(out: &mut Vec<u8>, t_ms: i64, value: &str) {
    write_pair(out, t_ms, |out| write_html_safe_string(out, value));
}

/// Writes one sample of a vector.
pub fn write_sample(out: &mut Vec<u8>, sample: &Sample) {
    out.extend_from_slice(b"{\"metric\":");
    write_labels(out, sample.labels.iter());
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            write_point(out, sample.timestamp_ms, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            write_pair(out, sample.timestamp_ms, |out| write_histogram(out, histogram));
        }
    }
    out.push(b'}');
}

/// Writes one series of a matrix, some points at a time.
pub struct SeriesWriter {
    series: Series,
    has_begun: bool,
    floats: usize,
    histograms: usize,
}

impl SeriesWriter {
    /// Nothing of it is written yet.
    pub fn new(series: Series) -> Self {
        Self { series, has_begun: false, floats: 0, histograms: 0 }
    }

    /// Writes some more; false once the series is complete.
    pub fn write_some(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.has_begun {
            self.has_begun = true;
            out.extend_from_slice(b"{\"metric\":");
            write_labels(out, self.series.labels.iter());
        }
        // A series of histograms alone has no such key, and neither has one of nothing.
        let before = self.floats;
        for (t_ms, value) in self.series.floats_from(before).take(FLOATS_AT_A_TIME) {
            out.extend_from_slice(if self.floats == 0 { b",\"values\":[" } else { b"," });
            self.floats += 1;
            write_point(out, t_ms, value);
        }
        if self.floats - before == FLOATS_AT_A_TIME {
            return true;
        }
        let histograms = self.series.histograms();
        if self.histograms == 0 && self.floats > 0 {
            out.push(b']');
        }
        for (t_ms, histogram) in histograms.iter().skip(self.histograms).take(HISTOGRAMS_AT_A_TIME) {
            out.extend_from_slice(if self.histograms == 0 { b",\"histograms\":[" } else { b"," });
            self.histograms += 1;
            write_pair(out, *t_ms, |out| write_histogram(out, histogram));
        }
        if self.histograms < histograms.len() {
            return true;
        }
        if self.histograms > 0 {
            out.push(b']');
        }
        out.push(b'}');
        false
    }
}

/// Writes `[1435781451.781,"1"]`.
pub fn write_point(out: &mut Vec<u8>, t_ms: i64, value: f64) {
    write_pair(out, t_ms, |out| write_value(out, value));
}

fn write_pair(out: &mut Vec<u8>, t_ms: i64, write_second: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    write_timestamp_ms(out, t_ms);
    out.push(b',');
    write_second(out);
    out.push(b']');
}

/// Writes a label set as an object, in its own order.
pub fn write_labels<'a>(out: &mut Vec<u8>, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (position, (name, value)) in labels.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// Writes an array.
pub fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write_item: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_item(out, item);
    }
    out.push(b']');
}
