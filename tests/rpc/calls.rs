//! Calls that end as they should, and errors that say what became of the request.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use gyre::rpc::{Outcome, RpcError, ServerConfig};
use tokio::time::Instant;

use crate::support::{
    APPEND, ECHO, ECHO_IN_BULK, Event, FAIL, FILL, HANG, TestServer, UNKNOWN, later, peer_config, within,
};

#[tokio::test]
async fn a_call_gets_its_reply_on_every_lane() {
    let server = TestServer::start().await;
    let peer = server.peer();
    for method in [ECHO, ECHO_IN_BULK, gyre::rpc::Method { lane: APPEND.lane, ..ECHO }] {
        let reply = within(peer.call(method, Bytes::from_static(b"hello"), later())).await.unwrap();
        assert_eq!(reply.into_whole().unwrap(), "hello");
    }
    assert_eq!(server.metric(r#"gyre_rpc_server_requests_total{peer="aa"}"#), 3);
}

#[tokio::test]
async fn thousands_of_calls_at_a_time_get_each_its_own_reply() {
    // Fewer than are called: the others wait at the caller.
    let server = TestServer::with_config(ServerConfig { requests_max: 50, ..ServerConfig::default() }).await;
    let peer = server.peer();
    let calls = (0..5000u32).map(|number| {
        let call = peer.call(ECHO, Bytes::copy_from_slice(&number.to_le_bytes()), later());
        async move { (number, call.await.unwrap().into_whole().unwrap()) }
    });
    for (number, reply) in within(join_all(calls)).await {
        assert_eq!(reply, number.to_le_bytes()[..]);
    }
    assert_eq!(peer.queued_bytes(), 0);
}

#[tokio::test]
async fn a_caller_needs_no_runtime() {
    let server = TestServer::start().await;
    let peer = server.peer();
    let caller = std::thread::spawn(move || {
        let reply = futures_executor::block_on(peer.call(ECHO, Bytes::from_static(b"hello"), later()));
        assert_eq!(reply.unwrap().into_whole().unwrap(), "hello");
        let short = Instant::now() + Duration::from_millis(20);
        let error = futures_executor::block_on(peer.call(HANG, Bytes::new(), short)).unwrap_err();
        assert!(matches!(error, RpcError::Deadline { .. }), "{error}");
    });
    within(tokio::task::spawn_blocking(|| caller.join().unwrap())).await.unwrap();
}

#[tokio::test]
async fn a_slow_call_holds_up_no_other() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let slow = peer.call(HANG, Bytes::new(), later());
    assert!(matches!(server.event().await, Event::Began));
    within(peer.call(ECHO, Bytes::new(), later())).await.unwrap();
    drop(slow);
}

#[tokio::test]
async fn a_dropped_call_drops_the_handler() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let call = peer.call(HANG, Bytes::new(), later());
    assert!(matches!(server.event().await, Event::Began));
    drop(call);
    assert!(matches!(server.event().await, Event::Dropped));
}

#[tokio::test]
async fn a_passed_deadline_ends_the_call_and_the_handler() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let soon = Instant::now() + Duration::from_millis(30);
    let error = within(peer.call(HANG, Bytes::new(), soon)).await.unwrap_err();
    assert!(matches!(error, RpcError::Deadline { .. }), "{error}");
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::Unknown, true));
    assert!(matches!(server.event().await, Event::Began));
    assert!(matches!(server.event().await, Event::Dropped));
}

#[tokio::test]
async fn failures_say_what_became_of_the_request() {
    let server = TestServer::start().await;
    let peer = server.peer();
    let mut errors = Vec::new();
    for how in ["refused", "failed", "overloaded", "panic"] {
        let error = within(peer.call(FAIL, Bytes::from_static(how.as_bytes()), later())).await.unwrap_err();
        errors.push((error.is_retryable(), error.outcome(), error.to_string()));
    }
    let name = "b#00000000000000000000000000000001";
    let expected = [
        (true, Outcome::NotExecuted, format!("{name} failed: it is too dark")),
        (false, Outcome::Unknown, format!("{name} failed: it is too dark")),
        (true, Outcome::NotExecuted, format!("{name} is overloaded: no more of these")),
        (false, Outcome::Unknown, format!("{name} failed: it panicked over the request")),
    ];
    assert_eq!(errors, expected);
    let error = within(peer.call(UNKNOWN, Bytes::new(), later())).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{name} does not know method unknown"));
    assert_eq!((error.is_retryable(), error.outcome()), (false, Outcome::NotExecuted));
    within(peer.call(ECHO, Bytes::new(), later())).await.unwrap();
}

#[tokio::test]
async fn the_longest_request_and_reply_pass_and_longer_ones_do_not() {
    use gyre::rpc::frame::PAYLOAD_BYTES_MAX;
    /// Bytes in front of the caller's own.
    const REQUEST_HEAD_BYTES: usize = 12;

    let server = TestServer::start().await;
    let peer = server.peer();
    let longest: Vec<u8> = (0..PAYLOAD_BYTES_MAX - REQUEST_HEAD_BYTES).map(|at| at as u8).collect();
    let error = within(peer.call(ECHO, [&longest[..], &[0]].concat(), later())).await.unwrap_err();
    assert!(matches!(error, RpcError::TooLarge { .. }), "{error}");
    assert_eq!((error.is_retryable(), error.outcome()), (false, Outcome::NotExecuted));
    let reply = within(peer.call(ECHO, longest.clone(), later())).await.unwrap();
    assert!(reply.into_whole().unwrap() == longest);

    let fill = |bytes: usize| peer.call(FILL, Bytes::copy_from_slice(&(bytes as u32).to_le_bytes()), later());
    assert_eq!(within(fill(PAYLOAD_BYTES_MAX)).await.unwrap().into_whole().unwrap().len(), PAYLOAD_BYTES_MAX);
    let error = within(fill(PAYLOAD_BYTES_MAX + 1)).await.unwrap_err().to_string();
    assert!(error.contains("the reply has 16777217 bytes, at most 16777216 can be sent"), "{error}");
}

#[tokio::test]
async fn calls_errors_and_bytes_are_counted_by_peer() {
    use gyre::rpc::{Peer, RpcMetrics};
    use prometheus_client::registry::Registry;

    let server = TestServer::start().await;
    let mut registry = Registry::default();
    let metrics = RpcMetrics::register(&mut registry);
    let (local, io) = (crate::support::local("aa").into(), tokio::runtime::Handle::current());
    let peer =
        Peer::new(crate::support::replica("b"), server.server.address(), local, peer_config(), io, &metrics);
    within(peer.call(ECHO, vec![1; 1000], later())).await.unwrap();
    within(peer.call(UNKNOWN, Bytes::new(), later())).await.unwrap_err();

    let count = |name: &str| crate::support::metric(&registry, &format!(r#"{name}{{peer="b""#));
    assert_eq!(count("gyre_rpc_calls_total"), 2);
    assert_eq!(count("gyre_rpc_connections"), 1);
    assert_eq!(count("gyre_rpc_queue_bytes"), 0);
    // Two frames' headers, two requests' heads, the caller's bytes; and two headers with the reply's.
    assert_eq!(count("gyre_rpc_sent_bytes_total"), 2 * 20 + 2 * 12 + 1000);
    assert_eq!(count("gyre_rpc_received_bytes_total"), 2 * 20 + 1000);
    assert_eq!(
        crate::support::metric(&registry, r#"gyre_rpc_errors_total{peer="b",error="unknown_method"}"#),
        1
    );
}
