//! Numbers to text and back, as Go's `strconv` and `fmt` do it.

use std::fmt::Write as _;

/// `strconv.FormatFloat(value, 'f', -1, 64)`: shortest digits that read back the same, never an exponent.
pub fn format_f(value: f64) -> String {
    let mut out = String::new();
    write_f(&mut out, value);
    out
}

/// Appends [`format_f`] to `out`.
pub fn write_f(out: &mut String, value: f64) {
    if !value.is_finite() {
        return out.push_str(non_finite(value));
    }
    match may_tie(value).then(|| shortest_scientific(value)) {
        Some(text) if significant_digits(&text) >= TIE_DIGITS_MIN => write_positional(out, &text),
        // Rust's Display is the shortest form without an exponent, sign of zero included.
        _ => write!(out, "{value}").expect("writing to a String cannot fail"),
    }
}

/// `strconv.FormatFloat(value, 'e', -1, 64)`: `1.5e+06`, exponent of at least two digits.
pub fn format_e(value: f64) -> String {
    if !value.is_finite() {
        return non_finite(value).to_owned();
    }
    let text = shortest_scientific(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

// Where two shortest forms are equally close to the value, as 100666170456291.12 and .13 are to
// 100666170456291.125, Go takes the even digit and Rust the larger one.

/// Only a form of this many digits can be off by exactly half a unit and still read back the same.
const TIE_DIGITS_MIN: usize = 16;

/// Whether the value's exact decimal form is short enough to end half a unit behind the shortest one.
fn may_tie(value: f64) -> bool {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7FF) as i32 - 1075;
    let fraction_bits = -(exponent + (bits | 1 << 52).trailing_zeros() as i32);
    // One more bit behind the point is one more decimal: 26 of them are more than 18 digits.
    (1..=25).contains(&fraction_bits) || value.abs() >= 2.0_f64.powi(53)
}

/// The shortest digits that read back the same, closest to the value, even in a tie: `1.5e6`.
fn shortest_scientific(value: f64) -> String {
    let text = format!("{value:e}");
    let digits = significant_digits(&text);
    if digits < TIE_DIGITS_MIN || !may_tie(value) {
        return text;
    }
    // With a given number of digits Rust rounds half to even, but does not look whether that reads back.
    let even = format!("{value:.*e}", digits - 1);
    if even.parse() == Ok(value) { even } else { text }
}

fn significant_digits(scientific: &str) -> usize {
    scientific.bytes().take_while(|&byte| byte != b'e').filter(u8::is_ascii_digit).count()
}

/// Writes `d.ddde±x` without its exponent.
fn write_positional(out: &mut String, scientific: &str) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if mantissa.starts_with('-') {
        out.push('-');
    }
    let point = 1 + exponent.parse::<i32>().unwrap_or(0);
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', point - digits.len()));
        }
        Ok(point) if point > 0 => {
            out.push_str(&digits[..point]);
            out.push('.');
            out.push_str(&digits[point..]);
        }
        _ => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
            out.push_str(&digits);
        }
    }
}

/// `%v`, that is `strconv.FormatFloat(value, 'g', -1, 64)`: exponents below -4 or from 6 on use the `e` form.
pub fn format_g(value: f64) -> String {
    if !value.is_finite() {
        return non_finite(value).to_owned();
    }
    let magnitude = value.abs();
    // The exponent is that of the shortest digits, which cannot differ from the value's own at these powers of ten.
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) { format_e(value) } else { format_f(value) }
}

/// `fmt.Sprintf("%.*f", decimals, value)`; `%f` has 6 decimals.
pub fn format_fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return non_finite(value).to_owned();
    }
    format!("{value:.decimals$}")
}

fn non_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// Why a text is not a number, in `strconv`'s words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{func}: parsing {}: {kind}", super::quote::quote(.input.as_bytes()))]
pub struct NumError {
    /// The Go function that would have failed: `ParseFloat`, `ParseUint`.
    pub func: &'static str,
    /// The text.
    pub input: String,
    /// What is wrong with it.
    pub kind: NumErrorKind,
}

/// What is wrong with a text as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumErrorKind {
    /// Not the syntax of a number.
    #[error("invalid syntax")]
    Syntax,
    /// A number, but too large for its type.
    #[error("value out of range")]
    Range,
}

/// `strconv.ParseFloat(text, 64)`: decimal and hexadecimal floats, `Inf`, `Infinity` and `NaN` in any case,
/// underscores between the digits of a number with base prefix.
pub fn parse_float(text: &str) -> Result<f64, NumError> {
    let error = |kind| NumError { func: "ParseFloat", input: text.to_owned(), kind };
    if let Some(special) = parse_special(text) {
        return Ok(special);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text.contains('_') && !underscores_are_between_digits(unsigned) {
        return Err(error(NumErrorKind::Syntax));
    }
    let value = if has_prefix_fold(unsigned, "0x") {
        parse_hex_magnitude(&unsigned[2..].replace('_', ""))
    } else {
        parse_decimal_magnitude(unsigned)
    };
    match value {
        None => Err(error(NumErrorKind::Syntax)),
        Some(magnitude) if magnitude.is_infinite() => Err(error(NumErrorKind::Range)),
        Some(magnitude) => Ok(if text.starts_with('-') { -magnitude } else { magnitude }),
    }
}

/// `strconv.ParseInt(text, 0, 64)`: the base follows from a prefix `0b`, `0o`, `0` or `0x`. `None` if `text` is not
/// an integer or does not fit.
pub fn parse_int_base0(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match unsigned.as_bytes() {
        [b'0', b'b' | b'B', _, ..] => (2, &unsigned[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &unsigned[2..]),
        [b'0', b'x' | b'X', _, ..] => (16, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    let mut magnitude: u64 = 0;
    let mut any = false;
    for byte in digits.bytes() {
        if byte == b'_' {
            continue;
        }
        let digit = char::from(byte).to_digit(radix)?;
        magnitude = magnitude.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))?;
        any = true;
    }
    // "0_" and "0x_" have no digit of their own, yet "0" alone does.
    if !any || (digits.contains('_') && !underscores_are_between_digits(unsigned)) {
        return None;
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The number of a PromQL token: an integer of any base if it is one, a float otherwise.
pub fn parse_number(text: &str) -> Result<f64, NumError> {
    // Plain decimal digits are by far the most common: at most 15 of them are exact in a float.
    if text.len() <= 15 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = text.bytes().fold(0_u64, |value, byte| value * 10 + u64::from(byte - b'0'));
        if !text.is_empty() {
            return Ok(value as f64);
        }
    }
    match parse_int_base0(text) {
        Some(integer) => Ok(integer as f64),
        None => parse_float(text),
    }
}

/// Go's conversion of a float to `int64` on amd64: truncation, and the smallest integer for anything out of range.
pub fn float_to_int64(value: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        value as i64
    } else {
        i64::MIN
    }
}

fn has_prefix_fold(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn parse_special(text: &str) -> Option<f64> {
    let (sign, name) = match text.as_bytes().first()? {
        b'+' => (Some(1.0), &text[1..]),
        b'-' => (Some(-1.0), &text[1..]),
        _ => (None, text),
    };
    if name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("infinity") {
        return Some(f64::INFINITY * sign.unwrap_or(1.0));
    }
    // A signed NaN is not a number to Go. Its NaN has this payload.
    (sign.is_none() && name.eq_ignore_ascii_case("nan")).then(|| f64::from_bits(0x7FF8_0000_0000_0001))
}

fn parse_decimal_magnitude(text: &str) -> Option<f64> {
    let number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-' | b'_');
    // Rust accepts names and a second sign, which Go does not.
    if !text.bytes().all(number) || text.starts_with(['+', '-']) {
        return None;
    }
    if text.contains('_') { text.replace('_', "").parse().ok() } else { text.parse().ok() }
}

/// `digits[.digits]p[+-]digits` after the prefix, rounded half to even.
fn parse_hex_magnitude(text: &str) -> Option<f64> {
    let (mantissa_text, exponent_text) = text.split_once(['p', 'P'])?;
    let exponent_digits = exponent_text.strip_prefix(['+', '-']).unwrap_or(exponent_text);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Beyond five digits the result is zero or infinite whatever the rest.
    let exponent_magnitude: i64 = exponent_digits.parse().unwrap_or(99_999).min(99_999);
    let mut exponent = if exponent_text.starts_with('-') { -exponent_magnitude } else { exponent_magnitude };
    let mut mantissa: u64 = 0;
    let (mut any, mut after_dot, mut sticky) = (false, false, false);
    for byte in mantissa_text.bytes() {
        if byte == b'.' {
            if after_dot {
                return None;
            }
            after_dot = true;
            continue;
        }
        let digit = u64::from(char::from(byte).to_digit(16)?);
        any = true;
        if mantissa >> 59 == 0 {
            mantissa = mantissa << 4 | digit;
            exponent -= if after_dot { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if after_dot { 0 } else { 4 };
        }
    }
    any.then(|| scale_by_power_of_two(mantissa, sticky, exponent))
}

/// `mantissa * 2^exponent`, rounded once, half to even; `sticky` tells that lower bits were cut off.
fn scale_by_power_of_two(mantissa: u64, sticky: bool, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let shift = i64::from(mantissa.leading_zeros());
    let (normal, top_exponent) = (mantissa << shift, exponent - shift + 63);
    if top_exponent > 1023 {
        return f64::INFINITY;
    }
    // A subnormal result keeps fewer than 53 bits.
    let kept_bits = (53 - (-1022 - top_exponent).max(0)).max(-1);
    if kept_bits < 0 {
        return 0.0;
    }
    let cut_bits = 64 - kept_bits;
    let (kept, rest) = if cut_bits == 64 { (0, normal) } else { (normal >> cut_bits, normal << kept_bits) };
    let half = 1_u64 << 63;
    let round_up = rest > half || (rest == half && (sticky || kept & 1 == 1));
    let rounded = kept + u64::from(round_up);
    let unit_exponent = top_exponent - 63 + cut_bits;
    if unit_exponent <= -1074 {
        return f64::from_bits(rounded);
    }
    // In two exact steps: the power itself may be too small for a float where the product is not.
    let half_exponent = unit_exponent / 2;
    (rounded as f64) * power_of_two(half_exponent) * power_of_two(unit_exponent - half_exponent)
}

/// `2^exponent` for exponents of normal floats.
fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Go's rule: an underscore stands between two digits, or between a base prefix and a digit.
fn underscores_are_between_digits(unsigned: &str) -> bool {
    let hex = has_prefix_fold(unsigned, "0x");
    let prefixed = hex || has_prefix_fold(unsigned, "0b") || has_prefix_fold(unsigned, "0o");
    let mut previous = if prefixed { b'0' } else { b'^' };
    for byte in unsigned.bytes().skip(if prefixed { 2 } else { 0 }) {
        let is_digit = byte.is_ascii_digit() || (hex && byte.is_ascii_hexdigit());
        if byte == b'_' && previous != b'0' || !is_digit && byte != b'_' && previous == b'_' {
            return false;
        }
        previous = match byte {
            _ if is_digit => b'0',
            b'_' => b'_',
            _ => b'!',
        };
    }
    previous != b'_'
}
