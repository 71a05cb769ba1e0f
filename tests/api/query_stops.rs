//! Queries that would take very long end when their time is up, or when nobody waits for them any more.

use std::io::Write;
use std::time::Duration;

use crate::server::{Response, Server};

/// Millions of additions for each of millions of steps: hours, if nothing stops them.
const ENDLESS: &str = "max_over_time(sum_over_time((vector(time())%2B1)[50d:1s])[50d:1s])";
const RUNNING: &str = "prometheus_engine_queries";

fn path(timeout: &str) -> String {
    format!("/prometheus/api/v1/query_range?query={ENDLESS}&start=0&end=10000&step=1&timeout={timeout}")
}

/// Waits for a number of queries to run or wait.
fn wait_for(server: &Server, queries: f64) {
    loop {
        let running = server.metric(RUNNING).expect("the node counts its queries");
        if running == queries {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_query_whose_time_is_up_answers_so_and_has_stopped() {
    let server = Server::start();
    let answer = server.get(&path("1s"));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(
        answer.text(),
        r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#
    );
    // The query ends before its answer is written.
    assert_eq!(server.metric(RUNNING), Some(0.0));
}

#[test]
fn a_query_whose_client_goes_away_stops() {
    let server = Server::start_with(&["--query.timeout=10h"], None);
    assert_eq!(server.metric(RUNNING), Some(0.0));
    let mut stream = server.connect();
    write!(stream, "GET {} HTTP/1.1\r\nHost: gyre\r\n\r\n", path("10h")).expect("the node listens");
    wait_for(&server, 1.0);
    drop(stream);
    wait_for(&server, 0.0);
}

#[test]
fn a_query_that_waits_for_its_turn_runs_out_of_time_as_well() {
    let server = Server::start();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // More than run at once, whatever a node of so many cores allows.
    let count = 4 * cores + 2;
    let mut streams: Vec<_> = (0..count).map(|_| server.connect()).collect();
    for stream in &mut streams {
        write!(stream, "GET {} HTTP/1.1\r\nHost: gyre\r\nConnection: close\r\n\r\n", path("3s"))
            .expect("the node listens");
    }
    let errors: Vec<String> = streams
        .iter_mut()
        .map(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
            Response::read(stream).json()["error"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    let waited = errors.iter().filter(|error| *error == "query timed out in query queue").count();
    let ran = errors.iter().filter(|error| *error == "query timed out in expression evaluation").count();
    assert!(waited > 0 && waited + ran == count, "{errors:?}");
    wait_for(&server, 0.0);
}
