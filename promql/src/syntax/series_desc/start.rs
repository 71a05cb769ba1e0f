//! Runs of start timestamps.

use super::StartTimestampItem;
use super::scanner::{Result, Scanner};
use crate::gostd::parse_duration_ns;

impl Scanner<'_> {
    /// One run of start timestamps.
    pub fn start_timestamp_item(&mut self) -> Result<StartTimestampItem> {
        if self.accept("_") {
            return match self.times()? {
                Some(0) => self.fail("invalid repeat count"),
                count => Ok(StartTimestampItem::Omitted { count: count.unwrap_or(1) }),
            };
        }
        let first_ms = self.signed_duration_ms()?;
        let has_step = self.rest().starts_with(['+', '-']);
        let step_ms = if has_step { self.signed_duration_ms()? } else { 0 };
        match self.times()? {
            None if has_step => self.fail("expected 'x<count>' after step duration"),
            repeats => Ok(StartTimestampItem::Offset { first_ms, step_ms, repeats: repeats.unwrap_or(0) }),
        }
    }

    /// One number with its unit, signed or not.
    fn signed_duration_ms(&mut self) -> Result<i64> {
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        let start = self.at;
        self.take_while(|byte| byte.is_ascii_digit());
        self.take_while(|byte| byte.is_ascii_alphabetic() && byte != b'x');
        match parse_duration_ns(&self.input[start..self.at]) {
            Ok(ns) => Ok(ns / 1_000_000 * if negative { -1 } else { 1 }),
            Err(error) => self.fail(error.to_string()),
        }
    }
}
