//! Replies in parts.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use gyre::rpc::{Outcome, PeerConfig, ReplyStream, RpcError};

use crate::support::{ECHO_IN_BULK, Event, STREAM, StreamShape, TestServer, later, peer_config, within};

async fn stream(peer: &gyre::rpc::Peer, shape: StreamShape) -> ReplyStream {
    let reply = within(peer.call(STREAM, shape.to_bytes(), later())).await.unwrap();
    reply.into_stream().expect("the reply comes in parts")
}

#[tokio::test]
async fn parts_arrive_as_they_were_sent_and_then_the_trailer() {
    let server = TestServer::start().await;
    let peer = server.peer();
    let mut parts = stream(&peer, StreamShape { parts: 300, part_bytes: 100_000 }).await;
    for number in 0..300u32 {
        assert_eq!(parts.trailer(), None);
        let part = within(parts.next()).await.unwrap().expect("there are more");
        assert_eq!((part.len(), &part[..4]), (100_000, &number.to_le_bytes()[..]));
    }
    assert_eq!(within(parts.next()).await.unwrap(), None);
    assert_eq!(parts.trailer().unwrap(), "that is all");
    assert_eq!(within(parts.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_reader_that_does_not_read_bounds_what_is_sent_and_holds_up_nobody() {
    let server = TestServer::start().await;
    let config = PeerConfig { window_bytes: 1 << 20, ..peer_config() };
    let peer = server.peer_with(config);
    let mut parts = stream(&peer, StreamShape { parts: 1000, part_bytes: 64 << 10 }).await;
    // Every echo passes through the same connection behind all that the handler could send before it.
    let sent_bytes = || server.handler.streamed_bytes.load(Ordering::Relaxed);
    let mut before = usize::MAX;
    while before != sent_bytes() {
        before = sent_bytes();
        for _ in 0..20 {
            within(peer.call(ECHO_IN_BULK, Bytes::new(), later())).await.unwrap();
        }
    }
    assert!(sent_bytes() <= 1 << 20, "{} bytes were sent", sent_bytes());
    let mut read_bytes = 0;
    while let Some(part) = within(parts.next()).await.unwrap() {
        read_bytes += part.len();
    }
    assert_eq!(read_bytes, 1000 * (64 << 10));
}

#[tokio::test]
async fn empty_parts_are_bounded_too() {
    let server = TestServer::start().await;
    let peer = server.peer_with(PeerConfig { window_bytes: 1 << 19, ..peer_config() });
    // Four bytes are the least that the test's method sends: a window of 512 KiB holds 7,710 such parts.
    let mut parts = stream(&peer, StreamShape { parts: 50_000, part_bytes: 4 }).await;
    let sent = || server.handler.streamed_bytes.load(Ordering::Relaxed) / 4;
    let mut before = usize::MAX;
    while before != sent() {
        before = sent();
        for _ in 0..20 {
            within(peer.call(ECHO_IN_BULK, Bytes::new(), later())).await.unwrap();
        }
    }
    assert!(sent() <= (1 << 19) / (64 + 4), "{} parts were sent", sent());
    let mut read = 0;
    while within(parts.next()).await.unwrap().is_some() {
        read += 1;
    }
    assert_eq!(read, 50_000);
}

#[tokio::test]
async fn dropping_a_stream_drops_the_handler() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let parts = stream(&peer, StreamShape { parts: 1000, part_bytes: 200_000 }).await;
    drop(parts);
    assert!(matches!(server.event().await, Event::Dropped));
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_of_a_stream_fails_it_after_what_had_arrived() {
    let server = TestServer::start().await;
    let peer = server.peer();
    let mut parts = stream(&peer, StreamShape { parts: 1000, part_bytes: 200_000 }).await;
    within(parts.next()).await.unwrap().expect("the first part is there");
    drop(server);
    let error = loop {
        match within(parts.next()).await {
            Ok(part) => assert!(part.is_some(), "the stream has no end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RpcError::ConnectionLost { .. }), "{error}");
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::Unknown, true));
    assert_eq!(parts.trailer(), None);
}

#[tokio::test]
async fn a_deadline_holds_for_the_whole_stream() {
    let server = TestServer::start().await;
    let peer = server.peer();
    let soon = tokio::time::Instant::now() + std::time::Duration::from_millis(50);
    let shape = StreamShape { parts: u32::MAX, part_bytes: 1000 };
    let mut parts = within(peer.call(STREAM, shape.to_bytes(), soon)).await.unwrap().into_stream().unwrap();
    let error = loop {
        match within(parts.next()).await {
            Ok(part) => assert!(part.is_some(), "the stream has no end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RpcError::Deadline { .. }), "{error}");
}

#[tokio::test]
async fn a_part_that_is_too_long_is_refused_at_its_sender() {
    let server = TestServer::start().await;
    let peer = server.peer();
    let longest = StreamShape { parts: 1, part_bytes: 256 << 10 };
    let mut parts = stream(&peer, longest).await;
    assert_eq!(within(parts.next()).await.unwrap().unwrap().len(), 256 << 10);
    let longer = StreamShape { part_bytes: (256 << 10) + 1, ..longest };
    let error = within(peer.call(STREAM, longer.to_bytes(), later())).await.unwrap_err().to_string();
    assert!(error.contains("a part of a reply has 262145 bytes, at most 262144 can be sent"), "{error}");
}
