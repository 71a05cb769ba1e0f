//! Answers nodes that read segments of which this one is a replica.
//!
//! The shard's thread copies what may change, as for a query of this node; files are read on threads that may block.
//! Data is handed out only by the run of the process that said that it is complete.

use std::sync::Arc;

use bytes::Bytes;
use gyre_ring::BootId;
use gyre_tsdb::block::Ulid;
use gyre_tsdb::{Matcher, SeriesBatch, SeriesRef};

use super::messages::{LabelsQuestion, LabelsRequest, MatcherOnWire, Place, SelectRequest};
use super::parts::{BATCH_BYTES, PartSender, Texts};
use crate::query::matchers;
use crate::replica::local::Replicas;
use crate::replica::service::segment_of;
use crate::rpc::{Failure, Outcome, ReplySink};
use crate::shard::read::{LabelNames, LabelValues, Read, ReadLabels, SERIES_PER_READ, Select, TimeRange};
use crate::shard::supervisor::ShardHandle;

pub(super) fn failed(text: impl ToString) -> Failure {
    Failure::Failed { text: text.to_string(), is_retryable: true, outcome: Outcome::NotExecuted }
}

/// The shard that is meant; `None` if nothing of it has come here, or a failure that says why it is not the one meant.
pub(super) fn find(
    replicas: &Replicas,
    boot: BootId,
    place: &Place,
) -> Result<Option<Arc<ShardHandle>>, Failure> {
    if place.head.incarnation != replicas.cluster.own().incarnation.0 {
        return Err(failed("this node's data directory is another one"));
    }
    if place.boot != boot.0 {
        return Err(failed("this node was started again since its data was found complete"));
    }
    let segment = segment_of(&place.segment)?;
    replicas.look_at(&segment).map_err(|refusal| failed(format!("refused: {refusal:?}")))
}

fn compile(matchers: &[MatcherOnWire]) -> Result<Vec<Matcher>, Failure> {
    let compile = |matcher: &MatcherOnWire| matcher.compile().map(|compiled| matchers::one(&compiled));
    matchers.iter().map(compile).collect::<Result<_, _>>().map_err(failed)
}

/// Sends series with their chunks.
pub async fn select(
    replicas: &Replicas,
    boot: BootId,
    request: SelectRequest,
    sink: ReplySink,
) -> Result<Bytes, Failure> {
    let Some(shard) = find(replicas, boot, &request.place)? else { return Ok(Bytes::new()) };
    let gone = |_| failed(replicas.shards.rebuild(&shard));
    let range = TimeRange::from(request.range);
    let matchers = compile(&request.matchers)?;
    // Before it is looked what was dropped: what is dropped from here on waits for this.
    let _pin = replicas.shards.pins.pin();
    let released = shard.released.blocks(range);
    let series = shard.actor.ask(Select { matchers, by_key: request.by_key }).await.map_err(gone)?;
    let mut sender = PartSender::new(sink);
    sender.batch(names(&released)).await?;
    for some in series.chunks(SERIES_PER_READ) {
        let read = Read { series: some.to_vec(), range };
        let batch = Arc::new(shard.actor.ask(read).await.map_err(gone)?);
        let mut next = 0;
        while next < batch.series().len() {
            let (from, reading) = (next, batch.clone());
            let piece = tokio::task::spawn_blocking(move || piece(&reading, from)).await;
            let (bytes, behind) = piece.map_err(failed)?.map_err(failed)?;
            sender.batch(bytes).await?;
            next = behind;
        }
    }
    Ok(Bytes::new())
}

/// The first batch of a reply: the blocks that have what was dropped here.
fn names(released: &[Ulid]) -> Vec<u8> {
    released.iter().flat_map(|ulid| ulid.0.to_be_bytes()).collect()
}

/// Some series of a batch as bytes, and the one to go on with. Reads files.
fn piece(batch: &SeriesBatch, from: usize) -> Result<(Vec<u8>, usize), String> {
    let mut bytes = Vec::with_capacity(BATCH_BYTES);
    SeriesBatch::begin_shipped(&mut bytes);
    let mut next = from;
    while next < batch.series().len() && bytes.len() < BATCH_BYTES {
        let series = &batch.series()[next];
        let put = batch.put_shipped(series, &mut bytes);
        put.map_err(|error| format!("series {:?}: {error}", batch.labels(series)))?;
        next += 1;
    }
    Ok((bytes, next))
}

/// Sends label names, values or sets.
pub async fn labels(
    replicas: &Replicas,
    boot: BootId,
    request: LabelsRequest,
    sink: ReplySink,
) -> Result<Bytes, Failure> {
    let Some(shard) = find(replicas, boot, &request.place)? else { return Ok(Bytes::new()) };
    let gone = |_| failed(replicas.shards.rebuild(&shard));
    let range = TimeRange::from(request.range);
    // As for series.
    let _pin = replicas.shards.pins.pin();
    let released = shard.released.blocks(range);
    let mut sender = TextSender { texts: Texts::default(), sender: PartSender::new(sink) };
    sender.sender.batch(names(&released)).await?;
    match request.question {
        LabelsQuestion::Names => {
            for name in shard.actor.ask(LabelNames(range)).await.map_err(gone)? {
                sender.push(name.as_bytes()).await?;
            }
        }
        LabelsQuestion::Values(name) => {
            for value in shard.actor.ask(LabelValues { name, range }).await.map_err(gone)? {
                sender.push(value.as_bytes()).await?;
            }
        }
        LabelsQuestion::Sets(matchers) => {
            let select = Select { matchers: compile(&matchers)?, by_key: false };
            let series: Vec<SeriesRef> = shard.actor.ask(select).await.map_err(gone)?;
            for some in series.chunks(SERIES_PER_READ) {
                let question = ReadLabels { series: some.to_vec(), range: Some(range) };
                let sets = shard.actor.ask(question).await.map_err(gone)?;
                for labels in sets.iter() {
                    sender.push(labels.as_bytes()).await?;
                }
            }
        }
    }
    sender.finish().await
}

struct TextSender {
    texts: Texts,
    sender: PartSender,
}

impl TextSender {
    async fn push(&mut self, text: &[u8]) -> Result<(), Failure> {
        self.texts.push(text);
        if self.texts.is_full() {
            self.sender.batch(std::mem::take(&mut self.texts).into_bytes()).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Bytes, Failure> {
        if !self.texts.is_empty() {
            self.sender.batch(self.texts.into_bytes()).await?;
        }
        Ok(Bytes::new())
    }
}
