//! Questions about data are answered by nodes that have the role `read`: a node without it hands each on to one of them
//! (`docs/adr/016-queries-are-computed-by-read-nodes.md`), and passes its answer on as it comes.
//!
//! What is handed on is the request of the query API, so that the answer, errors and limits included, is what the client of
//! that node would be told. What may go wrong: the node is away, or goes away before its answer begins: the next of the
//! ring is asked, and if there is none, this node answers itself. One that goes away later breaks the answer off. A node
//! that was asked by another one never hands on what it was asked.
//!
//! - [`give`]: at the node that a client asks.
//! - [`take`]: at the node that computes the answer.
//! - [`messages`]: what is said.
//! - [`metrics`]: what is counted.

mod give;
pub mod messages;
pub mod metrics;
pub mod take;

use super::query::error::ApiError;
use super::query::question::Asked;
use super::query::stream::Answered;
use super::state::Api;

/// The answer to a client of this node.
pub(super) async fn answer(api: &Api, asked: Asked) -> Result<Answered, ApiError> {
    let node = api.node.get()?;
    if node.computes_queries() {
        return asked.answer(api).await;
    }
    give::answer(api, node, asked).await
}
