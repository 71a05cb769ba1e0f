//! The fields of a histogram.

use super::scanner::{Result, Scanner};
use super::{HistogramDescription, ResetHint};
use crate::gostd::quote;

impl Scanner<'_> {
    /// The fields of a histogram and its closing braces.
    pub fn histogram(&mut self) -> Result<Box<HistogramDescription>> {
        let mut fields = Box::<HistogramDescription>::default();
        self.spaces();
        while !self.accept("}}") {
            self.histogram_field(&mut fields)?;
            if !self.spaces() && !self.rest().starts_with("}}") {
                return self.unexpected(
                    "histogram description, expected histogram description key, e.g. buckets:[5 10 7]",
                );
            }
        }
        Ok(fields)
    }

    fn histogram_field(&mut self, fields: &mut HistogramDescription) -> Result<()> {
        let key = self.word();
        if !self.accept(":") {
            return self.unexpected("histogram description");
        }
        let is_new = match key.to_ascii_lowercase().as_str() {
            "schema" => fields.schema.replace(self.integer()?).is_none(),
            "sum" => fields.sum.replace(self.histogram_number()?).is_none(),
            "count" => fields.count.replace(self.histogram_number()?).is_none(),
            "z_bucket" => fields.zero_count.replace(self.histogram_number()?).is_none(),
            "z_bucket_w" => fields.zero_threshold.replace(self.histogram_number()?).is_none(),
            "custom_values" => fields.custom_values.replace(self.bucket_list()?).is_none(),
            "buckets" => fields.positive_buckets.replace(self.bucket_list()?).is_none(),
            "offset" => fields.positive_offset.replace(self.integer()?).is_none(),
            "n_buckets" => fields.negative_buckets.replace(self.bucket_list()?).is_none(),
            "n_offset" => fields.negative_offset.replace(self.integer()?).is_none(),
            "counter_reset_hint" => fields.reset_hint.replace(self.reset_hint()?).is_none(),
            _ => return self.fail(format!("bad histogram descriptor found: {}", quote(key.as_bytes()))),
        };
        if is_new { Ok(()) } else { self.fail(format!("duplicate key \"{key}\" in histogram")) }
    }

    fn histogram_number(&mut self) -> Result<f64> {
        match self.number()? {
            Some(number) => Ok(number),
            None => self.unexpected("histogram description, expected number"),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        let start = self.at;
        self.accept("-");
        self.take_while(|byte| byte.is_ascii_digit());
        match self.input[start..self.at].parse() {
            Ok(integer) => Ok(integer),
            Err(_) => self.unexpected("histogram description, expected integer"),
        }
    }

    fn bucket_list(&mut self) -> Result<Vec<f64>> {
        self.expect("[", "histogram description, expected \"[\"")?;
        let mut counts = vec![self.histogram_number()?];
        loop {
            let spaces = self.spaces();
            if self.accept("]") {
                return Ok(counts);
            }
            if !spaces {
                return self.unexpected("buckets description");
            }
            counts.push(self.histogram_number()?);
        }
    }

    fn reset_hint(&mut self) -> Result<ResetHint> {
        let word = self.word();
        match word.to_ascii_lowercase().as_str() {
            "unknown" => Ok(ResetHint::Unknown),
            "reset" => Ok(ResetHint::Reset),
            "not_reset" => Ok(ResetHint::NotReset),
            "gauge" => Ok(ResetHint::Gauge),
            _ => self.fail(format!("bad counter reset hint found: {}", quote(word.as_bytes()))),
        }
    }
}
