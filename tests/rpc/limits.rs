//! What strangers and peers can make a node hold is bounded, and who is over a bound is told.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use gyre::rpc::frame::{CallId, HEADER_BYTES, Header, Kind};
use gyre::rpc::handshake::{Grants, accept, connect};
use gyre::rpc::{Lane, Outcome, PeerConfig, RpcError, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    ECHO, Event, HANG, LONG, TestServer, WAIT, later, local, peer, peer_config, replica, within,
};

#[tokio::test]
async fn strangers_push_each_other_out_and_keep_no_peer_out() {
    let server = TestServer::with_config(ServerConfig { strangers_max: 3, ..ServerConfig::default() }).await;
    let mut strangers = Vec::new();
    for _ in 0..10 {
        strangers.push(TcpStream::connect(server.server.address()).await.unwrap());
    }
    within(server.peer().call(ECHO, Bytes::new(), later())).await.unwrap();
    for stranger in &mut strangers[..7] {
        assert_eq!(within(stranger.read(&mut [0])).await.unwrap(), 0, "pushed out");
    }
}

#[tokio::test]
async fn connections_past_the_limit_are_told_so() {
    let server =
        TestServer::with_config(ServerConfig { connections_max: 1, ..ServerConfig::default() }).await;
    let first = server.peer();
    within(first.call(ECHO, Bytes::new(), later())).await.unwrap();
    let error = within(server.peer().call(ECHO, Bytes::new(), later())).await.unwrap_err();
    assert!(error.to_string().contains("the other side has no room for more connections"), "{error}");
    assert_eq!((error.is_retryable(), error.outcome()), (true, Outcome::NotExecuted));
    within(first.call(ECHO, Bytes::new(), later())).await.unwrap();
}

#[tokio::test]
async fn requests_past_the_servers_bytes_are_refused_and_those_within_go_on() {
    let config = ServerConfig { request_bytes_max: 1000, ..ServerConfig::default() };
    let mut server = TestServer::with_config(config).await;
    let peer = server.peer();
    let waiting = peer.call(WAIT, vec![0; 800], later());
    assert!(matches!(server.event().await, Event::Began));
    let error = within(peer.call(ECHO, vec![0; 800], later())).await.unwrap_err();
    assert!(matches!(error, RpcError::PeerOverloaded { .. }), "{error}");
    assert_eq!((error.is_retryable(), error.outcome()), (true, Outcome::NotExecuted));
    assert_eq!(server.metric(r#"gyre_rpc_server_refused_requests_total{peer="aa"}"#), 1);
    within(peer.call(ECHO, vec![0; 100], later())).await.unwrap();
    server.handler.go_on.notify_one();
    assert_eq!(within(waiting).await.unwrap().into_whole().unwrap(), "went on");
    within(peer.call(ECHO, vec![0; 800], later())).await.unwrap();
}

/// A peer that does nothing after the handshake, and a node's way to it.
async fn deaf_peer(config: PeerConfig) -> (gyre::rpc::Peer, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (peer(listener.local_addr().unwrap(), local("aa"), config), listener)
}

async fn accept_by_hand(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let grants = Grants { series_ids_max: 100, requests_max: 1000 };
    accept(&mut stream, &local("b"), grants, LONG, || Some(())).await.unwrap();
    stream
}

#[tokio::test]
async fn a_full_queue_refuses_calls_at_once() {
    const QUEUE_BYTES: usize = 32 << 20;
    const CALL_BYTES: usize = 4 << 20;
    let (peer, listener) = deaf_peer(PeerConfig { queue_bytes_max: QUEUE_BYTES, ..peer_config() }).await;
    let mut calls = vec![peer.call(ECHO, vec![0; CALL_BYTES], later())];
    let _stream = within(accept_by_hand(&listener)).await;
    // The peer reads nothing: what the sockets hold is little beside the queue.
    let error = loop {
        assert!(calls.len() < 1000, "nothing bounds the queue");
        let mut call = peer.call(ECHO, vec![0; CALL_BYTES], later());
        match (&mut call).now_or_never() {
            Some(result) => break result.unwrap_err(),
            None => calls.push(call),
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(error, RpcError::Overloaded { .. }), "{error}");
    assert_eq!((error.is_retryable(), error.outcome()), (true, Outcome::NotExecuted));
    assert!(peer.queued_bytes() <= QUEUE_BYTES);
    // Whoever loses interest gives room to others.
    calls.clear();
    assert_eq!(peer.queued_bytes(), 0);
}

#[tokio::test]
async fn no_more_requests_are_sent_than_the_peer_answers_at_a_time() {
    let (peer, listener) = deaf_peer(peer_config()).await;
    let first = peer.call(ECHO, Bytes::new(), later());
    let mut stream = {
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let grants = Grants { series_ids_max: 100, requests_max: 2 };
        within(accept(&mut stream, &local("b"), grants, LONG, || Some(()))).await.unwrap();
        stream
    };
    let others: Vec<_> = (0..10).map(|_| peer.call(ECHO, Bytes::new(), later())).collect();
    let mut requests = [[0; HEADER_BYTES + 12]; 2];
    for request in &mut requests {
        within(stream.read_exact(request)).await.unwrap();
    }
    // An answer makes room for one more, which is the third.
    let id = |request: &[u8]| Header::parse(request.first_chunk().unwrap(), true).unwrap().header.call;
    let mut reply = Vec::new();
    Header::new(Kind::Reply, id(&requests[0])).put(&mut reply, |_| ());
    assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    stream.write_all(&reply).await.unwrap();
    within(first).await.unwrap();
    let mut third = [0; HEADER_BYTES + 12];
    within(stream.read_exact(&mut third)).await.unwrap();
    assert_eq!(id(&third), CallId(3));
    drop(others);
}

/// Pings are answered, and their answers never read: at some point the server must stop reading.
#[tokio::test]
async fn a_flooding_peer_that_does_not_read_is_not_read_either_and_others_are_served() {
    let server = TestServer::start().await;
    let mut flooder = TcpStream::connect(server.server.address()).await.unwrap();
    within(connect(&mut flooder, &local("flood"), &replica("b"), Lane::Control, LONG)).await.unwrap();
    let mut pings = Vec::new();
    for _ in 0..10_000 {
        Header::new(Kind::Ping, CallId(0)).put(&mut pings, |_| ());
    }
    let mut sent_bytes = 0;
    let peer = server.peer();
    // Many more than sockets hold. Only a server that stops reading makes this writer wait.
    let blocked = loop {
        assert!(sent_bytes < 1 << 30, "the server holds a gibibyte of answers");
        // All pings are alike: go on within the one that was cut.
        match flooder.try_write(&pings[sent_bytes % HEADER_BYTES..]) {
            Ok(bytes) => sent_bytes += bytes,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                let before = server.metric(r#"gyre_rpc_server_received_bytes_total{peer="flood"}"#);
                // The server gets time to read on if it would.
                for _ in 0..50 {
                    within(peer.call(ECHO, Bytes::new(), later())).await.unwrap();
                }
                let after = server.metric(r#"gyre_rpc_server_received_bytes_total{peer="flood"}"#);
                if before == after {
                    break after;
                }
            }
        }
    };
    assert!(blocked < sent_bytes as u64);
}

#[tokio::test]
async fn calls_given_up_before_they_are_sent_leave_nothing_behind() {
    let (peer, _listener) = deaf_peer(peer_config()).await;
    let peer = Arc::new(peer);
    for _ in 0..10_000 {
        drop(peer.call(HANG, vec![0; 100_000], later()));
    }
    assert_eq!(peer.queued_bytes(), 0);
}
