//! Tasks of developers: `cargo xtask sim --seeds N` runs the simulation, `SEED=n cargo xtask sim` one seed of it.

use std::process::ExitCode;

use gyre_sim::Conduct;

const USAGE: &str = "usage: cargo xtask sim [--seeds N] [--from SEED]   (SEED=n runs one seed)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((task, rest)) if task == "sim" => match seeds(rest) {
            Ok((from, count)) => simulate(from, count),
            Err(problem) => usage(&problem),
        },
        _ => usage("no such task"),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("{problem}\n{USAGE}");
    ExitCode::FAILURE
}

fn seeds(arguments: &[String]) -> Result<(u64, u64), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
    if let Ok(seed) = std::env::var("SEED") {
        return Ok((number(&seed)?, 1));
    }
    let (mut from, mut count) = (1, 200);
    for pair in arguments.chunks(2) {
        match pair {
            [flag, value] if flag == "--seeds" => count = number(value)?,
            [flag, value] if flag == "--from" => from = number(value)?,
            other => return Err(format!("cannot use {other:?}")),
        }
    }
    Ok((from, count))
}

fn simulate(from: u64, count: u64) -> ExitCode {
    let (mut writes, mut reads, mut warned, mut faults, mut losses, mut pulled) = (0, 0, 0, 0, 0, 0);
    let (mut dropped, mut newer, mut closings, mut off) = (0, 0, 0, 0);
    for seed in from..from + count {
        match gyre_sim::run(seed, Conduct::ALL) {
            Ok(report) => {
                writes += report.acked;
                reads += report.complete_reads;
                faults += report.faults;
                warned += report.warned_reads;
                losses += report.losses;
                pulled += report.pulled;
                dropped += report.dropped_windows;
                newer += report.newer_lists;
                closings += report.closings;
                off += report.switched_off;
                if count == 1 {
                    println!("{report:#?}");
                }
            }
            Err(broken) => {
                eprintln!("{}: {}\nrepeat with SEED={seed} cargo xtask sim", broken.invariant, broken.what);
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{count} seeds: {writes} acks, {reads} reads answered ({warned} with a warning), {pulled} batches pulled, \
         {faults} faults, {losses} disks lost or damaged; {dropped} windows dropped to blocks, {newer} reads begun again by a \
         newer list, {closings} documents that closed segments, {off} nodes switched off; nothing broken"
    );
    ExitCode::SUCCESS
}
