//! The structure of a regular expression, as far as matching needs it.

use regex_syntax::hir::{self, Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, Look};

/// A parsed regular expression. Its depth is bounded by the parser.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Matches nothing but the empty text.
    Empty,
    /// One character. Surrogate code points, which no text contains, are an empty class instead.
    Literal(char),
    /// One character out of many: classes, and single characters whose case does not matter.
    Class(ClassUnicode),
    /// `.`: any character, or any but a newline.
    Dot { newline: bool },
    /// An assertion about a position.
    Look(Look),
    /// A capturing group.
    Capture { index: u32, name: Option<Box<str>>, node: Box<Node> },
    /// `node` from `min` to `max` times.
    Repeat { min: u32, max: Option<u32>, greedy: bool, node: Box<Node> },
    /// One after the other.
    Concat(Vec<Node>),
    /// The first that matches.
    Alternate(Vec<Node>),
}

impl Node {
    /// Whether the whole expression matches the empty text.
    pub fn matches_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Literal(_) | Self::Class(_) | Self::Dot { .. } => false,
            // No character is next to the only position: it is start and end of everything and no word's boundary.
            Self::Look(look) => *look != Look::WordAscii,
            Self::Capture { node, .. } => node.matches_empty(),
            Self::Repeat { min, node, .. } => *min == 0 || node.matches_empty(),
            Self::Concat(nodes) => nodes.iter().all(Self::matches_empty),
            Self::Alternate(nodes) => nodes.iter().any(Self::matches_empty),
        }
    }

    /// Translates to the form `regex-automata` compiles.
    pub fn to_hir(&self) -> Hir {
        match self {
            Self::Empty => Hir::empty(),
            Self::Literal(rune) => Hir::literal(rune.encode_utf8(&mut [0; 4]).as_bytes()),
            Self::Class(class) => Hir::class(Class::Unicode(class.clone())),
            Self::Dot { newline: true } => Hir::dot(Dot::AnyChar),
            Self::Dot { newline: false } => Hir::dot(Dot::AnyCharExceptLF),
            Self::Look(look) => Hir::look(*look),
            Self::Capture { index, name, node } => {
                Hir::capture(hir::Capture { index: *index, name: name.clone(), sub: Box::new(node.to_hir()) })
            }
            Self::Repeat { min, max, greedy, node } => {
                let sub = Box::new(node.to_hir());
                Hir::repetition(hir::Repetition { min: *min, max: *max, greedy: *greedy, sub })
            }
            Self::Concat(nodes) => Hir::concat(nodes.iter().map(Self::to_hir).collect()),
            Self::Alternate(nodes) => Hir::alternation(nodes.iter().map(Self::to_hir).collect()),
        }
    }
}

/// A range of code points as a class, without the surrogates, which no text contains.
pub(super) fn class_of(low: u32, high: u32) -> ClassUnicode {
    let below = (low, high.min(0xD7FF));
    let above = (low.max(0xE000), high);
    let ranges = [below, above].into_iter().filter(|(start, end)| start <= end).filter_map(|(start, end)| {
        Some(ClassUnicodeRange::new(char::from_u32(start)?, char::from_u32(end)?))
    });
    ClassUnicode::new(ranges)
}
