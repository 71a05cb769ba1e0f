//! The naive evaluator's functions of instant vectors.

use std::collections::BTreeMap;
use std::rc::Rc;

use gyre_promql::syntax::ast::{Call, Expr, VectorSelector};
use gyre_promql::syntax::{DurationValue, Function};

use crate::classic_histograms;
use crate::data::LabelMap;
use crate::histogram::Histogram;
use crate::histogram_functions;
use crate::naive::{
    Evaluated, Naive, Sample, Val, Value, absent_labels, clamp, newest, set, unique, unique_of_a_kind,
};
use crate::over_time;

/// Buckets of classic histograms.
type Classic = BTreeMap<LabelMap, Vec<(f64, f64)>>;

fn text_of(expr: &Expr) -> String {
    match expr {
        Expr::String(string) => string.value.to_str_lossy().into_owned(),
        _ => String::new(),
    }
}

/// The selector that is all of an expression, or what a range function looks at.
fn selector_of(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::Paren(paren) => selector_of(&paren.expr),
        Expr::Vector(selector) => Some(selector),
        Expr::Matrix(matrix) => Some(&matrix.selector),
        Expr::Call(call) => call.args.first().and_then(selector_of),
        _ => None,
    }
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
                let wanted = call.args.get(1).and_then(selector_of);
                Value::Vector(self.with_info(arg(0), wanted, time)?)
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
                    |buckets| classic_histograms::bucket_fraction(lower, upper, buckets),
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
                        |buckets| classic_histograms::bucket_quantile(q, buckets),
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
                    |buckets| classic_histograms::bucket_quantile(q, buckets),
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
    /// Adds the labels of `target_info`, or those that `wanted` names; it must satisfy `wanted`, or may be missing if nothing
    /// at all does.
    fn with_info(&self, base: &Expr, wanted: Option<&VectorSelector>, time: i64) -> Evaluated<Vec<Sample>> {
        let reference =
            selector_of(base).map_or(time, |base| self.pinned(base.at, time) - self.ms(&base.offset));
        let matches = |labels: &LabelMap| wanted.is_none_or(|wanted| self.satisfies(labels, wanted));
        let names: Vec<String> = wanted.map_or_else(Vec::new, |wanted| {
            wanted.matchers.iter().map(|matcher| matcher.name.to_str_lossy().into_owned()).collect()
        });
        let mut results = Vec::new();
        for mut sample in self.vector(base, time)? {
            let found = self.data.iter().find(|info| {
                info.labels["__name__"] == "target_info"
                    && sample.labels.contains_key("job")
                    && info.labels.get("job") == sample.labels.get("job")
                    && info.labels.get("instance") == sample.labels.get("instance")
                    && matches(&info.labels)
                    && newest(&info.samples, reference).is_some()
            });
            if found.is_none() && !matches(&LabelMap::new()) {
                continue;
            }
            for (name, value) in found.iter().flat_map(|info| &info.labels) {
                if name != "__name__" && (names.is_empty() || names.contains(name)) {
                    sample.labels.entry(name.clone()).or_insert(value.clone());
                }
            }
            results.push(sample);
        }
        Ok(results)
    }

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
}
