//! Writing and reading apart: nodes without the role `read` hand questions on to those that have it.

use std::io::{Read, Write};
use std::net::TcpStream;

use gyre_ring::{Member, Role};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Node, list};
use crate::reads::{ask, metric, now_ms, some_series, write};

/// Nodes of the cluster that hold heads.
const WRITERS: [usize; 3] = [0, 1, 2];

/// Nodes that compute answers.
const READERS: [usize; 2] = [3, 4];

/// Millions of additions for each of thousands of steps: hours, if nothing stops them.
const ENDLESS: &str = "max_over_time(sum_over_time((vector(time())%2B1)[50d:1s])[50d:1s])";

fn with_roles(roles: &str) -> [String; 1] {
    [format!("--node.roles={roles}")]
}

/// Three nodes that hold heads and two that compute answers.
fn three_and_two() -> Cluster {
    let mut cluster = Cluster::new(WRITERS.len() + READERS.len());
    for writer in WRITERS {
        cluster.nodes[writer].start_with(&with_roles("write"));
    }
    for reader in READERS {
        cluster.nodes[reader].start_with(&with_roles("read"));
    }
    cluster.wait_for_members(WRITERS.len() + READERS.len());
    cluster
}

/// The same with what `some_series` has, half of it in blocks and half in heads.
fn with_data(now_ms: i64) -> Cluster {
    let cluster = three_and_two();
    write(&cluster.nodes[0], "acme", some_series("web", now_ms));
    for writer in WRITERS {
        let answer = cluster.nodes[writer].connect().get("/flush", &[]).unwrap();
        assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
    }
    write(&cluster.nodes[1], "acme", some_series("api", now_ms));
    cluster
}

/// Questions of every kind that reads data.
fn questions(now_ms: i64) -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let start = ("start", (now_ms / 1000 - 60).to_string());
    let end = ("end", (now_ms / 1000 + 1).to_string());
    let window = || vec![start.clone(), end.clone()];
    let of = |query: &str| ("query", query.to_owned());
    let some = ("match[]", r#"requests_total{pod=~"pod-1.*"}"#.to_owned());
    vec![
        ("query", vec![of("requests_total"), ("time", end.1.clone())]),
        ("query", vec![of("sum by (app) (count_over_time(requests_total[5m]))"), ("time", end.1.clone())]),
        (
            "query_range",
            [window(), vec![of("sum by (app) (requests_total)"), ("step", "15".to_owned())]].concat(),
        ),
        ("series", [window(), vec![some.clone()]].concat()),
        ("labels", window()),
        ("labels", [window(), vec![some.clone()]].concat()),
        ("label/pod/values", window()),
        ("label/pod/values", [window(), vec![some]].concat()),
    ]
}

fn answers(node: &Node, now_ms: i64) -> Vec<Value> {
    let asked = questions(now_ms).into_iter().map(|(path, parameters)| {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        ask(node, "acme", path, &parameters)
    });
    asked.collect()
}

fn handed_on(node: &Node, outcome: &str) -> f64 {
    metric(node, &format!("gyre_queries_handed_on_total{{outcome=\"{outcome}\"}}"))
}

fn taken(node: &Node) -> f64 {
    metric(node, "gyre_queries_taken_total")
}

/// The reader that a node with the newest document would ask first, by the ring's arithmetic.
fn first_reader(cluster: &Cluster, tenant: &str) -> usize {
    let ring = cluster.nodes[0].ring().unwrap();
    let members = list(&ring["members"]).iter().map(|member| {
        serde_json::from_value::<Member>(json!({
            "node": member["node"], "incarnation": member["incarnation"], "zone": member["zone"],
            "weight": member["weight"], "roles": member["roles"],
        }))
    });
    let members: Vec<Member> = members.collect::<Result<_, _>>().unwrap();
    let placement = gyre_ring::Placement::new(&members, Role::Read, 3);
    let tenant = gyre_ring::TenantId::new(tenant).unwrap();
    let first =
        placement.of(&tenant, gyre_ring::ShardCount::ONE, gyre_ring::ShardIndex(0))[0].node.to_string();
    cluster.nodes.iter().position(|node| node.name == first).unwrap()
}

#[test]
fn nodes_that_hold_heads_give_the_answers_of_those_that_read_and_read_no_blocks() {
    let now_ms = now_ms();
    let cluster = with_data(now_ms);
    let first = first_reader(&cluster, "acme");
    let right = answers(&cluster.nodes[first], now_ms);
    assert_eq!(list(&right[0]["data"]["result"]).len(), 600, "{}", right[0]);
    assert_eq!(taken(&cluster.nodes[first]), 0.0, "whoever has the role computes it itself");
    for writer in WRITERS {
        let writer = &cluster.nodes[writer];
        assert_eq!(answers(writer, now_ms), right, "through {}", writer.name);
        let asked = right.len() as f64;
        assert_eq!(handed_on(writer, "answered"), asked, "{}", writer.name);
        assert_eq!(metric(writer, "gyre_queries_handed_on_total"), asked, "{}", writer.name);
        for name in
            ["gyre_block_pages_read_total", "gyre_block_request_bytes_total", "gyre_blocks_opened_total"]
        {
            assert_eq!(metric(writer, name), 0.0, "{name} of {}", writer.name);
        }
    }
    // All of a tenant's questions go to one node, whichever was asked, and it is the one whose caches have its blocks.
    let all = (WRITERS.len() * right.len()) as f64;
    for reader in READERS {
        let expected = if reader == first { all } else { 0.0 };
        assert_eq!(taken(&cluster.nodes[reader]), expected, "{}", cluster.nodes[reader].name);
    }
    assert!(metric(&cluster.nodes[first], "gyre_block_pages_read_total") > 0.0);
    // Whatever is wrong with a question, it is said in the same words.
    let wrong: [(&str, &[(&str, &str)]); 7] = [
        ("/prometheus/api/v1/query", &[("query", "sum(")]),
        ("/prometheus/api/v1/query", &[("query", "{__name__=~\".+\"}"), ("limit", "x")]),
        ("/prometheus/api/v1/query", &[("query", "requests_total"), ("timeout", "0s")]),
        ("/api/prom/api/v1/query", &[("query", "requests_total + on(app) requests_total"), ("time", "1")]),
        ("/prometheus/api/v1/query_range", &[("query", "up"), ("start", "2"), ("end", "1"), ("step", "1")]),
        ("/api/v1/series", &[]),
        ("/api/v1/labels", &[("match[]", "{")]),
    ];
    for (path, parameters) in wrong {
        let said = |node: usize| {
            let mut connection = cluster.nodes[node].connect().with_tenant("acme");
            let got = connection.get(path, parameters).unwrap();
            let posted = connection.post_form(path, parameters).unwrap();
            assert_eq!((got.status, &got.body), (posted.status, &posted.body));
            (got.status, String::from_utf8(got.body).unwrap())
        };
        let right = said(first);
        for writer in WRITERS {
            assert_eq!(said(writer), right, "{path} {parameters:?}");
        }
    }
    // Tenants are as apart as they are anywhere.
    let others = ask(&cluster.nodes[0], "umbrella", "query", &[("query", "requests_total")]);
    assert_eq!(others["data"]["result"], json!([]));
}

#[test]
fn when_those_that_read_are_killed_another_one_answers_and_then_the_node_itself() {
    let now_ms = now_ms();
    let mut cluster = with_data(now_ms);
    let first = first_reader(&cluster, "acme");
    let right = answers(&cluster.nodes[0], now_ms);
    let asked = right.len() as f64;
    let second = READERS.into_iter().find(|reader| *reader != first).unwrap();
    assert_eq!((taken(&cluster.nodes[first]), taken(&cluster.nodes[second])), (asked, 0.0));
    // At once, whether gossip knows it already or not.
    cluster.nodes[first].kill();
    assert_eq!(answers(&cluster.nodes[0], now_ms), right);
    assert_eq!(taken(&cluster.nodes[second]), asked);
    assert_eq!(
        (handed_on(&cluster.nodes[0], "answered"), handed_on(&cluster.nodes[0], "here")),
        (2.0 * asked, 0.0)
    );
    cluster.nodes[second].kill();
    assert_eq!(answers(&cluster.nodes[0], now_ms), right);
    assert_eq!(handed_on(&cluster.nodes[0], "here"), asked);
    // And back.
    cluster.nodes[first].start_with(&with_roles("read"));
    cluster.nodes[first].wait_ready();
    let node = &cluster.nodes[first];
    cluster.wait_for("it is asked again", || {
        assert_eq!(answers(&cluster.nodes[0], now_ms), right);
        (taken(node) > 0.0).then_some(())
    });
}

#[test]
fn a_node_that_reads_and_is_paused_holds_up_nobody_for_long() {
    let now_ms = now_ms();
    let cluster = with_data(now_ms);
    let first = first_reader(&cluster, "acme");
    let right = answers(&cluster.nodes[0], now_ms);
    cluster.nodes[first].pause();
    let after = answers(&cluster.nodes[0], now_ms);
    cluster.nodes[first].resume();
    assert_eq!(after, right);
    assert_eq!(metric(&cluster.nodes[0], "gyre_queries_handed_on_total"), 2.0 * right.len() as f64);
    assert_eq!(handed_on(&cluster.nodes[0], "here"), 0.0);
}

#[test]
fn the_newest_document_says_who_reads_not_the_flag_of_an_earlier_start() {
    let now_ms = now_ms();
    let mut cluster = with_data(now_ms);
    let right = answers(&cluster.nodes[2], now_ms);
    assert_eq!(handed_on(&cluster.nodes[2], "answered"), right.len() as f64);
    cluster.nodes[2].terminate();
    cluster.nodes[2].start_with(&with_roles("write,read"));
    cluster.nodes[2].wait_ready();
    cluster.wait_for("the document knows its role", || {
        let ring = cluster.nodes[2].ring()?;
        list(&ring["members"][2]["roles"]).contains(&json!("read")).then_some(())
    });
    let before = metric(&cluster.nodes[2], "gyre_queries_handed_on_total");
    assert_eq!(answers(&cluster.nodes[2], now_ms), right);
    assert_eq!(metric(&cluster.nodes[2], "gyre_queries_handed_on_total"), before);
    assert!(metric(&cluster.nodes[2], "gyre_block_pages_read_total") > 0.0);
}

#[test]
fn a_client_that_goes_away_ends_its_query_at_the_other_node() {
    const RUNNING: &str = "prometheus_engine_queries";
    let cluster = three_and_two();
    let reader = &cluster.nodes[first_reader(&cluster, "acme")];
    let mut stream = TcpStream::connect(cluster.nodes[0].http).unwrap();
    let path = format!("/prometheus/api/v1/query_range?query={ENDLESS}&start=0&end=10000&step=1");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gyre\r\nX-Scope-OrgID: acme\r\n\r\n").unwrap();
    cluster.wait_for("it runs there", || (metric(reader, RUNNING) == 1.0).then_some(()));
    assert_eq!(metric(&cluster.nodes[0], RUNNING), 0.0);
    drop(stream);
    cluster.wait_for("it has ended there", || (metric(reader, RUNNING) == 0.0).then_some(()));
    // Its time is up there as it would be here.
    let mut connection = cluster.nodes[0].connect().with_tenant("acme");
    let query = ENDLESS.replace("%2B", "+");
    let answer =
        connection.get("/prometheus/api/v1/query", &[("query", &query), ("timeout", "300ms")]).unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert!(answer.status == 503 && text.contains("query timed out in expression evaluation"), "{text}");
    assert_eq!(metric(reader, RUNNING), 0.0);
}

#[test]
fn a_question_that_both_of_those_that_read_died_over_goes_to_none_that_holds_heads() {
    const RUNNING: &str = "prometheus_engine_queries";
    let mut cluster = three_and_two();
    let first = first_reader(&cluster, "acme");
    let second = READERS.into_iter().find(|reader| *reader != first).unwrap();
    let mut connection = cluster.nodes[0].connect().with_tenant("acme");
    let asking = std::thread::spawn(move || {
        let query = ENDLESS.replace("%2B", "+");
        connection = connection.with_timeout(std::time::Duration::from_secs(120));
        connection.get("/prometheus/api/v1/query", &[("query", &query)]).unwrap()
    });
    for reader in [first, second] {
        let node = &cluster.nodes[reader];
        cluster.wait_for("it runs there", || (metric(node, RUNNING) == 1.0).then_some(()));
        cluster.nodes[reader].kill();
    }
    let answer = asking.join().unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 503, "{text}");
    let (first, second) = (&cluster.nodes[first].name, &cluster.nodes[second].name);
    assert!(text.contains(&format!("nodes failed over this query: {first}, {second}")), "{text}");
    assert_eq!(handed_on(&cluster.nodes[0], "refused"), 1.0);
    // Another one is computed here: nobody has died over it.
    let answer = ask(&cluster.nodes[0], "acme", "query", &[("query", "vector(1)")]);
    assert_eq!(answer["data"]["result"][0]["value"][1], "1");
    assert_eq!(handed_on(&cluster.nodes[0], "here"), 1.0);
}

#[test]
fn a_large_answer_is_passed_on_piece_by_piece_and_one_that_breaks_off_is_seen_to() {
    let now_ms = now_ms();
    let mut cluster = with_data(now_ms);
    let first = first_reader(&cluster, "acme");
    // 600 series at 6,000 times, about 100 MB of text.
    let query = "requests_total * time()";
    let (start, end) = ((now_ms / 1000).to_string(), (now_ms / 1000 + 5_999).to_string());
    let parameters =
        [("query", query), ("start", &start), ("end", &end), ("step", "1"), ("lookback_delta", "10h")];
    let whole = |node: &Node| {
        let mut connection = node.connect().with_tenant("acme");
        connection.get("/prometheus/api/v1/query_range", &parameters).unwrap().into_text().unwrap()
    };
    let right = whole(&cluster.nodes[first]);
    assert!(right.len() > 80_000_000, "{} bytes", right.len());
    // What else a request needs is there.
    answers(&cluster.nodes[0], now_ms);
    let before = cluster.nodes[0].peak_memory_bytes();
    let answer = whole(&cluster.nodes[0]);
    let grown = cluster.nodes[0].peak_memory_bytes() - before;
    assert!(answer == right, "{} and {} bytes", answer.len(), right.len());
    assert!(grown < 40_000_000, "{grown} bytes more for an answer of {}", right.len());

    let mut stream = TcpStream::connect(cluster.nodes[0].http).unwrap();
    let path = format!(
        "/prometheus/api/v1/query_range?query=requests_total*time()&start={start}&end={end}&step=1&lookback_delta=10h"
    );
    write!(stream, "GET {path} HTTP/1.1\r\nHost: gyre\r\nX-Scope-OrgID: acme\r\n\r\n").unwrap();
    let mut got = vec![0; 100_000];
    stream.read_exact(&mut got).unwrap();
    assert!(got.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&got[..100]));
    cluster.nodes[first].kill();
    // The end of an answer in chunks is an empty one. An error is as good an end as none.
    let _ = stream.read_to_end(&mut got);
    assert!(!got.ends_with(b"0\r\n\r\n") && got.len() < right.len(), "{} bytes came", got.len());
    cluster.wait_for("it is counted", || (handed_on(&cluster.nodes[0], "broken_off") == 1.0).then_some(()));
}
