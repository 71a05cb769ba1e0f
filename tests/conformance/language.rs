//! What `format_query` and `parse_query` say about the expressions of the scripts: a formatted expression is the same
//! expression, and formatting it again changes nothing.

use bench::http::Connection;
use bench::server::Server;
use gyre_promql::testkit::{Evaluated, LoadedSeries, Target};
use serde_json::Value;

/// Looks at the text of each query, and answers none.
pub struct LanguageTarget {
    connection: Connection,
    /// Expressions that could be parsed.
    pub asked: usize,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl LanguageTarget {
    /// A target on a running server.
    pub fn new(server: &Server) -> Self {
        Self { connection: server.connect(), asked: 0, problems: Vec::new() }
    }

    /// The data, with the text of the answer; `None` if the expression is refused.
    fn ask(&mut self, endpoint: &str, query: &str) -> Option<(Value, String)> {
        let path = format!("/prometheus/api/v1/{endpoint}");
        let text = self.connection.post_form(&path, &[("query", query)]).ok()?.into_text().ok()?;
        let mut json: Value = serde_json::from_str(&text).ok()?;
        Some((json["data"].take(), text))
    }

    fn check(&mut self, query: &str) -> Option<()> {
        let (tree, text) = self.ask("parse_query", query)?;
        self.asked += 1;
        let formatted = self.ask("format_query", query)?.0.as_str()?.to_owned();
        let (same_tree, _) = self.ask("parse_query", &formatted)?;
        let again = self.ask("format_query", &formatted)?.0;
        if with_sorted_matchers(&tree) != with_sorted_matchers(&same_tree) {
            self.problems.push(format!("{query} is not {formatted}"));
        }
        if again != formatted.as_str() {
            self.problems.push(format!("{query} is first {formatted} and then {again}"));
        }
        // The library writes keys in alphabetical order, as Go does, and escapes less.
        let sorted = serde_json::json!({"status": "success", "data": tree}).to_string();
        let sorted = sorted.replace("{\"data\":", "").replace(",\"status\":\"success\"}", "");
        let plain = text.replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u0026", "&");
        if !plain.contains(&sorted) {
            self.problems.push(format!("{query}: keys are not sorted in {text}"));
        }
        Some(())
    }
}

/// A tree whose selectors have their matchers in one order: the formatted text has them sorted.
fn with_sorted_matchers(tree: &Value) -> Value {
    match tree {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let mut value = with_sorted_matchers(value);
                if let ("matchers", Some(matchers)) = (name.as_str(), value.as_array_mut()) {
                    matchers.sort_by_key(Value::to_string);
                }
                (name.clone(), value)
            })
            .collect(),
        Value::Array(values) => values.iter().map(with_sorted_matchers).collect(),
        other => other.clone(),
    }
}

impl Target for LanguageTarget {
    fn clear(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn load(&mut self, _: &[LoadedSeries]) -> Result<(), String> {
        Ok(())
    }

    fn instant(&mut self, query: &str, _: i64) -> Result<Evaluated, String> {
        self.check(query);
        Err("not evaluated".to_owned())
    }

    fn range(&mut self, query: &str, _: i64, _: i64, _: i64) -> Result<Evaluated, String> {
        self.check(query);
        Err("not evaluated".to_owned())
    }
}
