//! Reading a script.

use super::load::{LoadedSeries, SequenceValue, expand, labels, samples};
use super::nhcb::native_series;
use crate::gostd::regexp::Regex;
use crate::gostd::{parse_duration_ns, parse_number, unquote};
use crate::labels::Labels;
use crate::syntax::series_desc::{
    StartTimestamps, is_start_timestamps_line, parse_series_description, parse_start_timestamps,
};
use crate::value::SampleValue;

/// A script that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// A step of a script.
pub(super) enum Command {
    Clear,
    Load(Vec<LoadedSeries>),
    Eval(Box<Eval>),
}

/// An expression and what is expected of it.
pub(super) struct Eval {
    pub line: usize,
    pub query: String,
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub is_range: bool,
    /// Time of an instant evaluation.
    pub time_ms: i64,
    pub ordered: bool,
    /// Failure is expected, and so is the text, if given.
    pub fail: Option<Option<Pattern>>,
    pub warn: Expected,
    pub info: Expected,
    pub series: Vec<ExpectedSeries>,
    pub scalar: Option<f64>,
    pub string: String,
    /// The result cannot be had as a range query.
    pub instant_only: bool,
}

/// Annotations of one kind that are expected.
#[derive(Default)]
pub(super) struct Expected {
    pub patterns: Vec<Pattern>,
    pub none: bool,
    /// At least one, of the old `eval_warn` form.
    pub any: bool,
}

pub(super) struct ExpectedSeries {
    pub labels: Labels,
    pub values: Vec<SequenceValue>,
}

/// A text to be found.
pub(super) enum Pattern {
    Any,
    Exactly(String),
    Contains(Regex, String),
}

impl Pattern {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(expected) => expected == text,
            Self::Contains(regex, _) => regex.is_match(text),
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Exactly(expected) => format!("{expected:?}"),
            Self::Contains(_, pattern) => format!("/{pattern}/"),
        }
    }

    fn containing(pattern: &str) -> Result<Self, String> {
        let regex =
            Regex::anchored(&format!("(?s:.*)(?:{pattern})(?s:.*)")).map_err(|error| error.to_string())?;
        Ok(Self::Contains(regex, pattern.to_owned()))
    }
}

/// Reads a script.
pub(super) fn parse(script: &str) -> Result<Vec<Command>, ScriptError> {
    let lines: Vec<&str> =
        script.split('\n').map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        let line = lines[at];
        at += 1;
        let word = line.split([' ', '\t']).next().unwrap_or_default().to_lowercase();
        if word.is_empty() {
            continue;
        }
        // A block ends at an empty line, and a comment counts as one.
        let end =
            lines[at..].iter().position(|line| line.is_empty()).map_or(lines.len(), |length| at + length);
        let block = &lines[at..end];
        let fail = |(offset, reason): (usize, String)| ScriptError { line: first + 1 + offset, reason };
        if word == "clear" {
            commands.push(Command::Clear);
        } else if word.starts_with("load") {
            commands.push(Command::Load(load(line, block).map_err(fail)?));
            at = end;
        } else if word.starts_with("eval") {
            let (eval, used) = eval(line, block, first + 1).map_err(fail)?;
            commands.push(Command::Eval(Box::new(eval)));
            at += used;
        } else {
            return Err(fail((0, format!("invalid command {line:?}"))));
        }
    }
    Ok(commands)
}

type Failed = (usize, String);

fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration_ns(text.trim()).map(|ns| ns / 1_000_000).map_err(|error| format!("{error:?}"))
}

fn load(line: &str, block: &[&str]) -> Result<Vec<LoadedSeries>, Failed> {
    let (command, step) = line.split_once([' ', '\t']).ok_or((0, "load without a step".to_owned()))?;
    let step_ms = duration_ms(step).map_err(|error| (0, error))?;
    let mut series = Vec::new();
    let mut starts: Option<StartTimestamps> = None;
    for (i, line) in block.iter().enumerate() {
        let fail = |error: String| (i + 1, error);
        if is_start_timestamps_line(line) {
            starts = Some(parse_start_timestamps(line).map_err(|error| fail(error.to_string()))?);
            continue;
        }
        let description = parse_series_description(line).map_err(|error| fail(error.to_string()))?;
        if starts.as_ref().is_some_and(|starts| starts.labels != description.labels) {
            return Err(fail("@st metric does not match the following sample line metric".to_owned()));
        }
        series.push(samples(&description, starts.take().as_ref(), step_ms).map_err(fail)?);
    }
    if command == "load_with_nhcb" {
        series.extend(native_series(&series).map_err(|error| (0, error))?);
    }
    Ok(series)
}

fn eval(line: &str, block: &[&str], number: usize) -> Result<(Eval, usize), Failed> {
    let mut eval = eval_header(line, number).ok_or((0, format!("invalid evaluation command {line:?}")))?;
    let mut has_range_vector = false;
    let mut used = 0;
    for (i, line) in block.iter().enumerate() {
        used = i + 1;
        let fail = |error: String| (i + 1, error);
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            eval.fail = Some(Some(Pattern::Exactly(message.trim().to_owned())));
            break;
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            eval.fail = Some(Some(Pattern::containing(pattern.trim()).map_err(fail)?));
            break;
        }
        if let Some(times) = line.strip_prefix("expect range vector") {
            let times = range_times(times).ok_or_else(|| fail(format!("invalid range vector {line:?}")))?;
            (eval.start_ms, eval.end_ms, eval.step_ms) = times;
            eval.time_ms = eval.end_ms;
            eval.instant_only = true;
            has_range_vector = true;
        } else if let Some(literal) = line.strip_prefix("expect string") {
            let text = unquote(literal.trim()).ok_or_else(|| fail("expected a string literal".to_owned()))?;
            eval.string = text.to_str_lossy().into_owned();
            eval.instant_only = true;
        } else if line.split(' ').next() == Some("expect") {
            expectation(&line["expect".len()..], &mut eval).map_err(fail)?;
        } else if let Ok(value) = parse_number(line) {
            eval.scalar = Some(value);
            break;
        } else {
            let description = parse_series_description(line).map_err(|error| fail(error.to_string()))?;
            let values = expand(&description).map_err(fail)?;
            if values.len() > 1 && !eval.is_range && !has_range_vector {
                return Err(fail("expecting multiple values in instant evaluation not allowed".to_owned()));
            }
            eval.scalar = None;
            eval.series.push(ExpectedSeries { labels: labels(&description), values });
        }
    }
    Ok((eval, used))
}

fn eval_header(line: &str, number: usize) -> Option<Eval> {
    let (command, rest) = line.split_once([' ', '\t'])?;
    let (kind, rest) = rest.trim_start().split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    let mut eval = Eval {
        line: number,
        query: String::new(),
        start_ms: 0,
        end_ms: 0,
        step_ms: 0,
        is_range: kind == "range",
        time_ms: 0,
        ordered: false,
        fail: None,
        warn: Expected::default(),
        info: Expected::default(),
        series: Vec::new(),
        scalar: None,
        string: String::new(),
        instant_only: false,
    };
    match command {
        "eval" => {}
        "eval_ordered" => eval.ordered = true,
        "eval_fail" => eval.fail = Some(None),
        "eval_warn" => eval.warn.any = true,
        "eval_info" => eval.info.any = true,
        _ => return None,
    }
    if eval.is_range {
        let (times, query) = split_after_step(rest)?;
        (eval.start_ms, eval.end_ms, eval.step_ms) = range_times(times)?;
        query.clone_into(&mut eval.query);
    } else if kind == "instant" {
        let (time, query) = rest.strip_prefix("at")?.trim_start().split_once([' ', '\t'])?;
        eval.time_ms = duration_ms(time).ok()?;
        eval.start_ms = eval.time_ms;
        query.trim_start().clone_into(&mut eval.query);
    } else {
        return None;
    }
    Some(eval)
}

/// `from A to B step C` and what follows.
fn split_after_step(text: &str) -> Option<(&str, &str)> {
    let at = text.find(" step ")? + " step ".len();
    let length = text[at..].find([' ', '\t'])?;
    Some((&text[..at + length], text[at + length..].trim_start()))
}

fn range_times(text: &str) -> Option<(i64, i64, i64)> {
    let (from, rest) = text.trim().strip_prefix("from")?.split_once(" to ")?;
    let (to, step) = rest.split_once(" step ")?;
    let times = (duration_ms(from).ok()?, duration_ms(to).ok()?, duration_ms(step).ok()?);
    (times.0 <= times.1).then_some(times)
}

fn expectation(text: &str, eval: &mut Eval) -> Result<(), String> {
    let text = text.trim();
    let (kind, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let rest = rest.trim();
    let pattern = if rest.is_empty() {
        Pattern::Any
    } else if let Some(message) = rest.strip_prefix("msg:") {
        Pattern::Exactly(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        Pattern::containing(pattern.trim())?
    } else {
        return Err(format!("invalid expect statement {text:?}"));
    };
    match kind {
        "ordered" => eval.ordered = true,
        "fail" if eval.fail.is_some() => return Err("multiple expect fail lines are not allowed".to_owned()),
        "fail" => eval.fail = Some(Some(pattern)),
        "warn" => eval.warn.patterns.push(pattern),
        "no_warn" => eval.warn.none = true,
        "info" => eval.info.patterns.push(pattern),
        "no_info" => eval.info.none = true,
        _ => return Err(format!("invalid expect statement {text:?}")),
    }
    for expected in [&eval.warn, &eval.info] {
        if expected.none && !expected.patterns.is_empty() {
            return Err("an annotation cannot be expected and not expected".to_owned());
        }
    }
    Ok(())
}

impl ExpectedSeries {
    /// The value of an instant result.
    pub fn first(&self) -> Option<(&SampleValue, bool)> {
        let first = self.values.first()?;
        Some((first.value.as_ref()?, first.hint_given))
    }
}
