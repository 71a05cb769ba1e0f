//! Running a script.

use super::compare::{Result as Compared, check_annotations, check_value};
use super::pinned::pinned;
use super::script::{Command, Eval, Pattern, ScriptError, parse};
use super::target::{Evaluated, Target};
use crate::syntax::{Expr, ParserOptions, parse_expr};
use crate::value::Value;

/// What became of a script.
#[derive(Clone, Debug, Default)]
pub struct FileReport {
    /// Evaluations.
    pub evals: usize,
    /// Those of them that are range queries; the others are instant queries.
    pub range_evals: usize,
    /// Evaluations that were as expected, in all their variants.
    pub passed: usize,
    /// The others.
    pub failures: Vec<EvalFailure>,
    /// Queries run: each evaluation as written, and its variants.
    pub queries: usize,
}

/// An evaluation that was not as expected.
#[derive(Clone, Debug)]
pub struct EvalFailure {
    /// Line of the script, from 1.
    pub line: usize,
    /// What was wrong.
    pub reason: String,
}

/// Runs a script; a target that fails to load is an error.
pub fn run_script(script: &str, target: &mut dyn Target) -> Result<FileReport, ScriptError> {
    let commands = parse(script)?;
    let fail = |reason: String| ScriptError { line: 0, reason };
    target.clear().map_err(fail)?;
    let mut report = FileReport::default();
    for command in commands {
        match command {
            Command::Clear => target.clear().map_err(fail)?,
            Command::Load(series) => target.load(&series).map_err(fail)?,
            Command::Eval(eval) => {
                report.evals += 1;
                report.range_evals += usize::from(eval.is_range);
                let mut runner = Runner { eval: &eval, target, queries: 0 };
                let outcome = runner.run();
                report.queries += runner.queries;
                match outcome {
                    Ok(()) => report.passed += 1,
                    Err(reason) => report.failures.push(EvalFailure { line: eval.line, reason }),
                }
            }
        }
    }
    Ok(report)
}

struct Runner<'r> {
    eval: &'r Eval,
    target: &'r mut dyn Target,
    queries: usize,
}

impl Runner<'_> {
    fn run(&mut self) -> Result<(), String> {
        let eval = self.eval;
        let parsed = parse_expr(&eval.query, &ParserOptions::all());
        if eval.is_range {
            let (start_ms, end_ms, step_ms) = (eval.start_ms, eval.end_ms, eval.step_ms);
            self.queries += 1;
            let result = self.target.range(&eval.query, start_ms, end_ms, step_ms);
            let Some(evaluated) = self.expected_outcome(&eval.query, result)? else { return Ok(()) };
            check_annotations(eval, &evaluated)?;
            return check_value(eval, &Compared::of(&evaluated.value), self.target.shows_buckets_alone());
        }
        self.instant(&eval.query, eval.time_ms)?;
        let variant = parsed.ok().and_then(|expr| self.variant(&expr));
        let Some(query) = variant else { return Ok(()) };
        let time_ms = eval.time_ms;
        let times = match time_ms {
            0 => vec![-1000, 0, 1000],
            _ => vec![-10 * time_ms, 0, time_ms / 5, time_ms, 10 * time_ms],
        };
        for time_ms in times {
            self.instant(&query, time_ms)?;
        }
        Ok(())
    }

    fn variant(&self, expr: &Expr) -> Option<String> {
        pinned(expr, self.eval.time_ms)
    }

    /// Runs an instant query, and the same as a range query around it.
    fn instant(&mut self, query: &str, time_ms: i64) -> Result<(), String> {
        let eval = self.eval;
        self.queries += 1;
        let in_query = |error: String| format!("{query} at {time_ms} ms: {error}");
        let result = self.target.instant(query, time_ms);
        let Some(evaluated) = self.expected_outcome(query, result).map_err(in_query)? else { return Ok(()) };
        check_annotations(eval, &evaluated).map_err(in_query)?;
        check_value(eval, &Compared::of(&evaluated.value), self.target.shows_buckets_alone())
            .map_err(in_query)?;
        let depends_on_range =
            ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call));
        if eval.instant_only || depends_on_range {
            return Ok(());
        }
        let in_query = |error: String| format!("{query} in a range around {time_ms} ms: {error}");
        self.queries += 1;
        let ranged =
            self.target.range(query, time_ms - 60_000, time_ms + 60_000, 60_000).map_err(in_query)?;
        if eval.ordered {
            return Ok(());
        }
        let Value::Matrix(series) = &ranged.value else {
            return Err(in_query("not a range vector".to_owned()));
        };
        let is_scalar = matches!(evaluated.value, Value::Scalar { .. });
        check_value(eval, &Compared::at_time(series, time_ms, is_scalar), self.target.shows_buckets_alone())
            .map_err(in_query)
    }

    /// The result, unless a failure was expected and happened.
    fn expected_outcome(
        &self,
        query: &str,
        result: Result<Evaluated, String>,
    ) -> Result<Option<Evaluated>, String> {
        match (result, &self.eval.fail) {
            (Ok(evaluated), None) => Ok(Some(evaluated)),
            (Ok(_), Some(_)) => Err(format!("{query} did not fail")),
            (Err(error), None) => Err(format!("failed: {error}")),
            (Err(error), Some(pattern)) => match pattern {
                Some(pattern) if !pattern.matches(&error) => Err(wrong_failure(pattern, &error)),
                _ => Ok(None),
            },
        }
    }
}

fn wrong_failure(pattern: &Pattern, error: &str) -> String {
    format!("failed with {error:?} instead of {}", pattern.describe())
}
