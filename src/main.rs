//! The `gyre` binary.

fn main() {}
