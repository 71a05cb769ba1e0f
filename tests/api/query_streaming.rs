//! Long answers: encoded while they are sent, so that neither their length nor a slow reader costs memory.

use std::io::{Read, Write};

use crate::series::series;
use crate::server::Server;

const SERIES: usize = 300;
const STEPS: usize = 11_000;

/// A range query whose answer's text is several times as long as the numbers in it.
fn ask_for_much(server: &Server, series_count: usize, more_headers: &str) -> std::net::TcpStream {
    let t = std::time::UNIX_EPOCH.elapsed().expect("the clock is set").as_secs() - 200;
    let written: Vec<_> = (0..series_count)
        .map(|i| series(&[("__name__", "m"), ("i", &i.to_string())], &[(t as i64 * 1000, i as f64 / 7.0)]))
        .collect();
    assert_eq!(server.write(written).status, 200);
    let mut stream = server.connect();
    // The steps are 7 milliseconds apart, so that each time has its digits, too.
    let end = t as f64 + 0.007 * (STEPS - 1) as f64;
    let path = format!("/api/v1/query_range?query=m%2Btime()%2F7&start={t}&end={end:.3}&step=0.007");
    let request = format!("GET {path} HTTP/1.1\r\nHost: gyre\r\nConnection: close\r\n{more_headers}\r\n");
    stream.write_all(request.as_bytes()).expect("the node reads");
    stream
}

/// A line of `/proc/<pid>/status`, in bytes.
fn memory_bytes(server: &Server, line: &str) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).ok()?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'))?;
    Some(value.trim().trim_end_matches(" kB").parse::<usize>().ok()? << 10)
}

#[test]
fn an_answer_longer_than_the_memory_it_takes_arrives_whole() {
    let server = Server::start();
    let Some(before) = memory_bytes(&server, "VmHWM") else {
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "skipped: no /proc here");
        return println!("skipped: no /proc here");
    };
    let mut stream = ask_for_much(&server, SERIES, "");
    // Reading nothing for now: the node must stop encoding once the buffers between are full.
    let mut first = [0_u8; 4096];
    stream.read_exact(&mut first).expect("the first bytes come at once");
    assert!(first.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let mut length = first.len();
    let mut last = Vec::new();
    let mut part = vec![0_u8; 1 << 20];
    loop {
        let read = stream.read(&mut part).expect("the node goes on");
        if read == 0 {
            break;
        }
        length += read;
        last.extend_from_slice(&part[..read]);
        last.drain(..last.len().saturating_sub(100));
    }
    let end = String::from_utf8_lossy(&last);
    assert!(end.ends_with("]}}\r\n0\r\n\r\n"), "{end}");
    let numbers = SERIES * STEPS * size_of::<f64>();
    assert!(length > 4 * numbers, "{length} bytes of text for {numbers} of numbers");
    // The numbers are held, and the engine may hold them twice for a moment; the text is not.
    let grown = memory_bytes(&server, "VmHWM").expect("it was there before") - before;
    assert!(grown < length * 3 / 4, "{grown} bytes more for an answer of {length}");
    println!("{length} bytes of text, {numbers} of numbers, peak memory grew by {grown}");
}

#[test]
fn a_listing_of_many_series_takes_little_memory() {
    const LISTED: usize = 20_000;
    let server = Server::start();
    if memory_bytes(&server, "VmRSS").is_none() {
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "skipped: no /proc here");
        return println!("skipped: no /proc here");
    }
    let t_ms = std::time::UNIX_EPOCH.elapsed().expect("the clock is set").as_millis() as i64;
    let long = "x".repeat(2000);
    for from in (0..LISTED).step_by(1000) {
        let written = (from..from + 1000)
            .map(|i| series(&[("__name__", "m"), ("i", &i.to_string()), ("same", &long)], &[(t_ms, 1.0)]));
        assert_eq!(server.write(written.collect()).status, 200);
    }
    let before = memory_bytes(&server, "VmHWM").expect("it was there before");
    // Some of them, to the limit, then all.
    let cut = server.get("/api/v1/series?match[]=m&limit=700").json();
    assert_eq!(cut["data"].as_array().map(Vec::len), Some(700));
    assert_eq!(cut["warnings"], serde_json::json!(["results truncated due to limit"]));
    let all = server.get(&format!("/api/v1/series?match[]=m&limit={LISTED}"));
    let grown = memory_bytes(&server, "VmHWM").expect("it was there before") - before;
    assert!(all.body.len() > LISTED * long.len());
    let all = all.json();
    let listed = all["data"].as_array().expect("a list");
    let numbers: std::collections::BTreeSet<_> =
        listed.iter().map(|labels| labels["i"].to_string()).collect();
    assert_eq!((listed.len(), numbers.len(), all.get("warnings")), (LISTED, LISTED, None));
    assert!(grown < LISTED * long.len() / 3, "{grown} bytes more for a listing of {}", LISTED * long.len());
    println!("{} bytes of text, peak memory grew by {grown}", LISTED * long.len());
}

#[test]
fn a_compressed_long_answer_arrives_whole_too() {
    for encoding in ["gzip", "zstd"] {
        let server = Server::start();
        let mut stream = ask_for_much(&server, 20, &format!("Accept-Encoding: {encoding}\r\n"));
        let response = crate::server::Response::read(&mut stream);
        assert_eq!((response.status, response.header("content-encoding")), (200, encoding));
        let Some(text) = decompressed(encoding, &response.body) else {
            assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "skipped: {encoding} is not installed");
            println!("skipped: {encoding} is not installed");
            continue;
        };
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let result = json["data"]["result"].as_array().expect("a list");
        assert_eq!(result.len(), 20);
        assert!(result.iter().all(|series| series["values"].as_array().is_some_and(|v| v.len() == STEPS)));
    }
}

/// By the system's own tools, which know nothing of ours.
fn decompressed(tool: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("answer");
    std::fs::write(&path, bytes).expect("the folder is writable");
    let input = std::fs::File::open(&path).expect("it was just written");
    let output = std::process::Command::new(tool).arg("-dc").stdin(input).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}
