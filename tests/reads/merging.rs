//! Shards whose data lies in the segments of two epochs.

use crate::rig::{Rig, documents, run};
use crate::series::series;

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn m(name: &str, samples: &[(i64, f64)]) -> crate::remote_write::TimeSeries {
    series(&[("__name__", "m"), ("n", name)], samples)
}

/// What a series has, in order of time.
async fn samples(rig: &Rig, at: &str, name: &str) -> Vec<(i64, u64)> {
    let range = rig[at].query(&format!(r#"m{{n="{name}"}}[1h]"#), 100_000).await.unwrap();
    assert!(range.len() <= 1, "one series: {range:?}");
    let mut samples = Vec::new();
    for second in 1..10 {
        // At each second alone, since a range leaves stale markers out.
        let at_time = rig[at].query(&format!(r#"timestamp(m{{n="{name}"}})"#), second * 1000).await.unwrap();
        let value = rig[at].query(&format!(r#"m{{n="{name}"}}"#), second * 1000).await.unwrap();
        if let (Some(t), Some(value)) = (at_time.values().next(), value.values().next())
            && t.parse::<i64>().unwrap() == second
        {
            samples.push((second, value.parse::<f64>().unwrap().to_bits()));
        }
    }
    samples
}

/// Nodes a and b hold both segments, c the first, d the second, and x none.
async fn two_epochs() -> Rig {
    let epochs = documents(&[&["a", "b", "c"], &["a", "b", "d"]]);
    let rig = Rig::start(&["a", "b", "c", "d", "x"], &epochs[..1]).await;
    let many = |t_ms: i64| (0..600).map(move |n| m(&format!("s{n}"), &[(t_ms, f64::from(n))]));
    let mut before: Vec<_> = many(1_000).collect();
    before.push(m("both", &[(1_000, 1.0), (2_000, 9.0), (3_000, 2.0), (5_000, 5.0)]));
    before.push(m("before", &[(1_000, 4.0)]));
    rig["a"].write(before).await;
    for node in rig.nodes.values() {
        node.learn(&epochs);
    }
    let mut after: Vec<_> = many(4_000).collect();
    let stale = f64::from_bits(STALE);
    after.push(m("both", &[(2_000, 7.0), (3_000, 3.0), (4_000, 4.0), (5_000, stale)]));
    after.push(m("after", &[(4_000, 6.0)]));
    rig["b"].write(after).await;
    rig
}

#[test]
fn a_series_of_two_segments_is_one_and_of_equal_times_the_greater_value_counts() {
    run(async {
        let rig = two_epochs().await;
        for at in ["a", "b", "c", "d", "x"] {
            let expected = [(1, 1.0), (2, 9.0), (3, 3.0), (4, 4.0), (5, 5.0)];
            let expected = expected.map(|(t, value)| (t, f64::to_bits(value)));
            assert_eq!(samples(&rig, at, "both").await, expected, "at {at}");
            assert_eq!(samples(&rig, at, "before").await, [(1, f64::to_bits(4.0))], "at {at}");
            assert_eq!(samples(&rig, at, "after").await, [(4, f64::to_bits(6.0))], "at {at}");
        }
    });
}

#[test]
fn more_series_than_a_batch_holds_are_merged_each_once() {
    run(async {
        let rig = two_epochs().await;
        for at in ["a", "c", "d", "x"] {
            let answer =
                rig[at].query(r#"count(count_over_time(m{n=~"s.*"}[1h]) == 2)"#, 10_000).await.unwrap();
            assert_eq!(answer.values().collect::<Vec<_>>(), ["600"], "at {at}");
            let answer = rig[at].query(r#"sum(sum_over_time(m{n=~"s.*"}[1h]))"#, 10_000).await.unwrap();
            assert_eq!(answer.values().collect::<Vec<_>>(), [&(600 * 599).to_string()], "at {at}");
        }
    });
}
