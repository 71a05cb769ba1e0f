//! Where the corpora are, and how long random tests run.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of promqltest scripts.
fn promqltest_dir() -> PathBuf {
    match std::env::var_os("GYRE_PROMQLTEST_DIR") {
        Some(dir) => dir.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest"),
    }
}

fn missing<T>(what: &str, path: &std::path::Path) -> Option<T> {
    let why = format!("skipped: {what} is not at {}", path.display());
    assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
    println!("{why}");
    None
}

/// One line of the parser corpus.
pub struct CorpusLine {
    pub expr: String,
    pub accepted: bool,
    /// What an older Prometheus (3.9) printed or said.
    pub printed: Option<String>,
    pub error: Option<String>,
}

/// The parser corpus, or `None` (having said so) if it is absent.
pub fn parser_corpus() -> Option<Vec<CorpusLine>> {
    let path = promqltest_dir().join("../promql-corpus/parse.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else { return missing("the parser corpus", &path) };
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of the corpus is JSON");
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        CorpusLine {
            expr: text("expr").expect("every line has an expression"),
            accepted: value["ok"].as_bool().expect("every line has a verdict"),
            printed: text("printed"),
            error: text("error_3_9"),
        }
    };
    Some(text.lines().map(line).collect())
}

/// Name and text of every promqltest script, or `None` (having said so) if they are absent.
pub fn promqltest_scripts() -> Option<Vec<(String, String)>> {
    let dir = promqltest_dir();
    let Ok(entries) = std::fs::read_dir(&dir) else { return missing("the promqltest corpus", &dir) };
    let mut scripts: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a script can be read");
            (path.file_name().expect("it was listed by name").to_string_lossy().into_owned(), text)
        })
        .collect();
    scripts.sort();
    Some(scripts)
}

/// The expression of an `eval` line of a script.
pub fn eval_expression(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let skip = match words.as_slice() {
        [eval, "instant", "at", _, ..] if eval.starts_with("eval") => 4,
        [eval, "instant", ..] if eval.starts_with("eval") => 2,
        [eval, "range", "from", _, "to", _, "step", _, ..] if eval.starts_with("eval") => 8,
        _ => return None,
    };
    let mut rest = line.trim();
    for _ in 0..skip {
        rest = rest.split_once(char::is_whitespace)?.1.trim_start();
    }
    Some(rest)
}

/// Every expression of both corpora.
pub fn all_expressions() -> Vec<String> {
    let corpus = parser_corpus().unwrap_or_default().into_iter().map(|line| line.expr);
    let scripts = promqltest_scripts().unwrap_or_default();
    let evals =
        scripts.iter().flat_map(|(_, text)| text.lines()).filter_map(eval_expression).map(str::to_owned);
    corpus.chain(evals).collect()
}

/// The seed of a random test, printed so that a failure can be repeated, and its number of cases.
pub fn seed_and_cases(cases: u64) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("GYRE_TEST_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64)
    });
    println!("seed {seed} (repeat with GYRE_TEST_SEED={seed})");
    (seed, number("GYRE_FUZZ_CASES").unwrap_or(cases))
}
