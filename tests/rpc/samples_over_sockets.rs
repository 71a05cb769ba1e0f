//! Samples over a connection: what it remembers, also across refusals, and that a new one begins anew.

use std::sync::Arc;

use bytes::Bytes;
use gyre::rpc::samples::SampleBatch;
use gyre::rpc::{Outcome, Outgoing, Peer, PendingCall, RpcError, ServerConfig};

use crate::samples::{Batch, floats, read_back};
use crate::support::{APPEND, TestServer, later, peer, within};

fn append(peer: &Peer, batch: &Batch) -> PendingCall {
    let request = Outgoing { control: Bytes::from_static(b"batch"), samples: Some(Arc::new(batch.clone())) };
    peer.call(APPEND, request, later())
}

/// A batch of these series, one sample each.
fn batch(keys: std::ops::Range<u128>, t_ms: i64) -> Batch {
    let labels = |key: u128| format!("series {key}, whose labels take some bytes");
    let series = keys.map(|key| floats(key, &labels(key), &[(t_ms, t_ms as f64 / 7.0)])).collect();
    Batch { segment: "acme/0-of-1@1".into(), series, repeats_labels: false }
}

/// Whether the labels of all series came, or of none.
fn has_labels(batch: &SampleBatch) -> bool {
    let with_labels = batch.series.iter().filter(|series| batch.labels(series).is_some()).count();
    assert!(with_labels == 0 || with_labels == batch.series.len());
    with_labels > 0
}

fn assert_same(sent: &Batch, got: &SampleBatch) {
    let labels = sent.series.iter().map(|series| (series.key, series.labels.clone()));
    let got = read_back(got, &mut labels.collect());
    let parts = |series: &crate::samples::Given| (series.key, series.samples.clone());
    assert!(got.iter().map(parts).eq(sent.series.iter().map(parts)));
}

#[tokio::test]
async fn labels_travel_once_for_a_connection_and_again_on_a_new_one() {
    let mut server = TestServer::start().await;
    let peer = server.peer();
    for (round, expected) in [true, false, false].into_iter().enumerate() {
        let sent = batch(0..1000, 15_000 * round as i64);
        within(append(&peer, &sent)).await.unwrap();
        let got = server.samples().await;
        assert_same(&sent, &got);
        assert_eq!(has_labels(&got), expected, "round {round}");
    }
    let other = server.peer();
    let sent = batch(0..1000, 60_000);
    within(append(&other, &sent)).await.unwrap();
    let got = server.samples().await;
    assert_same(&sent, &got);
    assert!(has_labels(&got));
}

#[tokio::test]
async fn a_refused_batch_does_not_confuse_those_that_follow() {
    let config = ServerConfig { request_bytes_max: 100_000, ..ServerConfig::default() };
    let mut server = TestServer::with_config(config).await;
    let waiting_peer =
        peer(server.server.address(), crate::support::local("waiter"), crate::support::peer_config());
    let waiting = waiting_peer.call(crate::support::WAIT, vec![0; 99_000], later());
    server.event().await;
    let peer = server.peer();
    let error = within(append(&peer, &batch(0..1000, 0))).await.unwrap_err();
    assert!(matches!(error, RpcError::PeerOverloaded { .. }), "{error}");
    assert_eq!(error.outcome(), Outcome::NotExecuted);
    server.handler.go_on.notify_one();
    within(waiting).await.unwrap();

    // The receiver never got the labels; it can say so, and they come again.
    for (repeats_labels, expected) in [(false, false), (true, true), (false, false)] {
        let sent = Batch { repeats_labels, ..batch(0..1000, 15_000) };
        within(append(&peer, &sent)).await.unwrap();
        let got = server.samples().await;
        assert_same(&sent, &got);
        assert_eq!(has_labels(&got), expected);
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_sent_does_not_confuse_those_that_follow() {
    let config = ServerConfig { series_ids_max: 1000, ..ServerConfig::default() };
    let mut server = TestServer::with_config(config).await;
    let peer = server.peer();
    within(append(&peer, &batch(0..1000, 0))).await.unwrap();
    server.samples().await;
    let error = within(append(&peer, &batch(0..1001, 0))).await.unwrap_err();
    assert!(error.to_string().contains("1001 series, at most 1000 can be sent"), "{error}");
    assert_eq!((error.outcome(), error.is_retryable()), (Outcome::NotExecuted, false));
    // One that is too long once it is encoded: 17 MiB of labels.
    let mut long = batch(0..17, 0);
    for series in &mut long.series {
        series.labels = vec![b'x'; 1 << 20];
    }
    let error = within(append(&peer, &long)).await.unwrap_err();
    assert!(matches!(error, RpcError::TooLarge { .. }), "{error}");
    let sent = batch(0..1000, 15_000);
    within(append(&peer, &sent)).await.unwrap();
    let got = server.samples().await;
    assert_same(&sent, &got);
    assert!(has_labels(&got), "the next batch begins anew");
}

#[tokio::test]
async fn more_series_than_a_connection_remembers_are_sent_anew() {
    let config = ServerConfig { series_ids_max: 100, ..ServerConfig::default() };
    let mut server = TestServer::with_config(config).await;
    let peer = server.peer();
    for round in 0..20 {
        let sent = batch(30 * round..30 * round + 60, round as i64);
        within(append(&peer, &sent)).await.unwrap();
        let got = server.samples().await;
        assert_eq!(got.series.len(), 60);
        let labels: std::collections::HashMap<_, _> =
            sent.series.iter().map(|series| (series.key, series.labels.clone())).collect();
        for series in &got.series {
            if let Some(got) = got.labels(series) {
                assert_eq!(got, labels[&series.key.0]);
            }
        }
        assert_same(&sent, &got);
    }
}
