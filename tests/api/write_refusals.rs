//! What a sender is told: status codes and texts of remote write.

use std::io::Write as _;

use prost::Message;

use crate::remote_write::{Label, MetricMetadata, Sample, TimeSeries, WriteRequest};
use crate::server::{PUSH_HEADERS, Response, Server};

/// 100 MiB, the largest request by default.
const REQUEST_BYTES_MAX: u64 = 100 << 20;

fn snappy(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("the message is small")
}

fn series(name: &str) -> TimeSeries {
    TimeSeries {
        labels: vec![Label { name: b"__name__".to_vec(), value: name.into() }],
        samples: vec![Sample { value: 1.0, timestamp: 1_763_800_000_000 }],
        ..Default::default()
    }
}

fn request_of(names: &[&str]) -> Vec<u8> {
    let timeseries = names.iter().map(|name| series(name)).collect();
    snappy(&WriteRequest { timeseries, metadata: vec![] }.encode_to_vec())
}

#[track_caller]
fn assert_refused(response: &Response, status: u16, text: &str) {
    assert_eq!((response.status, response.text()), (status, format!("{text}\n")));
    assert_eq!(response.header("content-type"), "text/plain; charset=utf-8");
}

#[test]
fn a_write_is_answered_200_with_nothing_on_every_path() {
    let server = Server::start();
    for path in ["/api/v1/push", "/api/prom/push", "/api/v1/write"] {
        let response = server.send("POST", path, &PUSH_HEADERS, &request_of(&["up"]));
        assert_eq!((response.status, response.text()), (200, String::new()), "{path}");
    }
    // A sender that announces nothing is taken at its body.
    assert_eq!(server.send("POST", "/api/v1/push", &[], &request_of(&["up"])).status, 200);
    assert_eq!(server.push(&snappy(&[])).status, 200, "an empty request is a request");
    assert_eq!(server.metric("cortex_distributor_samples_in_total{user=\"fake\",type=\"float\"}"), Some(4.0));
    assert_eq!(server.get("/api/v1/push").status, 405);
}

#[test]
fn bodies_that_are_no_snappy_are_refused() {
    let server = Server::start();
    let whole = request_of(&["a_metric_name_that_is_long_enough_to_be_cut_anywhere"]);
    assert_eq!(server.push(b"").status, 400);
    assert_eq!(server.push(&[0xff; 100]).status, 400);
    assert_eq!(server.push(b"plain text is not a snappy block").status, 400);
    for cut in [1, whole.len() / 2, whole.len() - 1] {
        let response = server.push(&whole[..cut]);
        assert_eq!(response.status, 400, "cut at {cut}: {}", response.text());
        assert!(response.text().starts_with("snappy: "), "{}", response.text());
    }
}

#[test]
fn snappy_bombs_are_refused_and_cost_no_memory() {
    let server = Server::start();
    let resident = || server.metric("process_resident_memory_bytes");
    assert_eq!(server.push(&request_of(&["up"])).status, 200);
    let before = resident();
    // The length header of 4 GiB - 1, of 100 MiB + 1 and of 100 MiB, each with one byte behind it.
    let too_large: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x41];
    let just_too_large: &[u8] = &[0x81, 0x80, 0x80, 0x32, 0x00, 0x41];
    let impossible: &[u8] = &[0x80, 0x80, 0x80, 0x32, 0x00, 0x41];
    for _ in 0..20 {
        assert_refused(
            &server.push(too_large),
            413,
            &format!("received message larger than max (4294967295 vs {REQUEST_BYTES_MAX})"),
        );
        assert_refused(
            &server.push(just_too_large),
            413,
            &format!("received message larger than max ({} vs {REQUEST_BYTES_MAX})", REQUEST_BYTES_MAX + 1),
        );
        assert_refused(
            &server.push(impossible),
            400,
            "snappy: 6 bytes cannot decompress to the declared 104857600",
        );
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after - before < 20e6, "resident memory grew from {before} to {after} bytes");
    }
}

#[test]
fn messages_that_are_no_write_request_are_refused_with_their_place() {
    let server = Server::start();
    for (message, text) in [
        (
            &[0x0a, 0x04, 0x12, 0x02, 0x08, 0x07][..],
            "invalid write request: timeseries[0].samples.value: wire type 0 where 1 belongs, at byte 5",
        ),
        (
            &[0x0a, 0x02, 0x0d, 0x00],
            "invalid write request: timeseries[0].labels: wire type 5 where 2 belongs, at byte 3",
        ),
        (
            &[0x0a, 0x05, 0x12, 0x03, 0x10, 0x80, 0x80],
            "invalid write request: timeseries[0].samples.timestamp: the message is cut off, at byte 5",
        ),
        (
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            "invalid write request: request.timeseries: varint does not fit 64 bits, at byte 1",
        ),
        (b"\x00", "invalid write request: request.timeseries: invalid field tag 0, at byte 0"),
    ] {
        assert_refused(&server.push(&snappy(message)), 400, text);
    }
}

#[test]
fn a_request_over_the_size_limit_is_refused_with_413() {
    let server = Server::start_with(&["--push.request-bytes-max=1000"], None);
    // Announced too large: refused though no body ever comes.
    let head = "POST /api/v1/push HTTP/1.1\r\nHost: gyre\r\nContent-Length: 1001\r\n\r\n";
    assert_refused(&server.send_raw(head.as_bytes()), 413, "received message larger than max (1001 vs 1000)");
    // Not announced, but sent in chunks: refused when it goes over.
    let mut chunked =
        b"POST /api/v1/push HTTP/1.1\r\nHost: gyre\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..3 {
        chunked.extend(b"190\r\n");
        chunked.extend([b'x'; 400]);
        chunked.extend(b"\r\n");
    }
    assert_eq!(server.send_raw(&chunked).status, 413);
    // Small on the wire and large behind it.
    assert_refused(&server.push(&snappy(&[0; 2000])), 413, "received message larger than max (2000 vs 1000)");
    assert_eq!(server.push(&request_of(&["up"])).status, 200);
}

#[test]
fn writes_beyond_the_bytes_in_flight_are_refused_with_503() {
    let server = Server::start_with(&["--push.inflight-bytes-max=1000"], None);
    assert_refused(
        &server.push(&[0; 1001]),
        503,
        "too many bytes of push requests in flight on this node (limit: 1000)",
    );
    assert_eq!(server.push(&request_of(&["up"])).status, 200, "the bytes were given back");

    // Another request holds most of the bytes while it waits for the rest of its body.
    let mut slow = server.connect();
    slow.write_all(b"POST /api/v1/push HTTP/1.1\r\nHost: gyre\r\nContent-Length: 990\r\n\r\nx").unwrap();
    let refused = (0..1000).any(|_| server.push(&request_of(&["up"])).status == 503);
    assert!(refused, "the slow request never came to hold its bytes");
    drop(slow);
    let accepted = (0..1000).any(|_| server.push(&request_of(&["up"])).status == 200);
    assert!(accepted, "the bytes of the broken request were not given back");
}

#[test]
fn other_content_types_and_encodings_are_refused_with_415() {
    let server = Server::start();
    let body = request_of(&["up"]);
    let send = |content_type: &str, encoding: &str| {
        let headers = [("Content-Type", content_type), ("Content-Encoding", encoding)];
        server.send("POST", "/api/v1/push", &headers, &body)
    };
    assert_refused(
        &send("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy"),
        415,
        "io.prometheus.write.v2.Request protobuf message is not accepted by this server; \
         only accepts prometheus.WriteRequest",
    );
    assert_refused(
        &send("application/x-protobuf", "zstd"),
        415,
        "zstd encoding (compression) is not accepted by this server; only snappy is acceptable",
    );
    assert_eq!(send("application/json", "snappy").status, 415);
    assert_eq!(send("application/x-protobuf;proto=prometheus.WriteRequest", "snappy").status, 200);
}

#[test]
fn the_tenant_is_required_in_header_mode_and_fake_otherwise() {
    let optional = Server::start();
    assert_eq!(optional.push(&request_of(&["up"])).status, 200);
    assert_eq!(
        optional.metric("cortex_distributor_samples_in_total{user=\"fake\",type=\"float\"}"),
        Some(1.0)
    );

    let header = Server::start_with(&["--auth.mode=header"], None);
    let push = |tenant: &str| {
        header.send("POST", "/api/v1/push", &[("X-Scope-OrgID", tenant)], &request_of(&["up"]))
    };
    assert_refused(&header.push(&request_of(&["up"])), 401, "no org id");
    assert_refused(&push(""), 401, "no org id");
    assert_refused(&push("a/b"), 401, "tenant ID 'a/b' contains unsupported character '/'");
    assert_refused(&push(".."), 401, "tenant ID '..' is not allowed");
    assert_refused(&push(&"x".repeat(151)), 401, "tenant ID is too long: max 150 characters");
    assert_eq!(push("acme").status, 200);
    assert_refused(&header.get("/prometheus/api/v1/labels"), 401, "no org id");
    assert_eq!(header.get("/ready").status, 200, "the node's own pages have no tenant");
}

#[test]
fn a_tenant_over_its_rate_is_refused_with_429_and_the_others_are_not() {
    let config = "overrides:\n  slow:\n    ingestion_rate: 0.001\n    ingestion_burst_size: 2\n";
    let server = Server::start_with(&[], Some(config));
    let push = |tenant: &str, names: &[&str]| {
        server.send("POST", "/api/v1/push", &[("X-Scope-OrgID", tenant)], &request_of(names))
    };
    let text = "ingestion rate limit (0.001) exceeded while adding 3 samples and 0 metadata";
    assert_refused(&push("slow", &["a", "b", "c"]), 429, text);
    assert_eq!(push("slow", &["a", "b"]).status, 200, "the refused request took nothing");
    assert_eq!(push("slow", &["a"]).status, 429);
    assert_eq!(push("other", &["a", "b", "c"]).status, 200);
    let discarded = "cortex_discarded_samples_total{reason=\"rate_limited\",user=\"slow\"}";
    assert_eq!(server.metric(discarded), Some(4.0));
}

#[test]
fn metadata_that_breaks_a_limit_is_refused_and_the_samples_beside_it_are_kept() {
    let server = Server::start_with(&[], Some("limits:\n  max_metadata_length: 8\n"));
    let entry = |family: &str, help: &str| MetricMetadata {
        metric_type: 1,
        metric_family_name: family.to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    };
    let push = |metadata: Vec<MetricMetadata>| {
        server.push(&snappy(&WriteRequest { timeseries: vec![series("up")], metadata }.encode_to_vec()))
    };
    assert_eq!(push(vec![entry("up", "12345678")]).status, 200);
    assert_refused(
        &push(vec![entry("up", "ok"), entry("down", "123456789"), entry("", "no name")]),
        400,
        "metadata 'HELP' value too long: \"123456789\" metric \"down\"",
    );
    assert_refused(&push(vec![entry("", "no name")]), 400, "metadata missing metric name");
    assert_eq!(
        server.metric("cortex_distributor_received_samples_total{user=\"fake\",type=\"float\"}"),
        Some(3.0)
    );
    assert_eq!(server.metric("cortex_distributor_received_metadata_total{user=\"fake\"}"), Some(2.0));
    let missing = "cortex_discarded_metadata_total{reason=\"missing_metric_name\",user=\"fake\"}";
    assert_eq!(server.metric(missing), Some(2.0));
}

#[test]
fn exemplars_are_counted_as_discarded() {
    let server = Server::start();
    let mut with_extras = series("up");
    with_extras.exemplars = vec![Default::default(); 3];
    let request = WriteRequest { timeseries: vec![with_extras], metadata: vec![] };
    assert_eq!(server.push(&snappy(&request.encode_to_vec())).status, 200);
    let exemplars = "cortex_discarded_exemplars_total{reason=\"exemplar_storage_missing\",user=\"fake\"}";
    assert_eq!(server.metric(exemplars), Some(3.0));
    assert_eq!(
        server.metric("cortex_distributor_received_samples_total{user=\"fake\",type=\"float\"}"),
        Some(1.0)
    );
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let server = Server::start();
    let mut slow = server.connect();
    slow.write_all(b"POST /api/v1/push HTTP/1.1\r\nHost: gyre\r\nX-Slow:").unwrap();
    let response = Response::read(&mut slow);
    assert!(matches!(response.status, 0 | 408), "{response:?}");
    assert_eq!(server.push(&request_of(&["up"])).status, 200);
}
