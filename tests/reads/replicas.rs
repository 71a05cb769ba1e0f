//! Replicas that differ, hang, are away or know of a later epoch.

use std::collections::BTreeMap;

use gyre::replica::messages::{APPEND, PULL, SHOWS, VECTORS};
use gyre::replica::read::messages::SELECT;
use gyre::replica::read::metrics::Retry;
use gyre::replica::read::plan::Wish;

use crate::remote_write::TimeSeries;
use crate::rig::{Rig, documents, run, tenant, within};
use crate::series::series;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Series enough that each shard has some.
pub fn some_series(t_ms: i64, value: f64) -> Vec<TimeSeries> {
    let name = |number: usize| format!("s{number}");
    let of = |number| series(&[("__name__", "m"), ("n", &name(number))], &[(t_ms, value + number as f64)]);
    (0..40).map(of).collect()
}

/// What a query for `m` gives after that.
fn all_series(value: f64) -> BTreeMap<String, String> {
    let entry =
        |number: usize| (format!(r#"{{__name__="m", n="s{number}"}}"#), (value + number as f64).to_string());
    (0..40).map(entry).collect()
}

async fn three() -> Rig {
    Rig::start(&NAMES, &documents(&[&NAMES])).await
}

#[test]
fn every_node_reads_what_one_has_taken_and_reads_its_own_data_where_it_has_it() {
    run(async {
        let names = ["a", "b", "c", "x"];
        let rig = Rig::start(&names, &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        for name in names {
            assert_eq!(rig[name].query("m", 2_000).await.unwrap(), all_series(0.0), "at {name}");
        }
        for name in NAMES {
            assert_eq!(rig[name].sources().await, (4, 0), "at {name}");
        }
        assert_eq!(rig["x"].sources().await, (0, 4), "it is no replica");
    });
}

#[test]
fn a_query_of_three_nodes_costs_one_call_to_one_of_the_others() {
    run(async {
        let rig = three().await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        // The third replica has it before anything is counted.
        for name in NAMES {
            while rig[name].sources().await != (4, 0) {
                tokio::task::yield_now().await;
            }
        }
        for name in ["b", "c"] {
            rig[name].gate.take_counts();
        }
        for queries in 1..=10 {
            assert_eq!(rig["a"].query("m", 2_000).await.unwrap(), all_series(0.0));
            let calls = ["b", "c"].map(|name| rig[name].gate.take_counts());
            // A batch may still come by itself that was fetched.
            let of_reads = calls.into_iter().flatten().filter(|(method, _)| *method != APPEND.number);
            let all: Vec<(u16, usize)> = of_reads.collect();
            assert_eq!(all, [(VECTORS.number, 1)], "query {queries}");
        }
    });
}

#[test]
fn a_batch_that_this_node_missed_is_fetched_from_who_named_it() {
    run(async {
        let rig = three().await;
        rig["a"].gate.close(&[APPEND]);
        rig["b"].write(some_series(1_000, 0.0)).await;
        assert_eq!(rig["a"].query("m", 2_000).await.unwrap(), all_series(0.0));
        // The answer may have come from the others before the batch was here.
        while rig["a"].sources().await != (4, 0) {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_batch_that_cannot_be_fetched_is_read_where_it_is() {
    run(async {
        let rig = three().await;
        rig["a"].gate.close(&[APPEND]);
        for name in ["b", "c"] {
            rig[name].gate.close(&[PULL]);
        }
        rig["b"].write(some_series(1_000, 0.0)).await;
        assert_eq!(rig["a"].query("m", 2_000).await.unwrap(), all_series(0.0));
        assert_eq!(rig["a"].sources().await.0, 0, "its own data is not complete");
    });
}

#[test]
fn a_replica_that_hangs_is_not_waited_for() {
    run(async {
        let rig = three().await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        for name in ["b", "c"] {
            rig[name].gate.close(&[VECTORS]);
            assert_eq!(rig["a"].query("m", 2_000).await.unwrap(), all_series(0.0), "without {name}");
            rig[name].gate.open();
        }
        // Whichever was asked first, one of the two reads met the one that hangs.
        assert!(rig["a"].retries(Retry::Slow) > 0);
        assert_eq!(rig["a"].retries(Retry::Failed), 0);
    });
}

#[test]
fn a_node_that_is_no_replica_does_not_wait_for_one_that_hangs() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        for name in NAMES {
            rig[name].gate.close(&[VECTORS, SHOWS]);
            assert_eq!(rig["x"].query("m", 2_000).await.unwrap(), all_series(0.0), "without {name}");
            rig[name].gate.open();
        }
    });
}

#[test]
fn without_two_of_three_replicas_the_error_names_the_shard_and_who_is_missing() {
    run(async {
        let rig = three().await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig.see_all_but(&["b", "c"]);
        let error = rig["a"].query("m", 2_000).await.unwrap_err().to_string();
        assert!(error.starts_with("shard acme/") && error.contains("cannot be read"), "{error}");
        assert!(error.contains("b: its address") && error.contains("c: its address"), "{error}");
        rig.see_all_but(&["b"]);
        assert_eq!(rig["a"].query("m", 2_000).await.unwrap(), all_series(0.0), "two are enough");
    });
}

#[test]
fn a_reader_that_is_behind_starts_again_with_newer_documents() {
    run(async {
        let names = ["a", "b", "c", "d"];
        let epochs = documents(&[&["a", "b", "c"], &["b", "c", "d"]]);
        let rig = Rig::start(&names, &epochs[..1]).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        // Node a does not hear of the second epoch, and takes itself for a replica.
        for name in ["b", "c", "d"] {
            rig[name].learn(&epochs);
        }
        rig["d"].write(some_series(2_000, 100.0)).await;
        let behind = &rig["a"];
        let hears = async {
            while behind.retries(Retry::Stale) == 0 {
                tokio::task::yield_now().await;
            }
            behind.learn(&epochs);
        };
        let (answer, ()) = tokio::join!(behind.query("m", 3_000), hears);
        assert_eq!(answer.unwrap(), all_series(100.0));
    });
}

#[test]
fn a_reader_that_cannot_catch_up_says_so() {
    run(async {
        let epochs = documents(&[&["a", "b", "c"], &["b", "c", "d"]]);
        let rig = Rig::start(&["a", "b", "c", "d"], &epochs[..1]).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        for name in ["b", "c", "d"] {
            rig[name].learn(&epochs);
        }
        rig["d"].write(some_series(2_000, 100.0)).await;
        let error = rig["a"].query("m", 3_000).await.unwrap_err().to_string();
        assert!(error.contains("this node is behind"), "{error}");
    });
}

#[test]
fn segments_that_ended_empty_are_not_read_and_whoever_held_them_may_go() {
    run(async {
        let epochs = documents(&[&["a"], &["a", "b", "c"]]);
        let rig = Rig::start(&NAMES, &epochs).await;
        rig["b"].write(some_series(1_000, 0.0)).await;
        // Until that is found out, the four segments that were a's alone are read there.
        while rig["c"].sources().await != (4, 0) {
            tokio::task::yield_now().await;
        }
        rig.see_all_but(&["a"]);
        assert_eq!(rig["c"].query("m", 2_000).await.unwrap(), all_series(0.0));
    });
}

#[test]
fn segments_that_ended_with_data_are_read() {
    run(async {
        let epochs = documents(&[&["a"], &["a", "b", "c"]]);
        let rig = Rig::start(&NAMES, &epochs[..1]).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        NAMES.iter().for_each(|name| rig[*name].learn(&epochs));
        rig["b"].write(some_series(2_000, 100.0)).await;
        // The first read has somebody look whether they are empty.
        for _ in 0..3 {
            let counts = rig["c"].query("count_over_time(m[1h]) == 2", 3_000).await.unwrap();
            assert_eq!(counts.len(), 40);
        }
        rig.see_all_but(&["a"]);
        assert!(rig["c"].query("m", 3_000).await.is_err(), "what a alone has cannot be read");
    });
}

#[test]
fn data_of_another_run_than_the_one_that_was_checked_is_refused() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        let reader = &rig["x"];
        let mut plan = within(reader.reader.plan(&tenant(), Wish::default())).await.unwrap();
        let boots = NAMES.map(|name| rig[name].boot().0);
        for source in plan.groups.iter_mut().flatten() {
            let gyre::replica::read::plan::SegmentSource::Remote(remote) = source else {
                panic!("{source:?}")
            };
            assert!(boots.contains(&remote.place.boot));
            remote.place.boot += 1;
        }
        let error = reader.evaluate(plan, "m", 2_000).await.unwrap_err();
        assert!(error.contains("was started again since"), "{error}");
    });
}

#[test]
fn a_replica_whose_data_does_not_come_can_be_avoided() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig["b"].gate.close(&[SELECT]);
        let b = rig["b"].replicas.cluster.own().clone();
        for _ in 0..3 {
            let wish = Wish { avoid: std::slice::from_ref(&b), ..Wish::default() };
            let plan = within(rig["x"].reader.plan(&tenant(), wish)).await.unwrap();
            assert_eq!(rig["x"].evaluate(plan, "m", 2_000).await.unwrap(), all_series(0.0));
        }
    });
}

#[test]
fn what_a_peer_has_not_whole_in_its_log_is_not_taken_in_part() {
    run(async {
        let rig = three().await;
        rig["c"].gate.close(&[APPEND]);
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig["a"].damage_log();
        // What is sent again is not in the record of the second batch: it was there.
        rig["a"].write([some_series(1_000, 0.0), some_series(2_000, 0.0)].concat()).await;
        rig["c"].gate.open();
        let (mut whole, mut given_up, mut gone) = (0, 0, None);
        for (shard, missing) in rig["c"].missing_from(&rig["a"]) {
            assert_eq!(missing.len(), 2, "{}", shard.name);
            let pulled = rig["c"].pull(&rig["a"], &shard, &missing).await.unwrap();
            match (pulled.batches, pulled.not_in_log.len()) {
                (2, 0) => whole += 1,
                (0, 1) => {
                    given_up += 1;
                    assert_eq!(shard.state.missing(&missing), missing, "nothing is taken for whole");
                    let again = rig["c"].pull(&rig["a"], &shard, &missing).await.unwrap_err();
                    assert!(again.to_string().contains("does not reach back"), "{again}");
                    gone = Some((shard, missing, pulled.not_in_log));
                }
                other => panic!("{}: {other:?}", shard.name),
            }
        }
        assert_eq!((whole, given_up), (3, 1), "a byte of one record was damaged");
        // Whoever else asks is told the same without a look at the log: by now it would be found there.
        rig["a"].damage_log();
        let (shard, missing, not_in_log) = gone.unwrap();
        let pulled = rig["c"].pull_anew(&rig["a"], &shard, &missing).await.unwrap();
        assert_eq!((pulled.batches, pulled.not_in_log), (0, not_in_log));
        // The other two know everything.
        assert_eq!(rig["c"].query("m", 2_500).await.unwrap(), all_series(0.0));
    });
}

#[test]
fn data_whose_only_replica_has_a_damaged_log_comes_with_a_warning_to_whoever_reads_it() {
    run(async {
        let rig = Rig::start_damaged(&["a", "x"], &documents(&[&["a"]]), &["a"]).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        for name in ["a", "x"] {
            let plan = rig[name].plan().await;
            let damaged = |warning: &&String| warning.contains("the log of its only replica was damaged");
            assert_eq!(plan.warnings.iter().filter(damaged).count(), 4, "{name}: {:?}", plan.warnings);
            assert_eq!(rig[name].evaluate(plan, "m", 2_000).await.unwrap(), all_series(0.0), "at {name}");
        }
    });
}

const PARTIAL: Wish<'static> = Wish { avoid: &[], without: &[], may_be_partial: true };

#[test]
fn a_partial_answer_has_what_the_last_replica_has_and_says_who_is_missing() {
    run(async {
        let rig = three().await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig.see_all_but(&["b", "c"]);
        let plan = within(rig["a"].reader.plan(&tenant(), PARTIAL)).await.unwrap();
        let [warning] = plan.warnings.as_slice() else { panic!("{:?}", plan.warnings) };
        for part in ["acme/0-of-4@1, acme/1-of-4@1", "may lack data", "b: its address", "c: its address"] {
            assert!(warning.contains(part), "{part:?} in {warning}");
        }
        assert_eq!(rig["a"].evaluate(plan, "m", 2_000).await.unwrap(), all_series(0.0));
        rig.see_all_but(&["b"]);
        let plan = within(rig["a"].reader.plan(&tenant(), PARTIAL)).await.unwrap();
        assert_eq!(plan.warnings, [""; 0], "two are enough");
    });
}

#[test]
fn a_partial_answer_leaves_out_what_nobody_has_and_names_it() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig.see_all_but(&NAMES);
        assert!(rig["x"].query("m", 2_000).await.is_err(), "unless it is asked for");
        let plan = within(rig["x"].reader.plan(&tenant(), PARTIAL)).await.unwrap();
        let [warning] = plan.warnings.as_slice() else { panic!("{:?}", plan.warnings) };
        assert!(warning.contains("acme/3-of-4@1 left out"), "{warning}");
        assert_eq!(rig["x"].evaluate(plan, "m", 2_000).await.unwrap(), BTreeMap::new());
    });
}

#[test]
fn a_partial_answer_does_not_wait_for_replicas_that_hang() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        for name in ["b", "c"] {
            rig[name].gate.close(&[VECTORS, SHOWS]);
        }
        for name in ["a", "x"] {
            let plan = within(rig[name].reader.plan(&tenant(), PARTIAL)).await.unwrap();
            assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
            assert_eq!(rig[name].evaluate(plan, "m", 2_000).await.unwrap(), all_series(0.0), "at {name}");
        }
    });
}

#[test]
fn a_replica_that_failed_its_reader_twice_is_left_out_of_a_partial_answer() {
    run(async {
        let rig = three().await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        let failed = ["b", "c"].map(|name| rig[name].replicas.cluster.own().clone());
        let wish = Wish { without: &failed, ..PARTIAL };
        for name in ["b", "c"] {
            rig[name].gate.take_counts();
        }
        let plan = within(rig["a"].reader.plan(&tenant(), wish)).await.unwrap();
        assert_eq!(plan.warnings.len(), 1);
        assert_eq!(rig["a"].evaluate(plan, "m", 2_000).await.unwrap(), all_series(0.0));
        for name in ["b", "c"] {
            assert!(!rig[name].gate.take_counts().contains_key(&VECTORS.number), "{name} was asked");
        }
    });
}

#[test]
fn a_peer_that_stops_in_the_middle_of_a_read_is_noticed_by_its_silence() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        rig["a"].write(some_series(1_000, 0.0)).await;
        let plan = within(rig["x"].reader.plan(&tenant(), Wish::default())).await.unwrap();
        for name in NAMES {
            rig[name].gate.close(&[SELECT, VECTORS]);
        }
        let error = rig["x"].evaluate(plan, "m", 2_000).await.unwrap_err();
        assert!(error.contains("it does not answer any more"), "{error}");
    });
}

#[test]
fn a_replica_that_is_read_from_elsewhere_gets_what_it_lacks_first() {
    run(async {
        let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&NAMES])).await;
        // One batch is at a and b, the next one at a and c, and a goes away.
        rig["c"].gate.close(&[APPEND]);
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig["c"].gate.open();
        rig["b"].gate.close(&[APPEND]);
        rig["a"].write(some_series(2_000, 100.0)).await;
        rig["b"].gate.open();
        rig.see_all_but(&["a"]);
        let counts = rig["x"].query("count_over_time(m[1h]) == 2", 3_000).await.unwrap();
        assert_eq!(counts.len(), 40);
    });
}
