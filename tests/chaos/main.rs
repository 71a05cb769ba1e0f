//! SIGKILL at random moments under load, again and again: every acknowledged sample comes back bit-exact, and
//! nothing comes back that was not sent.
//!
//! Writers send in order, late, twice; the kill comes at any moment, sometimes again during the replay. Then all
//! series are read back with a raw range selector. `GYRE_CHAOS_SEED` repeats a run's choices (not its timing),
//! `GYRE_CHAOS_ROUNDS` makes it longer.

mod ledger;
mod writer;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bench::Result;
use bench::rng::Rng;
use bench::server::{Gyre, ManagedFolder, Product, Server, clean_up_on_signals};
use bench::stream::now_ms;

use ledger::Ledger;
use writer::Writer;

const WRITERS: usize = 4;
const DEFAULT_ROUNDS: u64 = 8;
/// Longest time under load before a kill.
const LOAD_MS_MAX: u64 = 700;

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn no_acknowledged_sample_is_lost_or_made_up_by_kills_under_load() -> Result<()> {
    let seed = number_from_env("GYRE_CHAOS_SEED").unwrap_or_else(|| now_ms() as u64);
    let rounds = number_from_env("GYRE_CHAOS_ROUNDS").unwrap_or(DEFAULT_ROUNDS);
    println!("GYRE_CHAOS_SEED={seed}");
    clean_up_on_signals()?;
    let gyre: Arc<dyn Product> = Arc::new(Gyre::committing(env!("CARGO_BIN_EXE_gyre").into()));
    kill_repeatedly(&gyre, seed, rounds)
}

fn kill_repeatedly(product: &Arc<dyn Product>, seed: u64, rounds: u64) -> Result<()> {
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let mut server = Server::start(product, folder.path())?;
    let mut rng = Rng::new(seed);
    let start_ms = now_ms() - 30 * 60_000;
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|index| Writer::new(index, start_ms, rng.next_u64())).collect();
    let mut ledger = Ledger::default();

    for round in 0..rounds {
        let load = Duration::from_millis(20 + rng.below(LOAD_MS_MAX));
        let acked_before = ledger.acked_samples();
        let address = server.address;
        let path = product.write_path();
        let logs = thread::scope(|scope| -> Result<Vec<Ledger>> {
            let running: Vec<_> = writers
                .iter_mut()
                .map(|writer| scope.spawn(move || writer.write_until_cut_off(round, address, path)))
                .collect();
            // Not a synchronisation: the random moment is the point.
            thread::sleep(load);
            server.kill()?;
            Ok(running.into_iter().map(|writer| writer.join().expect("a writer does not panic")).collect())
        })?;
        logs.into_iter().for_each(|log| ledger.merge(log));

        server.relaunch()?;
        if rng.chance(0.3) {
            thread::sleep(Duration::from_millis(rng.below(60)));
            server.kill()?;
            server.relaunch()?;
        }
        server.wait_ready()?;
        println!(
            "round {round}: killed after {load:?}, {} samples acknowledged",
            ledger.acked_samples() - acked_before
        );
        let problems = ledger.check(&server, start_ms)?;
        assert!(problems.is_empty(), "GYRE_CHAOS_SEED={seed}, round {round}:\n{}", problems.join("\n"));
    }
    assert!(ledger.acked_samples() > 0, "no write was ever acknowledged: nothing was tested");
    Ok(())
}
