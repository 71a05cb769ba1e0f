//! The series that a selection selects, listed some at a time.
//!
//! A shard all of whose data is here is listed by its series' numbers: only these are held from the beginning, and the
//! labels asked for batch by batch, the next while one is looked at. So a listing of a million series neither fills the
//! memory nor holds up appends. A shard that has several segments, or one at another node, is listed at once, since its
//! series may come several times; so are all shards where there are blocks. The series come shard by shard, in no order.
//!
//! Which series have samples in the range is found out before the first is sent, while a pin is held: a window of time that
//! is dropped while a client takes its time does not hide a series. Labels stay until all are sent, by a pin of their own.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::try_join_all;
use gyre_promql::storage::LabelMatcher;
use gyre_ring::TenantId;
use gyre_tsdb::SeriesRef;

use super::blocks::{BlockTries, Listed};
use super::labels::{SourceFailed, check_named, later, next_of, range};
use super::{Node, QueryError, Selection};
use crate::actor::{ActorRef, Gone};
use crate::archive::read::failure::{BlockFailure, warning};
use crate::archive::read::select::BlockQuery;
use crate::query::blocks::PlanBlocks;
use crate::query::matchers;
use crate::replica::read::messages::{LabelsQuestion, MatcherOnWire};
use crate::replica::read::plan::{ReadPlan, SegmentSource};
use crate::shard::actor::ShardActor;
use crate::shard::pins::ReadPin;
use crate::shard::read::{
    LabelSets, Overlapping, ReadLabels, SERIES_PER_LOOK, SERIES_PER_READ, Select, TimeRange,
};
use crate::shard::supervisor::{ShardHandle, Shards};

type Asked = Pin<Box<dyn Future<Output = Result<LabelSets, Gone>> + Send>>;

/// What is still to be listed.
pub struct SeriesListing {
    /// What may be missing.
    pub warnings: Vec<String>,
    shards: Arc<Shards>,
    /// Listed already, each once.
    ready: Option<LabelSets>,
    /// In reverse: the next one is the last.
    parts: Vec<Part>,
    /// The question for the first series of the next part that has any.
    asked: Option<(Arc<ShardHandle>, Asked)>,
}

/// The series of one shard that are still to be asked for.
struct Part {
    shard: Arc<ShardHandle>,
    actor: ActorRef<ShardActor>,
    series: std::vec::IntoIter<SeriesRef>,
    /// They are not forgotten before they are sent.
    _pin: ReadPin,
}

impl Node {
    /// The label sets of the selected series, each once.
    pub async fn series(
        &self,
        tenant: &TenantId,
        selection: &Selection,
    ) -> Result<SeriesListing, QueryError> {
        let sets = selection.matcher_sets.iter().map(|set| matchers::compile(set));
        let mut sets: Vec<Vec<LabelMatcher>> = sets.collect::<Result<_, _>>()?;
        if sets.is_empty() {
            sets.push(Vec::new());
        }
        let range = range(selection);
        // Before it is looked which blocks there are: what is dropped from here on waits for this.
        let _pin = self.storage.shards.pins.pin();
        let labels = self.storage.shards.label_pins.pin();
        let (mut avoid, mut tries) = (Vec::new(), BlockTries::default());
        loop {
            let plan = self.plan(tenant, &avoid).await?;
            let Listed { blocks, warning, .. } = self.blocks_of(tenant, selection, &tries, later()).await?;
            let in_blocks = match blocks.query.clone() {
                None => InBlocks::default(),
                Some(query) => {
                    let sets = sets.clone();
                    let read = move || in_blocks(&query, &sets, range);
                    match self.read_blocks(read).await? {
                        Ok(found) => found,
                        Err(failure) => {
                            self.again_without(tenant, failure, &mut tries).await?;
                            continue;
                        }
                    }
                }
            };
            match self.list(&plan, &blocks, &sets, range, in_blocks.sets, &labels).await {
                Ok(listing) => {
                    let mut warnings = plan.warnings;
                    warnings.extend(warning);
                    warnings.extend(in_blocks.warning);
                    return Ok(SeriesListing { warnings, ..listing });
                }
                Err(failed) => self.again_after(tenant, failed, &plan, &mut avoid, &mut tries).await?,
            }
        }
    }

    async fn list(
        &self,
        plan: &ReadPlan,
        blocks: &PlanBlocks,
        sets: &[Vec<LabelMatcher>],
        range: TimeRange,
        in_blocks: BTreeSet<Vec<u8>>,
        labels: &ReadPin,
    ) -> Result<SeriesListing, SourceFailed> {
        check_named(blocks, &plan.named_here(blocks, range))?;
        let mut questions = Vec::new();
        let is_only_here = in_blocks.is_empty();
        let mut several = in_blocks;
        for group in &plan.groups {
            match group.as_slice() {
                // All at once: each shard looks while the others do.
                [SegmentSource::Local(shard)] if is_only_here => {
                    let actor = shard.actor.pinned();
                    let answers: Vec<_> = sets.iter().map(|set| actor.ask(select(set))).collect();
                    questions.push((shard, actor, answers));
                }
                sources => {
                    for source in sources {
                        self.collect(source, blocks, sets, range, &mut several).await?;
                    }
                }
            }
        }
        let parts = questions.into_iter().map(|(shard, actor, answers)| async move {
            let mut selected = Vec::new();
            for answer in answers {
                selected.append(&mut answer.await.map_err(|gone| self.gone(shard, gone))?);
            }
            if sets.len() > 1 {
                selected.sort_unstable();
                selected.dedup();
            }
            let mut series = Vec::new();
            for some in selected.chunks(SERIES_PER_LOOK) {
                let question = Overlapping { series: some.to_vec(), range };
                series.append(&mut actor.ask(question).await.map_err(|gone| self.gone(shard, gone))?);
            }
            Ok(Part { shard: shard.clone(), actor, series: series.into_iter(), _pin: labels.clone() })
        });
        let mut parts = try_join_all(parts).await?;
        parts.reverse();
        let ready = (!several.is_empty()).then(|| several.iter().map(Vec::as_slice).collect());
        let shards = self.storage.shards.clone();
        let warnings = Vec::new();
        let mut listing = SeriesListing { warnings, shards, ready, parts, asked: None };
        listing.ask();
        Ok(listing)
    }

    /// Adds the label sets of one source.
    async fn collect(
        &self,
        source: &SegmentSource,
        blocks: &PlanBlocks,
        sets: &[Vec<LabelMatcher>],
        range: TimeRange,
        to: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), SourceFailed> {
        for set in sets {
            match source {
                SegmentSource::Local(shard) => {
                    let gone = |gone| self.gone(shard, gone);
                    let series = shard.actor.ask(select(set)).await.map_err(gone)?;
                    for some in series.chunks(SERIES_PER_READ) {
                        let question = ReadLabels { series: some.to_vec(), range: Some(range) };
                        let sets = shard.actor.ask(question).await.map_err(gone)?;
                        to.extend(sets.iter().map(|labels| labels.as_bytes().to_vec()));
                    }
                }
                SegmentSource::Remote(segment) => {
                    let question = LabelsQuestion::Sets(set.iter().map(MatcherOnWire::from).collect());
                    let mut remote = segment.labels(question, range, later());
                    while let Some(batch) = next_of(&mut remote, blocks).await? {
                        to.extend(batch);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What blocks have of a selection.
#[derive(Default)]
struct InBlocks {
    sets: BTreeSet<Vec<u8>>,
    warning: Option<String>,
}

fn in_blocks(
    query: &BlockQuery,
    sets: &[Vec<LabelMatcher>],
    range: TimeRange,
) -> Result<InBlocks, BlockFailure> {
    let mut found = BTreeSet::new();
    for set in sets {
        let matchers: Vec<_> = set.iter().map(matchers::one).collect();
        let mut series = query.select(&matchers, range)?;
        while let Some(some) = series.next_labels()? {
            found.extend(some.iter().map(|labels| labels.as_bytes().to_vec()));
        }
    }
    Ok(InBlocks { sets: found, warning: warning(&query.lost()) })
}

fn select(matchers: &[LabelMatcher]) -> Select {
    Select { matchers: matchers.iter().map(matchers::one).collect(), by_key: false }
}

impl SeriesListing {
    /// The label sets of the next few series, perhaps of none; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<LabelSets>, QueryError> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
        }
        let Some((shard, asked)) = self.asked.take() else { return Ok(None) };
        let gone = |_| QueryError::Internal(self.shards.rebuild(&shard).to_string());
        let sets = asked.await.map_err(gone)?;
        self.ask();
        Ok(Some(sets))
    }

    /// Sends the next question.
    fn ask(&mut self) {
        while let Some(part) = self.parts.last_mut() {
            let series: Vec<SeriesRef> = part.series.by_ref().take(SERIES_PER_READ).collect();
            if !series.is_empty() {
                let question = ReadLabels { series, range: None };
                self.asked = Some((part.shard.clone(), Box::pin(part.actor.ask(question))));
                return;
            }
            self.parts.pop();
        }
    }
}
