//! The naive evaluator's functions of instant vectors, and aggregations.

use std::collections::BTreeMap;
use std::rc::Rc;

use gyre_promql::syntax::ast::{AggregateExpr, Call, Expr};
use gyre_promql::syntax::{AggregateOp, DurationValue, Function};

use crate::data::{LabelMap, Series};
use crate::histogram::Histogram;
use crate::histogram_functions;
use crate::naive::{
    Evaluated, Naive, Sample, Val, Value, absent_labels, clamp, newest, set, unique, unique_of_a_kind,
};
use crate::over_time;
use crate::windows;

/// Buckets of classic histograms.
type Classic = BTreeMap<LabelMap, Vec<(f64, f64)>>;

fn text_of(expr: &Expr) -> String {
    match expr {
        Expr::String(string) => string.value.to_str_lossy().into_owned(),
        _ => String::new(),
    }
}

/// Where the hash of the labels lies between 0 and 1. The hash is over names and values with their lengths before them.
fn share_of_hashes(labels: &LabelMap) -> f64 {
    let mut bytes = Vec::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        bytes.push(u8::try_from(text.len()).expect("labels here are short"));
        bytes.extend_from_slice(text.as_bytes());
    }
    xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

impl Naive<'_> {
    pub fn call(&self, call: &Call, time: i64) -> Evaluated<Value> {
        use Function as F;
        let arg = |i: usize| &call.args[i];
        let text = |i: usize| text_of(arg(i));
        let seconds = time as f64 / 1000.0;
        Ok(match call.func {
            F::Time => Value::Scalar(seconds),
            F::Pi => Value::Scalar(std::f64::consts::PI),
            F::Vector => {
                let value = self.scalar(arg(0), time)?;
                Value::Vector(vec![Sample {
                    labels: LabelMap::new(),
                    value: Val::Float(value),
                    drop_name: false,
                }])
            }
            F::Scalar => {
                let samples = self.vector(arg(0), time)?;
                let floats: Vec<f64> = samples.iter().filter_map(|sample| sample.value.float()).collect();
                Value::Scalar(if let [only] = floats[..] { only } else { f64::NAN })
            }
            F::Start => Value::Scalar(self.start_ms as f64 / 1000.0),
            F::End => Value::Scalar(self.end_ms as f64 / 1000.0),
            F::Range => Value::Scalar((self.end_ms - self.start_ms) as f64 / 1000.0),
            F::Step => {
                let steps = self.start_ms != self.end_ms;
                Value::Scalar(if steps { self.step_ms as f64 / 1000.0 } else { 0.0 })
            }
            F::MinOf | F::MaxOf => {
                let (a, b) = (self.scalar(arg(0), time)?, self.scalar(arg(1), time)?);
                // As Go's: an infinity on the side that wins beats NaN, and -0 is below 0.
                let (low, high) = if a < b || (a == b && a.is_sign_negative()) { (a, b) } else { (b, a) };
                let is_min = call.func == F::MinOf;
                let strongest = if is_min { f64::NEG_INFINITY } else { f64::INFINITY };
                Value::Scalar(match (a == strongest || b == strongest, a.is_nan() || b.is_nan()) {
                    (true, _) => strongest,
                    (false, true) => f64::NAN,
                    (false, false) if is_min => low,
                    (false, false) => high,
                })
            }
            F::Timestamp => {
                let samples = match arg(0).unwrap_parens() {
                    Expr::Vector(selector) => {
                        let mut selector = selector.clone();
                        if selector.at.is_some() {
                            selector.offset = DurationValue::ZERO;
                        }
                        self.select(&selector, time, |time, _| Val::Float(time as f64 / 1000.0))
                    }
                    other => {
                        let mut samples = self.vector(other, time)?;
                        samples.iter_mut().for_each(|sample| sample.value = Val::Float(seconds));
                        samples
                    }
                };
                self.mapped(samples, |value| Some(value.clone()))?
            }
            F::Absent => {
                let labels = absent_labels(arg(0));
                let present = !self.vector(arg(0), time)?.is_empty();
                let sample = Sample { labels, value: Val::Float(1.0), drop_name: false };
                Value::Vector(if present { Vec::new() } else { vec![sample] })
            }
            F::Clamp => {
                let (low, high) = (self.scalar(arg(1), time)?, self.scalar(arg(2), time)?);
                let samples = self.vector(arg(0), time)?;
                self.mapped_floats(samples, |value| {
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
                self.mapped_floats(samples, |value| {
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
                self.mapped_floats(samples, |value| Some((value * inverse + 0.5).floor() / inverse))?
            }
            F::Sort | F::SortDesc => {
                let mut samples = self.vector(arg(0), time)?;
                samples.retain(|sample| sample.value.float().is_some());
                Value::Vector(samples)
            }
            // No series here says when its counter started.
            F::StartTimestamp => Value::Vector(Vec::new()),
            F::Info => {
                let infos = self.data.iter().filter(|series| series.labels["__name__"] == "target_info");
                let mut samples = self.vector(arg(0), time)?;
                for sample in &mut samples {
                    let same = |info: &&Series| {
                        ["job", "instance"].iter().all(|name| {
                            let get = |labels: &LabelMap| labels.get(*name).cloned().unwrap_or_default();
                            get(&info.labels) == get(&sample.labels)
                        })
                    };
                    if !sample.labels.contains_key("job") {
                        continue;
                    }
                    let info = infos.clone().filter(same).find(|info| newest(&info.samples, time).is_some());
                    for (name, value) in info.iter().flat_map(|info| &info.labels) {
                        if name != "__name__" {
                            sample.labels.entry(name.clone()).or_insert(value.clone());
                        }
                    }
                }
                Value::Vector(samples)
            }
            F::SortByLabel | F::SortByLabelDesc => Value::Vector(self.vector(arg(0), time)?),
            F::HistogramCount => self.of_histograms(arg(0), time, |histogram| histogram.count)?,
            F::HistogramSum => self.of_histograms(arg(0), time, |histogram| histogram.sum)?,
            F::HistogramAvg => {
                self.of_histograms(arg(0), time, |histogram| histogram.sum / histogram.count)?
            }
            F::HistogramStdvar => self.of_histograms(arg(0), time, histogram_functions::variance)?,
            F::HistogramStddev => {
                self.of_histograms(arg(0), time, |histogram| histogram_functions::variance(histogram).sqrt())?
            }
            F::HistogramFraction => {
                let (lower, upper) = (self.scalar(arg(0), time)?, self.scalar(arg(1), time)?);
                let (classic, native) = self.classic_and_native(self.vector(arg(2), time)?);
                self.quantiles(
                    &classic,
                    &native,
                    |buckets| over_time::bucket_fraction(lower, upper, buckets),
                    |histogram| histogram_functions::fraction(lower, upper, histogram),
                )?
            }
            F::HistogramQuantiles => {
                let (classic, native) = self.classic_and_native(self.vector(arg(0), time)?);
                let mut all = Vec::new();
                for i in 2..call.args.len() {
                    let q = self.scalar(arg(i), time)?;
                    self.note_quantile(q);
                    let value = self.quantiles(
                        &classic,
                        &native,
                        |buckets| over_time::bucket_quantile(q, buckets),
                        |histogram| histogram_functions::quantile(q, histogram),
                    )?;
                    let Value::Vector(mut samples) = value else { continue };
                    for sample in &mut samples {
                        // Quantiles here have a dot or are whole numbers of one digit.
                        let text = if q.fract() == 0.0 { format!("{q}.0") } else { q.to_string() };
                        sample.labels.insert(text_of(arg(1)), text);
                    }
                    all.extend(samples);
                }
                if !self.delayed_name_removal {
                    unique(&all)?;
                }
                Value::Vector(all)
            }
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
                unique_of_a_kind(&relabelled)?;
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
                unique_of_a_kind(&joined)?;
                Value::Vector(joined)
            }
            F::HistogramQuantile => {
                let q = self.scalar(arg(0), time)?;
                self.note_quantile(q);
                let (classic, native) = self.classic_and_native(self.vector(arg(1), time)?);
                self.quantiles(
                    &classic,
                    &native,
                    |buckets| over_time::bucket_quantile(q, buckets),
                    |histogram| histogram_functions::quantile(q, histogram),
                )?
            }
            func => {
                let samples = match call.args.first() {
                    Some(arg) => self.vector(arg, time)?,
                    None => vec![Sample {
                        labels: LabelMap::new(),
                        value: Val::Float((time / 1000) as f64),
                        drop_name: false,
                    }],
                };
                let function = over_time::float_function(func).ok_or_else(|| format!("{}?", func.name()))?;
                self.mapped_floats(samples, |value| Some(function(value)))?
            }
        })
    }

    /// Applies a function to each histogram, drops numbers and the name.
    fn of_histograms(&self, arg: &Expr, time: i64, value: impl Fn(&Histogram) -> f64) -> Evaluated<Value> {
        let samples = self.vector(arg, time)?;
        self.mapped(samples, |sample| match sample {
            Val::Histogram(histogram) => Some(Val::Float(value(histogram))),
            Val::Float(_) => None,
        })
    }

    fn note_quantile(&self, q: f64) {
        if !(0.0..=1.0).contains(&q) {
            self.notes.add("invalid quantile");
        }
    }

    /// Classic histograms by their labels without `le`, and native ones. Where both have the same labels, neither.
    fn classic_and_native(&self, samples: Vec<Sample>) -> (Classic, Vec<(LabelMap, Rc<Histogram>)>) {
        let mut classic = Classic::new();
        let mut native = Vec::new();
        for sample in samples {
            match sample.value {
                Val::Histogram(histogram) => native.push((sample.labels, histogram)),
                Val::Float(value) => {
                    let le = sample.labels.get("le").map(|le| le.parse::<f64>());
                    let Some(Ok(bound)) = le else { continue };
                    let mut labels = sample.labels;
                    labels.remove("le");
                    classic.entry(labels).or_default().push((bound, value));
                }
            }
        }
        native.retain(|(labels, _)| classic.remove(labels).is_none());
        (classic, native)
    }

    fn quantiles(
        &self,
        classic: &Classic,
        native: &[(LabelMap, Rc<Histogram>)],
        of_classic: impl Fn(Vec<(f64, f64)>) -> f64,
        of_native: impl Fn(&Histogram) -> (f64, Option<&'static str>),
    ) -> Evaluated<Value> {
        let mut results = Vec::new();
        for (labels, histogram) in native {
            let (value, note) = of_native(histogram);
            note.into_iter().for_each(|note| self.notes.add(note));
            results.push(Sample { labels: labels.clone(), value: Val::Float(value), drop_name: true });
        }
        for (labels, buckets) in classic {
            let value = Val::Float(of_classic(buckets.clone()));
            results.push(Sample { labels: labels.clone(), value, drop_name: true });
        }
        self.mapped_floats(results, Some)
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
                    let sign = if aggregate.op == A::Topk { -1.0 } else { 1.0 };
                    let key = |sample: &Sample| sample.value.float().unwrap_or_default();
                    members.sort_by(|a, b| {
                        let (a, b) = (key(a), key(b));
                        let order = (sign * a).partial_cmp(&(sign * b));
                        a.is_nan().cmp(&b.is_nan()).then(order.unwrap_or(std::cmp::Ordering::Equal))
                    });
                    results.extend(members.into_iter().take(size));
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
