//! Patterns that need no automaton: sets of literals, and literals with `.*` or `.+` around and between them.

use regex_syntax::hir::ClassUnicode;

use super::node::Node;

/// The most literals an alternation or class is multiplied out to. Plain alternations may be longer.
const SET_MAX: usize = 256;

/// Literals in a row with gaps around and between them, as in `.*api.+v1.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Glob {
    /// What the text starts with.
    pub prefix: String,
    /// Gaps, each with the literal behind it; none if the prefix is all.
    pub gaps: Vec<(Gap, String)>,
}

/// The least number of characters in a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// `.*`
    Any,
    /// `.+`
    NotEmpty,
}

/// All texts the pattern matches, if they are few; in the order of the alternatives, without duplicates.
pub(super) fn literal_set(node: &Node) -> Option<Vec<String>> {
    let alternatives = match node {
        Node::Alternate(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut set: Vec<String> = Vec::new();
    for alternative in alternatives {
        let texts = expand(alternative)?;
        // Only multiplying out can explode; alternatives that were written out one by one may be many.
        if texts.len() > 1 && set.len() + texts.len() > SET_MAX {
            return None;
        }
        set.extend(texts);
    }
    let mut seen = std::collections::HashSet::new();
    let keep: Vec<bool> = set.iter().map(|text| seen.insert(text.as_str())).collect();
    let mut keep = keep.into_iter();
    set.retain(|_| keep.next().unwrap_or(true));
    Some(set)
}

fn expand(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Empty => Some(vec![String::new()]),
        Node::Literal(rune) => Some(vec![rune.to_string()]),
        Node::Class(class) => expand_class(class),
        Node::Capture { node, .. } => expand(node),
        Node::Repeat { min: 0, max: Some(1), greedy, node } => {
            let mut texts = expand(node)?;
            texts.insert(if *greedy { texts.len() } else { 0 }, String::new());
            Some(texts)
        }
        Node::Alternate(nodes) => {
            let mut texts = Vec::new();
            for node in nodes {
                texts.extend(expand(node)?);
                if texts.len() > SET_MAX {
                    return None;
                }
            }
            Some(texts)
        }
        Node::Concat(nodes) => {
            let mut texts = vec![String::new()];
            for node in nodes {
                if let (Node::Literal(rune), [text]) = (node, texts.as_mut_slice()) {
                    text.push(*rune);
                    continue;
                }
                let tails = expand(node)?;
                if texts.len() * tails.len() > SET_MAX {
                    return None;
                }
                texts = texts
                    .iter()
                    .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")))
                    .collect();
            }
            Some(texts)
        }
        Node::Dot { .. } | Node::Look(_) | Node::Repeat { .. } => None,
    }
}

fn expand_class(class: &ClassUnicode) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    for range in class.ranges() {
        for rune in range.start()..=range.end() {
            if texts.len() == SET_MAX {
                return None;
            }
            texts.push(rune.to_string());
        }
    }
    Some(texts)
}

/// The alternatives of the pattern, if each is literals and gaps.
pub(super) fn globs(node: &Node) -> Option<Vec<Glob>> {
    match node {
        Node::Alternate(nodes) => nodes.iter().map(glob).collect(),
        Node::Capture { node, .. } => globs(node),
        _ => Some(vec![glob(node)?]),
    }
}

fn glob(node: &Node) -> Option<Glob> {
    let mut glob = Glob::default();
    append(&mut glob, node)?;
    Some(glob)
}

fn append(glob: &mut Glob, node: &Node) -> Option<()> {
    match node {
        Node::Empty => {}
        Node::Literal(rune) => match glob.gaps.last_mut() {
            Some((_, literal)) => literal.push(*rune),
            None => glob.prefix.push(*rune),
        },
        Node::Capture { node, .. } => append(glob, node)?,
        Node::Concat(nodes) => nodes.iter().try_for_each(|node| append(glob, node))?,
        Node::Repeat { min: min @ (0 | 1), max: None, node, .. }
            if matches!(**node, Node::Dot { newline: true }) =>
        {
            let gap = if *min == 0 { Gap::Any } else { Gap::NotEmpty };
            match glob.gaps.last_mut() {
                // Two gaps in a row: `.+.+` needs two characters, which is not worth a case of its own.
                Some((last, literal)) if literal.is_empty() => match (*last, gap) {
                    (_, Gap::Any) => {}
                    (Gap::Any, Gap::NotEmpty) => *last = gap,
                    (Gap::NotEmpty, Gap::NotEmpty) => return None,
                },
                _ => glob.gaps.push((gap, String::new())),
            }
        }
        _ => return None,
    }
    Some(())
}

impl Glob {
    /// Whether all of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        let Some(mut rest) = text.strip_prefix(self.prefix.as_str()) else { return false };
        let Some(((last_gap, suffix), inner)) = self.gaps.split_last() else { return rest.is_empty() };
        for (gap, literal) in inner {
            // The leftmost place leaves the most room for what follows.
            let Some(found) = gap.skip(rest).and_then(|rest| rest.split_once(literal.as_str())) else {
                return false;
            };
            rest = found.1;
        }
        last_gap.skip(rest).is_some_and(|rest| rest.ends_with(suffix.as_str()))
    }
}

impl Gap {
    /// The text without the characters the gap needs, if there are enough.
    fn skip(self, text: &str) -> Option<&str> {
        match self {
            Self::Any => Some(text),
            Self::NotEmpty => {
                let mut runes = text.chars();
                runes.next()?;
                Some(runes.as_str())
            }
        }
    }
}

/// A literal that every matching text starts with; possibly empty.
pub(super) fn required_prefix(node: &Node) -> String {
    let mut prefix = String::new();
    collect_literals(node, &mut prefix, false);
    prefix
}

/// A literal that every matching text ends with; possibly empty.
pub(super) fn required_suffix(node: &Node) -> String {
    let mut reversed = String::new();
    collect_literals(node, &mut reversed, true);
    reversed.chars().rev().collect()
}

/// Appends literal characters from one end inwards; tells whether the whole node was literal.
fn collect_literals(node: &Node, out: &mut String, from_end: bool) -> bool {
    match node {
        Node::Empty => true,
        Node::Literal(rune) => {
            out.push(*rune);
            true
        }
        Node::Capture { node, .. } => collect_literals(node, out, from_end),
        Node::Concat(nodes) if from_end => {
            nodes.iter().rev().all(|node| collect_literals(node, out, from_end))
        }
        Node::Concat(nodes) => nodes.iter().all(|node| collect_literals(node, out, from_end)),
        _ => false,
    }
}
