//! Who may talk to whom, and what both sides say if they may not.

use std::time::Duration;

use bytes::Bytes;
use gyre::rpc::frame::{CallId, Header, Kind};
use gyre::rpc::handshake::{Agreement, Grants, HandshakeError, accept, connect};
use gyre::rpc::{
    ClusterId, ConnectError, Lane, LocalNode, Outcome, RpcError, Secret, ServerConfig, Versions,
};
use gyre_ring::{Incarnation, Replica};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{ECHO, LONG, TestServer, later, local, peer, peer_config, replica, within};

const GRANTS: Grants = Grants { series_ids_max: 7, requests_max: 8 };

/// What both sides make of each other.
async fn meet(
    client: &LocalNode,
    wanted: &Replica,
    server: &LocalNode,
) -> (Result<Agreement, HandshakeError>, Result<Agreement, HandshakeError>) {
    let (mut near, mut far) = duplex(1 << 10);
    let connecting = async {
        let result = connect(&mut near, client, wanted, Lane::Append, LONG).await;
        drop(near);
        result
    };
    let accepting = async {
        let result = accept(&mut far, server, GRANTS, LONG, || Some(())).await;
        drop(far);
        result.map(|(agreement, ())| agreement)
    };
    within(async { tokio::join!(connecting, accepting) }).await
}

async fn both_say(client: &LocalNode, wanted: &Replica, server: &LocalNode) -> [String; 2] {
    let (connecting, accepting) = meet(client, wanted, server).await;
    [connecting, accepting].map(|result| result.unwrap_err().to_string())
}

fn versions(min: u16, max: u16, name: &str) -> LocalNode {
    LocalNode { versions: Versions { min, max }, ..local(name) }
}

#[tokio::test]
async fn two_that_fit_agree() {
    let (connecting, accepting) = meet(&local("aa"), &replica("b"), &local("b")).await;
    let agreement = |peer| Agreement { peer: replica(peer), version: 1, lane: Lane::Append, grants: GRANTS };
    assert_eq!(connecting.unwrap(), agreement("b"));
    assert_eq!(accepting.unwrap(), agreement("aa"));
}

#[tokio::test]
async fn adjacent_versions_talk_and_distant_ones_say_why_not() {
    for (client, server) in [((1, 2), (2, 3)), ((2, 3), (1, 2))] {
        let (client, server) = (versions(client.0, client.1, "aa"), versions(server.0, server.1, "b"));
        let (connecting, accepting) = meet(&client, &replica("b"), &server).await;
        assert_eq!((connecting.unwrap().version, accepting.unwrap().version), (2, 2));
    }
    let said = both_say(&versions(1, 2, "aa"), &replica("b"), &versions(3, 3, "b")).await;
    let expected = [
        "this node speaks protocol version 1 to 2, the other side 3: upgrade one version at a time",
        "this node speaks protocol version 3, the other side 1 to 2: upgrade one version at a time",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn another_cluster_is_named_on_both_sides() {
    let other = LocalNode { cluster: ClusterId::new("staging").unwrap(), ..local("aa") };
    let expected = [
        "this node belongs to cluster staging, the other side to cluster test",
        "this node belongs to cluster test, the other side to cluster staging",
    ];
    assert_eq!(both_say(&other, &replica("b"), &local("b")).await, expected);
}

#[tokio::test]
async fn another_node_or_another_disk_is_named_on_both_sides() {
    let digits = |incarnation| Incarnation(incarnation).to_string();
    let text = format!("c#{} was looked for, but b#{} answers here", digits(1), digits(1));
    assert_eq!(both_say(&local("aa"), &replica("c"), &local("b")).await, [text.clone(), text]);
    let before = Replica { incarnation: Incarnation(9), ..replica("b") };
    let text = format!("b#{} was looked for, but b#{} answers here", digits(9), digits(1));
    assert_eq!(both_say(&local("aa"), &before, &local("b")).await, [text.clone(), text]);
}

#[tokio::test]
async fn a_wrong_secret_is_named_on_both_sides() {
    let other = LocalNode { secret: Secret::new(b"another secret of some bytes").unwrap(), ..local("aa") };
    let text = "the two sides have different cluster secrets";
    assert_eq!(both_say(&other, &replica("b"), &local("b")).await, [text, text]);
}

/// Introductions are read by a hand-written peer, so that this also holds their documented layout.
#[tokio::test]
async fn a_proof_that_is_sent_back_proves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let impostor = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 10];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head[..8], b"GYRERPC\0");
        let mut hello = vec![0; usize::from(u16::from_le_bytes([head[8], head[9]]))];
        stream.read_exact(&mut hello).await.unwrap();
        let [one, name] = [1u128, 2].map(u128::to_le_bytes);
        let expected_head = [&[1, 0, 1, 0][..], &[0]].concat();
        let expected_tail = [&b"\x04test"[..], b"\x02aa", &name, b"\x01b", &one].concat();
        assert_eq!((&hello[..5], &hello[37..]), (&expected_head[..], &expected_tail[..]));

        let answer = [&[1, 0, 1, 0][..], &[5; 32], b"\x04test", b"\x01b", &one].concat();
        stream.write_all(b"GYRERPC\0").await.unwrap();
        stream.write_all(&(answer.len() as u16).to_le_bytes()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        let mut proof = [0; 32];
        stream.read_exact(&mut proof).await.unwrap();
        stream.write_all(&[&[0][..], &[0xff; 8], &proof].concat()).await.unwrap();
    };
    let peer = peer(address, local("aa"), peer_config());
    let call = peer.call(ECHO, Bytes::new(), later());
    let (result, ()) = within(async { tokio::join!(call, impostor) }).await;
    assert!(result.unwrap_err().to_string().contains("different cluster secrets"));
}

/// A caller that was written from the document alone.
#[tokio::test]
async fn the_document_suffices_to_call_a_node() {
    let hmac = |parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"correct horse battery staple").unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
    let [one, two] = [1u128, 2].map(u128::to_le_bytes);
    let body = [
        &[1, 0, 1, 0][..],
        &[0],
        &[7; 32],
        b"\x04test",
        b"\x02aa",
        &two,
        b"\x01b",
        &one,
        b"of a later version",
    ]
    .concat();
    let first = [&b"GYRERPC\0"[..], &(body.len() as u16).to_le_bytes(), &body].concat();
    stream.write_all(&first).await.unwrap();
    let mut second = [0; 10 + 4 + 32 + 5 + 2 + 16];
    within(stream.read_exact(&mut second)).await.unwrap();
    assert_eq!(&second[..14], &[&b"GYRERPC\0"[..], &[59, 0], &[1, 0, 1, 0]].concat());
    assert_eq!(&second[46..], &[&b"\x04test"[..], b"\x01b", &one].concat());
    stream.write_all(&hmac(&[&first, &second, b"gyre rpc client"])).await.unwrap();
    let mut fourth = [0; 1 + 4 + 4 + 32];
    within(stream.read_exact(&mut fourth)).await.unwrap();
    let (granted, proof) = fourth[1..].split_at(8);
    assert_eq!((fourth[0], granted), (0, &[0, 0, 16, 0, 0, 4, 0, 0][..]));
    assert_eq!(proof, &hmac(&[&first, &second, granted, b"gyre rpc server"])[..]);

    // A call of method 1, echo: a minute, a window of 1 MiB, two bytes.
    let payload = [&60_000u32.to_le_bytes()[..], &(1u32 << 20).to_le_bytes(), &[2, 0, 0, 0], b"hi"].concat();
    let mut frame = Vec::new();
    Header { kind: Kind::Request, flags: 0, code: 1, call: CallId(5) }
        .put(&mut frame, |out| out.extend(payload));
    stream.write_all(&frame).await.unwrap();
    let mut expected = Vec::new();
    Header::new(Kind::Reply, CallId(5)).put(&mut expected, |out| out.extend(b"hi"));
    let mut reply = vec![0; expected.len()];
    within(stream.read_exact(&mut reply)).await.unwrap();
    assert_eq!(reply, expected);
}

#[tokio::test]
async fn a_refused_connection_fails_calls_before_they_are_sent_and_is_counted() {
    let server = TestServer::start().await;
    let other = LocalNode { secret: Secret::new(b"another secret of some bytes").unwrap(), ..local("aa") };
    let stranger = peer(server.server.address(), other, peer_config());
    let error = within(stranger.call(ECHO, Bytes::new(), later())).await.unwrap_err();
    let is_secret = matches!(
        &error,
        RpcError::Unreachable { error: ConnectError::Handshake(HandshakeError::Secret), .. }
    );
    assert!(is_secret, "{error}");
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotExecuted, false));
    assert_eq!(server.metric(r#"gyre_rpc_server_failed_handshakes_total{reason="secret"}"#), 1);
    within(server.peer().call(ECHO, Bytes::new(), later())).await.unwrap();
}

#[tokio::test]
async fn another_protocol_is_noticed_on_both_sides() {
    let server = TestServer::start().await;
    let mut browser = TcpStream::connect(server.server.address()).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n").await.unwrap();
    // Closed, possibly with a reset since not all was read.
    let mut answer = Vec::new();
    let _ = within(browser.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(listener.local_addr().unwrap(), local("aa"), peer_config());
    let web_server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let call = peer.call(ECHO, Bytes::new(), later());
    let (result, _stream) = within(async { tokio::join!(call, web_server) }).await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("does not speak Gyre's peer protocol"), "{error}");
}

#[tokio::test]
async fn who_says_nothing_is_hung_up_on() {
    let config = ServerConfig { handshake_timeout: Duration::from_millis(20), ..ServerConfig::default() };
    let server = TestServer::with_config(config).await;
    let mut silent = TcpStream::connect(server.server.address()).await.unwrap();
    assert_eq!(within(silent.read(&mut [0])).await.unwrap(), 0, "the connection is closed");
    assert_eq!(server.metric(r#"gyre_rpc_server_failed_handshakes_total{reason="deadline"}"#), 1);

    // And the other way round.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = gyre::rpc::PeerConfig { handshake_timeout: Duration::from_millis(20), ..peer_config() };
    let peer = peer(listener.local_addr().unwrap(), local("aa"), config);
    let error = within(peer.call(ECHO, Bytes::new(), later())).await.unwrap_err();
    assert!(error.to_string().contains("the handshake was not over after 20ms"), "{error}");
    assert!(error.is_retryable());
}
