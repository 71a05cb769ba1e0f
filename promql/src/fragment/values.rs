//! Label sets, rows, histograms and samples as bytes.

use std::sync::Arc;

use super::wire::{LABELS_BYTES_MAX, Reader, WireError, Writer};
use crate::exec::{Bitmap, Row, SeriesRow};
use crate::histogram::{Buckets, CounterReset, FloatHistogram};
use crate::labels::Labels;
use crate::storage::SampleBuffer;

/// The least bytes of a label set.
pub(crate) const LABELS_BYTES_MIN: usize = 1;
/// The least bytes of a histogram.
pub(crate) const HISTOGRAM_BYTES_MIN: usize = 37;

pub(crate) fn put_labels(out: &mut Writer, labels: &Labels) {
    out.length(labels.len());
    for (name, value) in labels.iter() {
        out.text(name);
        out.text(value);
    }
}

pub(crate) fn take_labels(from: &mut Reader<'_>) -> Result<Labels, WireError> {
    let count = from.count(2)?;
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(count);
    let mut bytes = 0;
    for _ in 0..count {
        let (name, value) = (from.text()?, from.text()?);
        // Lengths of positions come on top, which is why so much room is left below what a label set can hold.
        bytes += name.len() + value.len() + 8;
        if value.is_empty() || pairs.last().is_some_and(|(last, _)| *last >= name) || bytes > LABELS_BYTES_MAX
        {
            return Err(WireError("labels are out of order, empty or too long"));
        }
        pairs.push((name, value));
    }
    Ok(Labels::from_sorted(&pairs))
}

pub(crate) fn put_bitmap(out: &mut Writer, bitmap: &Bitmap) {
    for word in bitmap.words() {
        out.0.extend_from_slice(&word.to_le_bytes());
    }
}

pub(crate) fn take_bitmap(from: &mut Reader<'_>, len: usize) -> Result<Bitmap, WireError> {
    let words = len.div_ceil(64);
    let bytes = from.take(words.checked_mul(8).ok_or(super::wire::TRUNCATED)?)?;
    let mut bitmap = Bitmap::new(len);
    for (at, word) in bytes.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().map_err(|_| super::wire::TRUNCATED)?);
        if at + 1 == words && !len.is_multiple_of(64) && word >> (len % 64) != 0 {
            return Err(WireError("a bit is set beyond the last step"));
        }
        bitmap.set_word(at, word);
    }
    Ok(bitmap)
}

/// The values at the steps of a bitmap.
pub(crate) fn put_lane(out: &mut Writer, values: &[f64], present: &Bitmap) {
    present.for_each_run(|start, end| values[start..end].iter().for_each(|value| out.float(*value)));
}

pub(crate) fn take_lane(from: &mut Reader<'_>, present: &Bitmap, absent: f64) -> Result<Vec<f64>, WireError> {
    let mut values = vec![absent; present.len()];
    let mut bytes = from.take(present.count() * 8)?.chunks_exact(8);
    for step in present.ones() {
        let float = bytes.next().and_then(|bytes| bytes.try_into().ok()).ok_or(super::wire::TRUNCATED)?;
        values[step] = f64::from_bits(u64::from_le_bytes(float));
    }
    Ok(values)
}

pub(crate) fn put_row(out: &mut Writer, row: &Row) {
    put_bitmap(out, row.present());
    put_lane(out, row.values(), row.present());
    out.length(row.histograms().len());
    for (step, histogram) in row.histograms() {
        out.number(u64::from(*step));
        put_histogram(out, histogram);
    }
}

pub(crate) fn take_row(from: &mut Reader<'_>, steps: usize) -> Result<Row, WireError> {
    let present = take_bitmap(from, steps)?;
    let values = take_lane(from, &present, 0.0)?;
    let mut row = Row::from_lanes(values, present);
    let mut next = 0;
    for _ in 0..from.count(1 + HISTOGRAM_BYTES_MIN)? {
        let step = take_step(from, steps, &mut next)?;
        row.push_histogram(step, Arc::new(take_histogram(from)?));
    }
    Ok(row)
}

/// A step at or after `next`, which becomes the one after it.
pub(crate) fn take_step(from: &mut Reader<'_>, steps: usize, next: &mut usize) -> Result<usize, WireError> {
    let step = usize::try_from(from.number()?).unwrap_or(usize::MAX);
    if step < *next || step >= steps || u32::try_from(step).is_err() {
        return Err(WireError("steps are out of order or beyond the last"));
    }
    *next = step + 1;
    Ok(step)
}

pub(crate) fn put_series(out: &mut Writer, series: &SeriesRow) {
    put_labels(out, &series.labels);
    out.bool(series.drop_name);
    put_row(out, &series.row);
}

pub(crate) fn take_series(from: &mut Reader<'_>, steps: usize) -> Result<SeriesRow, WireError> {
    let labels = take_labels(from)?;
    let drop_name = from.bool()?;
    Ok(SeriesRow { labels, drop_name, order: 0, row: take_row(from, steps)? })
}

pub(crate) fn put_histogram(out: &mut Writer, histogram: &FloatHistogram) {
    out.u8(match histogram.counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    });
    out.signed(histogram.schema.into());
    for value in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        out.float(value);
    }
    for buckets in [&histogram.positive, &histogram.negative] {
        out.length(buckets.len());
        let mut before = 0;
        for (index, count) in buckets.indexes().iter().zip(buckets.counts()) {
            out.signed(i64::from(*index) - before);
            before = i64::from(*index);
            out.float(*count);
        }
    }
    match &histogram.custom_values {
        None => out.number(0),
        Some(bounds) => {
            out.length(bounds.len() + 1);
            bounds.iter().for_each(|bound| out.float(*bound));
        }
    }
}

pub(crate) fn take_histogram(from: &mut Reader<'_>) -> Result<FloatHistogram, WireError> {
    let counter_reset = match from.u8()? {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return Err(WireError("a histogram has an unknown counter reset hint")),
    };
    let schema = i32::try_from(from.signed()?).map_err(|_| WireError("a histogram has an unknown schema"))?;
    let [zero_threshold, zero_count, count, sum] =
        [from.float()?, from.float()?, from.float()?, from.float()?];
    let (positive, negative) = (take_buckets(from)?, take_buckets(from)?);
    let custom_values = match usize::try_from(from.number()?).unwrap_or(usize::MAX) {
        0 => None,
        more => {
            let bytes = from.take((more - 1).checked_mul(8).ok_or(super::wire::TRUNCATED)?)?;
            let floats = bytes.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok());
            Some(floats.map(|bytes| f64::from_bits(u64::from_le_bytes(bytes))).collect())
        }
    };
    Ok(FloatHistogram {
        counter_reset,
        schema,
        zero_threshold,
        zero_count,
        count,
        sum,
        positive,
        negative,
        custom_values,
    })
}

fn take_buckets(from: &mut Reader<'_>) -> Result<Buckets, WireError> {
    let count = from.count(9)?;
    let mut buckets = Buckets::with_capacity(count);
    let mut index = 0i64;
    for at in 0..count {
        let distance = from.signed()?;
        index = index.checked_add(distance).unwrap_or(i64::MAX);
        let index = i32::try_from(index).ok().filter(|_| at == 0 || distance > 0);
        buckets.push(index.ok_or(WireError("buckets are out of order"))?, from.float()?);
    }
    Ok(buckets)
}

/// Samples as they are stored.
pub(crate) fn put_samples(out: &mut Writer, samples: &SampleBuffer) {
    put_times(out, &samples.float_timestamps);
    samples.floats.iter().for_each(|value| out.float(*value));
    put_starts(out, &samples.float_start_timestamps);
    put_times(out, &samples.histogram_timestamps);
    samples.histograms.iter().for_each(|histogram| put_histogram(out, histogram));
    put_starts(out, &samples.histogram_start_timestamps);
}

pub(crate) fn take_samples(from: &mut Reader<'_>) -> Result<SampleBuffer, WireError> {
    let mut samples = SampleBuffer { float_timestamps: take_times(from, 9)?, ..SampleBuffer::default() };
    for _ in 0..samples.float_timestamps.len() {
        samples.floats.push(from.float()?);
    }
    samples.float_start_timestamps = take_starts(from, samples.floats.len())?;
    samples.histogram_timestamps = take_times(from, 1 + HISTOGRAM_BYTES_MIN)?;
    for _ in 0..samples.histogram_timestamps.len() {
        samples.histograms.push(Arc::new(take_histogram(from)?));
    }
    samples.histogram_start_timestamps = take_starts(from, samples.histograms.len())?;
    Ok(samples)
}

fn put_times(out: &mut Writer, times: &[i64]) {
    out.length(times.len());
    let mut before = 0i64;
    for time in times {
        out.signed(time.wrapping_sub(before));
        before = *time;
    }
}

fn take_times(from: &mut Reader<'_>, bytes_min: usize) -> Result<Vec<i64>, WireError> {
    let count = from.count(bytes_min)?;
    let mut times: Vec<i64> = Vec::with_capacity(count);
    let mut time = 0i64;
    for _ in 0..count {
        time = time.wrapping_add(from.signed()?);
        if times.last().is_some_and(|last| *last >= time) {
            return Err(WireError("samples are out of order"));
        }
        times.push(time);
    }
    Ok(times)
}

fn put_starts(out: &mut Writer, starts: &[i64]) {
    out.bool(!starts.is_empty());
    starts.iter().for_each(|start| out.signed(*start));
}

fn take_starts(from: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, WireError> {
    if !from.bool()? {
        return Ok(Vec::new());
    }
    (0..count).map(|_| from.signed()).collect()
}
