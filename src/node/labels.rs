//! Questions about labels: series, names, values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_ring::TenantId;
use gyre_tsdb::labels::Labels;

use super::{Answer, LabelPairs, Node, QueryError, Selection};
use crate::actor::Gone;
use crate::query::matchers::to_storage;
use crate::shard::read::{LabelNames, LabelScope, LabelSets, LabelValues, TimeRange};
use crate::shard::supervisor::ShardHandle;

/// What Prometheus says when a limit cut the answer short.
const TRUNCATED: &str = "results truncated due to limit";

impl Node {
    /// The label sets of the selected series.
    pub async fn series(
        &self,
        tenant: &TenantId,
        selection: Selection,
    ) -> Result<Answer<Vec<LabelPairs>>, QueryError> {
        let limit = selection.limit;
        // One more than asked for tells whether there are more.
        let message = LabelSets {
            limit: limit.map_or(usize::MAX, |limit| limit.saturating_add(1)),
            scope: scope(&selection)?,
        };
        let mut sets = BTreeMap::new();
        for (shard, answer) in self.each_shard(tenant, |shard| shard.actor.ask(message.clone())) {
            for bytes in answer.await.map_err(|gone| self.gone(&shard, gone))? {
                if let Ok(labels) = Labels::parse(&bytes) {
                    let pairs: LabelPairs =
                        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                    sets.insert(pairs, ());
                }
            }
        }
        Ok(truncated(sets.into_keys().collect(), limit))
    }

    /// The label names of the selected series, sorted.
    pub async fn label_names(
        &self,
        tenant: &TenantId,
        selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        let message = LabelNames(scope(&selection)?);
        let mut names = BTreeSet::new();
        for (shard, answer) in self.each_shard(tenant, |shard| shard.actor.ask(message.clone())) {
            names.extend(answer.await.map_err(|gone| self.gone(&shard, gone))?);
        }
        Ok(truncated(names.into_iter().collect(), selection.limit))
    }

    /// The values of a label in the selected series, sorted.
    pub async fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        let message = LabelValues { name: name.to_owned(), scope: scope(&selection)? };
        let mut values = BTreeSet::new();
        for (shard, answer) in self.each_shard(tenant, |shard| shard.actor.ask(message.clone())) {
            values.extend(answer.await.map_err(|gone| self.gone(&shard, gone))?);
        }
        Ok(truncated(values.into_iter().collect(), selection.limit))
    }

    /// Asks all of a tenant's shards at once; a tenant that never wrote has none.
    fn each_shard<F>(
        &self,
        tenant: &TenantId,
        ask: impl Fn(&ShardHandle) -> F,
    ) -> Vec<(Arc<ShardHandle>, F)> {
        let shards = self.storage.shards.get(tenant);
        let shards = shards.iter().flat_map(|tenant| &tenant.shards);
        shards.map(|shard| (shard.clone(), ask(shard))).collect()
    }

    fn gone(&self, shard: &Arc<ShardHandle>, _: Gone) -> QueryError {
        QueryError::Internal(self.storage.shards.rebuild(shard).to_string())
    }
}

fn scope(selection: &Selection) -> Result<LabelScope, QueryError> {
    let any_of = selection.matcher_sets.iter().map(|set| to_storage(set)).collect::<Result<_, _>>()?;
    Ok(LabelScope { any_of, range: TimeRange { min_ms: selection.start_ms, max_ms: selection.end_ms } })
}

fn truncated<T>(mut values: Vec<T>, limit: Option<usize>) -> Answer<Vec<T>> {
    let mut answer = Answer::plain(Vec::new());
    if let Some(limit) = limit.filter(|limit| *limit < values.len()) {
        values.truncate(limit);
        answer.warnings.push(TRUNCATED.to_owned());
    }
    answer.value = values;
    answer
}
