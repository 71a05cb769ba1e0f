//! Our PromQL parser beside promql-parser, on queries as dashboards have them.
//!
//! `cargo run --release` prints the time of each query in both parsers, freeing the tree included. Both run in turns,
//! and the least time of many rounds counts, since machines are shared. `cargo run --release -- gyre 1000` (or `peer`)
//! only parses all queries that often: two such runs under `valgrind --tool=callgrind` give instructions.
//!
//! promql-parser compiles regular expressions while it parses, ours only checks them. That would decide everything,
//! so the queries have none.

use std::hint::black_box;
use std::time::Instant;

use gyre_promql::syntax::{ParserOptions, parse_expr};

const ROUNDS: usize = 200;
const PARSES_PER_ROUND: u32 = 50;

type Parse = fn(&str);

fn gyre(query: &str) {
    let options = ParserOptions::default();
    black_box(parse_expr(black_box(query), &options).unwrap_or_else(|error| panic!("{query}: {error}")));
}

fn peer(query: &str) {
    black_box(
        promql_parser::parser::parse(black_box(query)).unwrap_or_else(|error| panic!("{query}: {error}")),
    );
}

fn round_ns(parse: Parse, query: &str) -> f64 {
    let start = Instant::now();
    for _ in 0..PARSES_PER_ROUND {
        parse(query);
    }
    start.elapsed().as_nanos() as f64 / f64::from(PARSES_PER_ROUND)
}

fn compare(queries: &[&str]) {
    let (mut gyre_sum, mut peer_sum, mut log_ratios) = (0.0, 0.0, 0.0);
    println!("   gyre ns    peer ns  ratio  query");
    for query in queries {
        let (mut gyre_ns, mut peer_ns) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            gyre_ns = gyre_ns.min(round_ns(gyre, query));
            peer_ns = peer_ns.min(round_ns(peer, query));
        }
        println!("{gyre_ns:10.0} {peer_ns:10.0} {:6.1}  {query:.70}", peer_ns / gyre_ns);
        gyre_sum += gyre_ns;
        peer_sum += peer_ns;
        log_ratios += (peer_ns / gyre_ns).ln();
    }
    let mean = (log_ratios / queries.len() as f64).exp();
    println!("{gyre_sum:10.0} {peer_sum:10.0} {:6.1}  all {} queries", peer_sum / gyre_sum, queries.len());
    println!("{:>28.1}  geometric mean of the ratios", mean);
}

fn main() {
    let is_query = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let queries: Vec<&str> = include_str!("queries.txt").lines().filter(is_query).collect();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let parse: Parse = match args.first().map(String::as_str) {
        None => return compare(&queries),
        Some("gyre") => gyre,
        Some("peer") => peer,
        Some(other) => panic!("{other:?} is neither gyre nor peer"),
    };
    let times: usize = args.get(1).and_then(|times| times.parse().ok()).expect("a number of times");
    for _ in 0..times {
        queries.iter().for_each(|query| parse(query));
    }
}
