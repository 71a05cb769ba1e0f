//! Runs of values.

use super::scanner::{Result, Scanner};
use super::{HistogramStep, SeriesItem};

/// Bit pattern of the NaN that marks the end of a series.
const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

impl Scanner<'_> {
    /// One run of values.
    pub fn item(&mut self) -> Result<SeriesItem> {
        if self.accept("_") {
            return Ok(SeriesItem::Omitted { count: self.times()?.unwrap_or(1) });
        }
        if self.accept("{{") {
            return self.histogram_item();
        }
        let first = match self.number()? {
            Some(number) => number,
            None if self.accept("stale") => f64::from_bits(STALE_NAN_BITS),
            None => return self.unexpected("series values, expected number or \"stale\""),
        };
        let step = if self.rest().starts_with(['+', '-']) { self.number()? } else { None };
        let repeats = match (self.times()?, step) {
            (None, Some(_)) => return self.unexpected("series values"),
            (repeats, _) => repeats.unwrap_or(0),
        };
        Ok(SeriesItem::Float { first, step, repeats })
    }

    /// A run of histograms whose first `{{` was read.
    fn histogram_item(&mut self) -> Result<SeriesItem> {
        let first = self.histogram()?;
        let step_kind = match self.rest().as_bytes() {
            [b'+', ..] => Some(HistogramStep::Add),
            [b'-', ..] => Some(HistogramStep::Sub),
            _ => None,
        };
        let Some(step_kind) = step_kind else {
            return Ok(SeriesItem::Histogram { first, step: None, repeats: self.times()?.unwrap_or(0) });
        };
        self.at += 1;
        self.expect("{{", "series values")?;
        let step = Some((step_kind, self.histogram()?));
        match self.times()? {
            Some(repeats) => Ok(SeriesItem::Histogram { first, step, repeats }),
            None => self.unexpected("series values"),
        }
    }
}
