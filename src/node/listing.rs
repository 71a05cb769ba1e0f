//! The series that a selection selects, listed some at a time.
//!
//! Only the series' numbers are held from the beginning; their labels are asked for batch by batch, the next while one is
//! looked at. So a listing of a million series neither fills the memory nor holds up appends. The series come shard by
//! shard, in the order in which they were made.

use std::pin::Pin;
use std::sync::Arc;

use gyre_ring::TenantId;
use gyre_tsdb::{Matcher, SeriesRef};

use super::labels::range;
use super::{Node, QueryError, Selection};
use crate::actor::{ActorRef, Gone};
use crate::query::matchers::to_storage;
use crate::shard::actor::ShardActor;
use crate::shard::read::{LabelSets, ReadLabels, SERIES_PER_READ, Select, TimeRange};
use crate::shard::supervisor::{ShardHandle, Shards};

type Asked = Pin<Box<dyn Future<Output = Result<LabelSets, Gone>> + Send>>;

/// What is still to be listed.
pub struct SeriesListing {
    shards: Arc<Shards>,
    range: TimeRange,
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
}

impl Node {
    /// The label sets of the selected series, each once.
    pub async fn series(
        &self,
        tenant: &TenantId,
        selection: &Selection,
    ) -> Result<SeriesListing, QueryError> {
        let mut sets: Vec<Vec<Matcher>> =
            selection.matcher_sets.iter().map(|set| to_storage(set)).collect::<Result<_, _>>()?;
        if sets.is_empty() {
            sets.push(Vec::new());
        }
        let shards = self.storage.shards.clone();
        let tenant = shards.get(tenant);
        let tenant_shards = tenant.iter().flat_map(|tenant| &tenant.shards);
        // All at once: each shard looks while the others do.
        let questions: Vec<_> = tenant_shards
            .map(|shard| {
                let actor = shard.actor.pinned();
                let answers: Vec<_> =
                    sets.iter().map(|set| actor.ask(Select { matchers: set.clone() })).collect();
                (shard, actor, answers)
            })
            .collect();
        let mut parts = Vec::new();
        for (shard, actor, answers) in questions {
            let mut series = Vec::new();
            for answer in answers {
                series.append(&mut answer.await.map_err(|gone| explain(&shards, shard, gone))?);
            }
            if sets.len() > 1 {
                series.sort_unstable();
                series.dedup();
            }
            parts.push(Part { shard: shard.clone(), actor, series: series.into_iter() });
        }
        parts.reverse();
        let mut listing = SeriesListing { shards, range: range(selection), parts, asked: None };
        listing.ask();
        Ok(listing)
    }
}

impl SeriesListing {
    /// The label sets of the next few series, perhaps of none; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<LabelSets>, QueryError> {
        let Some((shard, asked)) = self.asked.take() else { return Ok(None) };
        let sets = asked.await.map_err(|gone| explain(&self.shards, &shard, gone))?;
        self.ask();
        Ok(Some(sets))
    }

    /// Sends the next question.
    fn ask(&mut self) {
        while let Some(part) = self.parts.last_mut() {
            let series: Vec<SeriesRef> = part.series.by_ref().take(SERIES_PER_READ).collect();
            if !series.is_empty() {
                let question = ReadLabels { series, range: self.range };
                self.asked = Some((part.shard.clone(), Box::pin(part.actor.ask(question))));
                return;
            }
            self.parts.pop();
        }
    }
}

fn explain(shards: &Arc<Shards>, shard: &Arc<ShardHandle>, _: Gone) -> QueryError {
    QueryError::Internal(shards.rebuild(shard).to_string())
}
