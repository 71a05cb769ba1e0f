//! Questions about labels: series, names, values.
//!
//! Without matchers the shards' indexes know the answer. With matchers the matching series are looked at, some at a
//! time, so that a question about a million series does not hold up appends.

use std::collections::BTreeSet;
use std::sync::Arc;

use gyre_ring::TenantId;
use gyre_tsdb::Matcher;
use gyre_tsdb::labels::Labels;

use super::{Answer, LabelSet, Node, QueryError, Selection, TRUNCATED};
use crate::actor::Gone;
use crate::query::matchers::to_storage;
use crate::shard::read::{LabelNames, LabelSets, LabelValues, SERIES_PER_READ, Select, TimeRange};
use crate::shard::supervisor::ShardHandle;

impl Node {
    /// The label sets of the selected series.
    pub async fn series(
        &self,
        tenant: &TenantId,
        selection: Selection,
    ) -> Result<Answer<Vec<LabelSet>>, QueryError> {
        let mut series: Vec<LabelSet> = Vec::new();
        // One more than asked for tells that there are more.
        let enough = selection.limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
        // A series comes once for each set of matchers that selects it: there are enough when so many are left without
        // those that came again.
        let mut look_at = enough;
        self.each_label_set(tenant, &selection, |labels| {
            series.push(LabelSet::of(labels));
            if series.len() < look_at {
                return true;
            }
            sort(&mut series);
            look_at = enough.saturating_add(series.len());
            series.len() < enough
        })
        .await?;
        sort(&mut series);
        Ok(truncated(series, selection.limit))
    }

    /// The label names of the selected series, sorted.
    pub async fn label_names(
        &self,
        tenant: &TenantId,
        selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        let mut names = BTreeSet::new();
        if selection.matcher_sets.is_empty() {
            let question = LabelNames(range(&selection));
            for (shard, answer) in self.ask_shards(tenant, |shard| shard.actor.ask(question)) {
                names.extend(answer.await.map_err(|gone| self.gone(&shard, gone))?);
            }
        } else {
            self.each_label_set(tenant, &selection, |labels| {
                labels.iter().for_each(|(name, _)| insert(&mut names, name));
                true
            })
            .await?;
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
        let mut values = BTreeSet::new();
        if selection.matcher_sets.is_empty() {
            let question = LabelValues { name: name.to_owned(), range: range(&selection) };
            for (shard, answer) in self.ask_shards(tenant, |shard| shard.actor.ask(question.clone())) {
                values.extend(answer.await.map_err(|gone| self.gone(&shard, gone))?);
            }
        } else {
            self.each_label_set(tenant, &selection, |labels| {
                labels.get(name).into_iter().for_each(|value| insert(&mut values, value));
                true
            })
            .await?;
        }
        Ok(truncated(values.into_iter().collect(), selection.limit))
    }

    /// Calls `each` with the labels of the selected series until it says that it has seen enough.
    async fn each_label_set(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        mut each: impl FnMut(Labels<'_>) -> bool,
    ) -> Result<(), QueryError> {
        let mut sets: Vec<Vec<Matcher>> =
            selection.matcher_sets.iter().map(|set| to_storage(set)).collect::<Result<_, _>>()?;
        if sets.is_empty() {
            sets.push(Vec::new());
        }
        for matchers in sets {
            let question = Select { matchers };
            for (shard, answer) in self.ask_shards(tenant, |shard| shard.actor.ask(question.clone())) {
                let series = answer.await.map_err(|gone| self.gone(&shard, gone))?;
                for some in series.chunks(SERIES_PER_READ) {
                    let question = LabelSets { series: some.to_vec(), range: range(selection) };
                    let sets = shard.actor.ask(question).await.map_err(|gone| self.gone(&shard, gone))?;
                    for labels in sets.iter().filter_map(|bytes| Labels::parse(bytes).ok()) {
                        if !each(labels) {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks all of a tenant's shards at once; a tenant that never wrote has none.
    fn ask_shards<F>(
        &self,
        tenant: &TenantId,
        ask: impl Fn(&ShardHandle) -> F,
    ) -> Vec<(Arc<ShardHandle>, F)> {
        let shards = self.storage.shards.get(tenant);
        let shards = shards.iter().flat_map(|tenant| tenant.all());
        shards.map(|shard| (shard.clone(), ask(&shard))).collect()
    }

    fn gone(&self, shard: &Arc<ShardHandle>, _: Gone) -> QueryError {
        QueryError::Internal(self.storage.shards.rebuild(shard).to_string())
    }
}

fn range(selection: &Selection) -> TimeRange {
    TimeRange { min_ms: selection.start_ms, max_ms: selection.end_ms }
}

/// Puts label sets into order, each once.
fn sort(series: &mut Vec<LabelSet>) {
    series.sort_unstable();
    series.dedup();
}

fn insert(texts: &mut BTreeSet<String>, text: &str) {
    if !texts.contains(text) {
        texts.insert(text.to_owned());
    }
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
