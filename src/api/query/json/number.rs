//! Timestamps and sample values.
//!
//! Shortest digits that read back to the same float are the same whoever finds them, so only the layout is done here.

use std::io::Write;

/// Writes milliseconds as seconds: `1435781451.781`, and no fraction where it is zero.
pub fn write_timestamp_ms(out: &mut Vec<u8>, t_ms: i64) {
    if t_ms < 0 {
        out.push(b'-');
    }
    let ms = t_ms.unsigned_abs();
    write_integer(out, ms / 1000);
    match ms % 1000 {
        0 => {}
        fraction => {
            let digits = [fraction / 100, fraction / 10 % 10, fraction % 10].map(|digit| b'0' + digit as u8);
            out.push(b'.');
            out.extend_from_slice(&digits);
        }
    }
}

fn write_integer(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a sample's value as a string: plain digits, an exponent below 1e-6 and from 1e21 on, `NaN`, `+Inf`, `-Inf`.
pub fn write_value(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    let has_exponent = magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude);
    write_quoted(out, value, has_exponent);
}

/// Writes the value of a scalar: never with an exponent, unlike any other value.
pub fn write_scalar_value(out: &mut Vec<u8>, value: f64) {
    write_quoted(out, value, false);
}

fn write_quoted(out: &mut Vec<u8>, value: f64, has_exponent: bool) {
    out.push(b'"');
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if has_exponent {
        write_exponent(out, value);
    } else if value.fract() == 0.0 && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
        // Most samples are integers, for which no shortest digits need be searched.
        if value < 0.0 {
            out.push(b'-');
        }
        write_integer(out, value.abs() as u64);
    } else if (1e-5..1e15).contains(&value.abs()) {
        // In this range it writes no exponent, and a fraction, which there is.
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{value}");
    }
    out.push(b'"');
}

/// Writes `1.5e-07`: Go's exponents have a sign and two digits at least.
fn write_exponent(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    let _ = write!(out, "{value:e}");
    let Some(e) = out[start..].iter().position(|byte| *byte == b'e') else { return };
    let exponent_at = start + e + 1;
    let is_negative = out[exponent_at] == b'-';
    let digits_at = exponent_at + usize::from(is_negative);
    let digits: Vec<u8> = out[digits_at..].to_vec();
    out.truncate(exponent_at);
    out.push(if is_negative { b'-' } else { b'+' });
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_are_seconds_with_a_fraction_only_if_there_is_one() {
        for (t_ms, expected) in [
            (0, "0"),
            (1, "0.001"),
            (10, "0.010"),
            (100, "0.100"),
            (1001, "1.001"),
            (2000, "2"),
            (1_435_781_451_781, "1435781451.781"),
            (-1, "-0.001"),
            (-1500, "-1.500"),
            (-2000, "-2"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(text(|out| write_timestamp_ms(out, t_ms)), expected);
        }
    }

    // Cases of Prometheus's tests of its JSON encoding, and Go's rules for exponents.
    #[test]
    fn values_have_gos_digits_and_exponents() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (20.5, "20.5"),
            (1e15, "1000000000000000"),
            (999_999_999_999_999_900_000.0, "999999999999999900000"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (0.000_001, "0.000001"),
            (0.000_000_99, "9.9e-07"),
            (1.2345e-67, "1.2345e-67"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text(|out| write_value(out, value)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn scalars_never_have_an_exponent() {
        for (value, expected) in
            [(1e21, "1000000000000000000000"), (1e-7, "0.0000001"), (2.5, "2.5"), (f64::NAN, "NaN")]
        {
            assert_eq!(text(|out| write_scalar_value(out, value)), format!("\"{expected}\""));
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back_to_its_bits(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            for write in [write_value, write_scalar_value] {
                let quoted = text(|out| write(out, value));
                let read: f64 = quoted.trim_matches('"').parse().unwrap();
                prop_assert_eq!(read.to_bits(), bits, "{}", quoted);
            }
        }

        #[test]
        fn integers_are_written_without_a_fraction(value in -(1_i64 << 53)..1 << 53) {
            let quoted = text(|out| write_value(out, value as f64));
            prop_assert_eq!(quoted, format!("\"{value}\""));
        }
    }
}
