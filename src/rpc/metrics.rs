//! What travels between this node and each of its peers.

use std::borrow::Cow;
use std::sync::Arc;

use gyre_ring::NodeId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Text = Cow<'static, str>;
type PeerLabel = [(&'static str, Text); 1];
type ByPeer<M> = Family<PeerLabel, M>;

/// The families of all peers.
#[derive(Clone, Debug, Default)]
pub struct RpcMetrics {
    families: Arc<Families>,
}

#[derive(Debug, Default)]
struct Families {
    calls: ByPeer<Counter>,
    errors: Family<[(&'static str, Text); 2], Counter>,
    client_sent: ByPeer<Counter>,
    client_received: ByPeer<Counter>,
    queue_bytes: ByPeer<Gauge>,
    connections: ByPeer<Gauge>,
    requests: ByPeer<Counter>,
    refused: ByPeer<Counter>,
    server_sent: ByPeer<Counter>,
    server_received: ByPeer<Counter>,
    handshakes_failed: Family<PeerLabel, Counter>,
}

/// Counters of calls to one peer.
#[derive(Debug)]
pub struct PeerCounters {
    /// Calls made.
    pub calls: Counter,
    /// Bytes written to its connections, handshakes aside.
    pub sent_bytes: Counter,
    /// Bytes read from its connections, handshakes aside.
    pub received_bytes: Counter,
    /// Bytes that wait to be sent.
    pub queue_bytes: Gauge,
    /// Connections to it.
    pub connections: Gauge,
    families: Arc<Families>,
    peer: Text,
}

/// Counters of what one peer asks of this node.
#[derive(Debug)]
pub struct CallerCounters {
    /// Requests that came, refused ones included.
    pub requests: Counter,
    /// Requests refused because there was too much to do.
    pub refused: Counter,
    /// Bytes written to its connections, handshakes aside.
    pub sent_bytes: Counter,
    /// Bytes read from its connections, handshakes aside.
    pub received_bytes: Counter,
}

impl RpcMetrics {
    /// Makes the families and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let Families {
            calls,
            errors,
            client_sent,
            client_received,
            queue_bytes,
            connections,
            requests,
            refused,
            server_sent,
            server_received,
            handshakes_failed,
        } = &*metrics.families;
        for (name, help, family) in [
            ("gyre_rpc_calls", "Calls to a peer", calls),
            ("gyre_rpc_sent_bytes", "Bytes sent to a peer that this node calls", client_sent),
            ("gyre_rpc_received_bytes", "Bytes received from a peer that this node calls", client_received),
            ("gyre_rpc_server_requests", "Requests that came from a peer", requests),
            (
                "gyre_rpc_server_refused_requests",
                "Requests refused because there was too much to do",
                refused,
            ),
            ("gyre_rpc_server_sent_bytes", "Bytes sent to a peer that calls this node", server_sent),
            (
                "gyre_rpc_server_received_bytes",
                "Bytes received from a peer that calls this node",
                server_received,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        for (name, help, family) in [
            ("gyre_rpc_queue_bytes", "Bytes that wait to be sent to a peer", queue_bytes),
            ("gyre_rpc_connections", "Connections to a peer", connections),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register("gyre_rpc_errors", "Calls to a peer that failed, by kind of error", errors.clone());
        registry.register(
            "gyre_rpc_server_failed_handshakes",
            "Connections that were closed before they had proved to come from a peer, by reason",
            handshakes_failed.clone(),
        );
        metrics
    }

    /// The counters of calls to a peer.
    pub fn of_peer(&self, peer: &NodeId) -> PeerCounters {
        let families = &self.families;
        let peer: Text = Cow::Owned(peer.as_str().to_owned());
        let counter = |family: &ByPeer<Counter>| family.get_or_create_owned(&[("peer", peer.clone())]);
        let gauge = |family: &ByPeer<Gauge>| family.get_or_create_owned(&[("peer", peer.clone())]);
        PeerCounters {
            calls: counter(&families.calls),
            sent_bytes: counter(&families.client_sent),
            received_bytes: counter(&families.client_received),
            queue_bytes: gauge(&families.queue_bytes),
            connections: gauge(&families.connections),
            families: Arc::clone(families),
            peer,
        }
    }

    /// The counters of what a peer asks.
    pub fn of_caller(&self, peer: &NodeId) -> CallerCounters {
        let families = &self.families;
        let labels = [("peer", Cow::Owned(peer.as_str().to_owned()))];
        let counter = |family: &ByPeer<Counter>| family.get_or_create_owned(&labels);
        CallerCounters {
            requests: counter(&families.requests),
            refused: counter(&families.refused),
            sent_bytes: counter(&families.server_sent),
            received_bytes: counter(&families.server_received),
        }
    }

    /// Counts a connection that came to nothing.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.families.handshakes_failed.get_or_create(&[("reason", Cow::Borrowed(reason))]).inc();
    }
}

impl PeerCounters {
    /// Counts a call that failed.
    pub fn error(&self, kind: &'static str) {
        let labels = [("peer", self.peer.clone()), ("error", Cow::Borrowed(kind))];
        self.families.errors.get_or_create(&labels).inc();
    }
}
