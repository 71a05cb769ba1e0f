//! Questions about labels: names, values.
//!
//! Without matchers the shards' indexes know the answer. With matchers the matching series are listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use gyre_ring::TenantId;
use gyre_tsdb::labels::Labels;

use super::{Answer, Node, QueryError, Selection, cut};
use crate::actor::Gone;
use crate::shard::read::{LabelNames, LabelValues, TimeRange};
use crate::shard::supervisor::ShardHandle;

impl Node {
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
            let each = |labels: Labels<'_>| labels.iter().for_each(|(name, _)| insert(&mut names, name));
            self.each_label_set(tenant, &selection, each).await?;
        }
        Ok(limited(names, selection.limit))
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
            let each = |labels: Labels<'_>| {
                labels.get(name).into_iter().for_each(|value| insert(&mut values, value))
            };
            self.each_label_set(tenant, &selection, each).await?;
        }
        Ok(limited(values, selection.limit))
    }

    /// Calls `each` with the labels of the selected series.
    async fn each_label_set(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        mut each: impl FnMut(Labels<'_>),
    ) -> Result<(), QueryError> {
        let mut listing = self.series(tenant, selection).await?;
        while let Some(sets) = listing.next().await? {
            sets.iter().for_each(&mut each);
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
        let shards = shards.iter().flat_map(|tenant| &tenant.shards);
        shards.map(|shard| (shard.clone(), ask(shard))).collect()
    }

    fn gone(&self, shard: &Arc<ShardHandle>, _: Gone) -> QueryError {
        QueryError::Internal(self.storage.shards.rebuild(shard).to_string())
    }
}

pub(super) fn range(selection: &Selection) -> TimeRange {
    TimeRange { min_ms: selection.start_ms, max_ms: selection.end_ms }
}

fn insert(texts: &mut BTreeSet<String>, text: &str) {
    if !texts.contains(text) {
        texts.insert(text.to_owned());
    }
}

fn limited(texts: BTreeSet<String>, limit: Option<usize>) -> Answer<Vec<String>> {
    let mut answer = Answer::plain(texts.into_iter().collect());
    cut(&mut answer.value, limit, &mut answer.warnings);
    answer
}
