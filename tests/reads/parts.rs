//! Queries computed in parts, beside the data: through a node that has none of it, or not all.

use std::collections::BTreeSet;
use std::time::Duration;

use gyre::node::QueryTimes;
use gyre::query::evaluator::{Failed, Question};
use gyre::query::limits::QueryLimits;
use gyre::query::pool::PoolError;
use gyre::query::storage::Culprit;
use gyre::replica::messages::VECTORS;
use gyre::replica::read::messages::{EVALUATE, SELECT};
use gyre::replica::read::metrics::Retry;
use gyre::replica::read::plan::{ReadPlan, SegmentSource, Wish};
use gyre_promql::QueryErrorKind;
use gyre_ring::Replica;
use tokio::time::Instant;

use crate::remote_write::TimeSeries;
use crate::rig::{Rig, by_labels, documents, question, run, tenant, within};
use crate::series::series;

const HOLDERS: [&str; 3] = ["a", "b", "c"];

/// Series of two metrics; the first one's values are whole, so that the order of summing does not matter.
fn some_series() -> Vec<TimeSeries> {
    let of = |number: usize| {
        let (app, pod) = (format!("app-{}", number % 7), format!("pod-{number}"));
        let labels = [("__name__", "requests_total"), ("app", app.as_str()), ("pod", pod.as_str())];
        let samples: Vec<(i64, f64)> =
            (0..20).map(|step| (step * 15_000, (step as usize * (number + 1) * 15) as f64)).collect();
        series(&labels, &samples)
    };
    let info = |app: usize| {
        let app = format!("app-{app}");
        series(&[("__name__", "team"), ("app", app.as_str()), ("team", "red")], &[(290_000, 1.0)])
    };
    (0..60).map(of).chain((0..7).map(info)).collect()
}

/// Four nodes of which x has no data.
async fn rig() -> Rig {
    let rig = Rig::start(&["a", "b", "c", "x"], &documents(&[&HOLDERS])).await;
    rig["a"].write(some_series()).await;
    rig
}

fn over_time(expr: &str) -> Question {
    let times = QueryTimes::Range { start_ms: 0, end_ms: 300_000, step_ms: 30_000 };
    Question { times, ..question(expr, 0) }
}

fn count(rig: &Rig, method: gyre::rpc::Method) -> usize {
    let counts = HOLDERS.map(|name| rig[name].gate.take_counts());
    counts.iter().map(|counts| counts.get(&method.number).copied().unwrap_or_default()).sum()
}

fn fragments(rig: &Rig) -> u64 {
    HOLDERS.iter().map(|name| rig[*name].reader.metrics.fragments_evaluated()).sum()
}

fn engine_error(failed: Failed) -> gyre_promql::QueryError {
    match failed.error {
        PoolError::Query(error) => error,
        other => panic!("{other:?}"),
    }
}

const QUERIES: [&str; 21] = [
    "requests_total",
    "requests_total offset 1m",
    "sum(requests_total)",
    "sum by (app) (rate(requests_total[1m]))",
    "avg by (app) (requests_total)",
    "count by (app) (requests_total > 1000)",
    "max without (pod) (requests_total) - min without (pod) (requests_total)",
    "topk(3, requests_total)",
    "bottomk by (app) (1, requests_total)",
    "sum(requests_total) / count(requests_total)",
    "quantile(0.9, requests_total)",
    "stddev(team)",
    "count_values(\"value\", team)",
    "sum by (app) (requests_total) * on (app) group_left (team) team",
    "requests_total and on (app) team{app=\"app-1\"}",
    "absent(nothing_of_this_name)",
    "scalar(team{app=\"app-2\"}) + 1",
    "label_replace(requests_total, \"app\", \"$1\", \"pod\", \"(.*)\")",
    "max_over_time(sum(requests_total)[2m:30s])",
    "rate({app=\"app-1\"}[1m])",
    "requests_total + on (app) team",
];

#[test]
fn a_node_without_data_gives_the_answers_of_one_that_has_it_and_no_chunk_travels() {
    run(async {
        let rig = rig().await;
        count(&rig, SELECT);
        for expr in QUERIES {
            for question in [question(expr, 285_000), over_time(expr)] {
                let asked = fragments(&rig);
                let [own, other] = ["a", "x"].map(|name| &rig[name]);
                let own = own.answer(own.plan().await, &question).await;
                assert_eq!(fragments(&rig), asked, "it has everything");
                let other = other.answer(other.plan().await, &question).await;
                match (own, other) {
                    (Ok(own), Ok(other)) => {
                        assert_eq!(by_labels(&own.value.value), by_labels(&other.value.value), "{expr}");
                        assert_eq!((own.warnings, own.infos), (other.warnings, other.infos), "{expr}");
                        assert!(fragments(&rig) > asked, "{expr}");
                    }
                    (Err(own), Err(other)) => {
                        assert_eq!(engine_error(*own), engine_error(*other), "{expr}");
                    }
                    (own, other) => panic!("{expr}: {own:?} and {other:?}"),
                }
            }
        }
        assert_eq!(count(&rig, SELECT), 0);
    });
}

#[test]
fn samples_as_stored_travel_as_chunks() {
    run(async {
        let rig = rig().await;
        for expr in ["requests_total[1m]", "quantile_over_time(scalar(count(team)) / 10, requests_total[1m])"]
        {
            count(&rig, SELECT);
            let question = question(expr, 285_000);
            let own = rig["a"].answer(rig["a"].plan().await, &question).await.unwrap();
            let other = rig["x"].answer(rig["x"].plan().await, &question).await.unwrap();
            assert_eq!(by_labels(&own.value.value), by_labels(&other.value.value), "{expr}");
            assert!(count(&rig, SELECT) > 0, "{expr}");
        }
        assert_eq!(fragments(&rig), 0);
    });
}

#[test]
fn limits_hold_over_all_places_and_say_the_same_as_at_one() {
    run(async {
        let rig = rig().await;
        let limited = |series_max, length_ms_max| Question {
            limits: QueryLimits { series_max, length_ms_max },
            ..question("count(requests_total)", 285_000)
        };
        for name in ["a", "x"] {
            let node = &rig[name];
            let answer = node.answer(node.plan().await, &limited(60, 0)).await.unwrap();
            assert_eq!(by_labels(&answer.value.value)["{}"], "60", "at {name}");
            for (question, text) in [
                (
                    limited(59, 0),
                    "expanding series: the query hit the max number of series limit (limit: 59 series); the \
                     limit is max_fetched_series_per_query",
                ),
                (
                    limited(0, 1000),
                    "expanding series: the query time range exceeds the limit (query length: 4m59.999s, limit: \
                     1s); the limit is max_query_length",
                ),
            ] {
                let error = engine_error(*node.answer(node.plan().await, &question).await.unwrap_err());
                assert_eq!((error.kind, error.message.as_str()), (QueryErrorKind::Execution, text), "{name}");
            }
        }
    });
}

#[test]
fn a_query_that_may_read_series_of_two_places_may_read_no_more_than_one_of_a_single_place() {
    run(async {
        let rig = rig().await;
        let node = &rig["x"];
        // Two shards are read at one node, and two at another.
        let mut plan = plan_at(&rig, "b").await;
        plan.groups.truncate(2);
        plan.groups.extend(plan_at(&rig, "c").await.groups.into_iter().skip(2));
        assert_eq!(places(&plan), 2);
        let limited = |series_max| Question {
            limits: QueryLimits { series_max, length_ms_max: 0 },
            ..question("sum by (app) (requests_total)", 285_000)
        };
        let answer = node.answer(plan.clone(), &limited(60)).await.unwrap();
        let own = rig["a"].answer(rig["a"].plan().await, &limited(60)).await.unwrap();
        assert_eq!(by_labels(&answer.value.value), by_labels(&own.value.value));
        let error = engine_error(*node.answer(plan, &limited(59)).await.unwrap_err());
        assert!(error.message.contains("(limit: 59 series)"), "{error}");
    });
}

#[test]
fn a_peer_that_does_not_know_of_fragments_is_read_by_chunks() {
    run(async {
        let rig = rig().await;
        for name in HOLDERS {
            rig[name].gate.forget(&[EVALUATE]);
        }
        count(&rig, SELECT);
        let question = over_time("sum by (app) (rate(requests_total[1m]))");
        let own = rig["a"].answer(rig["a"].plan().await, &question).await.unwrap();
        let other = rig["x"].answer(rig["x"].plan().await, &question).await.unwrap();
        assert_eq!(by_labels(&other.value.value), by_labels(&own.value.value));
        assert!(count(&rig, SELECT) > 0);
        assert_eq!((rig["x"].retries(Retry::Parts), fragments(&rig)), (1, 0));
    });
}

#[test]
fn samples_that_are_counted_are_counted_where_all_are() {
    run(async {
        let rig = rig().await;
        let question = Question { count_samples: true, ..question("sum(rate(requests_total[1m]))", 285_000) };
        let own = rig["a"].answer(rig["a"].plan().await, &question).await.unwrap();
        let other = rig["x"].answer(rig["x"].plan().await, &question).await.unwrap();
        // Four samples of each of sixty series.
        assert_eq!(own.value.stats.samples_per_step, [240]);
        assert_eq!(other.value.stats.samples_per_step, [240]);
        assert_eq!(fragments(&rig), 0);
    });
}

#[test]
fn a_place_that_falls_silent_or_was_started_again_is_one_to_do_without() {
    run(async {
        let rig = rig().await;
        let question = question("sum(requests_total)", 285_000);
        let mut plan = plan_at(&rig, "a").await;
        for source in plan.groups.iter_mut().flatten() {
            let SegmentSource::Remote(segment) = source else { panic!("{source:?}") };
            segment.place.boot += 1;
        }
        let who = replicas_of(&plan)[0].clone();
        let failed = *rig["x"].answer(plan, &question).await.unwrap_err();
        assert!(matches!(&failed.culprit, Some(Culprit::Replica(replica)) if *replica == who));
        let text = engine_error(failed).message;
        assert!(text.contains("was started again since") && text.contains("acme/0-of-4@1"), "{text}");

        let plan = plan_at(&rig, "b").await;
        let who = replicas_of(&plan)[0].clone();
        for name in HOLDERS {
            rig[name].gate.close(&[EVALUATE, VECTORS]);
        }
        let failed = *rig["x"].answer(plan, &question).await.unwrap_err();
        assert!(matches!(&failed.culprit, Some(Culprit::Replica(replica)) if *replica == who));
        let text = engine_error(failed).message;
        assert!(text.contains("it does not answer any more"), "{text}");
    });
}

#[test]
fn a_place_that_is_there_and_slow_is_waited_for_until_the_time_is_up() {
    run(async {
        let rig = rig().await;
        for name in HOLDERS {
            rig[name].gate.close(&[EVALUATE]);
        }
        let deadline = Instant::now() + Duration::from_millis(300);
        let question = Question { deadline, ..question("sum(requests_total)", 285_000) };
        let failed = *rig["x"].answer(rig["x"].plan().await, &question).await.unwrap_err();
        assert!(failed.culprit.is_none());
        let error = engine_error(failed);
        assert_eq!(
            (error.kind, error.message.as_str()),
            (QueryErrorKind::Timeout, "query timed out in expression evaluation")
        );
    });
}

#[test]
fn a_query_that_nobody_waits_for_any_more_ends_where_it_is_computed() {
    run(async {
        let rig = rig().await;
        // Would take minutes.
        let expr = "quantile_over_time(0.5, quantile_over_time(0.5, requests_total[6h:1s])[6h:1s])";
        let times = QueryTimes::Range { start_ms: 22_000_000, end_ms: 32_000_000, step_ms: 1_000 };
        let question = Question { times, ..question(expr, 0) };
        let running = || HOLDERS.iter().map(|name| rig[*name].evaluator.inflight()).sum::<u64>();
        let plan = rig["x"].plan().await;
        let is_running = async {
            while running() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = rig["x"].answer(plan, &question) => panic!("it was fast: {answer:?}"),
            () = is_running => {}
        }
        while running() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// A plan by which node x reads everything at one other.
async fn plan_at(rig: &Rig, name: &str) -> ReadPlan {
    let own = |name: &&str| rig[*name].replicas.cluster.own().clone();
    let avoid: Vec<Replica> = HOLDERS.iter().filter(|other| **other != name).map(own).collect();
    loop {
        // If it is slow for once, others are asked as well.
        let wish = Wish { avoid: &avoid, ..Wish::default() };
        let plan = within(rig["x"].reader.plan(&tenant(), wish)).await.unwrap();
        if replicas_of(&plan).iter().all(|replica| *replica == own(&name)) {
            return plan;
        }
    }
}

/// Who is read, by shard.
fn replicas_of(plan: &ReadPlan) -> Vec<Replica> {
    let of = |source: &SegmentSource| match source {
        SegmentSource::Remote(segment) => segment.replica.clone(),
        SegmentSource::Local(_) => panic!("{source:?}"),
    };
    plan.groups.iter().flatten().map(of).collect()
}

/// Nodes at which a plan's shards are read.
fn places(plan: &ReadPlan) -> usize {
    replicas_of(plan).into_iter().collect::<BTreeSet<_>>().len()
}
