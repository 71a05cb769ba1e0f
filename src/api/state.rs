//! What all handlers share.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::HttpRequest;

use super::push::inflight::InflightBytes;
use super::push::pool::BatchPool;
use super::query::stream::SendingBytes;
use crate::config::Config;
use crate::node::handle::NodeHandle;
use crate::telemetry::Telemetry;
use crate::tenant::header::TENANT_HEADER;
use crate::tenant::registry::Tenants;

/// Idle buffers kept for write requests, by count and by bytes.
const POOLED_BUFFERS_MAX: usize = 16;
const POOLED_BYTES_MAX: usize = 16 << 20;

/// How many results of the largest size may be on their way to clients at a time.
const SENDING_RESULTS_MAX: u64 = 2;

/// The state of the HTTP interface: one for all workers.
#[derive(Debug)]
pub struct Api {
    /// Where requests lead, once it is there.
    pub node: Arc<NodeHandle>,
    /// What the node was told.
    pub config: Config,
    /// The tenants met so far.
    pub tenants: Tenants,
    /// The process's metrics.
    pub telemetry: Telemetry,
    /// Buffers of write requests.
    pub pool: BatchPool,
    /// Bytes of write requests in flight.
    pub inflight: InflightBytes,
    /// Bytes of query results being sent.
    pub sending: SendingBytes,
    draining: AtomicBool,
}

impl Api {
    /// The interface of a node.
    pub fn new(node: Arc<NodeHandle>, config: Config) -> Self {
        let telemetry = Telemetry::new(Arc::clone(&node));
        let tenants = Tenants::new(Arc::new(config.tenant_limits()), telemetry.tenants.clone());
        Self {
            node,
            tenants,
            telemetry,
            pool: BatchPool::new(POOLED_BUFFERS_MAX, POOLED_BYTES_MAX),
            inflight: InflightBytes::new(config.push_inflight_bytes_max),
            sending: SendingBytes::new(config.query_bytes_max.saturating_mul(SENDING_RESULTS_MAX)),
            draining: AtomicBool::new(false),
            config,
        }
    }

    /// From now on connections are closed behind each answer: their clients go elsewhere.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the node is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// The id of a request's tenant as sent, or the default one; `None` if a tenant is required and missing.
    pub(super) fn tenant_id<'a>(&self, request: &'a HttpRequest) -> Option<Cow<'a, str>> {
        let header = request.headers().get(TENANT_HEADER).map(|value| value.as_bytes());
        self.config.auth_mode.tenant_id(header)
    }
}
