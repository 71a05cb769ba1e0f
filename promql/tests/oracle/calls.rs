//! The naive evaluator's functions of instant vectors, and aggregations.

use std::collections::BTreeMap;

use gyre_promql::syntax::ast::{AggregateExpr, Call, Expr};
use gyre_promql::syntax::{AggregateOp, DurationValue, Function};

use crate::data::LabelMap;
use crate::naive::{Evaluated, Naive, Sample, Value, absent_labels, clamp, set, unique};
use crate::over_time;

impl Naive<'_> {
    pub fn call(&self, call: &Call, time: i64) -> Evaluated<Value> {
        use Function as F;
        let arg = |i: usize| &call.args[i];
        let text = |i: usize| match arg(i) {
            Expr::String(string) => string.value.to_str_lossy().into_owned(),
            _ => String::new(),
        };
        let seconds = time as f64 / 1000.0;
        Ok(match call.func {
            F::Time => Value::Scalar(seconds),
            F::Pi => Value::Scalar(std::f64::consts::PI),
            F::Vector => {
                let value = self.scalar(arg(0), time)?;
                Value::Vector(vec![Sample { labels: LabelMap::new(), value, drop_name: false }])
            }
            F::Scalar => match self.vector(arg(0), time)?.as_slice() {
                [only] => Value::Scalar(only.value),
                _ => Value::Scalar(f64::NAN),
            },
            F::Timestamp => {
                let samples = match arg(0).unwrap_parens() {
                    Expr::Vector(selector) => {
                        let mut selector = selector.clone();
                        if selector.at.is_some() {
                            selector.offset = DurationValue::ZERO;
                        }
                        self.select(&selector, time, |time, _| time as f64 / 1000.0)
                    }
                    other => {
                        let mut samples = self.vector(other, time)?;
                        samples.iter_mut().for_each(|sample| sample.value = seconds);
                        samples
                    }
                };
                self.mapped(samples, Some)?
            }
            F::Absent => {
                let labels = absent_labels(arg(0));
                let present = !self.vector(arg(0), time)?.is_empty();
                let sample = Sample { labels, value: 1.0, drop_name: false };
                Value::Vector(if present { Vec::new() } else { vec![sample] })
            }
            F::Clamp => {
                let (low, high) = (self.scalar(arg(1), time)?, self.scalar(arg(2), time)?);
                let samples = self.vector(arg(0), time)?;
                self.mapped(samples, |value| {
                    (high >= low || high.is_nan() || low.is_nan()).then(|| clamp(value, low, high))
                })?
            }
            F::ClampMin | F::ClampMax => {
                let bound = self.scalar(arg(1), time)?;
                let (low, high) = if call.func == F::ClampMin {
                    (bound, f64::INFINITY)
                } else {
                    (f64::NEG_INFINITY, bound)
                };
                let samples = self.vector(arg(0), time)?;
                self.mapped(samples, |value| {
                    (high >= low || high.is_nan() || low.is_nan()).then(|| clamp(value, low, high))
                })?
            }
            F::Round => {
                let nearest = match call.args.get(1) {
                    Some(nearest) => self.scalar(nearest, time)?,
                    None => 1.0,
                };
                let inverse = 1.0 / nearest;
                let samples = self.vector(arg(0), time)?;
                self.mapped(samples, |value| Some((value * inverse + 0.5).floor() / inverse))?
            }
            F::Sort | F::SortDesc => Value::Vector(self.vector(arg(0), time)?),
            F::LabelReplace => {
                // Patterns here are `(.*)` or a literal.
                let (target, replacement, source, pattern) = (text(1), text(2), text(3), text(4));
                let relabelled = self.vector(arg(0), time)?.into_iter().map(|mut sample| {
                    let value = sample.labels.get(&source).cloned().unwrap_or_default();
                    if pattern == "(.*)" || pattern == value {
                        let group = if pattern == "(.*)" { value } else { String::new() };
                        set(&mut sample, &target, &replacement.replace("$1", &group));
                    }
                    sample
                });
                let relabelled: Vec<Sample> = relabelled.collect();
                unique(&relabelled)?;
                Value::Vector(relabelled)
            }
            F::LabelJoin => {
                let target = text(1);
                let joined = self.vector(arg(0), time)?.into_iter().map(|mut sample| {
                    let values: Vec<String> = (3..call.args.len())
                        .map(|i| sample.labels.get(&text(i)).cloned().unwrap_or_default())
                        .collect();
                    set(&mut sample, &target, &values.join(&text(2)));
                    sample
                });
                let joined: Vec<Sample> = joined.collect();
                unique(&joined)?;
                Value::Vector(joined)
            }
            F::HistogramQuantile => {
                let quantile = self.scalar(arg(0), time)?;
                let samples = self.vector(arg(1), time)?;
                let mut histograms: BTreeMap<LabelMap, Vec<(f64, f64)>> = BTreeMap::new();
                for sample in samples {
                    let Some(Ok(bound)) = sample.labels.get("le").map(|le| le.parse::<f64>()) else {
                        continue;
                    };
                    let mut labels = sample.labels.clone();
                    labels.remove("le");
                    histograms.entry(labels).or_default().push((bound, sample.value));
                }
                let results = histograms.into_iter().map(|(labels, buckets)| Sample {
                    labels,
                    value: over_time::bucket_quantile(quantile, buckets),
                    drop_name: true,
                });
                let results = results.collect();
                self.mapped(results, Some)?
            }
            func => {
                let samples = match call.args.first() {
                    Some(arg) => self.vector(arg, time)?,
                    None => vec![Sample {
                        labels: LabelMap::new(),
                        value: (time / 1000) as f64,
                        drop_name: false,
                    }],
                };
                let function = over_time::float_function(func).ok_or_else(|| format!("{}?", func.name()))?;
                self.mapped(samples, |value| Some(function(value)))?
            }
        })
    }

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
                let text = if sample.value.is_infinite() {
                    if sample.value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
                } else {
                    sample.value.to_string()
                };
                labels.insert(label.clone(), text.clone());
                let mut group = key(&labels);
                if !aggregate.without {
                    group.insert(label.clone(), text);
                }
                *counts.entry(group).or_default() += 1.0;
            }
            let counted =
                counts.into_iter().map(|(labels, value)| Sample { labels, value, drop_name: false });
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
            let drop_name = members.iter().any(|sample| sample.drop_name);
            let values: Vec<f64> = members.iter().map(|sample| sample.value).collect();
            let size = if param < 1.0 { 0 } else { (param as usize).min(members.len()) };
            let value = match aggregate.op {
                A::Topk | A::Bottomk => {
                    let sign = if aggregate.op == A::Topk { -1.0 } else { 1.0 };
                    members.sort_by(|a, b| {
                        let order = (sign * a.value).partial_cmp(&(sign * b.value));
                        a.value
                            .is_nan()
                            .cmp(&b.value.is_nan())
                            .then(order.unwrap_or(std::cmp::Ordering::Equal))
                    });
                    results.extend(members.into_iter().take(size));
                    continue;
                }
                A::Limitk => {
                    results.extend(members.into_iter().take(size));
                    continue;
                }
                op => over_time::aggregate(op, &values, param)?,
            };
            results.push(Sample { labels, value, drop_name });
        }
        Ok(results)
    }
}
