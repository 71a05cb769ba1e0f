//! What becomes of calls, and of everybody else, when something breaks.

use std::time::Duration;

use bench::rng::Rng;
use bytes::Bytes;
use futures_util::FutureExt;
use gyre::rpc::frame::{CallId, Header, Kind};
use gyre::rpc::handshake::{Grants, accept, connect};
use gyre::rpc::{ConnectError, Lane, Outcome, Peer, PeerConfig, RpcError, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    ECHO, Event, HANG, LONG, TestServer, WAIT, later, local, peer, peer_config, replica, within,
};

#[tokio::test]
async fn a_peer_that_dies_leaves_the_outcome_of_calls_in_flight_unknown() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let calls = [(); 3].map(|()| peer.call(HANG, Bytes::new(), later()));
    for _ in &calls {
        assert!(matches!(server.event().await, Event::Began));
    }
    drop(server);
    for call in calls {
        let error = within(call).await.unwrap_err();
        assert!(matches!(error, RpcError::ConnectionLost { .. }), "{error}");
        assert_eq!((error.outcome(), error.is_retryable()), (Outcome::Unknown, true));
    }
}

#[tokio::test]
async fn a_peer_that_is_not_there_fails_calls_before_they_are_sent_and_the_next_ones_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let peer =
        peer(address, local("aa"), PeerConfig { backoff_min: LONG, backoff_max: LONG, ..peer_config() });
    let error = within(peer.call(ECHO, Bytes::new(), later())).await.unwrap_err();
    assert!(matches!(&error, RpcError::Unreachable { error: ConnectError::Io(_), .. }), "{error}");
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotExecuted, true));
    // Somebody is there now, but the pause between attempts is not over.
    let _server = TestServer::with(ServerConfig::default(), address).await;
    let mut again = peer.call(ECHO, Bytes::new(), later());
    assert!(matches!((&mut again).now_or_never(), Some(Err(RpcError::Unreachable { .. }))));
}

/// Calls until the peer answers.
async fn call_until_answered(peer: &Peer) {
    loop {
        match peer.call(ECHO, Bytes::new(), later()).await {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_restarted_peer_is_called_again() {
    let server = TestServer::start().await;
    let address = server.server.address();
    let peer = server.peer();
    within(call_until_answered(&peer)).await;
    drop(server);
    let error = loop {
        match within(peer.call(ECHO, Bytes::new(), later())).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable(), "{error}");
    let _server = within(restart_at(address)).await;
    within(call_until_answered(&peer)).await;
}

/// The old listener may need a moment to be gone.
async fn restart_at(address: std::net::SocketAddr) -> TestServer {
    loop {
        match TcpListener::bind(address).await {
            Ok(free) => {
                drop(free);
                return TestServer::with(ServerConfig::default(), address).await;
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_server_that_shuts_down_answers_what_it_took_and_nothing_else() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let taken = peer.call(WAIT, Bytes::new(), later());
    assert!(matches!(server.event().await, Event::Began));
    let handler = server.handler.clone();
    let ending = tokio::spawn(server.server.shut_down(LONG));
    // Calls go through until the peer hears of it; then they are refused, and surely not executed.
    let error = loop {
        match within(peer.call(ECHO, Bytes::new(), later())).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RpcError::GoingAway { .. }), "{error}");
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotExecuted, true));
    assert!(!ending.is_finished());
    handler.go_on.notify_one();
    assert_eq!(within(taken).await.unwrap().into_whole().unwrap(), "went on");
    within(ending).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let taken = peer.call(HANG, Bytes::new(), later());
    assert!(matches!(server.event().await, Event::Began));
    within(server.server.shut_down(Duration::from_millis(10))).await;
    let error = within(taken).await.unwrap_err();
    assert!(matches!(error, RpcError::ConnectionLost { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(matches!(within(server.events.recv()).await, Some(Event::Dropped)));
}

/// A peer that is driven by hand from behind the handshake on, and a node's way to it.
async fn by_hand(config: PeerConfig) -> (Peer, gyre::rpc::PendingCall, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(listener.local_addr().unwrap(), local("aa"), config);
    let call = peer.call(ECHO, Bytes::new(), later());
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let grants = Grants { series_ids_max: 100, requests_max: 100 };
    within(accept(&mut stream, &local("b"), grants, LONG, || Some(()))).await.unwrap();
    (peer, call, stream)
}

#[tokio::test]
async fn a_connection_whose_other_end_is_gone_without_a_word_is_given_up() {
    let silence_max = Duration::from_millis(60);
    let config = PeerConfig { ping_interval: Duration::from_millis(20), silence_max, ..peer_config() };
    let (_peer, call, _stream) = by_hand(config).await;
    let error = within(call).await.unwrap_err();
    assert!(error.to_string().contains("it was silent for 60ms"), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);

    // The other way round: a peer that never pings.
    let server = TestServer::with_config(ServerConfig { silence_max, ..ServerConfig::default() }).await;
    let mut stream = connect_by_hand(&server).await;
    assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "the connection is closed");
}

#[tokio::test]
async fn a_slow_peer_that_still_answers_pings_is_not_given_up() {
    let silence_max = Duration::from_millis(100);
    let config = PeerConfig { ping_interval: Duration::from_millis(10), silence_max, ..peer_config() };
    let mut server = TestServer::with_config(ServerConfig { silence_max, ..ServerConfig::default() }).await;
    let peer = server.peer_with(config);
    let waiting = peer.call(WAIT, Bytes::new(), later());
    assert!(matches!(server.event().await, Event::Began));
    // Long enough for either side to have given up.
    let deadline = tokio::time::Instant::now() + 4 * silence_max;
    let error = within(peer.call(HANG, Bytes::new(), deadline)).await.unwrap_err();
    assert!(matches!(error, RpcError::Deadline { .. }), "{error}");
    server.handler.go_on.notify_one();
    within(waiting).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_sends_what_is_no_frame_is_hung_up_on_by_its_caller() {
    let frame = |kind, call, payload: &[u8]| {
        let mut out = Vec::new();
        Header::new(kind, CallId(call)).put(&mut out, |out| out.extend(payload));
        out
    };
    let mut too_long = frame(Kind::Chunk, 1, &[]);
    too_long[..4].copy_from_slice(&(1u32 << 20).to_le_bytes());
    let mut changed = frame(Kind::Reply, 1, b"reply");
    *changed.last_mut().unwrap() ^= 1;
    // More than the window that the request gave.
    let flood: Vec<u8> = (0..9).flat_map(|_| frame(Kind::Chunk, 1, &[0; 256 << 10])).collect();
    for (bytes, text) in [
        (too_long, "Chunk frame of 1048576 bytes, at most 262144 are allowed"),
        (changed, "Reply frame with a wrong checksum"),
        (frame(Kind::Request, 1, &[0; 12]), "frame of kind Request from the wrong side"),
        (frame(Kind::Error, 1, &[]), "malformed Error frame"),
        (flood, "malformed Chunk frame"),
        (vec![0xff; 100], "frame of unknown kind 255"),
    ] {
        let (_peer, call, mut stream) = by_hand(peer_config()).await;
        let writing = tokio::spawn(async move {
            // Fails if the other side has had enough.
            let _ = stream.write_all(&bytes).await;
            stream
        });
        let error = match within(call).await {
            Err(error) => error,
            Ok(reply) => {
                let mut parts = reply.into_stream().unwrap();
                // Not read before all has come: the window must be met.
                within(writing).await.unwrap();
                loop {
                    match within(parts.next()).await {
                        Ok(part) => assert!(part.is_some(), "the stream has no end"),
                        Err(error) => break error,
                    }
                }
            }
        };
        assert!(matches!(error, RpcError::ConnectionLost { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

async fn connect_by_hand(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
    within(connect(&mut stream, &local("aa"), &replica("b"), Lane::Control, LONG)).await.unwrap();
    stream
}

#[tokio::test]
async fn a_caller_that_sends_what_is_no_frame_is_hung_up_on_and_others_are_served() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::new(seed);
    let server = TestServer::start().await;
    let peer = server.peer();
    for round in 0..50 {
        let mut stream = connect_by_hand(&server).await;
        let mut bytes = Vec::new();
        // A good frame or two, then garbage; every other time with the beginning of a header that makes sense.
        for call in 1..=rng.below(3) {
            Header::new(Kind::Ping, CallId(call)).put(&mut bytes, |_| ());
        }
        if round % 2 == 0 {
            Header { kind: Kind::Request, flags: rng.next_u64() as u8, code: 1, call: CallId(7) }
                .put(&mut bytes, |out| out.extend((0..rng.below(100)).map(|_| rng.next_u64() as u8)));
        }
        bytes.extend((0..1000).map(|_| rng.next_u64() as u8));
        let _ = stream.write_all(&bytes).await;
        stream.shutdown().await.unwrap_or_default();
        // Pongs at most; then the end, or a reset.
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(answer.len() < 1000, "{} bytes", answer.len());
        within(peer.call(ECHO, Bytes::new(), later())).await.unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_is_dropped_ends_its_calls() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    let call = peer.call(HANG, Bytes::new(), later());
    assert!(matches!(server.event().await, Event::Began));
    drop(peer);
    let error = within(call).await.unwrap_err();
    assert!(matches!(error, RpcError::Ended { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(matches!(server.event().await, Event::Dropped));
}
