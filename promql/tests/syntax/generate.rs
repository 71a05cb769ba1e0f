//! Well-typed random expressions, built from a string of bytes so that a failing case shrinks with its bytes.

use gyre_promql::syntax::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Cardinality, Expr, ExtendedRange, Matchers, MatrixSelector,
    NumberLiteral, ParenExpr, StringLiteral, SubqueryExpr, UnaryExpr, VectorMatching, VectorSelector,
};
use gyre_promql::syntax::{
    AggregateOp, BinaryOp, DurationExpr, DurationKind, DurationOp, DurationValue, Function, LabelName,
    METRIC_NAME_LABEL, MatchOp, Matcher, Span, UnaryOp, ValueType, Variadic,
};

/// Decisions, read from bytes; after their end every decision is 0, which is always the simplest.
pub struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % count
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

const NAMES: [&str; 8] = ["up", "http:requests:rate5m", "sum", "offset", "step", "fill", "start", "anchored"];
const LABELS: [&str; 8] = ["job", "le", "by", "without_x", "and", "a.b", "ünïcode", "with \"quote\""];
const TEXTS: [&str; 8] = ["", "a", "a|b", ".+", "x\ny", "\\d+", "日本", "\"`'"];

const BINARY_OPS: [BinaryOp; 18] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Mod,
    BinaryOp::Pow,
    BinaryOp::Atan2,
    BinaryOp::Eql,
    BinaryOp::Neq,
    BinaryOp::Lte,
    BinaryOp::Lss,
    BinaryOp::Gte,
    BinaryOp::Gtr,
    BinaryOp::TrimUpper,
    BinaryOp::TrimLower,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Unless,
];

const AGGREGATE_OPS: [AggregateOp; 14] = [
    AggregateOp::Sum,
    AggregateOp::Avg,
    AggregateOp::Bottomk,
    AggregateOp::Count,
    AggregateOp::CountValues,
    AggregateOp::Group,
    AggregateOp::LimitRatio,
    AggregateOp::Limitk,
    AggregateOp::Max,
    AggregateOp::Min,
    AggregateOp::Quantile,
    AggregateOp::Stddev,
    AggregateOp::Stdvar,
    AggregateOp::Topk,
];

/// How tightly an expression's outermost operator binds, in the order of the documentation.
fn tightness(expr: &Expr) -> u8 {
    match expr {
        Expr::Binary(binary) => op_tightness(binary.op),
        Expr::Unary(_) => 5,
        // A sign in front of a number is an operator as well.
        Expr::Number(number) if number.value.is_sign_negative() || number.value.is_infinite() => 5,
        _ => 9,
    }
}

fn op_tightness(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
        _ => 3,
    }
}

/// Whether an arithmetic operator behind the expression would belong to its offset: `x offset (5m) + 1`.
fn ends_in_open_offset(expr: &Expr) -> bool {
    let offset = match expr {
        Expr::Vector(vector) => &vector.offset,
        Expr::Matrix(matrix) => &matrix.selector.offset,
        Expr::Subquery(subquery) => &subquery.offset,
        Expr::Binary(binary) => return ends_in_open_offset(&binary.rhs),
        Expr::Unary(unary) => return ends_in_open_offset(&unary.expr),
        _ => return false,
    };
    matches!(offset, DurationValue::Expr(expr) if expr.wrapped)
}

fn paren(expr: Expr) -> Expr {
    Expr::Paren(Box::new(ParenExpr { expr, span: Span::default() }))
}

fn paren_if(wrap: bool, expr: Expr) -> Expr {
    if wrap { paren(expr) } else { expr }
}

/// An expression of this type, at most about `depth` levels deep.
pub fn expression(choices: &mut Choices<'_>, wanted: ValueType, depth: u32) -> Expr {
    let depth = depth.saturating_sub(1);
    match wanted {
        ValueType::String => string(choices),
        ValueType::Matrix if depth == 0 || choices.flip() => {
            let selector = selector(choices);
            let range = positive_duration(choices, depth);
            Expr::Matrix(MatrixSelector { selector: Box::new(selector), range, end: 0 })
        }
        ValueType::Matrix => subquery(choices, depth),
        ValueType::Scalar if depth == 0 => number(choices),
        ValueType::Vector if depth == 0 => Expr::Vector(Box::new(selector(choices))),
        _ => match choices.below(6) {
            0 if wanted == ValueType::Scalar => number(choices),
            0 => Expr::Vector(Box::new(selector(choices))),
            1 => binary(choices, wanted, depth),
            2 => call(choices, wanted, depth),
            3 if wanted == ValueType::Vector => aggregate(choices, depth),
            4 => unary(choices, wanted, depth),
            _ => paren(expression(choices, wanted, depth)),
        },
    }
}

fn string(choices: &mut Choices<'_>) -> Expr {
    let value = if choices.below(8) == 7 { vec![0xFF, b'a'].into() } else { choices.pick(&TEXTS).into() };
    Expr::String(StringLiteral { value, span: Span::default() })
}

fn number(choices: &mut Choices<'_>) -> Expr {
    let value =
        choices.pick(&[0.0, 1.0, 0.1, 1e300, 5e-324, 123_456_789.0, -1.5, f64::INFINITY, f64::NEG_INFINITY]);
    let duration = choices.below(4) == 3;
    let value =
        if duration { choices.pick(&[0.0, 1.0, 90.0, 0.001, 5_400.0, 31_536_000.0, -60.0]) } else { value };
    Expr::Number(NumberLiteral { value, duration, span: Span::default() })
}

fn label_list(choices: &mut Choices<'_>) -> Vec<LabelName> {
    (0..choices.below(3)).map(|_| choices.pick(&LABELS).into()).collect()
}

fn selector(choices: &mut Choices<'_>) -> VectorSelector {
    let name = if choices.below(4) == 3 { "" } else { choices.pick(&NAMES) };
    let mut matchers = Matchers::new();
    if name.is_empty() {
        // At least one matcher must not match the empty text.
        let name = choices.pick(&[METRIC_NAME_LABEL, "job", "a.b"]);
        matchers.push(Matcher { op: MatchOp::Equal, name: name.into(), value: "a \"name\"".into() });
    }
    for _ in 0..choices.below(3) {
        let op = choices.pick(&[MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regexp, MatchOp::NotRegexp]);
        matchers.push(Matcher { op, name: choices.pick(&LABELS).into(), value: choices.pick(&TEXTS).into() });
    }
    if !name.is_empty() {
        matchers.push(Matcher { op: MatchOp::Equal, name: METRIC_NAME_LABEL.into(), value: name.into() });
    }
    let extended = choices.pick(&[None, None, Some(ExtendedRange::Anchored), Some(ExtendedRange::Smoothed)]);
    let (at, offset) = (at_modifier(choices), offset(choices));
    VectorSelector { named: !name.is_empty(), matchers, offset, at, extended, span: Span::default() }
}

fn at_modifier(choices: &mut Choices<'_>) -> Option<AtModifier> {
    let timestamp = choices.pick(&[0, 1, -1500, 1_700_000_000_123]);
    choices.pick(&[
        None,
        None,
        Some(AtModifier::TimestampMs(timestamp)),
        Some(AtModifier::Start),
        Some(AtModifier::End),
    ])
}

fn offset(choices: &mut Choices<'_>) -> DurationValue {
    match choices.below(4) {
        0 | 1 => DurationValue::ZERO,
        2 => DurationValue::FixedNs(choices.pick(&[1_000_000, 300_000_000_000, -90_000_000_000])),
        _ => {
            // Without parentheses an offset ends at the first operand.
            let mut expr = duration_expr(choices, 3);
            expr.wrapped |= !matches!(expr.kind, DurationKind::Step | DurationKind::Range);
            DurationValue::Expr(Box::new(expr))
        }
    }
}

fn positive_duration(choices: &mut Choices<'_>, depth: u32) -> DurationValue {
    if depth > 0 && choices.below(3) == 2 {
        let expr = duration_expr(choices, depth.min(3));
        if expr.as_literal().is_none() {
            return DurationValue::Expr(Box::new(expr));
        }
    }
    DurationValue::FixedNs(choices.pick(&[
        300_000_000_000,
        1_000_000,
        5_400_000_000_000,
        604_800_000_000_000,
    ]))
}

fn duration_tightness(expr: &DurationExpr) -> u8 {
    match &expr.kind {
        _ if expr.wrapped => 9,
        DurationKind::Binary(DurationOp::Add | DurationOp::Sub, ..) => 1,
        DurationKind::Binary(DurationOp::Mul | DurationOp::Div | DurationOp::Mod, ..)
        | DurationKind::Negate(_) => 2,
        DurationKind::Binary(DurationOp::Pow, ..) => 3,
        _ => 9,
    }
}

fn duration_expr(choices: &mut Choices<'_>, depth: u32) -> DurationExpr {
    let kind = match choices.below(if depth == 0 { 3 } else { 6 }) {
        0 => {
            let duration = choices.flip();
            let value = choices.pick(&[5.0, 60.0, 1.0, 7_200.0]);
            DurationKind::Literal(NumberLiteral { value, duration, span: Span::default() })
        }
        1 => DurationKind::Step,
        2 => DurationKind::Range,
        3 => {
            let (lhs, rhs) =
                (duration_expr(choices, depth - 1).into(), duration_expr(choices, depth - 1).into());
            if choices.flip() { DurationKind::MinOf(lhs, rhs) } else { DurationKind::MaxOf(lhs, rhs) }
        }
        4 => {
            let mut operand = duration_expr(choices, depth - 1);
            // A signed number would be a number, and a sign binds tighter than anything but a power.
            operand.wrapped |= operand.as_literal().is_some() || duration_tightness(&operand) < 3;
            DurationKind::Negate(Box::new(operand))
        }
        _ => {
            let ops = [
                DurationOp::Add,
                DurationOp::Sub,
                DurationOp::Mul,
                DurationOp::Div,
                DurationOp::Mod,
                DurationOp::Pow,
            ];
            let op = choices.pick(&ops);
            let level = match op {
                DurationOp::Add | DurationOp::Sub => 1,
                DurationOp::Pow => 3,
                _ => 2,
            };
            let (mut lhs, mut rhs) = (duration_expr(choices, depth - 1), duration_expr(choices, depth - 1));
            let (left, right) = (duration_tightness(&lhs), duration_tightness(&rhs));
            lhs.wrapped |= left < level || (left == level && op == DurationOp::Pow);
            rhs.wrapped |= right < level || (right == level && op != DurationOp::Pow);
            DurationKind::Binary(op, Box::new(lhs), Box::new(rhs))
        }
    };
    DurationExpr { kind, wrapped: choices.below(4) == 3, span: Span::default() }
}

fn subquery(choices: &mut Choices<'_>, depth: u32) -> Expr {
    let inner = expression(choices, ValueType::Vector, depth);
    // Brackets bind tighter than operators.
    let expr = paren_if(tightness(&inner) < 9, inner);
    let mut range = positive_duration(choices, depth);
    // Prometheus rejects a colon as long as no bracket of the query had a number in it.
    if matches!(&range, DurationValue::Expr(expr) if !expr.to_string().contains(|rune: char| rune.is_ascii_digit()))
    {
        range = DurationValue::FixedNs(60_000_000_000);
    }
    let step = if choices.flip() { positive_duration(choices, depth) } else { DurationValue::ZERO };
    let (at, offset) = (at_modifier(choices), offset(choices));
    Expr::Subquery(Box::new(SubqueryExpr { expr, range, step, offset, at, end: 0 }))
}

fn unary(choices: &mut Choices<'_>, wanted: ValueType, depth: u32) -> Expr {
    let operand = expression(choices, wanted, depth);
    let is_operator = matches!(operand, Expr::Binary(_)) && tightness(&operand) < 6;
    let expr = paren_if(is_operator || matches!(operand, Expr::Number(_)), operand);
    Expr::Unary(Box::new(UnaryExpr { op: choices.pick(&[UnaryOp::Minus, UnaryOp::Plus]), expr, start: 0 }))
}

fn call(choices: &mut Choices<'_>, wanted: ValueType, depth: u32) -> Expr {
    let fitting: Vec<Function> =
        Function::ALL.iter().copied().filter(|function| function.signature().returns == wanted).collect();
    let func = choices.pick(&fitting);
    let signature = func.signature();
    let count = match signature.variadic {
        Variadic::Exactly => signature.args.len(),
        Variadic::UpTo(more) => signature.args.len() - 1 + choices.below(more + 1),
        Variadic::Unbounded => signature.args.len() - 1 + choices.below(3),
    };
    let mut args: Vec<Expr> = (0..count)
        .map(|at| {
            let wanted =
                signature.args.get(at).or(signature.args.last()).copied().unwrap_or(ValueType::Scalar);
            expression(choices, wanted, depth)
        })
        .collect();
    if let (Function::Info, Some(labels)) = (func, args.get_mut(1)) {
        let matcher = Matcher { op: MatchOp::Regexp, name: "k8s.cluster".into(), value: ".*".into() };
        *labels = Expr::Vector(Box::new(VectorSelector {
            named: false,
            matchers: [matcher].into_iter().collect(),
            offset: DurationValue::ZERO,
            at: None,
            extended: None,
            span: Span::default(),
        }));
    }
    Expr::Call(Call { func, args, span: Span::default() })
}

fn aggregate(choices: &mut Choices<'_>, depth: u32) -> Expr {
    let op = choices.pick(&AGGREGATE_OPS);
    let param = op.has_param().then(|| {
        let wanted = if op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        expression(choices, wanted, depth)
    });
    let expr = expression(choices, ValueType::Vector, depth);
    let (without, grouping) = (choices.flip(), label_list(choices));
    Expr::Aggregate(Box::new(AggregateExpr { op, expr, param, grouping, without, span: Span::default() }))
}

fn binary(choices: &mut Choices<'_>, wanted: ValueType, depth: u32) -> Expr {
    let mut op = choices.pick(&BINARY_OPS);
    let (left, right) = match (wanted, choices.below(3)) {
        (ValueType::Scalar, _) => (ValueType::Scalar, ValueType::Scalar),
        (_, 1) if !op.is_set() => (ValueType::Scalar, ValueType::Vector),
        (_, 2) if !op.is_set() => (ValueType::Vector, ValueType::Scalar),
        _ => (ValueType::Vector, ValueType::Vector),
    };
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if scalars && op.is_set() {
        op = BinaryOp::Atan2;
    }
    let return_bool = op.is_comparison() && (scalars || choices.flip());
    let vectors = left == ValueType::Vector && right == ValueType::Vector;
    let matching = vectors.then(|| vector_matching(choices, op));
    let level = op_tightness(op);
    let (lhs, rhs) = (expression(choices, left, depth), expression(choices, right, depth));
    let lhs_tightness = tightness(&lhs);
    let swallowed = level >= 4 && op != BinaryOp::Atan2 && ends_in_open_offset(&lhs);
    let lhs =
        paren_if(swallowed || lhs_tightness < level || (lhs_tightness == level && op == BinaryOp::Pow), lhs);
    let rhs_is_looser = match &rhs {
        Expr::Binary(_) => tightness(&rhs) < level || (tightness(&rhs) == level && op != BinaryOp::Pow),
        _ => false,
    };
    let rhs = paren_if(rhs_is_looser, rhs);
    Expr::Binary(Box::new(BinaryExpr { op, lhs, rhs, matching, return_bool }))
}

fn vector_matching(choices: &mut Choices<'_>, op: BinaryOp) -> VectorMatching {
    let on = choices.flip();
    let labels = label_list(choices);
    if op.is_set() {
        return VectorMatching {
            cardinality: Cardinality::ManyToMany,
            labels,
            on,
            ..VectorMatching::default()
        };
    }
    let cardinality = choices.pick(&[Cardinality::OneToOne, Cardinality::ManyToOne, Cardinality::OneToMany]);
    let grouped = cardinality != Cardinality::OneToOne;
    let include = if grouped { label_list(choices) } else { Vec::new() };
    let include = include.into_iter().filter(|label| !(on && labels.contains(label))).collect();
    let fill = |value: usize| [None, Some(0.0), Some(-1.5), Some(1e21)][value];
    let (fill_left, fill_right) = (fill(choices.below(4)), fill(choices.below(4)));
    VectorMatching { cardinality, labels, on, include, fill_left, fill_right }
}
