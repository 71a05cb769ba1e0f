//! What holds for every pattern and text. The fuzz target shares this file.

use gyre_promql::gostd::regexp::check_pattern;
use gyre_promql::gostd::{CapturingRegex, Regex};

/// Literal sets, gaps and prefixes give the same answer as the automaton, and so does the check without compiling.
/// Tells whether the pattern was valid.
pub fn shortcuts_agree_with_the_automaton(pattern: &str, texts: &[&str]) -> bool {
    let Ok(matches_empty) = check_pattern(pattern) else {
        assert!(Regex::anchored(pattern).is_err(), "{pattern:?} is invalid, yet compiles");
        return false;
    };
    // A valid pattern may still be too large; and an open \\Q swallows the parenthesis that is put behind it.
    let (Ok(regex), Ok(automaton)) = (Regex::anchored(pattern), CapturingRegex::anchored(pattern)) else {
        return true;
    };
    assert_eq!(regex.is_match(""), matches_empty, "{pattern:?} and the empty text");
    for &text in texts {
        let matches = regex.is_match(text);
        let expected = automaton.expand(text, "").is_some();
        assert_eq!(matches, expected, "{pattern:?} and {text:?}");
        if matches {
            assert!(
                text.starts_with(regex.prefix()),
                "{pattern:?} requires {:?} of {text:?}",
                regex.prefix()
            );
        }
        if let Some(set) = regex.set_matches() {
            assert_eq!(set.iter().any(|literal| literal == text), matches, "{pattern:?} and {text:?}");
        }
    }
    true
}
