//! A part of a write for a shard of which this node is no replica, or cannot be one now: another replica admits it.

use gyre_ring::Replica;
use tokio::time::Instant;

use super::call::{self, head_for};
use super::first::{FirstError, REPLICA_MAX};
use super::messages::{self, AdmitReply, AdmitRequest, AdmittedCounts, RefusedBecause, documents_from_wire};
use super::outgoing::OutgoingBatch;
use crate::cluster::live::LiveCluster;
use crate::rpc::{Outgoing, codec};
use crate::shard::append::{Admission, RequestPart};

/// Has a replica admit samples and see to the others.
pub async fn admit(
    cluster: &LiveCluster,
    replica: &Replica,
    batch: &OutgoingBatch,
) -> Result<Admission, FirstError> {
    let not_here = |text: String| FirstError::NotHere(format!("{}: {text}", replica.node));
    let peer = cluster.peer(replica).ok_or_else(|| not_here("its address is not known".to_owned()))?;
    let request = AdmitRequest { head: head_for(&cluster.state(), replica) };
    let control = codec::encode(&request).map_err(|error| not_here(error.to_string()))?;
    let outgoing = Outgoing { control: control.into(), samples: Some(std::sync::Arc::new(batch.clone())) };
    let reply = call::whole(&peer, messages::ADMIT, outgoing, Instant::now() + REPLICA_MAX);
    let reply = call::while_there(&peer, replica.incarnation.0, reply).await;
    let reply = reply.ok_or_else(|| not_here(call::SILENT.to_owned()))?;
    // Whether it was admitted or not: it may be sent to another replica, where it is a batch of its own.
    match reply.map_err(|error| not_here(error.to_string()))? {
        AdmitReply::Done(counts) => Ok(admission(counts, &batch.part)),
        AdmitReply::Failed(text) => Err(not_here(text)),
        AdmitReply::Refused(refused) => {
            cluster.learn(documents_from_wire(&refused.documents)).await;
            match refused.reason {
                RefusedBecause::Sealed | RefusedBecause::NotMember => Err(FirstError::Stale),
                RefusedBecause::NotActive => Err(not_here("earlier segments are not sealed".to_owned())),
            }
        }
    }
}

/// What was said of places in the message, said of the request's series.
fn admission(counts: AdmittedCounts, part: &RequestPart) -> Admission {
    let travels = |entry: &&crate::shard::append::Entry| {
        !part.samples(entry).is_empty() || !part.histograms(entry).is_empty()
    };
    let series: Vec<u32> = part.entries.iter().filter(travels).map(|entry| entry.series).collect();
    let at = |place: u32| series.get(place as usize).copied();
    Admission {
        stored: counts.stored,
        repeated: counts.repeated,
        histograms: counts.histograms,
        reduced_histograms: counts.reduced_histograms,
        refused: counts.refused.into_iter().map(|(reason, samples)| (reason.into(), samples)).collect(),
        first: counts.first.map(|(place, text)| (at(place).unwrap_or(u32::MAX), text)),
        not_canonical: counts.not_canonical.into_iter().filter_map(at).collect(),
        ..Admission::default()
    }
}

/// The counts of an admission, for the node that passed the samples on.
pub fn counts(admission: Admission) -> AdmittedCounts {
    AdmittedCounts {
        stored: admission.stored,
        repeated: admission.repeated,
        histograms: admission.histograms,
        reduced_histograms: admission.reduced_histograms,
        refused: admission
            .refused
            .into_iter()
            .map(|(reason, samples)| (reason.into_owned(), samples))
            .collect(),
        first: admission.first,
        not_canonical: admission.not_canonical,
    }
}
