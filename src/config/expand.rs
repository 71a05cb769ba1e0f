//! `--config.expand-env`: `${NAME}` and `${NAME:default}` in the file, as in Cortex.
//!
//! A variable without a value and without a default is an error rather than Cortex's empty text: an empty secret or
//! address is never what was meant.

/// A place in the text and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpandError {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) problem: String,
}

/// Replaces each `${...}`. What is put in is not expanded again.
pub(super) fn expand_env(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let fail = |problem| {
            let before = &text[..text.len() - rest.len() + start];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = before.matches('\n').count() as u64 + 1;
            let column = before[line_start..].chars().count() as u64 + 1;
            Err(ExpandError { line, column, problem })
        };
        out.push_str(&rest[..start]);
        let behind = &rest[start + 2..];
        let Some(length) = behind.find(['}', '\n']).filter(|at| behind.as_bytes()[*at] == b'}') else {
            return fail("\"${\" without a closing brace".to_owned());
        };
        let (name, default) = match behind[..length].split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (&behind[..length], None),
        };
        match variable(name).or_else(|| default.map(str::to_owned)) {
            Some(value) => out.push_str(&value),
            None => return fail(format!("environment variable {name} is not set and has no default")),
        }
        rest = &behind[length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, ExpandError> {
        expand_env(text, |name| (name == "PORT").then(|| "9009".to_owned()))
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        assert_eq!(expand("a: x:${PORT}\n").unwrap(), "a: x:9009\n");
        assert_eq!(expand("${HOST:local:host}:${PORT:1}").unwrap(), "local:host:9009");
        assert_eq!(expand("${NONE:}|$PORT|$").unwrap(), "|$PORT|$");
    }

    #[test]
    fn an_error_names_its_line_and_column() {
        let error = expand("a: 1\nö: ${HOST}\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 4));
        assert_eq!(error.problem, "environment variable HOST is not set and has no default");
        assert_eq!(expand("a: ${PORT\nb: }").unwrap_err().problem, "\"${\" without a closing brace");
    }
}
