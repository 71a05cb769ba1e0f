//! Questions about labels: names, values.
//!
//! Without matchers the shards' indexes know the answer. With matchers the matching series are
//! [listed](super::listing). Answers are sets, so that segments which
//! have series in common, or a question that is asked again because a replica failed, change nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{Replica, TenantId};
use gyre_tsdb::block::Ulid;
use gyre_tsdb::labels::Labels;
use tokio::time::Instant;

use super::blocks::{BlockTries, Listed};
use super::{Answer, Node, QueryError, Selection, cut};
use crate::actor::Gone;
use crate::archive::read::failure::{BlockFailure, warning};
use crate::query::blocks::PlanBlocks;
use crate::replica::read::messages::LabelsQuestion;
use crate::replica::read::metrics::Retry;
use crate::replica::read::plan::{ReadPlan, SegmentSource, Wish};
use crate::replica::read::remote::{Lost, RemoteTexts};
use crate::shard::read::{LabelNames, LabelValues, TimeRange};
use crate::shard::supervisor::ShardHandle;

/// Another node that has not answered completely after so long has failed.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Plans that are made again because a replica failed while it was read.
const TRIES_MAX: usize = 1;

/// The same where an answer may be partial: with each a replica is left out.
const PARTIAL_TRIES_MAX: usize = 4;

/// Why a question was not answered from its sources.
pub(super) enum SourceFailed {
    /// One has failed.
    Replica {
        /// Who.
        replica: Replica,
        /// Why.
        error: QueryError,
    },
    /// A replica has dropped what these blocks have, and they are not in the list.
    List(Vec<Ulid>),
}

impl Node {
    /// The label names of the selected series, sorted.
    pub async fn label_names(
        &self,
        tenant: &TenantId,
        selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        let mut names = BTreeSet::new();
        let warnings = if selection.matcher_sets.is_empty() {
            self.each_text(tenant, &LabelsQuestion::Names, range(&selection), &mut names).await?
        } else {
            let each = |labels: Labels<'_>| labels.iter().for_each(|(name, _)| insert(&mut names, name));
            self.each_label_set(tenant, &selection, each).await?
        };
        Ok(limited(names, warnings, selection.limit))
    }

    /// The values of a label in the selected series, sorted.
    pub async fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        selection: Selection,
    ) -> Result<Answer<Vec<String>>, QueryError> {
        let mut values = BTreeSet::new();
        let warnings = if selection.matcher_sets.is_empty() {
            let question = LabelsQuestion::Values(name.to_owned());
            self.each_text(tenant, &question, range(&selection), &mut values).await?
        } else {
            let each = |labels: Labels<'_>| {
                labels.get(name).into_iter().for_each(|value| insert(&mut values, value));
            };
            self.each_label_set(tenant, &selection, each).await?
        };
        Ok(limited(values, warnings, selection.limit))
    }

    /// Adds the label names, or the values of a label, to `texts`; gives warnings.
    async fn each_text(
        &self,
        tenant: &TenantId,
        question: &LabelsQuestion,
        range: TimeRange,
        texts: &mut BTreeSet<String>,
    ) -> Result<Vec<String>, QueryError> {
        // Before it is looked which blocks there are: what is dropped from here on waits for this.
        let _pin = self.storage.shards.pins.pin();
        let (mut avoid, mut tries) = (Vec::new(), BlockTries::default());
        loop {
            let plan = self.plan(tenant, &avoid).await?;
            // After the plan, which leaves out what was closed before.
            let Listed { blocks, warning, .. } = self.blocks(tenant, Some(range), &tries, later()).await?;
            let lost = match self.texts_in_blocks(&blocks, question, range, texts).await? {
                Ok(lost) => lost,
                Err(failure) => {
                    self.again_without(tenant, failure, &mut tries).await?;
                    continue;
                }
            };
            match self.texts_of(&plan, &blocks, question, range, texts).await {
                Ok(()) => return Ok(plan.warnings.into_iter().chain(warning).chain(lost).collect()),
                Err(failed) => self.again_after(tenant, failed, &plan, &mut avoid, &mut tries).await?,
            }
        }
    }

    /// Adds what blocks have of these; gives a warning if some are left out. Of a block that overlaps the range all counts,
    /// as in Prometheus.
    async fn texts_in_blocks(
        &self,
        blocks: &PlanBlocks,
        question: &LabelsQuestion,
        range: TimeRange,
        texts: &mut BTreeSet<String>,
    ) -> Result<Result<Option<String>, BlockFailure>, QueryError> {
        let Some(query) = blocks.query.clone() else { return Ok(Ok(None)) };
        let question = question.clone();
        let read = move || {
            let found = match question {
                LabelsQuestion::Values(name) => query.label_values(&name, range),
                LabelsQuestion::Names | LabelsQuestion::Sets(_) => query.label_names(range),
            };
            found.map(|found| (found, warning(&query.lost())))
        };
        Ok(self.read_blocks(read).await?.map(|(found, lost)| {
            texts.extend(found);
            lost
        }))
    }

    /// Runs what waits for blocks on a thread that may wait.
    pub(super) async fn read_blocks<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| QueryError::Internal("reading blocks failed unexpectedly; see the log".to_owned()))
    }

    /// Calls `each` with the labels of the selected series; gives warnings.
    async fn each_label_set(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        mut each: impl FnMut(Labels<'_>),
    ) -> Result<Vec<String>, QueryError> {
        let mut listing = self.series(tenant, selection).await?;
        while let Some(sets) = listing.next().await? {
            sets.iter().for_each(&mut each);
        }
        Ok(listing.warnings)
    }

    /// A plan that keeps away from replicas that have failed, each as often as it stands in `avoid`.
    pub(super) async fn plan(&self, tenant: &TenantId, avoid: &[Replica]) -> Result<ReadPlan, QueryError> {
        let wish = Wish {
            avoid,
            // The first time it may have been an accident.
            without: if avoid.len() > TRIES_MAX { avoid } else { &[] },
            may_be_partial: self.overrides.of(tenant).query_partial_data,
        };
        let plan = self.reader.plan(tenant, wish).await;
        plan.map_err(|error| QueryError::Unavailable(error.to_string()))
    }

    /// Whether to plan again after as many failures: once, or until nobody is left where less is better than nothing.
    pub(super) fn may_try_again(&self, tenant: &TenantId, avoid: &[Replica]) -> bool {
        let is_partial = self.overrides.of(tenant).query_partial_data;
        avoid.len() < if is_partial { PARTIAL_TRIES_MAX } else { TRIES_MAX }
    }

    /// Prepares another try: with a newer list of blocks, or a plan that may do without the source that has failed.
    pub(super) async fn again_after(
        &self,
        tenant: &TenantId,
        failed: SourceFailed,
        plan: &ReadPlan,
        avoid: &mut Vec<Replica>,
        tries: &mut BlockTries,
    ) -> Result<(), QueryError> {
        match failed {
            SourceFailed::List(lacking) => self.again_with_newer_list(tenant, lacking, tries).await,
            SourceFailed::Replica { error, .. } if !plan.has_choice || !self.may_try_again(tenant, avoid) => {
                Err(error)
            }
            SourceFailed::Replica { replica, .. } => {
                self.reader.metrics.retry(Retry::Lost);
                avoid.push(replica);
                Ok(())
            }
        }
    }

    async fn texts_of(
        &self,
        plan: &ReadPlan,
        blocks: &PlanBlocks,
        question: &LabelsQuestion,
        range: TimeRange,
        texts: &mut BTreeSet<String>,
    ) -> Result<(), SourceFailed> {
        check_named(blocks, &plan.named_here(blocks, range))?;
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
            while let Some(batch) = next_of(&mut remote, blocks).await? {
                for text in batch {
                    insert(texts, &String::from_utf8_lossy(&text));
                }
            }
        }
        Ok(())
    }

    pub(super) fn gone(&self, shard: &Arc<ShardHandle>, _: Gone) -> SourceFailed {
        let error = QueryError::Internal(self.storage.shards.rebuild(shard).to_string());
        SourceFailed::Replica { replica: self.cluster.own().clone(), error }
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

/// The next texts of a source elsewhere, if the list of blocks has what was dropped there.
pub(super) async fn next_of(
    remote: &mut RemoteTexts,
    blocks: &PlanBlocks,
) -> Result<Option<Vec<Vec<u8>>>, SourceFailed> {
    let failed = |replica: &Replica, lost: Lost| SourceFailed::Replica {
        replica: replica.clone(),
        error: QueryError::Unavailable(lost.to_string()),
    };
    let next = remote.next_batch().await;
    let next = next.map_err(|lost| failed(&remote.segment.replica, lost))?;
    check_named(blocks, remote.released())?;
    Ok(next)
}

/// A failure if the list of blocks lacks some of these, which have what was dropped from heads.
pub(super) fn check_named(blocks: &PlanBlocks, named: &[Ulid]) -> Result<(), SourceFailed> {
    let lacking = blocks.unknown(named.iter().copied());
    if lacking.is_empty() { Ok(()) } else { Err(SourceFailed::List(lacking)) }
}

pub(super) fn later() -> Instant {
    Instant::now() + ANSWER_MAX
}

pub(super) fn range(selection: &Selection) -> TimeRange {
    TimeRange { min_ms: selection.start_ms, max_ms: selection.end_ms }
}

fn insert(texts: &mut BTreeSet<String>, text: &str) {
    if !texts.contains(text) {
        texts.insert(text.to_owned());
    }
}

fn limited(texts: BTreeSet<String>, warnings: Vec<String>, limit: Option<usize>) -> Answer<Vec<String>> {
    let mut answer = Answer { warnings, ..Answer::plain(texts.into_iter().collect()) };
    cut(&mut answer.value, limit, &mut answer.warnings);
    answer
}
