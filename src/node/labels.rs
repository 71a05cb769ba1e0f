//! Questions about labels: series, names, values.
//!
//! Without matchers the shards' indexes know the answer. With matchers the matching series are looked at, some at a
//! time, so that a question about a million series does not hold up appends. Answers are sets, so that segments which
//! have series in common, or a question that is asked again because a replica failed, change nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gyre_promql::storage::LabelMatcher;
use gyre_ring::{Replica, TenantId};
use gyre_tsdb::labels::Labels;
use tokio::time::Instant;

use super::{Answer, LabelSet, Node, QueryError, Selection, TRUNCATED};
use crate::actor::Gone;
use crate::query::matchers;
use crate::replica::read::messages::{LabelsQuestion, MatcherOnWire};
use crate::replica::read::metrics::Retry;
use crate::replica::read::plan::{ReadPlan, SegmentSource};
use crate::replica::read::remote::{Lost, RemoteTexts};
use crate::shard::read::{LabelNames, LabelSets, LabelValues, SERIES_PER_READ, Select, TimeRange};
use crate::shard::supervisor::ShardHandle;

/// Another node that has not answered completely after so long has failed.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Why a source did not answer.
struct SourceFailed {
    replica: Replica,
    error: QueryError,
}

/// Whether to go on.
type GoOn = bool;

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
        self.each_label_set(tenant, &selection, &mut |labels| {
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
            self.each_text(tenant, &LabelsQuestion::Names, range(&selection), &mut names).await?;
        } else {
            self.each_label_set(tenant, &selection, &mut |labels| {
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
            let question = LabelsQuestion::Values(name.to_owned());
            self.each_text(tenant, &question, range(&selection), &mut values).await?;
        } else {
            self.each_label_set(tenant, &selection, &mut |labels| {
                labels.get(name).into_iter().for_each(|value| insert(&mut values, value));
                true
            })
            .await?;
        }
        Ok(truncated(values.into_iter().collect(), selection.limit))
    }

    /// Adds the label names, or the values of a label, to `texts`.
    async fn each_text(
        &self,
        tenant: &TenantId,
        question: &LabelsQuestion,
        range: TimeRange,
        texts: &mut BTreeSet<String>,
    ) -> Result<(), QueryError> {
        let mut avoid = Vec::new();
        loop {
            let plan = self.plan(tenant, &avoid).await?;
            let result = self.texts_of(&plan, question, range, texts).await;
            if self.is_done(result, &plan, &mut avoid)? {
                return Ok(());
            }
        }
    }

    /// Calls `each` with the labels of the selected series until it says that it has seen enough. A series may come
    /// again.
    async fn each_label_set(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        each: &mut impl FnMut(Labels<'_>) -> GoOn,
    ) -> Result<(), QueryError> {
        let sets = selection.matcher_sets.iter().map(|set| matchers::compile(set));
        let mut sets: Vec<Vec<LabelMatcher>> = sets.collect::<Result<_, _>>()?;
        if sets.is_empty() {
            sets.push(Vec::new());
        }
        let mut avoid = Vec::new();
        loop {
            let plan = self.plan(tenant, &avoid).await?;
            let mut result = Ok(true);
            for matchers in &sets {
                result = self.label_sets_of(&plan, matchers, range(selection), each).await;
                if !matches!(result, Ok(true)) {
                    break;
                }
            }
            if self.is_done(result.map(|_| ()), &plan, &mut avoid)? {
                return Ok(());
            }
        }
    }

    async fn plan(&self, tenant: &TenantId, avoid: &[Replica]) -> Result<ReadPlan, QueryError> {
        let plan = self.reader.plan(tenant, avoid).await;
        plan.map_err(|error| QueryError::Unavailable(error.to_string()))
    }

    /// Whether all sources have answered. If one has failed, another plan may do without it, once.
    fn is_done(
        &self,
        result: Result<(), SourceFailed>,
        plan: &ReadPlan,
        avoid: &mut Vec<Replica>,
    ) -> Result<bool, QueryError> {
        match result {
            Ok(()) => Ok(true),
            Err(failed) if plan.has_choice && avoid.is_empty() => {
                self.reader.metrics.retry(Retry::Lost);
                avoid.push(failed.replica);
                Ok(false)
            }
            Err(failed) => Err(failed.error),
        }
    }

    async fn texts_of(
        &self,
        plan: &ReadPlan,
        question: &LabelsQuestion,
        range: TimeRange,
        texts: &mut BTreeSet<String>,
    ) -> Result<(), SourceFailed> {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        // All are asked at once.
        for source in plan.groups.iter().flatten() {
            match source {
                SegmentSource::Local(shard) => here.push((shard, ask(shard, question.clone(), range))),
                SegmentSource::Remote(segment) => {
                    elsewhere.push(segment.labels(question.clone(), range, later()))
                }
            }
        }
        for (shard, answer) in here {
            texts.extend(answer.await.map_err(|gone| self.gone(shard, gone))?);
        }
        for mut remote in elsewhere {
            while let Some(batch) = next_of(&mut remote).await? {
                for text in batch {
                    insert(texts, &String::from_utf8_lossy(&text));
                }
            }
        }
        Ok(())
    }

    async fn label_sets_of(
        &self,
        plan: &ReadPlan,
        matchers: &[LabelMatcher],
        range: TimeRange,
        each: &mut impl FnMut(Labels<'_>) -> GoOn,
    ) -> Result<GoOn, SourceFailed> {
        let select = || Select { matchers: matchers.iter().map(matchers::one).collect(), by_key: false };
        let on_wire = || LabelsQuestion::Sets(matchers.iter().map(MatcherOnWire::from).collect());
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for source in plan.groups.iter().flatten() {
            match source {
                SegmentSource::Local(shard) => here.push((shard, shard.actor.ask(select()))),
                SegmentSource::Remote(segment) => elsewhere.push(segment.labels(on_wire(), range, later())),
            }
        }
        for (shard, answer) in here {
            let series = answer.await.map_err(|gone| self.gone(shard, gone))?;
            for some in series.chunks(SERIES_PER_READ) {
                let question = LabelSets { series: some.to_vec(), range };
                let sets = shard.actor.ask(question).await.map_err(|gone| self.gone(shard, gone))?;
                if !all_of(&sets, each) {
                    return Ok(false);
                }
            }
        }
        for mut remote in elsewhere {
            while let Some(batch) = next_of(&mut remote).await? {
                if !all_of(&batch, each) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn gone(&self, shard: &Arc<ShardHandle>, _: Gone) -> SourceFailed {
        let error = QueryError::Internal(self.storage.shards.rebuild(shard).to_string());
        SourceFailed { replica: self.cluster.own().clone(), error }
    }
}

/// Asks a shard for label names or values.
fn ask(
    shard: &ShardHandle,
    question: LabelsQuestion,
    range: TimeRange,
) -> impl Future<Output = Result<Vec<String>, Gone>> + use<> {
    let (names, values) = match question {
        LabelsQuestion::Values(name) => (None, Some(shard.actor.ask(LabelValues { name, range }))),
        LabelsQuestion::Names | LabelsQuestion::Sets(_) => (Some(shard.actor.ask(LabelNames(range))), None),
    };
    async move {
        match (names, values) {
            (Some(names), _) => names.await,
            (None, Some(values)) => values.await,
            (None, None) => Ok(Vec::new()),
        }
    }
}

async fn next_of(remote: &mut RemoteTexts) -> Result<Option<Vec<Vec<u8>>>, SourceFailed> {
    let failed = |replica: &Replica, lost: Lost| SourceFailed {
        replica: replica.clone(),
        error: QueryError::Unavailable(lost.to_string()),
    };
    let next = remote.next_batch().await;
    next.map_err(|lost| failed(&remote.segment.replica, lost))
}

/// Calls `each` with label sets; false if it has seen enough.
fn all_of(sets: &[Vec<u8>], each: &mut impl FnMut(Labels<'_>) -> GoOn) -> GoOn {
    sets.iter().filter_map(|bytes| Labels::parse(bytes).ok()).all(each)
}

fn later() -> Instant {
    Instant::now() + ANSWER_MAX
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
