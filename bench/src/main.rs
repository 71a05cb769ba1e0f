//! Loads, query mixes and side-by-side runs against installed peers.

fn main() {}
