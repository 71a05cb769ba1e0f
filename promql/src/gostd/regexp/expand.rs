//! Capturing groups and the templates that refer to them, as `label_replace` uses them.

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::captures::Captures;

use super::{RegexError, compile, parse};
use crate::gostd::quote::is_letter_or_digit;

/// A compiled pattern that matches whole texts and remembers its groups.
#[derive(Clone, Debug)]
pub struct CapturingRegex {
    automaton: meta::Regex,
}

impl CapturingRegex {
    /// Compiles `pattern` as `label_replace` does: put between `^(?s:` and `)$`, whatever that makes of it.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        let node = parse::parse(&format!("^(?s:{pattern})$"))?;
        Ok(Self { automaton: compile(pattern, node.to_hir(), WhichCaptures::All)? })
    }

    /// If the pattern matches all of `text`, `template` with its references replaced: `$1`, `$name`, `${name}`, and
    /// `$$` for a dollar sign. A name is as long as possible; an unknown group is empty.
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let mut captures = self.automaton.create_captures();
        self.automaton.captures(text, &mut captures);
        captures.is_match().then(|| expand_template(&captures, text, template))
    }
}

fn expand_template(captures: &Captures, text: &str, template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = split_reference(rest) else {
            // Not a reference: the dollar sign stands for itself.
            out.push('$');
            continue;
        };
        rest = after;
        let span = match group_number(name) {
            Some(number) => captures.get_group(number),
            None => captures.get_group_by_name(name),
        };
        out.push_str(span.and_then(|span| text.get(span.range())).unwrap_or_default());
    }
    out.push_str(rest);
    out
}

/// The name at the start of `text`, in braces or not, and what follows it.
fn split_reference(text: &str) -> Option<(&str, &str)> {
    let (body, braces) = match text.strip_prefix('{') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let end = body.find(|rune| rune != '_' && !is_letter_or_digit(rune)).unwrap_or(body.len());
    let (name, after) = body.split_at(end);
    let after = if braces { after.strip_prefix('}')? } else { after };
    (!name.is_empty()).then_some((name, after))
}

/// The group's number, unless `name` is to be looked up among the names.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.len() <= 9 && name.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (name.len() > 1 && name.starts_with('0')) {
        return None;
    }
    name.parse().ok()
}
