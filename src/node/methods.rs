//! What other nodes may call: methods of replicas, and questions that they hand on.

use std::sync::Arc;

use crate::api::handing::messages::ASK;
use crate::replica::service::ReplicaService;
use crate::rpc::{Handler, ReplySink, Request, Response};

/// Gives each request to whom it is for.
pub(super) struct Methods {
    /// Answers for the replicas here.
    pub(super) replicas: ReplicaService,
    /// Answers what another node's client has asked.
    pub(super) questions: Arc<dyn Handler>,
}

impl Handler for Methods {
    fn handle(&self, request: Request, sink: ReplySink) -> Response {
        match request.method == ASK.number {
            true => self.questions.handle(request, sink),
            false => self.replicas.handle(request, sink),
        }
    }
}
