//! No text makes the parser panic, run out of stack or take long.

use gyre_promql::syntax::{ParserOptions, parse_expr, parse_selector};

use crate::property::parses_or_fails_cleanly;
use crate::support::{all_expressions, seed_and_cases};

/// SplitMix64: good enough to mutate texts, and a case is named by one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

const PIECES: [&str; 40] = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "!",
    "==",
    "</",
    ">/",
    "@",
    "#",
    "\n",
    "\"",
    "'",
    "`",
    "\\",
    "offset",
    "by",
    "on",
    "group_left",
    "bool",
    "fill",
    "sum",
    "rate",
    "step()",
    "5m",
    "1e",
    "0x",
    "inf",
    "-",
    "^",
    "é",
    "\u{fffd}",
    "anchored",
];

fn mutate(random: &mut Random, expressions: &[String]) -> String {
    let mut text = match expressions {
        [] => "sum by (job) (rate(x{a=\"b\"}[5m] offset 1m)) / y".to_owned(),
        _ => expressions[random.below(expressions.len())].clone(),
    };
    for _ in 0..=random.below(4) {
        let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut place = || boundaries[random.below(boundaries.len())];
        let (first, second) = (place(), place());
        let range = first.min(second)..first.max(second);
        match random.below(4) {
            0 => text.insert_str(first, PIECES[random.below(PIECES.len())]),
            1 if range.len() < 12 => text.replace_range(range, ""),
            2 => text.replace_range(range.clone(), &text[range.clone()].repeat(2)),
            _ => text.truncate(first),
        }
        if text.len() > 2_000 {
            break;
        }
    }
    text
}

#[test]
fn mutated_and_random_texts_never_panic() {
    let (seed, cases) = seed_and_cases(20_000);
    let mut random = Random(seed);
    let expressions = all_expressions();
    let mut accepted = 0;
    for case in 0..cases {
        let text = if case % 10 == 0 {
            let bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        } else {
            mutate(&mut random, &expressions)
        };
        let options = if random.below(4) == 0 { ParserOptions::default() } else { ParserOptions::all() };
        accepted += u64::from(parses_or_fails_cleanly(&text, &options));
    }
    // A mutation that is nearly always rejected would test the lexer only.
    assert!(accepted > cases / 20, "only {accepted} of {cases} cases were accepted, with seed {seed}");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let bombs = [
        "(".repeat(100_000),
        format!("{}1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{}x", "-".repeat(100_000)),
        format!("{}x{}", "sum(".repeat(20_000), ")".repeat(20_000)),
        format!("x{}", " + x".repeat(50_000)),
        format!("x{}", " ^ x".repeat(50_000)),
        format!("x{}", "[5m:]".repeat(50_000)),
        format!("x[{}5m{}]", "(".repeat(50_000), ")".repeat(50_000)),
        format!("x[1{}]", "+1".repeat(50_000)),
        format!("x[1{}]", "^1".repeat(50_000)),
        format!("x offset {}5m", "-".repeat(50_000)),
        format!("x[{}5m{}]", "max_of(1,".repeat(50_000), ")".repeat(50_000)),
    ];
    for bomb in bombs {
        let start: String = bomb.chars().take(20).collect();
        let error = parse_expr(&bomb, &ParserOptions::all()).expect_err(&start).to_string();
        let names_the_limit = error.contains("nests deeper than 400 levels")
            || error.contains("more than 400 operators")
            || error.contains("subquery is only allowed on instant vector");
        assert!(names_the_limit, "{start}... gave {error}");
    }
}

#[test]
fn the_deepest_allowed_tree_can_be_printed_and_dropped_on_a_small_stack() {
    let work = || {
        let depth = ParserOptions::default().nesting_depth_max as usize - 1;
        for text in [
            format!("{}1{}", "(".repeat(depth), ")".repeat(depth)),
            format!("x{}", " + x".repeat(depth)),
            format!("{}x{}", "abs(".repeat(depth), ")".repeat(depth)),
        ] {
            let expr = parse_expr(&text, &ParserOptions::default()).expect("it is not too deep");
            assert_eq!(expr.to_string(), text);
            assert_eq!(expr.pretty().matches('x').count(), text.matches('x').count());
        }
    };
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(work)
        .expect("a thread starts")
        .join()
        .expect("it returns");
}

#[test]
fn a_query_longer_than_the_limit_is_rejected_with_the_limit() {
    let options = ParserOptions { query_bytes_max: 10, ..ParserOptions::default() };
    assert!(parse_expr("up + up", &options).is_ok());
    let error = parse_expr("up + up + up", &options).expect_err("it has 12 bytes").to_string();
    assert_eq!(error, "1:1: parse error: query of 12 bytes is longer than the limit of 10");
    assert!(parse_selector("{job=\"long\"}", &options).is_err());
}

#[test]
fn a_regular_expression_that_nests_too_deeply_is_an_error() {
    let text = format!("x{{a=~\"{}\"}}", "(".repeat(100_000));
    let error = parse_expr(&text, &ParserOptions::default()).expect_err("it nests too deeply").to_string();
    assert!(
        error.starts_with("1:3: parse error: error parsing regexp: expression nests too deeply"),
        "{error:.100}"
    );
}
