//! The document that says how conformant PromQL is: the tests write its tables, or compare them with their findings.
//!
//! A table stands between `<!-- begin NAME -->` and `<!-- end NAME -->`. `GYRE_UPDATE_DOCS=1` rewrites it.

use std::path::PathBuf;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/promql-conformance.md")
}

/// The text before the table `name`, the table, and the text behind it.
fn split<'t>(text: &'t str, name: &str) -> (&'t str, &'t str, &'t str) {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let found = text.find(&begin).zip(text.find(&end));
    let (from, to) = found.unwrap_or_else(|| panic!("the document has no table {name:?}"));
    let from = from + begin.len();
    (&text[..from], &text[from..to], &text[to..])
}

/// The table `name` as the document has it.
pub fn table(name: &str) -> String {
    let text = std::fs::read_to_string(path()).expect("docs/promql-conformance.md can be read");
    split(&text, name).1.to_owned()
}

/// Fails unless the document has `found` as its table `name`; or puts it there, when asked to.
pub fn compare(name: &str, found: &str) {
    if std::env::var_os("GYRE_UPDATE_DOCS").is_some_and(|value| value == "1") {
        let text = std::fs::read_to_string(path()).expect("docs/promql-conformance.md can be read");
        let (before, _, after) = split(&text, name);
        std::fs::write(path(), format!("{before}{found}{after}")).expect("the document can be written");
        return;
    }
    let written = table(name);
    assert_eq!(found, written, "docs/promql-conformance.md differs; GYRE_UPDATE_DOCS=1 rewrites the table");
}
