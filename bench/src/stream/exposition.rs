//! Reads the text exposition format, as far as node_exporter and the servers' own `/metrics` use it: floats,
//! no timestamps, no exemplars.

use crate::error::{Error, Result};

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Label pairs, `__name__` first.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

/// All samples of a scrape, in its order. Comments are skipped.
pub fn parse(text: &str) -> Result<Vec<Line>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| parse_line(line).ok_or_else(|| Error::malformed("exposition text", line)))
        .collect()
}

/// The sum of all series of one metric, None if there is none.
pub fn metric_sum(lines: &[Line], name: &str) -> Option<f64> {
    let mut values = lines.iter().filter(|line| line.labels[0].1 == name).map(|line| line.value).peekable();
    values.peek()?;
    Some(values.sum())
}

fn parse_line(line: &str) -> Option<Line> {
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let mut labels = vec![("__name__".to_owned(), line[..name_end].to_owned())];
    let mut rest = line[name_end..].trim_start();
    if let Some(mut pairs) = rest.strip_prefix('{') {
        loop {
            pairs = pairs.trim_start_matches([',', ' ']);
            if let Some(after) = pairs.strip_prefix('}') {
                rest = after;
                break;
            }
            let (name, quoted) = pairs.split_once("=\"")?;
            let (value, after) = unquote(quoted)?;
            labels.push((name.trim().to_owned(), value));
            pairs = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Line { labels, value })
}

/// Reads up to the closing quote; the rest follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_escapes_and_special_values_are_read() {
        let text = "# HELP a b\n# TYPE a gauge\na 1\nb{x=\"1\",y=\"q\\\"\\\\\\n}\"} +Inf\nc{} 2.5e-3 \n";
        let lines = parse(text).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(lines[0], Line { labels: vec![pair("__name__", "a")], value: 1.0 });
        assert_eq!(lines[1].labels, [pair("__name__", "b"), pair("x", "1"), pair("y", "q\"\\\n}")]);
        assert_eq!(lines[1].value, f64::INFINITY);
        assert_eq!(lines[2], Line { labels: vec![pair("__name__", "c")], value: 0.0025 });
        assert_eq!(metric_sum(&lines, "a"), Some(1.0));
        assert_eq!(metric_sum(&lines, "z"), None);
    }

    #[test]
    fn a_broken_line_is_named() {
        for broken in ["a{x=\"1} 2", "a", "a{x} 1", "a one"] {
            let error = parse(broken).unwrap_err().to_string();
            assert!(error.contains(broken), "{error}");
        }
    }
}
