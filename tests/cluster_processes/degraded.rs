//! What a cluster does when too much of it is away: a defined answer that says why, and nothing is lost when it is back.

use std::fs;

use serde_json::Value;

use crate::cluster::{Cluster, Node, list};
use crate::reads::{ask, metric, now_ms, some_series, write};
use crate::refusals::has;

/// Wants partial answers; other tenants do not.
const PARTIAL: &str = "partial";
const WHOLE: &str = "acme";

fn start_all(cluster: &mut Cluster) -> [String; 1] {
    let config = cluster.path("gyre.yaml");
    fs::write(&config, format!("overrides:\n  {PARTIAL}:\n    query_partial_data: true\n")).unwrap();
    let flags = [format!("--config.file={}", config.display())];
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_for_members(cluster.nodes.len());
    flags
}

/// Status and body of a question that may fail.
pub fn try_ask(node: &Node, tenant: &str, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
    let path = format!("/prometheus/api/v1/{path}");
    let answer = node.connect().with_tenant(tenant).get(&path, parameters).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// Status and body of a write.
pub fn try_write(node: &Node, tenant: &str, now_ms: i64) -> (u16, String) {
    let body = crate::reads::encode(some_series("more", now_ms));
    let answer = node.connect().with_tenant(tenant).post_remote_write("/api/v1/push", &body).unwrap();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// An answer says that replicas could not be checked. Segments of earlier epochs may be left out beside.
pub fn has_partial_warning(answer: &Value) {
    let is_it = |warning: &Value| {
        let warning = warning.as_str().unwrap();
        ["partial answer: segment", "partial/1-of-2@", "may lack data"]
            .iter()
            .all(|part| warning.contains(part))
    };
    assert!(list(&answer["warnings"]).iter().any(is_it), "{answer}");
}

/// Waits until a node reads a tenant's data at home: it has found out that segments of earlier epochs, which another
/// node may hold alone, are empty.
fn wait_for_reads_at_home(cluster: &Cluster, node: &Node, tenant: &str) {
    let remote = || metric(node, "gyre_read_segments_total{source=\"remote\"}");
    cluster.wait_for("it reads at home", || {
        let before = remote();
        ask(node, tenant, "query", &[("query", "requests_total")]);
        (remote() == before).then_some(())
    });
}

/// Those of the nodes behind the first that must be back before anything is complete: all that hold segments of earlier
/// epochs, or the second.
fn needed(ring: &Value, nodes: &[Node]) -> Vec<usize> {
    let ended = list(&ring["segments"]).iter().filter(|segment| !segment["ended"].is_null());
    let holders = ended.flat_map(|segment| list(&segment["replicas"]));
    let names: Vec<&str> = holders.map(|replica| replica["node"].as_str().unwrap()).collect();
    let needed: Vec<usize> =
        (1..nodes.len()).filter(|node| names.contains(&nodes[*node].name.as_str())).collect();
    if needed.is_empty() { vec![1] } else { needed }
}

fn count(answer: &Value) -> &Value {
    &answer["data"]["result"][0]["value"][1]
}

/// What the last of three nodes answers. Each answer must come before the connection's timeout, of 5 s.
fn check_alone(node: &Node, now_ms: i64) {
    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    let (status, text) = try_write(node, WHOLE, now_ms);
    assert_eq!(status, 503, "{text}");
    has(
        &text,
        &["shard acme/", "2 of its replicas must have a write on disk, and too few can", "b: ", "c: "],
    );

    let (status, answer) = try_ask(node, WHOLE, "query", &query);
    assert_eq!((status, &answer["errorType"]), (503, &Value::from("unavailable")), "{answer}");
    has(answer["error"].as_str().unwrap(), &["shard acme/", "cannot be read"]);
    for expr in ["1+1", "time()", "vector(1)"] {
        let (status, answer) = try_ask(node, WHOLE, "query", &[("query", expr)]);
        assert_eq!((status, answer.get("warnings")), (200, None), "{expr} needs no shard: {answer}");
    }
    let (status, _) = try_ask(node, WHOLE, "query", &[("query", "1+")]);
    assert_eq!(status, 400, "what is wrong is wrong whoever is away");

    for (path, parameters) in [
        ("query", query.as_slice()),
        ("series", &[("match[]", "requests_total")]),
        ("labels", &[]),
        ("label/pod/values", &[]),
        ("label/pod/values", &[("match[]", "requests_total")]),
    ] {
        let (status, answer) = try_ask(node, PARTIAL, path, parameters);
        assert_eq!(status, 200, "{path}: {answer}");
        has_partial_warning(&answer);
        if path == "query" {
            assert_eq!(count(&answer), "300", "{answer}");
        }
    }
}

#[test]
fn with_two_of_three_nodes_down_or_stopped_writes_are_refused_and_reads_answer_as_the_tenant_wants() {
    let mut cluster = Cluster::new(3);
    let flags = start_all(&mut cluster);
    let now_ms = now_ms();
    for tenant in [WHOLE, PARTIAL] {
        write(&cluster.nodes[0], tenant, some_series("web", now_ms));
    }
    // The third replicas have it too before two are gone.
    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    for node in &cluster.nodes {
        assert_eq!(count(&ask(node, PARTIAL, "query", &query)), "300");
    }

    for tenant in [WHOLE, PARTIAL] {
        wait_for_reads_at_home(&cluster, &cluster.nodes[0], tenant);
    }
    let needed = needed(&cluster.nodes[0].ring().unwrap(), &cluster.nodes);

    cluster.nodes[1..].iter().for_each(Node::pause);
    check_alone(&cluster.nodes[0], now_ms);
    cluster.nodes[1..].iter_mut().for_each(Node::kill);
    check_alone(&cluster.nodes[0], now_ms);

    for node in &needed {
        cluster.nodes[*node].start_with(&flags);
        cluster.nodes[*node].wait_ready();
    }
    cluster
        .wait_for("two take writes", || (try_write(&cluster.nodes[0], WHOLE, now_ms).0 == 200).then_some(()));
    for node in [0, needed[0]].map(|node| &cluster.nodes[node]) {
        let answer = cluster.wait_for("two are enough", || {
            let (status, answer) = try_ask(node, WHOLE, "query", &query);
            (status == 200).then_some(answer)
        });
        assert_eq!((count(&answer), answer.get("warnings")), (&Value::from("600"), None), "{answer}");
    }
}

#[test]
fn without_its_bucket_a_cluster_goes_on_and_says_so() {
    let mut cluster = Cluster::new(3);
    start_all(&mut cluster);
    let before = cluster.wait_at_rest(3);
    for node in &cluster.nodes {
        // Somebody has asked for the tenant before: what there was when segments were last closed is known.
        ask(node, WHOLE, "query", &[("query", "requests_total")]);
    }
    let alarm = |node: &Node| {
        let ring = node.ring()?;
        let alarms = list(&ring["alarms"]).iter();
        Some(
            alarms
                .filter(|alarm| alarm.as_str().unwrap().contains("the object store does not answer"))
                .count(),
        )
    };
    fs::rename(cluster.path("bucket"), cluster.path("unmounted")).unwrap();
    for node in &cluster.nodes {
        cluster.wait_for("it says so", || (alarm(node)? == 1).then_some(()));
        assert_eq!(node.readiness().unwrap().0, 200, "it serves all the same");
    }
    let now_ms = now_ms();
    write(&cluster.nodes[0], WHOLE, some_series("web", now_ms));
    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    for node in &cluster.nodes {
        let answer = ask(node, WHOLE, "query", &query);
        assert_eq!((count(&answer), answer.get("warnings")), (&Value::from("300"), None));
        assert_eq!(node.ring().unwrap()["epoch"], before["epoch"]);
    }
    fs::rename(cluster.path("unmounted"), cluster.path("bucket")).unwrap();
    for node in &cluster.nodes {
        cluster.wait_for("it is back", || (alarm(node)? == 0).then_some(()));
    }
    assert_eq!(cluster.nodes[0].ring().unwrap()["epoch"], before["epoch"]);
}

/// Log files of a node that no restart needs, by lane.
fn kept_files(node: &Node) -> Vec<usize> {
    let lanes = fs::read_dir(node.data.join("wal")).unwrap();
    let kept = |lane: fs::DirEntry| fs::read_dir(lane.path().join("kept")).map_or(0, Iterator::count);
    lanes.map(|lane| kept(lane.unwrap())).collect()
}

/// The number of the first log file that a restart reads, by lane.
fn first_files(node: &Node) -> Vec<u64> {
    let lanes = fs::read_dir(node.data.join("wal")).unwrap();
    let numbers = |lane: fs::DirEntry| {
        let names = fs::read_dir(lane.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let numbers = names.filter_map(|name| name.to_str()?.strip_suffix(".wal")?.parse().ok());
        numbers.min().unwrap_or(u64::MAX)
    };
    lanes.map(|lane| numbers(lane.unwrap())).collect()
}

/// A node is away while the others put away the log files that hold what it misses; then it is back, with all that
/// was written, which is what the first query after that is to give.
fn missing_more_than_the_log_of_restarts(keep_bytes_max: &str) -> (Cluster, f64, String) {
    let mut cluster = Cluster::new(3);
    let config = cluster.path("gyre.yaml");
    fs::write(&config, format!("overrides:\n  {PARTIAL}:\n    query_partial_data: true\n")).unwrap();
    let flags = [
        format!("--config.file={}", config.display()),
        "--wal.snapshot-bytes=65536".to_owned(),
        format!("--wal.keep-bytes-max={keep_bytes_max}"),
    ];
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_for_members(3);
    let begin_ms = now_ms() - 50 * 60_000;
    let mut writes = 0;
    let mut write_some = |cluster: &Cluster| {
        write(&cluster.nodes[0], PARTIAL, some_series("web", begin_ms + writes * 101));
        writes += 1;
    };
    write_some(&cluster);
    cluster.nodes[1].kill();
    let others = [0, 2];
    let is_away = |cluster: &Cluster| {
        others.iter().all(|node| first_files(&cluster.nodes[*node]).iter().all(|first| *first > 2))
    };
    cluster.wait_for("the others put log files away", || {
        (0..20).for_each(|_| write_some(&cluster));
        is_away(&cluster).then_some(())
    });
    for node in others {
        let kept = kept_files(&cluster.nodes[node]);
        assert_eq!(kept.iter().any(|files| *files > 0), keep_bytes_max != "0", "{kept:?}");
    }
    cluster.nodes[1].start_with(&flags);
    cluster.nodes[1].wait_ready();
    // Each series has three samples of each write.
    (cluster, 900.0 * writes as f64, (now_ms() / 1000).to_string())
}

const SAMPLES: &str = "sum(count_over_time(requests_total[1h]))";

#[test]
fn a_node_that_was_away_while_log_files_were_put_away_gets_all_it_missed() {
    let (mut cluster, samples, time) = missing_more_than_the_log_of_restarts("100000000");
    cluster.wait_for("it has pulled both shards", || {
        let log = cluster.nodes[1].log();
        let pulls = log.lines().filter(|line| line.contains("pulled missing batches"));
        let is_pulled = |shard: usize| {
            let name = format!("partial/{shard}-of-2@");
            pulls.clone().any(|line| line.contains(&name))
        };
        (0..2).all(is_pulled).then_some(())
    });
    for other in [0, 2] {
        cluster.nodes[other].kill();
    }
    let answer = ask(&cluster.nodes[1], PARTIAL, "query", &[("query", SAMPLES), ("time", &time)]);
    assert_eq!(count(&answer).as_str().unwrap().parse(), Ok(samples), "{answer}");
    has_partial_warning(&answer);
}

#[test]
fn a_node_that_missed_more_than_others_keep_stays_incomplete_and_no_answer_is() {
    let (cluster, samples, time) = missing_more_than_the_log_of_restarts("0");
    cluster.wait_for("it says so", || {
        cluster.nodes[1].log().contains("this replica stays incomplete").then_some(())
    });
    for node in &cluster.nodes {
        let answer = ask(node, PARTIAL, "query", &[("query", SAMPLES), ("time", &time)]);
        assert_eq!(count(&answer).as_str().unwrap().parse(), Ok(samples), "through {}: {answer}", node.name);
        assert_eq!(answer.get("warnings"), None, "{answer}");
    }
}
