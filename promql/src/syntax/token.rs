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

/// The token kind of a word that is no name: keywords in any case, `inf` and `nan`.
pub(super) fn classify_word(word: &[u8], has_upper_case: bool) -> Option<TokenKind> {
    use AggregateOp as Agg;
    use TokenKind::{Aggregate, Keyword as Key, Operator, Preprocessor as Pre};

    // No keyword is longer.
    const LONGEST: usize = "count_values".len();
    let mut buffer = [0_u8; LONGEST];
    let mut lower = word;
    if has_upper_case {
        let copy = buffer.get_mut(..word.len())?;
        copy.copy_from_slice(word);
        copy.make_ascii_lowercase();
        lower = copy;
    }
    // By length first: most words are names, and this spares them most comparisons.
    Some(match lower.len() {
        2 => match lower {
            b"or" => Operator(BinaryOp::Or),
            b"by" => Key(Keyword::By),
            b"on" => Key(Keyword::On),
            _ => return None,
        },
        3 => match lower {
            b"and" => Operator(BinaryOp::And),
            b"sum" => Aggregate(Agg::Sum),
            b"avg" => Aggregate(Agg::Avg),
            b"min" => Aggregate(Agg::Min),
            b"max" => Aggregate(Agg::Max),
            b"end" => Pre(Preprocessor::End),
            b"inf" => TokenKind::Number,
            b"nan" => TokenKind::Number,
            _ => return None,
        },
        4 => match lower {
            b"topk" => Aggregate(Agg::Topk),
            b"fill" => Key(Keyword::Fill),
            b"bool" => Key(Keyword::Bool),
            b"step" => Pre(Preprocessor::Step),
            _ => return None,
        },
        5 => match lower {
            b"atan2" => Operator(BinaryOp::Atan2),
            b"count" => Aggregate(Agg::Count),
            b"group" => Aggregate(Agg::Group),
            b"start" => Pre(Preprocessor::Start),
            b"range" => Pre(Preprocessor::Range),
            _ => return None,
        },
        6 => match lower {
            b"unless" => Operator(BinaryOp::Unless),
            b"stddev" => Aggregate(Agg::Stddev),
            b"stdvar" => Aggregate(Agg::Stdvar),
            b"limitk" => Aggregate(Agg::Limitk),
            b"offset" => Key(Keyword::Offset),
            b"max_of" => Pre(Preprocessor::MaxOf),
            b"min_of" => Pre(Preprocessor::MinOf),
            _ => return None,
        },
        7 => match lower {
            b"bottomk" => Aggregate(Agg::Bottomk),
            b"without" => Key(Keyword::Without),
            _ => return None,
        },
        8 => match lower {
            b"quantile" => Aggregate(Agg::Quantile),
            b"smoothed" => Key(Keyword::Smoothed),
            b"anchored" => Key(Keyword::Anchored),
            b"ignoring" => Key(Keyword::Ignoring),
            _ => return None,
        },
        9 => match lower {
            b"fill_left" => Key(Keyword::FillLeft),
            _ => return None,
        },
        10 => match lower {
            b"group_left" => Key(Keyword::GroupLeft),
            b"fill_right" => Key(Keyword::FillRight),
            _ => return None,
        },
        11 => match lower {
            b"limit_ratio" => Aggregate(Agg::LimitRatio),
            b"group_right" => Key(Keyword::GroupRight),
            _ => return None,
        },
        12 => match lower {
            b"count_values" => Aggregate(Agg::CountValues),
            _ => return None,
        },
        _ => return None,
    })
}

/// The words allowed in a duration expression.
pub(super) fn duration_word(word: &str) -> Option<TokenKind> {
    match classify_word(word.as_bytes(), true)? {
        kind @ TokenKind::Preprocessor(
            Preprocessor::Step | Preprocessor::Range | Preprocessor::MaxOf | Preprocessor::MinOf,
        ) => Some(kind),
        _ => None,
    }
}
