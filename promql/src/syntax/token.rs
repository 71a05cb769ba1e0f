//! Tokens, and how error texts name them.

use super::operators::{AggregateOp, BinaryOp};
use super::span::Span;
use crate::gostd::quote;

/// The kinds of token. Keywords that may be metric names are told apart by the parser, from their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Eof,
    /// The lexer failed here.
    Error,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    /// A string without escapes, whose value is what stands between the quotes.
    String,
    EscapedString,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Equal,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotRegex,
    At,
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
}

/// Words with a place in the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Ignoring,
    Offset,
    Smoothed,
    Anchored,
    On,
    Without,
}

/// Words that are functions of the query rather than of data, where a duration or timestamp is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A piece of the query text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

impl TokenKind {
    /// Whether a selector may start with this token as its metric name.
    pub fn is_metric_name(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_set(),
            Self::Keyword(word) => !matches!(
                word,
                Keyword::Bool | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Ignoring | Keyword::On
            ),
            _ => false,
        }
    }

    /// Whether the token can be a label in a `by`, `without`, `on`, `ignoring` or `group_` clause.
    pub fn is_grouping_label(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_set() || op == BinaryOp::Atan2,
            Self::Keyword(word) => word != Keyword::Without,
            _ => false,
        }
    }

    /// Whether Prometheus remembers the end of this token as the end of an expression.
    pub fn is_closing(self) -> bool {
        matches!(
            self,
            Self::RightBrace | Self::RightParen | Self::RightBracket | Self::Duration | Self::Number
        )
    }

    /// Whether the token starts a modifier of the expression before it.
    pub fn is_postfix(self) -> bool {
        matches!(
            self,
            Self::LeftBracket
                | Self::At
                | Self::Keyword(Keyword::Offset | Keyword::Anchored | Keyword::Smoothed)
        )
    }

    /// Whether an expression may start with this token.
    pub fn starts_expression(self) -> bool {
        self.is_metric_name()
            || matches!(
                self,
                Self::Number
                    | Self::Duration
                    | Self::String
                    | Self::EscapedString
                    | Self::LeftBrace
                    | Self::LeftParen
                    | Self::Operator(BinaryOp::Add | BinaryOp::Sub)
            )
    }
}

/// The token as an error text names it: `identifier "x"`, `<op:+>`, `end of input`.
pub(super) fn describe(kind: TokenKind, text: &str) -> String {
    match kind {
        TokenKind::Eof => "end of input".to_owned(),
        TokenKind::Identifier => format!("identifier {}", quote(text.as_bytes())),
        TokenKind::MetricIdentifier => format!("metric identifier {}", quote(text.as_bytes())),
        TokenKind::String | TokenKind::EscapedString => format!("string {}", quote_shortened(text)),
        TokenKind::Number => format!("number {}", quote_shortened(text)),
        TokenKind::Duration => format!("duration {}", quote_shortened(text)),
        TokenKind::Keyword(_) => format!("<{text}>"),
        TokenKind::Operator(_) | TokenKind::EqualRegex | TokenKind::NotRegex | TokenKind::At => {
            format!("<op:{text}>")
        }
        TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
        _ => quote_shortened(text),
    }
}

fn quote_shortened(text: &str) -> String {
    if text.len() <= 10 {
        return quote(text.as_bytes());
    }
    let end = text.char_indices().nth(10).map_or(text.len(), |(at, _)| at);
    format!("{}...", quote(&text.as_bytes()[..end]))
}

/// The words that are no names, in lower case. They are recognised in any case.
static KEYWORDS: [(&str, TokenKind); 39] = {
    use AggregateOp as Agg;
    use TokenKind::{Aggregate, Keyword as Key, Operator, Preprocessor as Pre};

    [
        ("and", Operator(BinaryOp::And)),
        ("atan2", Operator(BinaryOp::Atan2)),
        ("or", Operator(BinaryOp::Or)),
        ("unless", Operator(BinaryOp::Unless)),
        ("avg", Aggregate(Agg::Avg)),
        ("bottomk", Aggregate(Agg::Bottomk)),
        ("count", Aggregate(Agg::Count)),
        ("count_values", Aggregate(Agg::CountValues)),
        ("group", Aggregate(Agg::Group)),
        ("limit_ratio", Aggregate(Agg::LimitRatio)),
        ("limitk", Aggregate(Agg::Limitk)),
        ("max", Aggregate(Agg::Max)),
        ("min", Aggregate(Agg::Min)),
        ("quantile", Aggregate(Agg::Quantile)),
        ("stddev", Aggregate(Agg::Stddev)),
        ("stdvar", Aggregate(Agg::Stdvar)),
        ("sum", Aggregate(Agg::Sum)),
        ("topk", Aggregate(Agg::Topk)),
        ("anchored", Key(Keyword::Anchored)),
        ("bool", Key(Keyword::Bool)),
        ("by", Key(Keyword::By)),
        ("fill", Key(Keyword::Fill)),
        ("fill_left", Key(Keyword::FillLeft)),
        ("fill_right", Key(Keyword::FillRight)),
        ("group_left", Key(Keyword::GroupLeft)),
        ("group_right", Key(Keyword::GroupRight)),
        ("ignoring", Key(Keyword::Ignoring)),
        ("offset", Key(Keyword::Offset)),
        ("on", Key(Keyword::On)),
        ("smoothed", Key(Keyword::Smoothed)),
        ("without", Key(Keyword::Without)),
        ("end", Pre(Preprocessor::End)),
        ("max_of", Pre(Preprocessor::MaxOf)),
        ("min_of", Pre(Preprocessor::MinOf)),
        ("range", Pre(Preprocessor::Range)),
        ("start", Pre(Preprocessor::Start)),
        ("step", Pre(Preprocessor::Step)),
        ("inf", TokenKind::Number),
        ("nan", TokenKind::Number),
    ]
};

/// A number below 128 that differs between any two keywords: a perfect hash, its factors found by trying. `word` has
/// two bytes at least.
const fn keyword_place(word: &[u8]) -> usize {
    // The same for both cases of a letter.
    const fn folded(byte: u8) -> usize {
        (byte | 0x20) as usize
    }
    let sum =
        word.len() * 21 + folded(word[0]) * 7 + folded(word[1]) * 43 + folded(word[word.len() - 1]) * 25;
    sum % 128
}

/// Which of [`KEYWORDS`] has a place; its length for none.
static KEYWORD_AT: [u8; 128] = {
    let mut table = [KEYWORDS.len() as u8; 128];
    let mut index = 0;
    while index < KEYWORDS.len() {
        let place = keyword_place(KEYWORDS[index].0.as_bytes());
        assert!(table[place] as usize == KEYWORDS.len(), "two keywords share a place");
        table[place] = index as u8;
        index += 1;
    }
    table
};

/// The token kind of a word that is no name: keywords in any case, `inf` and `nan`.
#[inline]
pub(super) fn classify_word(word: &[u8]) -> Option<TokenKind> {
    if word.len() < 2 {
        return None;
    }
    let (keyword, kind) = KEYWORDS.get(usize::from(KEYWORD_AT[keyword_place(word)]))?;
    let keyword = keyword.as_bytes();
    (word == keyword || word.eq_ignore_ascii_case(keyword)).then_some(*kind)
}

/// The words allowed in a duration expression.
pub(super) fn duration_word(word: &str) -> Option<TokenKind> {
    match classify_word(word.as_bytes())? {
        kind @ TokenKind::Preprocessor(
            Preprocessor::Step | Preprocessor::Range | Preprocessor::MaxOf | Preprocessor::MinOf,
        ) => Some(kind),
        _ => None,
    }
}
