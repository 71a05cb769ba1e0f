//! The naive evaluator's operators between vectors.

use std::collections::BTreeSet;

use gyre_promql::syntax::BinaryOp;
use gyre_promql::syntax::ast::{BinaryExpr, Cardinality, VectorMatching};

use crate::data::LabelMap;
use crate::naive::{Evaluated, Naive, Sample, Value, nameless, unique};

impl Naive<'_> {
    pub fn binary(&self, binary: &BinaryExpr, time: i64) -> Evaluated<Value> {
        let (lhs, rhs) = (self.at(&binary.lhs, time)?, self.at(&binary.rhs, time)?);
        let op = binary.op;
        Ok(match (lhs, rhs) {
            (Value::Scalar(a), Value::Scalar(b)) => Value::Scalar(match holds(op, a, b) {
                Some(holds) => f64::from(u8::from(holds)),
                None => calculate(op, a, b),
            }),
            (Value::Vector(samples), Value::Scalar(scalar)) => {
                self.with_scalar(binary, samples, scalar, false)?
            }
            (Value::Scalar(scalar), Value::Vector(samples)) => {
                self.with_scalar(binary, samples, scalar, true)?
            }
            (Value::Vector(lhs), Value::Vector(rhs)) => {
                let matching = binary.matching.clone().unwrap_or_default();
                let samples = match op {
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => set_operation(op, lhs, rhs, &matching),
                    _ => self.join(binary, lhs, rhs, &matching)?,
                };
                if !self.delayed_name_removal {
                    unique(&samples)?;
                }
                Value::Vector(samples)
            }
        })
    }

    fn with_scalar(
        &self,
        binary: &BinaryExpr,
        samples: Vec<Sample>,
        scalar: f64,
        left: bool,
    ) -> Evaluated<Value> {
        let mut results = Vec::new();
        for sample in samples {
            let (a, b) = if left { (scalar, sample.value) } else { (sample.value, scalar) };
            let value = match holds(binary.op, a, b) {
                Some(holds) if binary.return_bool => f64::from(u8::from(holds)),
                Some(true) => sample.value,
                Some(false) => continue,
                None => calculate(binary.op, a, b),
            };
            let drops = holds(binary.op, a, b).is_none() || binary.return_bool;
            let labels =
                if drops && !self.delayed_name_removal { nameless(&sample.labels) } else { sample.labels };
            results.push(Sample { labels, value, drop_name: sample.drop_name || drops });
        }
        if !self.delayed_name_removal {
            unique(&results)?;
        }
        Ok(Value::Vector(results))
    }

    fn join(
        &self,
        binary: &BinaryExpr,
        lhs: Vec<Sample>,
        rhs: Vec<Sample>,
        matching: &VectorMatching,
    ) -> Evaluated<Vec<Sample>> {
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if (lhs.is_empty() || rhs.is_empty()) && !fills {
            return Ok(Vec::new());
        }
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        for (i, sample) in one.iter().enumerate() {
            if one[..i].iter().any(|other| signature(other, matching) == signature(sample, matching)) {
                return Err("found duplicate series for the match group".to_owned());
            }
        }
        let mut results: Vec<Sample> = Vec::new();
        let mut taken: BTreeSet<(LabelMap, Option<LabelMap>)> = BTreeSet::new();
        let mut matched: BTreeSet<LabelMap> = BTreeSet::new();
        let mut pairs: Vec<(Sample, Sample)> = Vec::new();
        for sample in &many {
            let partner = one.iter().find(|other| signature(other, matching) == signature(sample, matching));
            let fill = matching.fill_right.map(|value| Sample {
                labels: signature(sample, matching),
                value,
                drop_name: false,
            });
            if let Some(partner) = partner.cloned().or(fill) {
                matched.insert(signature(sample, matching));
                pairs.push((sample.clone(), partner));
            }
        }
        if let Some(fill) = matching.fill_left {
            for sample in &one {
                let key = signature(sample, matching);
                if !matched.contains(&key) {
                    pairs.push((Sample { labels: key, value: fill, drop_name: false }, sample.clone()));
                }
            }
        }
        for (many, one) in pairs {
            let (a, b) = if swapped { (one.value, many.value) } else { (many.value, one.value) };
            let comparison = holds(binary.op, a, b);
            let mut labels = many.labels.clone();
            if comparison.is_none() || (binary.return_bool && !self.delayed_name_removal) {
                labels = nameless(&labels);
            }
            if matching.cardinality == Cardinality::OneToOne {
                labels.retain(|name, _| listed(matching, name) == matching.on);
            }
            for name in &matching.include {
                match one.labels.get(&**name) {
                    Some(value) => labels.insert(name.to_string(), value.clone()),
                    None => labels.remove(&**name),
                };
            }
            let key = signature(&many, matching);
            let one_to_one = matching.cardinality == Cardinality::OneToOne;
            if !taken.insert((key, (!one_to_one).then(|| labels.clone()))) {
                return Err("multiple matches for labels".to_owned());
            }
            let value = match comparison {
                Some(holds) if binary.return_bool => f64::from(u8::from(holds)),
                Some(true) => a,
                Some(false) => continue,
                None => calculate(binary.op, a, b),
            };
            results.push(Sample { labels, value, drop_name: binary.return_bool });
        }
        unique(&results)?;
        Ok(results)
    }
}

fn listed(matching: &VectorMatching, name: &str) -> bool {
    matching.labels.iter().any(|label| **label == *name)
}

fn signature(sample: &Sample, matching: &VectorMatching) -> LabelMap {
    let kept = sample.labels.iter().filter(|(name, _)| {
        let listed = listed(matching, name);
        if matching.on { listed } else { !listed && *name != "__name__" }
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn set_operation(op: BinaryOp, lhs: Vec<Sample>, rhs: Vec<Sample>, matching: &VectorMatching) -> Vec<Sample> {
    let keys = |samples: &[Sample]| -> BTreeSet<LabelMap> {
        samples.iter().map(|sample| signature(sample, matching)).collect()
    };
    let (left, right) = (keys(&lhs), keys(&rhs));
    match op {
        BinaryOp::And => {
            lhs.into_iter().filter(|sample| right.contains(&signature(sample, matching))).collect()
        }
        BinaryOp::Unless => {
            lhs.into_iter().filter(|sample| !right.contains(&signature(sample, matching))).collect()
        }
        _ => {
            let added = rhs.into_iter().filter(|sample| !left.contains(&signature(sample, matching)));
            lhs.into_iter().chain(added.collect::<Vec<_>>()).collect()
        }
    }
}

fn holds(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    match op {
        BinaryOp::Eql => Some(a == b),
        BinaryOp::Neq => Some(a != b),
        BinaryOp::Gtr => Some(a > b),
        BinaryOp::Lss => Some(a < b),
        BinaryOp::Gte => Some(a >= b),
        BinaryOp::Lte => Some(a <= b),
        _ => None,
    }
}

fn calculate(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Mod => a % b,
        _ => a.atan2(b),
    }
}
