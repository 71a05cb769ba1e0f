//! The naive evaluator's aggregations.

use std::collections::BTreeMap;

use gyre_promql::syntax::AggregateOp;
use gyre_promql::syntax::ast::{AggregateExpr, Expr};

use crate::data::LabelMap;
use crate::histogram::Histogram;
use crate::naive::{Evaluated, Naive, Sample, Val};
use crate::over_time;
use crate::windows;

/// Where the hash of the labels lies between 0 and 1. The hash is over names and values with their lengths before them.
fn share_of_hashes(labels: &LabelMap) -> f64 {
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        bytes.push(u8::try_from(text.len()).expect("labels here are short"));
        bytes.extend_from_slice(text.as_bytes());
    }
    xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// The `size` largest or smallest, by a heap with the worst on top. Of equal ones those stay that a binary heap as in Go's
/// library leaves.
fn chosen(members: Vec<Sample>, size: usize, largest: bool) -> Vec<Sample> {
    let value = |sample: &Sample| sample.value.float().unwrap_or_default();
    let is_better = |a: f64, b: f64| if largest { a > b } else { a < b };
    let is_worse = |a: &Sample, b: &Sample| value(a).is_nan() || is_better(value(b), value(a));
    let mut heap: Vec<Sample> = Vec::new();
    for sample in members {
        if heap.len() < size {
            heap.push(sample);
            let mut at = heap.len() - 1;
            while at > 0 && is_worse(&heap[at], &heap[(at - 1) / 2]) {
                heap.swap(at, (at - 1) / 2);
                at = (at - 1) / 2;
            }
        } else if let Some(worst) = heap.first_mut()
            && (is_better(value(&sample), value(worst))
                || (value(worst).is_nan() && !value(&sample).is_nan()))
        {
            *worst = sample;
            let mut at = 0;
            loop {
                let mut child = 2 * at + 1;
                if child >= heap.len() {
                    break;
                }
                if child + 1 < heap.len() && is_worse(&heap[child + 1], &heap[child]) {
                    child += 1;
                }
                if !is_worse(&heap[child], &heap[at]) {
                    break;
                }
                heap.swap(at, child);
                at = child;
            }
        }
    }
    heap
}

impl Naive<'_> {
    pub fn aggregate(&self, aggregate: &AggregateExpr, time: i64) -> Evaluated<Vec<Sample>> {
        use AggregateOp as A;
        let samples = self.vector(&aggregate.expr, time)?;
        let key = |labels: &LabelMap| -> LabelMap {
            let listed = |name: &String| aggregate.grouping.iter().any(|label| **label == **name);
            let kept = labels.iter().filter(|(name, _)| {
                if aggregate.without { !listed(name) && *name != "__name__" } else { listed(name) }
            });
            kept.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let param = match &aggregate.param {
            Some(Expr::String(_)) | None => 0.0,
            Some(param) => self.scalar(param, time)?,
        };
        if aggregate.op == A::CountValues {
            let Some(Expr::String(label)) = &aggregate.param else { return Err("no label".to_owned()) };
            let label = label.value.to_str_lossy().into_owned();
            let mut counts: BTreeMap<LabelMap, f64> = BTreeMap::new();
            for sample in samples {
                let mut labels = sample.labels.clone();
                let text = match &sample.value {
                    Val::Histogram(histogram) => histogram.text(),
                    Val::Float(f64::INFINITY) => "+Inf".to_owned(),
                    Val::Float(f64::NEG_INFINITY) => "-Inf".to_owned(),
                    Val::Float(value) => value.to_string(),
                };
                labels.insert(label.clone(), text.clone());
                let mut group = key(&labels);
                if !aggregate.without {
                    group.insert(label.clone(), text);
                }
                *counts.entry(group).or_default() += 1.0;
            }
            let counted = counts.into_iter().map(|(labels, value)| Sample {
                labels,
                value: Val::Float(value),
                drop_name: false,
            });
            return Ok(counted.collect());
        }
        // Groups in the order of their first sample.
        let mut groups: Vec<(LabelMap, Vec<Sample>)> = Vec::new();
        for sample in samples {
            let labels = key(&sample.labels);
            match groups.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, members)) => members.push(sample),
                None => groups.push((labels, vec![sample])),
            }
        }
        let mut results = Vec::new();
        for (labels, mut members) in groups {
            let all_drop_name = members.iter().any(|sample| sample.drop_name);
            let size = if param < 1.0 { 0 } else { (param as usize).min(members.len()) };
            let floats_only =
                !matches!(aggregate.op, A::Sum | A::Avg | A::Count | A::Group | A::Limitk | A::LimitRatio);
            let before = members.len();
            if floats_only {
                // With nothing to choose, not even histograms are looked at.
                let looks = size > 0 || !matches!(aggregate.op, A::Topk | A::Bottomk);
                members.retain(|sample| sample.value.float().is_some());
                if looks && members.len() < before {
                    self.notes.add("ignored in aggregation");
                }
            }
            let drop_name = members.iter().any(|sample| sample.drop_name) || (!floats_only && all_drop_name);
            let values: Vec<f64> = members.iter().filter_map(|sample| sample.value.float()).collect();
            let value = match aggregate.op {
                A::Topk | A::Bottomk => {
                    results.extend(chosen(members, size, aggregate.op == A::Topk));
                    continue;
                }
                A::LimitRatio => {
                    let ratio = param.clamp(-1.0, 1.0);
                    results.extend(members.into_iter().filter(|sample| {
                        let share = share_of_hashes(&sample.labels);
                        if ratio >= 0.0 { share < ratio } else { share >= 1.0 + ratio }
                    }));
                    continue;
                }
                A::Limitk => {
                    results.extend(members.into_iter().take(size));
                    continue;
                }
                A::Count => Val::Float(members.len() as f64),
                A::Group => Val::Float(1.0),
                op if members.is_empty() || (values.is_empty() && floats_only) => {
                    debug_assert!(op != A::Sum);
                    continue;
                }
                A::Sum | A::Avg if values.len() < members.len() => {
                    let Some(total) = self.sum_histograms(&members, aggregate.op == A::Avg) else { continue };
                    total.into()
                }
                op => Val::Float(over_time::aggregate(op, &values, param)?),
            };
            results.push(Sample { labels, value, drop_name });
        }
        Ok(results)
    }

    fn sum_histograms(&self, members: &[Sample], mean: bool) -> Option<Histogram> {
        let histograms: Vec<&Histogram> = members
            .iter()
            .filter_map(|sample| match &sample.value {
                Val::Histogram(histogram) => Some(&**histogram),
                Val::Float(_) => None,
            })
            .collect();
        if histograms.len() < members.len() {
            self.notes.add("mixed aggregation");
            // How far the histograms were added before decides about these.
            self.notes.forgives("counter reset collision");
            self.notes.forgives("mismatched custom buckets");
            self.notes.forgives("mixed exponential and custom");
            return None;
        }
        let total = windows::sum(&histograms, mean, &self.notes, true);
        if total.is_none() {
            self.notes.add("mixed exponential and custom");
            self.notes.forgives("counter reset collision");
        }
        total.map(Histogram::compacted)
    }
}
